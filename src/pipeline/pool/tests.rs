use super::*;
use crate::config::Report;
use crate::pipeline::testing::{self, batch, node};
use crate::pipeline::{Ack, Graph, Ledger, Node, Role, RunError, Running, Sink, start};
use crate::record::{Cause, Class};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

fn sample(key: u64, number: u64) -> Record {
    testing::sample(&format!("c{key}"), number)
}

fn gap(number: u64) -> Record {
    Record::missing((number, 0), Cause::Crash, Some(1), String::new())
}

/// Key of a sample; none for a gap.
fn key(record: &Record) -> Option<&str> {
    match &record.body {
        Body::Sample { channel, .. } | Body::Frame { channel, .. } => Some(&channel.name),
        Body::Gap(_) => None,
    }
}

/// What a transform does with a record.
type Do = Arc<dyn Fn(&Record) + Send + Sync>;

/// Hands on what comes, one batch later and the rest at its end, after doing something with each record.
struct Late {
    act: Do,
    held: Option<Batch>,
}

impl Late {
    fn new(act: impl Fn(&Record) + Send + Sync + 'static) -> Late {
        Late {
            act: Arc::new(act),
            held: None,
        }
    }
}

impl Transform for Late {
    fn apply(&mut self, batch: Batch, out: &mut Vec<Batch>) {
        for record in batch.records.iter() {
            (self.act)(record);
        }
        out.extend(self.held.replace(batch));
    }

    fn another(&self) -> Option<Late> {
        Some(Late {
            act: Arc::clone(&self.act),
            held: None,
        })
    }

    fn flush(&mut self, out: &mut Vec<Batch>) {
        out.extend(self.held.take());
    }
}

/// As [`Late`], but hands on at once.
struct Plain(Do);

impl Transform for Plain {
    fn apply(&mut self, batch: Batch, out: &mut Vec<Batch>) {
        for record in batch.records.iter() {
            (self.0)(record);
        }
        out.push(batch);
    }

    fn another(&self) -> Option<Plain> {
        Some(Plain(Arc::clone(&self.0)))
    }
}

struct Collect(Arc<Mutex<Vec<Record>>>);

impl Sink for Collect {
    type Error = Infallible;

    async fn run(self, mut inlet: Inlet) -> Result<(), Infallible> {
        while let Some(batch) = inlet.recv().await {
            self.0.lock().unwrap().extend(batch.records.iter().cloned());
            batch.ack.done();
        }
        Ok(())
    }
}

struct Rig {
    running: Running,
    outlet: Outlet,
    ledger: Arc<Ledger>,
    seen: Arc<Mutex<Vec<Record>>>,
}

fn rig<T: Transform + 'static>(transform: T, workers: usize) -> Rig {
    let nodes = vec![
        node("a", Role::Source, &[]),
        Node {
            workers: Some(workers),
            ..node("t", Role::Transform, &["a"])
        },
        node("k", Role::Sink, &["t"]),
    ];
    let graph = Graph::check(nodes, &Report::default()).unwrap();
    let seen = Arc::default();
    let sinks = BTreeMap::from([("k".to_owned(), Collect(Arc::clone(&seen)))]);
    let transforms = BTreeMap::from([("t".to_owned(), transform)]);
    let mut running = start(&graph, transforms, sinks, 4);
    Rig {
        outlet: running.outlet("a").unwrap(),
        running,
        ledger: Arc::default(),
        seen,
    }
}

impl Rig {
    async fn send(&self, records: Vec<Record>) {
        self.outlet.send(batch(&self.ledger, records)).await;
    }

    async fn end(self) -> (Vec<Record>, Arc<Ledger>, Result<(), RunError>) {
        drop(self.outlet);
        let ended = self.running.drain(BOUND).await;
        let seen = self.seen.lock().unwrap().clone();
        (seen, self.ledger, ended)
    }
}

/// A number that looks random.
fn mixed(number: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}

/// Sends batches of many keys with gaps among them through workers that are late at random.
async fn run(workers: usize) -> (Vec<Record>, Arc<Ledger>) {
    let dawdle = |record: &Record| {
        let wait_us = mixed(record.monotonic_ns) % 200;
        if wait_us < 20 {
            thread::sleep(Duration::from_micros(wait_us * 10));
        }
    };
    let rig = rig(Plain(Arc::new(dawdle)), workers);
    let mut number = 0;
    for batch in 0..150_u64 {
        let records = (0..=mixed(batch) % 40).map(|_| {
            number += 1;
            match mixed(number) % 50 {
                0 => gap(number),
                key => sample(key, number),
            }
        });
        rig.send(records.collect()).await;
    }
    let (seen, ledger, ended) = rig.end().await;
    ended.unwrap();
    (seen, ledger)
}

#[tokio::test]
async fn the_records_of_a_key_stay_in_order_and_none_is_missing() {
    for workers in [1, 2, 7, WORKERS_MAX] {
        let (seen, ledger) = run(workers).await;
        let mut all: Vec<u64> = seen.iter().map(|record| record.monotonic_ns).collect();
        let mut last = BTreeMap::new();
        for record in &seen {
            if let Some(key) = key(record) {
                let before = last.insert(key.to_owned(), record.monotonic_ns);
                assert!(
                    before < Some(record.monotonic_ns),
                    "{key}, {workers} workers"
                );
            }
        }
        assert!(last.len() > 40, "there were many keys");
        let in_order = all.is_sorted();
        assert_eq!(in_order, workers == 1, "different keys pass each other");
        all.sort_unstable();
        assert!(all.iter().copied().eq(1..=all.len() as u64));
        assert_eq!(ledger.released(), all.len() as u64);
    }
}

#[tokio::test]
async fn nothing_passes_a_gap() {
    let (seen, _) = run(4).await;
    let mut gaps = 0;
    for (at, record) in seen.iter().enumerate() {
        if key(record).is_none() {
            gaps += 1;
            let number = |record: &Record| record.monotonic_ns;
            assert!(seen[..at].iter().map(number).all(|n| n < number(record)));
            assert!(
                seen[at + 1..]
                    .iter()
                    .map(number)
                    .all(|n| n > number(record))
            );
        }
    }
    assert!(gaps > 20, "there were gaps");
}

/// Two keys that have different workers of two.
fn apart() -> [u64; 2] {
    let of = |key| worker_of("s", &sample(key, 0), 2);
    let other = (1..100).find(|key| of(*key) != of(0)).unwrap();
    [0, other]
}

#[tokio::test]
async fn different_keys_are_worked_on_at_the_same_time() {
    // Each waits for the other: one after the other they would wait for ever.
    let both = Arc::new(Barrier::new(2));
    let rig = rig(
        Plain(Arc::new(move |_| {
            both.wait();
        })),
        2,
    );
    rig.send(apart().map(|key| sample(key, key)).into()).await;
    let (seen, ledger, ended) = rig.end().await;
    ended.unwrap();
    assert_eq!((seen.len(), ledger.released()), (2, 2));
}

#[tokio::test]
async fn a_worker_that_stands_still_holds_up_the_source_at_the_bound_and_no_other_key_before() {
    let [stuck, other] = apart();
    let door = Arc::new(Barrier::new(2));
    let inner = Arc::clone(&door);
    let act = move |record: &Record| {
        if record.monotonic_ns == 1 {
            inner.wait();
        }
    };
    let rig = rig(Plain(Arc::new(act)), 2);
    rig.send(vec![sample(stuck, 1)]).await;
    // One in its hands, and as many as wait.
    for number in 2..2 + QUEUE_JOBS as u64 {
        rig.send(vec![sample(stuck, number)]).await;
    }
    let mut sent = 0;
    for number in 100..200 {
        rig.send(vec![sample(other, number)]).await;
        sent += 1;
    }
    while rig.seen.lock().unwrap().len() < sent {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // One in the hands of the pool, four in its queue, one in the source's.
    let all = async {
        for number in 1000..1100 {
            rig.send(vec![sample(stuck, number)]).await;
        }
    };
    let held = 1 + 2 + 100 + 6;
    tokio::select! {
        () = all => panic!("the source was not held up"),
        () = async {
            while rig.ledger.produced() < held {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        } => {}
    }
    assert_eq!(rig.ledger.produced(), held);
    door.wait();
    let (seen, ledger, ended) = rig.end().await;
    ended.unwrap();
    // The one in the source's hands was given up.
    assert_eq!((seen.len(), ledger.failed()), (108, 1));
}

#[tokio::test]
async fn what_workers_hold_is_flushed_at_the_end() {
    let rig = rig(Late::new(|_| {}), 3);
    for number in 0..20 {
        rig.send((0..10).map(|key| sample(key, number)).collect())
            .await;
    }
    let (seen, ledger, ended) = rig.end().await;
    ended.unwrap();
    assert_eq!(
        (seen.len(), ledger.released(), ledger.failed()),
        (200, 200, 0)
    );
}

#[tokio::test]
async fn a_worker_that_panics_is_reported_as_its_node_and_fails_its_batches() {
    let act = |record: &Record| assert!(record.monotonic_ns != 7, "a bug");
    let mut rig = rig(Plain(Arc::new(act)), 2);
    for number in 0..7 {
        rig.send(apart().map(|key| sample(key, number)).into())
            .await;
    }
    rig.send(vec![sample(0, 7), sample(0, 8)]).await;
    // Without another batch that would find its queue closed.
    let failure = tokio::time::timeout(BOUND, rig.running.failure()).await;
    assert_eq!(failure.unwrap().to_string(), "node \"t\" panicked: a bug");
    let (seen, ledger, _) = rig.end().await;
    assert_eq!((seen.len(), ledger.failed()), (14, 2));
}

#[test]
fn several_are_as_many_as_are_asked_for() {
    let plain = || Plain(Arc::new(|_| {}));
    assert_eq!(several(plain(), 1).len(), 1);
    assert_eq!(several(plain(), 5).len(), 5);
}

#[test]
fn a_batch_of_one_worker_is_not_copied() {
    let ledger = Arc::default();
    let batch = Batch {
        stream: "s".into(),
        class: Class::Normal,
        records: Arc::new(vec![sample(3, 0), sample(3, 1)]),
        ack: Ack::new(&ledger, 2),
    };
    let records = Arc::as_ptr(&batch.records);
    let parts = parts(batch, 4);
    assert_eq!(parts.len(), 1);
    assert_eq!(Arc::as_ptr(&parts[0].1.records), records);
}
