use super::*;
use crate::pipeline::{Ledger, testing};
use proptest::prelude::*;

fn sample(number: u64) -> Record {
    testing::sample("c", number)
}

/// Of nanoseconds 7 to 9.
fn lost(count: Option<u64>) -> Record {
    let mut record = Record::missing((9, 0), Cause::Crash, count, String::new());
    if let Body::Gap(gap) = &mut record.body {
        gap.from_ns = 7;
    }
    record
}

fn batch(ledger: &Arc<Ledger>, stream: &str, records: Vec<Record>) -> Batch {
    let ack = Ack::new(ledger, records.len() as u64);
    Batch {
        stream: stream.into(),
        class: Class::Normal,
        records: Arc::new(records),
        ack,
    }
}

/// A node that may be skipped, and one that may not, fed by one outlet.
struct Rig {
    outlet: Outlet,
    ledger: Arc<Ledger>,
    skipped: Arc<Count>,
    slow: Inlet,
    other: Inlet,
}

fn rig(room: usize) -> Rig {
    let skipped = Arc::default();
    let (to_slow, slow) = queues("view", room, Some(&skipped));
    let (to_other, other) = queues("store", 1000, None);
    Rig {
        outlet: Outlet::new(vec![to_other, to_slow]),
        ledger: Arc::default(),
        skipped,
        slow,
        other,
    }
}

impl Rig {
    async fn send(&self, stream: &str, numbers: std::ops::Range<u64>) {
        let records = numbers.map(sample).collect();
        self.outlet.send(batch(&self.ledger, stream, records)).await;
    }

    /// Everything, after the end of the stream, as text.
    async fn end(self) -> (Vec<String>, u64) {
        drop(self.outlet);
        let mut other = self.other;
        while let Some(batch) = other.recv().await {
            batch.ack.done();
        }
        let (mut slow, mut told) = (self.slow, Vec::new());
        while let Some(batch) = slow.recv().await {
            told.push(text(&batch));
            batch.ack.done();
        }
        assert_eq!(self.ledger.failed(), 0);
        (told, self.ledger.released())
    }
}

fn text(batch: &Batch) -> String {
    let each = batch.records.iter().map(|record| match &record.body {
        Body::Gap(gap) => {
            let count = gap.lost.map_or("?".to_owned(), |lost| lost.to_string());
            format!("gap {count} {}..{}", gap.from_ns, gap.to_ns)
        }
        _ => record.monotonic_ns.to_string(),
    });
    let each: Vec<String> = each.collect();
    format!("{} {}", batch.stream, each.join(" "))
}

#[tokio::test]
async fn a_full_queue_that_may_be_skipped_holds_up_nobody_and_tells_what_it_missed() {
    let rig = rig(2);
    for batch in 0..100 {
        rig.send("s", batch * 3..batch * 3 + 3).await;
    }
    assert_eq!(rig.skipped.get(), 98 * 3);
    let (told, released) = rig.end().await;
    assert_eq!(told, ["s 0 1 2", "s 3 4 5", "s gap 294 5..299"]);
    assert_eq!(released, 300, "what was skipped is acknowledged too");
}

#[tokio::test]
async fn a_gap_stands_where_records_are_missing() {
    let mut rig = rig(1);
    rig.send("a", 0..1).await;
    rig.send("b", 1..2).await;
    rig.send("a", 2..4).await;
    rig.send("b", 4..5).await;
    let first = rig.slow.recv().await.unwrap();
    rig.send("a", 5..6).await;
    rig.send("a", 6..7).await;
    assert_eq!(text(&first), "a 0");
    first.ack.done();
    let (told, _) = rig.end().await;
    assert_eq!(
        told,
        ["b gap 2 1..4", "a gap 2 0..3", "a 5", "a gap 1 5..6"]
    );
}

#[tokio::test]
async fn a_gap_that_is_skipped_is_in_the_gap_that_tells() {
    let rig = rig(1);
    rig.send("s", 0..1).await;
    let known = vec![sample(1), lost(Some(40)), sample(2)];
    rig.outlet.send(batch(&rig.ledger, "s", known)).await;
    let unknown = vec![lost(None)];
    rig.outlet.send(batch(&rig.ledger, "t", unknown)).await;
    assert_eq!(rig.skipped.get(), 42);
    let (told, _) = rig.end().await;
    assert_eq!(told, ["s 0", "s gap 42 0..2", "t gap ? 7..9"]);
}

#[tokio::test]
async fn a_queue_that_may_not_be_skipped_is_waited_for_and_nothing_is_missing() {
    let (lanes, mut inlet) = queues("store", 1, None);
    let outlet = Outlet::new(vec![lanes]);
    let ledger = Arc::default();
    outlet.send(batch(&ledger, "s", vec![sample(0)])).await;
    let next = outlet.send(batch(&ledger, "s", vec![sample(1)]));
    tokio::pin!(next);
    let wait = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(wait, &mut next).await.is_err());
    assert_eq!(text(&inlet.recv().await.unwrap()), "s 0");
    next.await;
    assert_eq!(text(&inlet.recv().await.unwrap()), "s 1");
}

#[tokio::test]
async fn the_end_of_a_node_that_may_be_skipped_fails_its_batches() {
    let rig = rig(2);
    drop(rig.slow);
    let records = vec![sample(0)];
    rig.outlet.send(batch(&rig.ledger, "s", records)).await;
    let mut other = rig.other;
    other.recv().await.unwrap().ack.done();
    assert_eq!((rig.ledger.failed(), rig.skipped.get()), (1, 0));
}

#[tokio::test]
async fn a_node_that_takes_what_it_is_given_misses_nothing() {
    let rig = rig(2);
    let mut slow = rig.slow;
    let taken = tokio::spawn(async move {
        let mut taken = 0;
        while let Some(batch) = slow.recv().await {
            taken += batch.records.len();
            batch.ack.done();
        }
        taken
    });
    // As a transform hands on what a deadline gave: nothing in between waits.
    for number in 0..200 {
        let records = vec![sample(number)];
        rig.outlet.send(batch(&rig.ledger, "s", records)).await;
    }
    drop(rig.outlet);
    assert_eq!((taken.await.unwrap(), rig.skipped.get()), (200, 0));
}

#[tokio::test]
async fn who_feeds_only_nodes_that_may_be_skipped_lets_others_run() {
    let skipped = Arc::default();
    let (lanes, _inlet) = queues("view", 1, Some(&skipped));
    let outlet = Outlet::new(vec![lanes]);
    let ledger = Arc::default();
    let has_run = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let other = Arc::clone(&has_run);
    tokio::spawn(async move { other.store(true, std::sync::atomic::Ordering::Relaxed) });
    let mut sent = 0_u64;
    while !has_run.load(std::sync::atomic::Ordering::Relaxed) {
        assert!(sent < 100_000, "another task never ran");
        outlet.send(batch(&ledger, "s", vec![sample(sent)])).await;
        sent += 1;
    }
}

/// Per stream: numbers and gaps must make up what was sent, in order.
fn is_whole(told: &[Batch], sent: &[u64; 2]) {
    for (stream, sent) in [("0", sent[0]), ("1", sent[1])] {
        let mut next = 0;
        let mut last = None;
        for record in told
            .iter()
            .filter(|batch| &*batch.stream == stream)
            .flat_map(|batch| batch.records.iter())
        {
            if let Body::Gap(gap) = &record.body {
                // With nothing before it, it begins where it is.
                assert_eq!(gap.from_ns, last.unwrap_or(next), "since the last record");
                next += gap.lost.unwrap();
                assert_eq!(gap.to_ns + 1, next, "a gap ends where records begin");
            } else {
                assert_eq!(record.monotonic_ns, next);
                last = Some(next);
                next += 1;
            }
        }
        assert_eq!(next, sent);
    }
}

proptest! {
    /// Whatever the consumer does, numbers and gaps together are what was sent.
    #[test]
    fn what_comes_and_what_is_told_missing_is_what_was_sent(
        room in 1_usize..5,
        steps in proptest::collection::vec((0_u8..3, 1_u64..4), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let skipped = Arc::default();
            let (lanes, inlet) = queues("view", room, Some(&skipped));
            let outlet = Outlet::new(vec![lanes]);
            let [_, mut inlet, _] = inlet.by_class();
            let (ledger, mut told, mut sent) = (Arc::default(), Vec::new(), [0, 0]);
            for (what, count) in steps {
                if what == 2 {
                    told.extend(inlet.try_recv());
                    continue;
                }
                let sent = &mut sent[usize::from(what)];
                let records = (*sent..*sent + count).map(sample).collect();
                *sent += count;
                outlet.send(batch(&ledger, &what.to_string(), records)).await;
            }
            drop(outlet);
            while let Some(batch) = inlet.recv().await {
                told.push(batch);
            }
            is_whole(&told, &sent);
        });
    }
}
