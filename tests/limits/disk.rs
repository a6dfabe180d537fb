//! A disk that is full: nothing is acknowledged that is not stored, and the agent goes on by itself when there is room.
//!
//! The disk is a small tmpfs. To mount one takes root; any other user's test runs itself again in a user and mount
//! namespace of its own, where it is root.

use crate::support::{Agent, Broker, Received, dunlin, wait_for};
use crate::{SOON, counter};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Set in the second run.
const INSIDE: &str = "DUNLIN_TEST_IN_NAMESPACE";

/// A small disk, unmounted at the end.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a Path, size_mb: u32) -> Option<Disk<'a>> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size_mb}m"),
                "dunlin-test",
            ])
            .arg(path)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Disk(path))
    }

    /// Takes all free space.
    fn fill(&self) {
        let mut file = File::create(self.0.join("ballast")).unwrap();
        let zeros = vec![0; 1 << 16];
        while file.write_all(&zeros).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    /// Gives it back.
    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Runs `test` with a small disk at `dir/disk`. `name` is the test's own, to run it again by.
fn with_disk(name: &str, test: impl FnOnce(&Path, &Disk<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    if let Some(disk) = Disk::mount(&path, 12) {
        test(dir.path(), &disk);
        return;
    }
    assert!(
        std::env::var_os(INSIDE).is_none(),
        "root in a namespace may not mount a tmpfs here: run this test as root"
    );
    let inside = Command::new("unshare")
        .arg("-Urm")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare is installed (util-linux)");
    assert!(
        inside.success(),
        "failed in a namespace of its own ({inside}). Where user namespaces are forbidden, run this test as root"
    );
}

fn config(dir: &Path, endpoint: &str, rate_hz: u32, count: u64) -> Agent {
    let config = counter("sim", rate_hz, count, "normal")
        + &format!(
            "[sinks.cloud]\ntype = \"uplink\"\ninputs = [\"sim\"]\nendpoint = \"{endpoint}\"\nbackoff_base_ms = 50\nbackoff_max_ms = 200\n\
             buffer = {{ size_mb = 64, segment_mb = 1, leave_free_mb = 0 }}\n"
        );
    let agent = Agent::new(dir, &config);
    let text = fs::read_to_string(agent.config()).unwrap();
    let state = format!("state_dir = \"{}/disk/state\"", dir.display());
    let moved = text.replace(&format!("state_dir = \"{}/state\"", dir.display()), &state);
    assert!(moved.contains(&state));
    fs::write(agent.config(), moved).unwrap();
    agent
}

#[test]
fn a_full_disk_holds_the_agent_up_and_loses_nothing() {
    with_disk(
        "disk::a_full_disk_holds_the_agent_up_and_loses_nothing",
        |dir, disk| {
            const RECORDS: u64 = 30_000;
            let mut broker = Broker::start(dir);
            let witness = broker.subscribe();
            broker.stop();
            let mut agent = config(dir, &broker.endpoint(), 10_000, RECORDS);
            agent.start();
            agent.wait_count("/durable", 1_000, SOON);
            disk.fill();
            wait_for("the sink is degraded", SOON, || {
                agent.assert_alive();
                agent.status()["sinks"]["cloud"]["degraded"] == true
            });
            let fault = agent.status()["sinks"]["cloud"]["fault"].to_string();
            assert!(fault.contains("No space left"), "it says why: {fault}");
            let shown = dunlin(&["status", agent.config().to_str().unwrap()]).stdout;
            assert!(
                shown.contains("degraded, ") && shown.contains("No space left"),
                "{shown}"
            );
            // Nothing is acknowledged while nothing can be stored: the store holds what the counts say.
            let durable = agent.count("/durable");
            std::thread::sleep(std::time::Duration::from_millis(500));
            assert_eq!(agent.count("/durable"), durable);
            assert_eq!(agent.count("/released"), durable);
            assert_eq!(agent.count("/dropped"), 0);
            let store = agent_store(dir);
            let verified = dunlin(&["buffer", "verify", &store]);
            assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
            let exported = dunlin(&["buffer", "export", &store]);
            let stored: u64 = exported
                .stdout
                .lines()
                .map(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    line["records"].as_u64().unwrap()
                })
                .sum();
            assert!(stored >= durable, "{stored} stored, {durable} acknowledged");

            disk.free();
            wait_for("it goes on by itself", SOON, || {
                agent.status()["sinks"]["cloud"]["degraded"] == false
            });
            broker.restart();
            agent.wait_count("/uplinked", RECORDS, SOON);
            assert_eq!(agent.status()["sinks"]["cloud"]["fault"], "", "well again");
            agent.stop();
            assert_eq!(agent.count("/dropped"), 0);
            let mut received = Received::default();
            wait_for("all arrive", SOON, || {
                received = witness.received();
                received.records.len() as u64 >= RECORDS
            });
            received.assert_dense_and_ordered();
            let values = received.stream("sim");
            let values = values.filter_map(|(_, record)| record["sample"]["v"].as_u64());
            assert!(values.eq(0..RECORDS));
            assert_eq!(
                agent.log().matches("the buffer cannot write").count(),
                1,
                "once an episode"
            );
        },
    );
}

fn agent_store(dir: &Path) -> String {
    dir.join("disk/state/sinks/cloud/buffer")
        .display()
        .to_string()
}

#[test]
fn an_agent_that_is_killed_on_a_full_disk_starts_again_with_all_it_acknowledged() {
    with_disk(
        "disk::an_agent_that_is_killed_on_a_full_disk_starts_again_with_all_it_acknowledged",
        |dir, disk| {
            let mut broker = Broker::start(dir);
            let witness = broker.subscribe();
            broker.stop();
            let mut agent = config(dir, &broker.endpoint(), 10_000, 0);
            agent.start();
            agent.wait_count("/durable", 1_000, SOON);
            disk.fill();
            wait_for("the sink is degraded", SOON, || {
                agent.status()["sinks"]["cloud"]["degraded"] == true
            });
            let durable = agent.count("/durable");
            let boot = agent.status()["boot"].as_str().unwrap().to_owned();
            agent.kill();
            // On the full disk it either starts or says what is wrong; it never spoils what is stored.
            agent.start();
            std::thread::sleep(std::time::Duration::from_millis(500));
            agent.signal("KILL");
            agent.wait();
            disk.free();
            broker.restart();
            agent.start();
            let mut received = Received::default();
            wait_for("all of the first start arrive", SOON, || {
                agent.assert_alive();
                received = witness.received();
                let of_first = received.records.keys().filter(|(of, _, _)| *of == boot);
                of_first.count() as u64 >= durable
            });
            agent.stop();
            received.assert_dense_and_ordered();
        },
    );
}
