//! Every way of ending: a drain, a drain without a broker, a second signal, Ctrl-C, a second agent.

use crate::support::{Agent, dunlin, free_port, hostile, kill, wait_for};
use crate::{SOON, arrived, broker, counter, counts, uplink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// The bound that `Agent` configures.
const DRAIN: Duration = Duration::from_secs(20);

#[test]
fn sigterm_drains_to_the_last_record() {
    let (dir, broker, witness) = broker();
    let config = counter("fast", 5000, 0)
        + &counter("slow", 10, 0)
        + &uplink(&["fast", "slow"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/fast/produced", 5000, SOON);
    agent.wait_count("/sources/slow/produced", 1, SOON);
    let told = Instant::now();
    agent.stop();
    assert!(told.elapsed() < DRAIN, "{:?}", told.elapsed());
    let produced = agent.count("/produced");
    assert!(produced > 5000);
    assert_eq!(agent.count("/durable"), produced);
    assert_eq!(agent.count("/uplinked"), produced);
    assert_eq!(agent.count("/released"), produced);
    assert_eq!(agent.count("/failed"), 0);
    assert_eq!(agent.status()["sources"]["fast"]["state"], "stopped");
    let received = arrived(&witness, produced);
    assert_eq!(received.records.len() as u64, produced);
    received.assert_dense_and_ordered();
}

#[test]
fn sigterm_without_a_broker_ends_well_and_the_next_start_sends_the_same_records() {
    let (dir, mut broker, witness) = broker();
    let config = counter("sim", 1000, 0) + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    broker.stop();
    agent.start();
    agent.wait_count("/durable", 500, SOON);
    let told = Instant::now();
    agent.stop();
    assert!(
        told.elapsed() < DRAIN / 2,
        "a broker that is away is not waited for: {:?}",
        told.elapsed()
    );
    let first = agent.count("/durable");
    let boot = agent.status()["boot"].as_str().unwrap().to_owned();
    assert_eq!(agent.count("/produced"), first);
    assert_eq!(agent.count("/uplinked"), 0);

    broker.restart();
    agent.start();
    let mut received = arrived(&witness, first);
    wait_for("all of the first start arrive", SOON, || {
        received = witness.received();
        let of_first = received.records.keys().filter(|(of, _, _)| *of == boot);
        of_first.count() as u64 >= first
    });
    agent.stop();
    received.assert_dense_and_ordered();
    let seqs: Vec<u64> = received
        .records
        .keys()
        .filter(|(of, _, _)| *of == boot)
        .map(|(_, _, seq)| *seq)
        .collect();
    assert!(seqs.into_iter().eq(0..first));
}

#[test]
fn a_second_sigterm_ends_at_once() {
    // A broker that takes connections and never answers: the drain has something to wait for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    // A reader that never gets its records durable holds the drain up: the buffer blocks when it is full.
    let endpoint = format!("mqtt://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let config = counter("sim", 60_000, 0)
        + &uplink(&["sim"], &endpoint)
        + "[sinks.cloud.buffer]\nsize_mb = 8\nsegment_mb = 1\npolicy = \"block\"\nleave_free_mb = 0\n";
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    let mut last = (0, Instant::now());
    wait_for("the buffer is full", SOON, || {
        let durable = agent.count("/durable");
        if durable != last.0 {
            last = (durable, Instant::now());
        }
        durable > 0 && last.1.elapsed() > Duration::from_secs(2)
    });
    agent.signal("TERM");
    wait_for("it drains", SOON, || agent.log().contains("draining"));
    std::thread::sleep(Duration::from_millis(300));
    agent.assert_alive();
    let told = Instant::now();
    agent.signal("TERM");
    let status = agent.wait();
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(status.code(), Some(75), "{}", agent.log());
}

#[test]
fn ctrl_c_at_a_terminal_drains_like_sigterm() {
    let (dir, broker, witness) = broker();
    let config = counter("one", 500, 0)
        + &counter("two", 500, 0)
        + &uplink(&["one", "two"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    // A group of its own, as a shell gives each job: Ctrl-C goes to every process in it.
    agent.start_with(|command| {
        command.process_group(0);
    });
    agent.wait_count("/uplinked", 300, SOON);
    let status = Command::new("kill")
        .args(["-INT", "--", &format!("-{}", agent.pid())])
        .status()
        .unwrap();
    assert!(status.success());
    let ended = agent.wait();
    assert!(ended.success(), "{ended}:\n{}", agent.log());
    let log = agent.log();
    for ill in ["did not close well", "driver down", "\"WARN\"", "\"ERROR\""] {
        assert!(!log.contains(ill), "{ill:?} in:\n{log}");
    }
    let produced = agent.count("/produced");
    assert_eq!(agent.count("/uplinked"), produced);
    let received = arrived(&witness, produced);
    received.assert_dense_and_ordered();
    for stream in ["one", "two"] {
        assert_eq!(received.gaps(stream).len(), 0);
        assert!((0..).zip(counts(&received, stream)).all(|(i, n)| i == n));
    }
}

#[test]
fn two_agents_on_one_state_directory_are_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let config = counter("sim", 100, 0) + &uplink(&["sim"], &endpoint);
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/durable", 1, SOON);
    let refused = dunlin(&["run", agent.config().to_str().unwrap()]);
    assert_eq!(refused.code, 73, "{}", refused.stderr);
    let pid = format!("process {}", agent.pid());
    assert!(refused.stderr.contains(&pid), "{}", refused.stderr);
    assert!(refused.stderr.contains("Remedy: "), "{}", refused.stderr);
    let durable = agent.count("/durable");
    agent.wait_count("/durable", durable + 10, SOON);
    // The lock is the kernel's: an agent that was killed leaves none behind.
    agent.kill();
    agent.start();
    agent.wait_count("/durable", 1, SOON);
    agent.stop();
}

#[test]
fn driver_hosts_end_with_an_agent_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let config = counter("sim", 100, 0) + &uplink(&["sim"], &endpoint);
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/sim/host_pid", 1, SOON);
    let host = agent.count("/sources/sim/host_pid");
    agent.kill();
    wait_for("the driver host is gone", SOON, || {
        // A zombie that a container's init does not collect is gone as well.
        let stat = std::fs::read_to_string(format!("/proc/{host}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
    // A host that stops answering does not hold the agent's end up.
    agent.start();
    agent.wait_count("/sources/sim/host_pid", 1, SOON);
    let host = agent.count("/sources/sim/host_pid");
    kill(i32::try_from(host).unwrap(), "STOP");
    let told = Instant::now();
    agent.stop();
    assert!(told.elapsed() < DRAIN, "{:?}", told.elapsed());
}

#[test]
fn a_closed_terminal_is_a_drain_not_a_loss() {
    let (dir, broker, witness) = broker();
    let config = counter("sim", 1000, 0) + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 500, SOON);
    agent.signal("HUP");
    assert!(agent.wait().success(), "{}", agent.log());
    let produced = agent.count("/produced");
    assert_eq!(agent.count("/uplinked"), produced);
    assert_eq!(arrived(&witness, produced).records.len() as u64, produced);
}

#[test]
fn a_driver_that_does_not_close_does_not_take_the_time_of_the_delivery() {
    let (dir, broker, witness) = broker();
    let hostile = hostile(dir.path());
    // Its deadline lies beyond the drain, so that only the drain's own bound ends it.
    let stuck = format!(
        "[sources.stuck]\ntype = \"driver\"\ndriver = \"{hostile}\"\ninterval_ms = 10\ndeadline_ms = 60000\n\
         options = {{ mode = \"hang\", arg = \"3\" }}\n\n"
    );
    let config =
        stuck + &counter("good", 2000, 0) + &uplink(&["stuck", "good"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/stuck/produced", 9, SOON);
    agent.wait_count("/sources/good/produced", 2000, SOON);
    let told = Instant::now();
    agent.signal("TERM");
    assert_eq!(agent.wait().code(), Some(75), "{}", agent.log());
    assert!(told.elapsed() < DRAIN, "{:?}", told.elapsed());
    assert!(agent.log().contains("stuck"), "{}", agent.log());
    let produced = agent.count("/produced");
    assert_eq!(
        agent.count("/uplinked"),
        produced,
        "what was read was delivered"
    );
    assert_eq!(arrived(&witness, produced).records.len() as u64, produced);
}
