//! What the agent says of itself: to the service manager, in its log, in its status file.

use crate::support::{Agent, free_port, wait_for};
use crate::{SOON, broker, counter, uplink};
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

#[test]
fn systemd_hears_ready_watchdog_and_stopping() {
    let (dir, broker, _witness) = broker();
    let config = counter("sim", 100, 0) + &uplink(&["sim"], &broker.endpoint());
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let next = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a notification");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut agent = Agent::new(dir.path(), &config);
    agent.start_with(|command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "1000000");
    });
    assert_eq!(next().trim(), "READY=1");
    let ready = Instant::now();
    // More than the five seconds would take too long here; the first ones come well within half the limit each.
    for _ in 0..3 {
        assert_eq!(next().trim(), "WATCHDOG=1");
    }
    let third = ready.elapsed();
    assert!(
        third > Duration::from_millis(500),
        "fed like a duck: {third:?}"
    );
    agent.signal("TERM");
    let mut rest = vec![next()];
    while rest.last().is_some_and(|text| text.trim() != "STOPPING=1") {
        rest.push(next());
    }
    assert!(
        rest.iter()
            .all(|text| ["WATCHDOG=1", "STOPPING=1"].contains(&text.trim())),
        "{rest:?}"
    );
    assert!(agent.wait().success());
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let config = counter("sim", 100, 0) + &uplink(&["sim"], &endpoint);
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut agent = Agent::new(dir.path(), &config);
    agent.start_with(|command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "300000")
            .env("WATCHDOG_PID", "1");
    });
    agent.wait_count("/durable", 100, SOON);
    agent.stop();
    let mut heard = Vec::new();
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    let heard: Vec<&str> = heard.iter().map(|text| text.trim()).collect();
    assert_eq!(heard, ["READY=1", "STOPPING=1"]);
}

#[test]
fn logs_are_json_elsewhere_and_human_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let config = counter("sim", 100, 0) + &uplink(&["sim"], &endpoint);
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/durable", 10, SOON);
    agent.stop();
    let log = agent.log();
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for said in ["running", "driver ready", "draining", "stopped"] {
        let event = events.iter().find(|event| event["message"] == said);
        assert_eq!(event.expect(said)["level"], "INFO", "{said}");
    }
    let stopped = events.last().unwrap();
    assert_eq!(stopped["message"], "stopped");
    assert_eq!(stopped["produced"], stopped["durable"]);

    agent.start_with(|command| {
        command.args(["--log-format", "human"]);
    });
    agent.wait_count("/durable", 10, SOON);
    agent.stop();
    let log = agent.log();
    assert!(log.contains("INFO running agent=gw"), "{log}");
    assert!(
        log.lines().all(|line| !line.starts_with('{')),
        "JSON in the human log:\n{log}"
    );
    assert!(!log.contains('\u{1b}'), "colours without a terminal");
}

#[test]
fn the_status_file_is_whole_at_every_instant_and_its_counts_agree() {
    let (dir, broker, _witness) = broker();
    let config = counter("sim", 2000, 0) + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 1, SOON);
    let file = dir.path().join("run/status.json");
    let mut last = [0; 3];
    let mut changes = 0;
    for _ in 0..1000 {
        let text = fs::read_to_string(&file).expect("the file is always there");
        let status: Value = serde_json::from_str(&text).expect("the file is always whole");
        let now = ["uplinked", "durable", "produced"].map(|key| status[key].as_u64().unwrap());
        assert!(now.is_sorted(), "uplinked <= durable <= produced: {now:?}");
        for (before, after) in last.into_iter().zip(now) {
            assert!(before <= after, "counters only grow: {last:?} {now:?}");
        }
        changes += usize::from(now != last);
        last = now;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(
        changes >= 5,
        "rewritten {changes} times while it was looked at"
    );
    agent.stop();
}

#[test]
fn the_human_log_of_a_start_that_fails_is_one_paragraph() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let config = counter("sim", 100, 0) + &uplink(&["sim"], &endpoint);
    let mut agent = Agent::new(dir.path(), &config);
    // The runtime directory is a file.
    fs::write(dir.path().join("run"), "").unwrap();
    agent.start();
    let status = agent.wait();
    assert_eq!(status.code(), Some(73), "{}", agent.log());
    wait_for("the log", SOON, || agent.log().contains("Remedy: "));
    assert!(agent.log().contains("agent.runtime_dir"), "{}", agent.log());
}
