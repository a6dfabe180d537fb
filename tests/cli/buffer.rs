//! `dunlin buffer`: looks into a store, also while an agent runs on it, and changes nothing.

use crate::support::{Agent, dunlin, free_port};
use crate::{DATA, SOON, UNAVAILABLE, ill, well};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An agent with a store that nobody takes anything from.
fn agent(dir: &Path, count: u64) -> Agent {
    let config = format!(
        "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
         options = {{ rate_hz = 2000, count = {count}, waves = [{{ name = \"n\", shape = \"counter\" }}] }}\n\n\
         [sinks.cloud]\ntype = \"uplink\"\ninputs = [\"sim\"]\nendpoint = \"mqtt://127.0.0.1:{}\"\n\
         buffer = {{ segment_mb = 1, size_mb = 16 }}\n",
        free_port()
    );
    Agent::new(dir, &config)
}

fn store(agent: &Agent) -> String {
    let dir = agent.state_dir().join("sinks/cloud/buffer");
    dir.to_str().unwrap().to_owned()
}

/// Every file below a directory with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    all
}

/// The counter's values in an export.
fn values(export: &str) -> Vec<u64> {
    let messages = export.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(line["topic"], "dunlin/gw/sim");
        assert_eq!(line["class"], "normal");
        let records = line["payload"]["records"].as_array().unwrap().clone();
        assert_eq!(line["records"], records.len());
        records
    });
    messages
        .flatten()
        .map(|record| record["sample"]["v"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_store_is_shown_verified_and_exported_whole_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path(), 1000);
    agent.start();
    agent.wait_count("/durable", 1000, SOON);
    agent.stop();
    let store = store(&agent);
    let before = files(Path::new(&store));

    let shown = well(&["buffer", "inspect", &store]);
    let normal = shown
        .lines()
        .find(|line| line.starts_with("normal"))
        .unwrap();
    let words: Vec<&str> = normal.split_whitespace().collect();
    assert!(words[1].parse::<u64>().unwrap() >= 1, "segments: {shown}");
    assert_ne!(words[5], "0", "pending: {shown}");
    let verified = well(&["buffer", "verify", &store]);
    assert!(verified.contains("sound: "), "{verified}");
    let exported = well(&["buffer", "export", &store]);
    assert!(values(&exported).into_iter().eq(0..1000));

    assert!(
        before == files(Path::new(&store)),
        "looking changed the store"
    );
}

#[test]
fn a_store_can_be_looked_into_while_an_agent_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path(), 0);
    agent.start();
    agent.wait_count("/durable", 100, SOON);
    let store = store(&agent);
    for _ in 0..10 {
        let acknowledged = agent.count("/durable");
        well(&["buffer", "inspect", &store]);
        let verified = well(&["buffer", "verify", &store]);
        assert!(verified.contains("sound: "), "{verified}");
        let values = values(&well(&["buffer", "export", &store]));
        assert!(
            values.len() as u64 >= acknowledged,
            "{} exported, {acknowledged} were durable before",
            values.len()
        );
        assert!((0..).zip(&values).all(|(i, value)| i == *value));
    }
    agent.stop();
    assert_eq!(agent.count("/failed"), 0);
}

#[test]
fn one_flipped_bit_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path(), 1000);
    agent.start();
    agent.wait_count("/durable", 1000, SOON);
    agent.stop();
    let store = store(&agent);
    let (segment, good) = files(Path::new(&store))
        .into_iter()
        .max_by_key(|(_, bytes)| bytes.iter().filter(|byte| **byte != 0).count())
        .unwrap();
    let text = b"\"seq\":";
    let at = good
        .windows(text.len())
        .position(|part| part == text)
        .unwrap();
    let mut bad = good.clone();
    bad[at + 1] ^= 0x20;
    fs::write(&segment, &bad).unwrap();
    let ended = dunlin(&["buffer", "verify", &store]);
    assert_eq!(ended.code, DATA, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("damaged"), "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .contains(segment.file_name().unwrap().to_str().unwrap()),
        "{}",
        ended.stdout
    );
    // What is whole is exported all the same, and the exit code tells that it is not all.
    let ended = dunlin(&["buffer", "export", &store]);
    assert_eq!(ended.code, DATA, "{}", ended.stderr);
    let left = values(&ended.stdout);
    assert!(!left.is_empty() && left.len() < 1000, "{}", left.len());
    assert!(left.is_sorted());
    fs::write(&segment, &good).unwrap();
    well(&["buffer", "verify", &store]);
}

#[test]
fn what_is_no_store_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    for action in ["inspect", "verify", "export"] {
        for path in [dir.path(), nowhere.as_path()] {
            ill(
                UNAVAILABLE,
                &["buffer", action, path.to_str().unwrap()],
                &["Remedy: give the directory of a store"],
            );
        }
    }
    assert!(!nowhere.exists());
}
