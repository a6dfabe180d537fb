//! Messages that the broker refuses for ever: kept in the quarantine, and in the buffer until that takes them.

use crate::support::{Agent, Broker, wait_for};
use crate::{SOON, counter, uplink};
use serde_json::Value;
use std::collections::BTreeMap;
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

#[test]
fn a_message_that_is_larger_than_the_broker_takes_goes_as_several_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_with(dir.path(), "max_packet_size 500");
    let witness = broker.subscribe();
    for payload in ["json", "cbor"] {
        let dir = dir.path().join(payload);
        let config = counter("n", 5000, 1000, "normal")
            + &uplink(&["n"], &broker.endpoint(), "block").replace(
                "type = \"uplink\"",
                &format!("type = \"uplink\"\npayload = \"{payload}\""),
            );
        let mut agent = Agent::new(&dir, &config);
        agent.start();
        agent.wait_count("/uplinked", 1000, SOON);
        assert_eq!(agent.count("/rejected"), 0);
        assert!(agent.count("/sinks/cloud/split") > 0, "nothing was larger");
        agent.stop();
        // The witness reads only this one.
        if payload == "json" {
            wait_for("all of them", SOON, || {
                witness.received().records.len() >= 1000
            });
            let received = witness.received();
            received.assert_dense_and_ordered();
            assert_eq!((received.records.len(), received.duplicates), (1000, 0));
        }
    }
}

#[test]
fn a_topic_that_is_refused_for_ever_is_set_aside_and_holds_no_other_up() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules");
    fs::write(&rules, "topic readwrite dunlin/gw/good\n").unwrap();
    let broker = Broker::start_with(dir.path(), &format!("acl_file {}", rules.display()));
    let config = counter("bad", 4000, 5000, "normal")
        + &counter("good", 4000, 6000, "normal")
        + &uplink(&["bad", "good"], &broker.endpoint(), "block").replace(
            "type = \"uplink\"",
            "type = \"uplink\"\nrecords_per_message_max = 1",
        );
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    // More messages than can be parked. Those that may go do.
    agent.wait_count("/sources/bad/produced", 5000, SOON);
    agent.wait_count("/uplinked", 6000, 2 * SOON);
    agent.wait_count("/rejected", 800, SOON);
    let rejected = agent.count("/rejected");
    assert!(rejected <= 5000 - 4096 + 10, "{rejected}");
    let log = agent.log();
    assert!(log.contains("the oldest are set aside"), "{log}");
    assert_eq!(log.matches("it is set aside").count(), 1, "told once");
    agent.kill();
    let file = agent
        .state_dir()
        .join("sinks/cloud/rejected/messages.jsonl");
    let mut seen = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["topic"], "dunlin/gw/bad");
        assert!(line["reason"].as_str().unwrap().contains("not authorized"));
        *seen.entry(line["payload"].to_string()).or_insert(0) += 1;
    }
    assert!(seen.len() as u64 >= rejected && seen.values().all(|times| *times == 1));
}
