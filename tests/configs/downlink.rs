//! What can be wrong with a downlink source, and with the answers of its sink.

use super::{CONFIG, good, refused};
use crate::support::dunlin;
use std::fs;
use std::path::Path;

const SOURCE: &str = "
[sources.orders]
type = \"downlink\"
uplink = \"cloud\"
subscriptions = [{ filter = \"orders/{agent}/#\" }, { filter = \"$share/g/jobs/+\", qos = 0 }]
";

fn with_downlink(dir: &Path) -> String {
    good(dir).replace("inputs = [\"warm\"]", "inputs = [\"warm\", \"orders\"]")
        + "[sinks.cloud.replies]\ntopics = [\"answers/+\"]\n"
        + SOURCE
}

#[test]
fn the_good_one_is_good_and_its_session_must_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    fs::write(&file, with_downlink(dir.path())).unwrap();
    let ended = dunlin(&["check", file.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("sources 2"), "{}", ended.stdout);
}

/// (name, text to replace, replacement, what the message must name)
const BROKEN: &[(&str, &str, &str, &[&str])] = &[
    (
        "no uplink",
        "uplink = \"cloud\"",
        "",
        &["sources.orders", "uplink"],
    ),
    (
        "an uplink that there is not",
        "uplink = \"cloud\"",
        "uplink = \"clout\"",
        &["sources.orders.uplink", "\"clout\""],
    ),
    (
        "a session that is not kept",
        "endpoint = ",
        "session_expiry_s = 0\nendpoint = ",
        &["sources.orders.uplink", "session_expiry_s"],
    ),
    (
        "no subscription",
        "subscriptions = [{ filter = \"orders/{agent}/#\" }, { filter = \"$share/g/jobs/+\", qos = 0 }]",
        "subscriptions = []",
        &["sources.orders.subscriptions", "names no topic filter"],
    ),
    (
        "no list of tables",
        "subscriptions = [{ filter = \"orders/{agent}/#\" }, { filter = \"$share/g/jobs/+\", qos = 0 }]",
        "subscriptions = [\"orders/#\"]",
        &["sources.orders.subscriptions", "[{ ... }, { ... }]"],
    ),
    (
        "a wildcard within a level",
        "orders/{agent}/#",
        "orders/a#",
        &["subscriptions[0].filter", "wildcard"],
    ),
    (
        "a wildcard before the end",
        "orders/{agent}/#",
        "orders/#/x",
        &["wildcard"],
    ),
    (
        "shared without a group",
        "$share/g/jobs/+",
        "$share//jobs/+",
        &["names no group", "$share/GROUP/FILTER"],
    ),
    (
        "shared without a filter",
        "$share/g/jobs/+",
        "$share/g",
        &["filter"],
    ),
    ("every topic", "orders/{agent}/#", "#", &["nothing bounds"]),
    (
        "every topic, for a group",
        "$share/g/jobs/+",
        "$share/g/+/#",
        &["nothing bounds"],
    ),
    (
        "the same twice",
        "$share/g/jobs/+",
        "orders/gw/#",
        &["is there twice"],
    ),
    (
        "QoS 2",
        "qos = 0",
        "qos = 2",
        &["subscriptions[1].qos", "0 to 1"],
    ),
    (
        "what the agent publishes itself",
        "orders/{agent}/#",
        "dunlin/+/+",
        &["dunlin/gw/+", "\"cloud\" publishes"],
    ),
    (
        "where the answers go",
        "orders/{agent}/#",
        "answers/#",
        &["answers/+", "publishes"],
    ),
    (
        "a key that there is not",
        "uplink = \"cloud\"",
        "uplink = \"cloud\"\nreceive_maximum = 3",
        &[
            "sources.orders.receive_maximum",
            "did you mean receive_max?",
        ],
    ),
    (
        "no bound",
        "uplink = \"cloud\"",
        "uplink = \"cloud\"\nwaiting_messages_max = 0",
        &["sources.orders.waiting_messages_max", "1 to 1000000"],
    ),
    (
        "too large",
        "uplink = \"cloud\"",
        "uplink = \"cloud\"\ninbox_mb = 2",
        &["sources.orders.inbox_mb", "4 to 4096"],
    ),
    (
        "answers to everywhere",
        "answers/+",
        "#",
        &["sinks.cloud.replies.topics", "nothing bounds"],
    ),
    (
        "answers to a group",
        "answers/+",
        "$share/g/answers",
        &["sinks.cloud.replies.topics", "no plain topic filter"],
    ),
    (
        "answers to nowhere",
        "topics = [\"answers/+\"]",
        "",
        &["sinks.cloud.replies.topics", "names no topic"],
    ),
];

#[test]
fn every_mistake_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (name, from, to, parts) in BROKEN {
        let config = with_downlink(dir.path());
        assert!(config.contains(from), "{name}: {from:?} is not there");
        refused(dir.path(), name, &config.replacen(from, to, 1), parts);
    }
}

#[test]
fn a_sink_serves_one_source_and_is_an_uplink() {
    let dir = tempfile::tempdir().unwrap();
    let two = with_downlink(dir.path()).replace("\"orders\"]", "\"orders\", \"more\"]")
        + &SOURCE.replace("sources.orders", "sources.more");
    refused(
        dir.path(),
        "two sources",
        &two,
        &["sources.more.uplink", "another source"],
    );
    let file = with_downlink(dir.path()).replace("uplink = \"cloud\"", "uplink = \"out\"")
        + &format!(
            "[sinks.out]\ntype = \"file\"\ninputs = [\"sim\"]\npath = \"{}/out\"\n",
            dir.path().display()
        );
    refused(
        dir.path(),
        "a file",
        &file,
        &["sources.orders.uplink", "no uplink"],
    );
}

#[test]
fn many_mistakes_are_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_downlink(dir.path())
        .replace("orders/{agent}/#", "#/a")
        .replace("$share/g/", "$share//")
        .replace("answers/+", "a+");
    let file = dir.path().join("dunlin.toml");
    fs::write(&file, config).unwrap();
    let ended = dunlin(&["check", file.to_str().unwrap()]);
    assert_eq!(ended.code, CONFIG);
    assert_eq!(
        ended.stderr.matches("Remedy: ").count(),
        3,
        "{}",
        ended.stderr
    );
}
