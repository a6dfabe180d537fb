//! Messages that the broker refuses for ever: kept in the quarantine, and in the buffer until that takes them.

use crate::support::{Agent, Broker, wait_for};
use crate::{SOON, counter, uplink};
use serde_json::Value;
use std::fs;

/// Records in the quarantine's messages.
fn kept(file: &std::path::Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let records = |line: &str| -> u64 {
        let line: Value = serde_json::from_str(line).unwrap();
        let message: Value = serde_json::from_str(line["payload"].as_str().unwrap()).unwrap();
        message["records"].as_array().unwrap().len() as u64
    };
    text.lines().map(records).sum()
}

#[test]
fn what_the_broker_refuses_is_kept_and_nothing_is_given_up_for_a_disk_that_cannot_take_it() {
    let dir = tempfile::tempdir().unwrap();
    // No message of ours is this small.
    let broker = Broker::start_with(dir.path(), "message_size_limit 100");
    let config = counter("n", 500, 100, "normal") + &uplink(&["n"], &broker.endpoint(), "block");
    let mut agent = Agent::new(dir.path(), &config);
    // A file where the quarantine's folder should be.
    let sink = agent.state_dir().join("sinks/cloud");
    fs::create_dir_all(&sink).unwrap();
    fs::write(sink.join("rejected"), "").unwrap();
    agent.start();
    agent.wait_count("/durable", 100, SOON);
    wait_for("the quarantine is found unwritable", SOON, || {
        agent.log().contains("the quarantine cannot be written")
    });
    assert_eq!(agent.count("/rejected"), 0);
    assert_eq!(agent.count("/dropped"), 0);

    fs::remove_file(sink.join("rejected")).unwrap();
    agent.wait_count("/rejected", 100, SOON);
    assert_eq!(agent.count("/rejected"), 100);
    assert_eq!(agent.count("/uplinked"), 0);
    agent.stop();
    assert_eq!(kept(&sink.join("rejected/messages.jsonl")), 100);
}
