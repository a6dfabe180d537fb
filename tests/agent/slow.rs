//! A node that is slow and may be skipped, beside one that may not.

use crate::support::{Agent, wait_for};
use crate::{SOON, broker, counter, uplink};
use std::fs;

/// An uplink whose store is full, and that waits, holds up nothing where it may be skipped; later the broker has readings
/// and gaps that make up all that was read, to the unit.
#[test]
fn an_uplink_that_may_be_skipped_holds_up_no_other_sink_and_is_told_what_it_missed() {
    let (dir, mut broker, witness) = broker();
    let kept = dir.path().join("kept.jsonl");
    let config = counter("sim", 50_000, 0)
        + &uplink(&["sim"], &broker.endpoint())
        + "when_slow = \"skip\"\nbuffer = { size_mb = 8, segment_mb = 1, policy = \"block\" }\n"
        + &format!(
            "[sinks.kept]\ntype = \"file\"\ninputs = [\"sim\"]\npath = \"{}\"\n",
            kept.display()
        );
    broker.stop();
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/skipped/cloud", 20_000, SOON);
    let before = agent.count("/sinks/kept/durable");
    agent.wait_count("/sinks/kept/durable", before + 20_000, SOON);
    broker.restart();
    let delivered = agent.count("/sinks/cloud/uplinked");
    agent.wait_count("/sinks/cloud/uplinked", delivered + 200_000, SOON);
    agent.stop();
    let text = agent.status();
    assert_eq!(text["failed"], 0, "nothing was failed on the way");
    let uplinked = agent.count("/sinks/cloud/uplinked");
    let mut next = 0;
    wait_for("all that was uplinked", SOON, || {
        witness.received().records.len() as u64 >= uplinked
    });
    let received = witness.received();
    received.assert_dense_and_ordered();
    let mut missed = 0;
    for (_, record) in received.stream("sim") {
        if let Some(gap) = record.get("gap") {
            assert_eq!(gap["cause"], "overrun");
            let detail = gap["detail"].as_str().unwrap();
            assert!(detail.contains("cloud was slow"), "{detail}");
            let lost = gap["lost"].as_u64().unwrap();
            next += lost;
            missed += lost;
        } else {
            assert_eq!(record["sample"]["v"].as_u64(), Some(next));
            next += 1;
        }
    }
    assert_eq!(agent.count("/skipped/cloud"), missed);
    assert_eq!(agent.count("/sources/sim/produced"), next);
    let lines = fs::read_to_string(&kept).unwrap().lines().count();
    assert_eq!(lines as u64, next, "the other sink has every record");
}
