//! Memory has a bound: a broker that is away under load costs disk, not memory.

use crate::support::{Agent, free_port, wait_for};
use crate::{SOON, counter, uplink};
use std::fs;

/// Most resident memory that the agent may gain from its first records on, in kilobytes. Queues, the group under way
/// and one chunk read ahead per class are a few megabytes each; 100,000 records, were they kept, would be far more.
const GROWTH_KB_MAX: u64 = 48 << 10;

fn resident_kb(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The most memory seen between the first records and the end of `count`.
fn growth_kb(policy: &str, count: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let config = counter("sim", 50_000, 0, "normal") + &uplink(&["sim"], &endpoint, policy);
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/durable", 1, SOON);
    let first = resident_kb(agent.pid());
    let mut most = first;
    let begun = std::time::Instant::now();
    wait_for("the load is made", SOON, || {
        agent.assert_alive();
        most = most.max(resident_kb(agent.pid()));
        // Under `block` the load ends by itself; what grows then is memory that nobody bounds.
        agent.count("/produced") >= count || begun.elapsed().as_secs() >= 4
    });
    assert_eq!(agent.count("/uplinked"), 0);
    agent.kill();
    println!("{policy}: {} kB of growth", most - first);
    most - first
}

#[test]
fn memory_stays_bounded_while_the_oldest_is_dropped() {
    assert!(growth_kb("drop_oldest", 100_000) < GROWTH_KB_MAX);
}

#[test]
fn memory_stays_bounded_while_the_source_is_held() {
    assert!(growth_kb("block", 100_000) < GROWTH_KB_MAX);
}
