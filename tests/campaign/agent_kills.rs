//! kill -9 of the agent at random moments under load: what was acknowledged arrives at the broker.

use crate::size;
use crate::support::{Agent, Broker, Random, wait_for};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn campaign_agent_kills() {
    let kills = size("DUNLIN_KILLS", 50);
    let mut random = Random::new();
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let witness = broker.subscribe();
    let config = format!(
        r#"
[sources.fast]
type = "driver"
driver = "sim"
options = {{ rate_hz = 4000, waves = [{{ name = "n", shape = "counter" }}] }}

[sources.slow]
type = "driver"
driver = "sim"
class = "critical"
options = {{ rate_hz = 100, waves = [{{ name = "n", shape = "counter" }}] }}

[sinks.cloud]
type = "uplink"
inputs = ["fast", "slow"]
endpoint = "{endpoint}"
"#,
        endpoint = broker.endpoint()
    );
    let mut agent = Agent::new(dir.path(), &config);
    let mut acknowledged: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut idle = 0;
    for _ in 0..kills {
        agent.start();
        // From before the first record to well into the flow.
        std::thread::sleep(Duration::from_millis(random.below(800)));
        agent.assert_alive();
        agent.kill();
        let before = acknowledged.len();
        note_acknowledged(&agent.log(), &mut acknowledged);
        idle += u64::from(acknowledged.len() == before);
    }
    assert!(
        idle < kills / 2,
        "{idle} of {kills} kills came before anything was acknowledged"
    );
    agent.start();
    wait_for("what was stored is sent", Duration::from_mins(2), || {
        agent.count("/uplinked") > 0 && agent.log().contains("durable through")
    });
    agent.stop();
    note_acknowledged(&agent.log(), &mut acknowledged);

    let mut missing = 0;
    wait_for(
        "every acknowledged record arrives",
        Duration::from_mins(1),
        || {
            let received = witness.received();
            missing = 0;
            for ((boot, stream), through) in &acknowledged {
                for seq in 0..=*through {
                    missing += u64::from(!received.records.contains_key(&(
                        boot.clone(),
                        stream.clone(),
                        seq,
                    )));
                }
            }
            missing == 0
        },
    );
    let received = witness.received();
    received.assert_dense_and_ordered();
    let acked: u64 = acknowledged.values().map(|through| through + 1).sum();
    println!(
        "kills {kills}, acked {acked}, received {}, duplicates {}, missing {missing}",
        received.records.len(),
        received.duplicates
    );
}

/// Reads the log lines `durable through`, which say what was acknowledged.
fn note_acknowledged(log: &str, acknowledged: &mut BTreeMap<(String, String), u64>) {
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if event["message"] != "durable through" {
            continue;
        }
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        let through = acknowledged
            .entry((text("boot"), text("stream")))
            .or_default();
        *through = event["seq"].as_u64().unwrap().max(*through);
    }
}
