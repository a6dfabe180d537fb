//! A board that wakes up in 1970, as gateways without a battery do, and is set 56 years ahead while its agent works.

use super::machine::{Boot, Machine};
use super::station::{ARRIVAL_LIMIT, FIRST_LIMIT, Station};
use crate::support::Received;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2020-01-01 in nanoseconds since 1970: what lies before it was recorded by a clock that had not been set.
const SET_NS: i64 = 1_577_836_800_000_000_000;
const COUNTER: &str = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
    options = { rate_hz = 50, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n";

fn counts(received: &Received) -> Vec<u64> {
    let values = received.stream("sim");
    values
        .filter_map(|(_, record)| record["sample"]["v"].as_u64())
        .collect()
}

fn numbers(received: &Received, key: &str) -> Vec<i64> {
    received
        .stream("sim")
        .map(|(_, record)| record[key].as_i64().expect("a time is a number"))
        .collect()
}

fn woken_in_1970(station: &Station, sources: &str) -> Machine {
    let mut machine = Boot::new("virt")
        .seed(station.seed(sources, &["sim"]))
        .qemu(&["-rtc", "base=1970-01-01T00:00:05"])
        .start();
    let year = machine.sh("date -u +%Y");
    assert_eq!(year, "1970");
    machine
}

/// The binary knows when it was made, and the broker's certificate has been signed since: by default it is taken, and that the
/// clock is wrong is said for as long as it is.
#[test]
fn board_virt_delivers_in_1970_and_says_so() {
    let station = Station::start();
    let mut machine = woken_in_1970(&station, COUNTER);
    station.await_that("records of 1970", FIRST_LIMIT, |received| {
        let walls = numbers(received, "wall_ns");
        (walls.len() > 100 && walls.iter().all(|&wall| wall < SET_NS)).then_some(())
    });
    let said = |status: &Value| status["clock"].as_str().map(str::to_owned);
    let complaint = said(&machine.status()).expect("the clock is said to be wrong");
    assert!(complaint.contains("known to be past"), "{complaint}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    machine.sh(&format!("date -u -s @{}", now.as_secs()));
    machine.wait_status("the clock is right", ARRIVAL_LIMIT, |status| {
        said(status).is_none()
    });
}

/// An operator who waits for the clock gets nothing delivered in 1970: the records of that time have to be kept, and to arrive,
/// in order, once the clock is set.
#[test]
fn board_virt_wakes_in_1970_and_jumps_56_years() {
    let station = Station::start();
    // Of the table `agent`, which is open where the sources begin.
    let sources = format!("clock = \"wait\"\n\n{COUNTER}");
    let mut machine = woken_in_1970(&station, &sources);
    let produced = |status: &Value| status["produced"].as_u64().unwrap_or(0);
    machine.wait_status("100 records are kept", FIRST_LIMIT, |status| {
        status["durable"].as_u64() >= Some(100)
    });
    let before = machine.wait_status("the uplink waits", FIRST_LIMIT, |status| {
        let state = status["sinks"]["cloud"]["state"].as_str();
        state.is_some_and(|state| state.contains("agent.clock"))
    });
    assert_eq!(before["uplinked"], 0, "nothing was delivered in 1970");
    assert_eq!(station.received().records.len(), 0);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    machine.sh(&format!("date -u -s @{}", now.as_secs()));
    assert_ne!(machine.sh("date -u +%Y"), "1970");
    let ((), took) = station.await_that(
        "the records of 1970, and others after them",
        ARRIVAL_LIMIT,
        |received| {
            let after = numbers(received, "wall_ns");
            let set = after.iter().filter(|&&wall| wall > SET_NS).count();
            (set > 100 && set < after.len()).then_some(())
        },
    );
    println!("delivered {:.1} s after the jump", took.as_secs_f64());

    // No timer is stuck: readings, the status file and the connection go on, also after a jump back.
    machine.sh("date -u -s @3600");
    let at_jump = produced(&machine.status());
    let newest = station.received().records.len();
    station.await_that("records after the jump back", ARRIVAL_LIMIT, |received| {
        (received.records.len() > newest + 100).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    let later = machine.status();
    assert!(produced(&later) >= at_jump + 50, "{later}");
    let pid = later["pid"].as_u64().expect("the agent has a pid");
    machine.sh(&format!("kill {pid}"));
    machine.wait(&format!("! kill -0 {pid}"), Duration::from_secs(20));

    let said = machine.agent_log();
    let received = station.received();
    received.assert_dense_and_ordered();
    let counted = counts(&received);
    let expected: Vec<u64> = (0..counted.len() as u64).collect();
    assert_eq!(
        counted, expected,
        "nothing is lost, nothing changes its place"
    );
    let times = numbers(&received, "mono_ns");
    assert!(
        times.is_sorted(),
        "the monotonic time of the records never steps back"
    );
    let walls = numbers(&received, "wall_ns");
    let set = walls.iter().filter(|&&wall| wall > SET_NS).count();
    println!(
        "{} records: {} of 1970, {set} of today, in order, none lost",
        walls.len(),
        walls.len() - set
    );
    assert_eq!(
        machine.status()["produced"].as_u64(),
        Some(walls.len() as u64),
        "what was produced is what arrived: {said}"
    );
}
