use super::*;
use crate::config::Report;
use crate::pipeline::testing::node;
use crate::pipeline::{Ack, Ledger};
use crate::record::{Body, Cause, Class, Gap, Record};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The number of a record is its monotonic time.
fn numbered(number: u64) -> Record {
    Record {
        monotonic_ns: number,
        wall_ns: 0,
        reply: None,
        body: Body::Gap(Gap {
            from_ns: 0,
            to_ns: 0,
            cause: Cause::Crash,
            lost: None,
            detail: String::new(),
        }),
    }
}

fn batch(ledger: &Arc<Ledger>, number: u64) -> Batch {
    Batch {
        stream: "s".into(),
        class: Class::Normal,
        records: Arc::new(vec![numbered(number)]),
        ack: Ack::new(ledger, 1),
    }
}

/// What a sink does with each batch.
#[derive(Clone)]
enum Taste {
    Done,
    /// Waits for a permit before each batch.
    Wait(Arc<Notify>),
    /// Fails at this batch.
    Fail(usize),
    Panic,
}

struct Collect {
    taste: Taste,
    seen: Arc<Mutex<Vec<u64>>>,
    owned: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot take more")]
struct Full;

impl Sink for Collect {
    type Error = Full;

    async fn run(self, mut inlet: Inlet) -> Result<(), Full> {
        let mut count = 0;
        while let Some(mut batch) = inlet.recv().await {
            match &self.taste {
                Taste::Wait(go) => go.notified().await,
                Taste::Fail(at) if *at == count => return Err(Full),
                Taste::Fail(_) | Taste::Done => {}
                Taste::Panic => panic!("a bug"),
            }
            count += 1;
            let owned = Arc::get_mut(&mut batch.records).is_some();
            self.owned.fetch_add(usize::from(owned), Ordering::Relaxed);
            let numbers = batch.records.iter().map(|r| r.monotonic_ns);
            self.seen.lock().unwrap().extend(numbers);
            batch.ack.done();
        }
        Ok(())
    }
}

/// Holds batches back, and gives all in one when it is flushed or its deadline comes.
#[derive(Default)]
struct Hold {
    held: Vec<Batch>,
    deadline_ns: Option<u64>,
}

impl Transform for Hold {
    fn apply(&mut self, batch: Batch, _out: &mut Vec<Batch>) {
        self.held.push(batch);
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns.filter(|_| !self.held.is_empty())
    }

    fn tick(&mut self, _now_ns: u64, out: &mut Vec<Batch>) {
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<Batch>) {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return;
        }
        let records = held.iter().flat_map(|b| b.records.iter().cloned());
        out.push(Batch {
            stream: "s.h".into(),
            class: Class::Normal,
            records: Arc::new(records.collect()),
            ack: Ack::all(held.into_iter().map(|b| b.ack)),
        });
    }
}

struct Rig {
    running: Running,
    outlet: Outlet,
    ledger: Arc<Ledger>,
    seen: Vec<Arc<Mutex<Vec<u64>>>>,
    owned: Arc<AtomicUsize>,
}

impl Rig {
    /// A source, `held` before all sinks where given, and a sink for each taste.
    fn new(held: Option<Hold>, tastes: &[Taste], queue_batches: usize) -> Rig {
        let mut nodes = vec![node("a", Role::Source, &[])];
        let mut transforms = BTreeMap::new();
        let feed = if held.is_some() { "h" } else { "a" };
        if let Some(held) = held {
            nodes.push(node("h", Role::Transform, &["a"]));
            transforms.insert("h".to_owned(), held);
        }
        let owned = Arc::new(AtomicUsize::new(0));
        let mut seen = Vec::new();
        let mut sinks = BTreeMap::new();
        for (index, taste) in tastes.iter().enumerate() {
            let name = format!("k{index}");
            nodes.push(node(&name, Role::Sink, &[feed]));
            seen.push(Arc::default());
            let sink = Collect {
                taste: taste.clone(),
                seen: Arc::clone(&seen[index]),
                owned: Arc::clone(&owned),
            };
            sinks.insert(name, sink);
        }
        let graph = Graph::check(nodes, &Report::default()).unwrap();
        let mut running = start(&graph, transforms, sinks, queue_batches);
        Rig {
            outlet: running.outlet("a").unwrap(),
            running,
            ledger: Arc::default(),
            seen,
            owned,
        }
    }

    async fn send(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.outlet.send(batch(&self.ledger, number)).await;
        }
    }
}

const BOUND: Duration = Duration::from_secs(10);

async fn fan_out_keeps_order() {
    let rig = Rig::new(None, &[Taste::Done, Taste::Done, Taste::Done], 4);
    rig.send(0..1000).await;
    drop(rig.outlet);
    rig.running.drain(BOUND).await.unwrap();
    for seen in rig.seen {
        assert!(seen.lock().unwrap().iter().copied().eq(0..1000));
    }
    assert_eq!((rig.ledger.released(), rig.ledger.failed()), (1000, 0));
}

#[tokio::test]
async fn order_under_fan_out_on_one_thread() {
    fan_out_keeps_order().await;
}

#[test]
fn order_under_fan_out_on_several_threads() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(fan_out_keeps_order());
}

#[tokio::test]
async fn a_single_consumer_owns_the_records() {
    let rig = Rig::new(None, &[Taste::Done], 4);
    rig.send(0..10).await;
    drop(rig.outlet);
    rig.running.drain(BOUND).await.unwrap();
    assert_eq!(rig.owned.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn a_stalled_sink_blocks_the_source_at_the_bound() {
    let go = Arc::new(Notify::new());
    let rig = Rig::new(None, &[Taste::Done, Taste::Wait(Arc::clone(&go))], 3);
    let all = rig.send(0..100);
    // One in the sink's hands, three in its queue, one in the source's.
    assert!(
        tokio::time::timeout(Duration::from_millis(200), all)
            .await
            .is_err()
    );
    assert_eq!(rig.ledger.produced(), 5);
    // No sink alone releases a record.
    assert_eq!(rig.ledger.released(), 0);
    assert_eq!(rig.seen[0].lock().unwrap().len(), 5);
    go.notify_one();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.ledger.released(), 1);
}

#[tokio::test]
async fn a_sink_that_fails_fails_its_batches_and_is_reported() {
    let mut rig = Rig::new(None, &[Taste::Done, Taste::Fail(2)], 4);
    rig.send(0..10).await;
    let failure = rig.running.failure().await;
    assert_eq!(failure.to_string(), "sink \"k1\" gave up");
    drop(rig.outlet);
    rig.running.drain(BOUND).await.unwrap();
    assert_eq!(rig.seen[0].lock().unwrap().len(), 10);
    assert_eq!((rig.ledger.released(), rig.ledger.failed()), (2, 8));
}

#[tokio::test]
async fn a_node_that_panics_is_reported_and_fails_its_batches() {
    let rig = Rig::new(None, &[Taste::Panic], 4);
    rig.send(0..3).await;
    drop(rig.outlet);
    let error = rig.running.drain(BOUND).await.unwrap_err();
    assert_eq!(error.to_string(), "node \"k0\" panicked: a bug");
    assert_eq!(rig.ledger.failed(), 3);
}

#[tokio::test]
async fn drain_flushes_what_a_transform_holds() {
    let rig = Rig::new(Some(Hold::default()), &[Taste::Done, Taste::Done], 4);
    rig.send(0..20).await;
    assert_eq!(rig.ledger.released(), 0);
    drop(rig.outlet);
    rig.running.drain(BOUND).await.unwrap();
    assert!(rig.seen[1].lock().unwrap().iter().copied().eq(0..20));
    assert_eq!((rig.ledger.released(), rig.ledger.failed()), (20, 0));
}

#[tokio::test]
async fn a_deadline_is_kept_without_data() {
    let deadline_ns = monotonic_ns() + 50_000_000;
    let hold = Hold {
        held: Vec::new(),
        deadline_ns: Some(deadline_ns),
    };
    let rig = Rig::new(Some(hold), &[Taste::Done], 4);
    rig.send(0..2).await;
    // Looked at before the clock: on a busy machine this test may sleep past the deadline.
    while rig.ledger.released() == 0 {
        let late_ns = monotonic_ns().saturating_sub(deadline_ns);
        assert!(late_ns < 10_000_000_000, "10 s late");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(monotonic_ns() >= deadline_ns, "too early");
    while rig.ledger.released() < 2 {
        assert!(monotonic_ns() < deadline_ns + 10_000_000_000, "10 s late");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_drain_ends_at_its_bound_and_names_who_is_late() {
    let go = Arc::new(Notify::new());
    let rig = Rig::new(None, &[Taste::Wait(go), Taste::Done], 4);
    rig.send(0..2).await;
    drop(rig.outlet);
    let started = std::time::Instant::now();
    let drained = rig.running.drain(Duration::from_millis(100)).await;
    assert!(started.elapsed() < Duration::from_secs(1));
    let error = drained.unwrap_err();
    let wanted = "draining took longer than 100 ms; still busy: k0";
    assert_eq!(error.to_string(), wanted);
    assert_eq!(rig.ledger.failed(), 2);
}

#[tokio::test]
async fn a_record_is_released_only_when_every_sink_has_it_whichever_is_late() {
    for late in 0..2 {
        let go = Arc::new(Notify::new());
        let mut tastes = [Taste::Done, Taste::Done];
        tastes[late] = Taste::Wait(Arc::clone(&go));
        let rig = Rig::new(None, &tastes, 4);
        rig.send(0..1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(rig.seen[1 - late].lock().unwrap().len(), 1);
        assert_eq!((rig.ledger.released(), rig.ledger.pending()), (0, 1));
        go.notify_one();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(rig.ledger.released(), 1);
    }
}

#[tokio::test]
async fn one_sink_that_fails_fails_the_record_whichever_it_is() {
    for bad in 0..2 {
        let mut tastes = [Taste::Done, Taste::Done];
        tastes[bad] = Taste::Fail(0);
        let rig = Rig::new(None, &tastes, 4);
        rig.send(0..1).await;
        drop(rig.outlet);
        rig.running.drain(BOUND).await.unwrap_err();
        assert_eq!((rig.ledger.released(), rig.ledger.failed()), (0, 1));
    }
}

/// Takes one class only.
struct Picky {
    seen: Arc<AtomicUsize>,
}

impl Sink for Picky {
    type Error = Full;

    async fn run(self, inlet: Inlet) -> Result<(), Full> {
        let [_bulk, _normal, mut critical] = inlet.by_class();
        while let Some(batch) = critical.recv().await {
            self.seen.fetch_add(1, Ordering::Relaxed);
            batch.ack.done();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_class_that_is_held_up_holds_up_no_other() {
    let nodes = vec![node("a", Role::Source, &[]), node("k", Role::Sink, &["a"])];
    let graph = Graph::check(nodes, &Report::default()).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let sink = Picky {
        seen: Arc::clone(&seen),
    };
    let sinks = BTreeMap::from([("k".to_owned(), sink)]);
    let mut running = start::<Hold, Picky>(&graph, BTreeMap::new(), sinks, 1);
    let outlet = running.outlet("a").unwrap();
    let ledger = Arc::new(Ledger::default());
    let of = |class, number| Batch {
        class,
        ..batch(&ledger, number)
    };
    outlet.send(of(Class::Bulk, 0)).await;
    let full =
        tokio::time::timeout(Duration::from_millis(50), outlet.send(of(Class::Bulk, 1))).await;
    assert!(full.is_err(), "a queue of one is full");
    for number in 2..10 {
        outlet.send(of(Class::Critical, number)).await;
    }
    drop(outlet);
    running.drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 8);
}
