//! The buffer is full and the broker away: what goes is what the policy says, and every record of it is accounted for.

use crate::support::{Agent, Broker, Received, wait_for};
use crate::{SOON, counter, uplink};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What gap records on `dunlin.buffer` say is missing, by stream.
fn told_missing(received: &Received) -> BTreeMap<String, u64> {
    let mut missing = BTreeMap::new();
    for gap in received.gaps("dunlin.buffer") {
        assert_eq!(gap["cause"], "buffer-full", "{gap}");
        let detail = gap["detail"].as_str().unwrap();
        let mut words = detail
            .split_whitespace()
            .skip_while(|word| *word != "stream");
        let stream = words
            .nth(1)
            .unwrap_or_else(|| panic!("no stream in {detail:?}"));
        let lost = gap["lost"].as_u64().expect("a count to the record");
        *missing.entry(stream.to_owned()).or_default() += lost;
    }
    missing
}

/// Values of a counter in order of ids, and that their first arrivals were in that order.
fn values(received: &Received, stream: &str) -> Vec<u64> {
    for ((_, name), seqs) in &received.arrivals {
        assert!(
            name != stream || seqs.is_sorted(),
            "{stream} out of order: {seqs:?}"
        );
    }
    received
        .stream(stream)
        .map(|(_, record)| record["sample"]["v"].as_u64().unwrap())
        .collect()
}

/// Starts an agent whose broker is away until the counters have ended, then waits for all that is left.
fn run(config: impl Fn(&str) -> String, produced: u64, expect_full: bool) -> (Received, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path());
    let witness = broker.subscribe();
    broker.stop();
    let mut agent = Agent::new(dir.path(), &config(&broker.endpoint()));
    agent.start();
    agent.wait_count("/released", produced, SOON);
    let dropped = agent.count("/dropped");
    assert_eq!(
        dropped > 0,
        expect_full,
        "{dropped} of {produced} dropped: the test is of the wrong size"
    );
    broker.restart();
    wait_for("what is left is delivered", SOON, || {
        agent.count("/uplinked") + agent.count("/dropped") >= produced
    });
    agent.stop();
    assert_eq!(agent.count("/produced"), produced);
    assert_eq!(agent.count("/failed"), 0);
    let dropped = agent.count("/dropped");
    let mut received = Received::default();
    wait_for("what is left arrives", SOON, || {
        received = witness.received();
        let told: u64 = told_missing(&received).values().sum();
        let samples = received.records.values();
        let samples = samples.filter(|record| record.get("sample").is_some());
        samples.count() as u64 + told >= produced
    });
    (received, dropped)
}

#[test]
fn drop_oldest_drops_the_oldest_and_accounts_for_every_record() {
    const RECORDS: u64 = 150_000;
    let config = |endpoint: &str| {
        counter("sim", 40_000, RECORDS, "normal") + &uplink(&["sim"], endpoint, "drop_oldest")
    };
    let (received, dropped) = run(config, RECORDS, true);
    let values = values(&received, "sim");
    assert_eq!(
        values.len() as u64 + dropped,
        RECORDS,
        "received + dropped == produced"
    );
    assert_eq!(
        told_missing(&received),
        BTreeMap::from([("sim".to_owned(), dropped)]),
        "the gap records tell exactly what was dropped"
    );
    assert!(
        values.iter().copied().eq(dropped..RECORDS),
        "the oldest went, from {:?}",
        values.first()
    );
}

#[test]
fn bulk_is_dropped_and_critical_is_not() {
    const BULK: u64 = 120_000;
    const CRITICAL: u64 = 10_000;
    let config = |endpoint: &str| {
        counter("bulk", 40_000, BULK, "bulk")
            + &counter("vital", 3_000, CRITICAL, "critical")
            + &uplink(&["bulk", "vital"], endpoint, "drop_oldest")
    };
    let (received, dropped) = run(config, BULK + CRITICAL, true);
    let vital = values(&received, "vital");
    assert!(
        vital.iter().copied().eq(0..CRITICAL),
        "{} of {CRITICAL} critical records",
        vital.len()
    );
    let bulk = values(&received, "bulk");
    assert_eq!(bulk.len() as u64 + dropped, BULK);
    assert_eq!(
        told_missing(&received),
        BTreeMap::from([("bulk".to_owned(), dropped)])
    );
}

#[test]
fn block_holds_the_source_and_drops_nothing() {
    const RECORDS: u64 = 120_000;
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path());
    let witness = broker.subscribe();
    broker.stop();
    let config =
        counter("sim", 40_000, RECORDS, "normal") + &uplink(&["sim"], &broker.endpoint(), "block");
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    // Full: nothing more becomes durable, and what the source read stays bounded.
    let mut last = (0, Instant::now());
    wait_for("the buffer is full", SOON, || {
        let durable = agent.count("/durable");
        if durable != last.0 {
            last = (durable, Instant::now());
        }
        durable > 0 && last.1.elapsed() > Duration::from_secs(1)
    });
    assert!(last.0 < RECORDS, "the test is of the wrong size");
    assert!(
        agent.count("/produced") < RECORDS,
        "the source is not held: {} produced, {} durable",
        agent.count("/produced"),
        last.0
    );
    broker.restart();
    agent.wait_count("/uplinked", RECORDS, SOON);
    agent.stop();
    assert_eq!(agent.count("/dropped"), 0);
    assert_eq!(agent.count("/sources/sim/overruns"), 0);
    let mut received = Received::default();
    wait_for("all arrive", SOON, || {
        received = witness.received();
        received.records.len() as u64 >= RECORDS
    });
    received.assert_dense_and_ordered();
    assert!(values(&received, "sim").into_iter().eq(0..RECORDS));
    assert_eq!(received.gaps("dunlin.buffer").len(), 0);
}

/// An hour's share of the budget is a megabyte, which small commits spend in seconds.
#[test]
fn a_spent_wear_budget_holds_bulk_sources_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let sink = uplink(&["bulk", "plant"], &broker.endpoint(), "drop_oldest");
    let budget = "leave_free_mb = 0, wear_commit_ms_max = 10, wear_budget_mb_per_day = 24 }";
    let config = counter("bulk", 20_000, 100_000_000, "bulk")
        + &counter("plant", 1_000, 100_000_000, "normal")
        + &sink.replace("leave_free_mb = 0 }", budget);
    assert!(config.contains(budget));
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    wait_for("the sink says what holds bulk", SOON, || {
        let status = agent.status();
        let sink = &status["sinks"]["cloud"];
        let says = sink["fault"]
            .as_str()
            .is_some_and(|f| f.contains("wear budget"));
        sink["degraded"] == true && says
    });
    let mut last = (0, Instant::now());
    wait_for("the bulk source is held", SOON, || {
        let produced = agent.count("/sources/bulk/produced");
        if produced != last.0 {
            last = (produced, Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(3)
    });
    let plant = agent.count("/sources/plant/released");
    wait_for("the other source goes on", SOON, || {
        agent.count("/sources/plant/released") > plant + 2000
    });
    assert_eq!(agent.count("/sources/bulk/produced"), last.0);
    agent.kill();
}
