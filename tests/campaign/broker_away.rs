//! The broker is away while records are made: an independent subscriber gets every one, in order.

use crate::size;
use crate::support::{Agent, Broker, wait_for};
use std::time::Duration;

#[test]
fn campaign_broker_away() {
    let records = size("DUNLIN_RECORDS", 100_000);
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path());
    let witness = broker.subscribe();
    let per_source = records / 2;
    let config = format!(
        r#"
[sources.left]
type = "driver"
driver = "sim"
options = {{ rate_hz = 5000, count = {per_source}, waves = [{{ name = "n", shape = "counter" }}] }}

[sources.right]
type = "driver"
driver = "sim"
class = "critical"
options = {{ rate_hz = 5000, count = {per_source}, waves = [{{ name = "n", shape = "counter" }}] }}

[sinks.cloud]
type = "uplink"
inputs = ["left", "right"]
endpoint = "{endpoint}"
backoff_max_ms = 1000
"#,
        endpoint = broker.endpoint()
    );
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 1, Duration::from_secs(30));
    broker.stop();
    let uplinked = agent.count("/uplinked");
    assert!(
        uplinked < records,
        "the broker went away too late to matter"
    );
    agent.wait_count(
        "/durable",
        2 * per_source,
        Duration::from_secs(60 + records / 2_000),
    );
    assert!(
        agent.count("/uplinked") < records,
        "nobody can have confirmed them"
    );
    broker.restart();
    agent.wait_count(
        "/uplinked",
        2 * per_source,
        Duration::from_secs(60 + records / 2_000),
    );
    agent.stop();

    let mut count = 0;
    wait_for("every record arrives", Duration::from_mins(1), || {
        count = witness.received().records.len() as u64;
        count >= 2 * per_source
    });
    let received = witness.received();
    received.assert_dense_and_ordered();
    for stream in ["left", "right"] {
        let values: Vec<u64> = received
            .stream(stream)
            .filter_map(|(_, record)| record["sample"]["v"].as_u64())
            .collect();
        assert_eq!(values.len() as u64, per_source, "{stream}");
        assert!(
            values.iter().copied().eq(0..per_source),
            "{stream}: the driver's order is kept"
        );
    }
    println!(
        "records {}, of them {} made while the broker was away, duplicates {}",
        2 * per_source,
        2 * per_source - uplinked,
        received.duplicates
    );
}
