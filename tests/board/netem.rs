//! The kernel of the board spoils its network itself: netem delays, loses, doubles and reorders what the agent sends, and then
//! lets nothing out at all.

use super::machine::Boot;
use super::station::{FIRST_LIMIT, Station};
use crate::support::Received;
use std::time::{Duration, Instant};

const COUNTER: &str = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
    options = { rate_hz = 50, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n";
/// What `lab/network.py` calls bad: more than most radio links do.
const BAD: &str = "delay 100ms 30ms loss 10% duplicate 2% reorder 5%";
/// How long nothing goes out.
const CUT: Duration = Duration::from_secs(8);
/// Longest time from the end of the cut until all that was kept has arrived, with room for an emulated CPU.
const HEALED_LIMIT: Duration = Duration::from_secs(15);

fn newest(received: &Received) -> u64 {
    let values = received.stream("sim");
    values
        .filter_map(|(_, record)| record["sample"]["v"].as_u64())
        .max()
        .unwrap_or(0)
}

/// Over QUIC, with TLS as the standby, to a front that is not ours.
#[test]
fn board_virt_a_network_that_netem_spoils_and_cuts_costs_no_record() {
    let station = Station::start();
    let front = station.front();
    let mut machine = Boot::new("virt")
        .seed(front.seed(&station, COUNTER, &["sim"]))
        .start();
    machine.wait_status("QUIC is connected", FIRST_LIMIT, |status| {
        let state = status["sinks"]["cloud"]["state"].as_str();
        state.is_some_and(|state| state.starts_with("connected to quic://"))
    });

    machine.sh(&format!("/sbin/tc qdisc add dev eth0 root netem {BAD}"));
    let begun = newest(&station.received());
    let ((), took) = station.await_that("records over a bad network", FIRST_LIMIT, |received| {
        (newest(received) >= begun + 500).then_some(())
    });
    println!("500 records in {:.1} s with {BAD}", took.as_secs_f64());
    let counts = machine.sh("/sbin/tc -s qdisc show dev eth0");
    println!("{counts}");
    let dropped = counts.split("dropped ").nth(1);
    let dropped = dropped.and_then(|rest| rest.split(',').next()?.parse().ok());
    assert!(dropped > Some(0_u64), "netem lost nothing: {counts}");

    machine.sh("/sbin/tc qdisc change dev eth0 root netem loss 100%");
    let cut = Instant::now();
    machine.wait_status("the agent keeps on", FIRST_LIMIT, |status| {
        cut.elapsed() > CUT && status["durable"].as_u64() > status["uplinked"].as_u64()
    });
    machine.sh("/sbin/tc qdisc del dev eth0 root");
    let kept = machine.status()["durable"].as_u64().expect("a count");
    let ((), took) = station.await_that("what was kept", HEALED_LIMIT, |received| {
        (newest(received) + 1 >= kept).then_some(())
    });
    println!(
        "all of {kept} records {:.1} s after the cut",
        took.as_secs_f64()
    );

    let pid = machine.agent_pid();
    machine.sh(&format!("kill {pid}"));
    machine.wait(&format!("! kill -0 {pid}"), Duration::from_secs(20));
    let produced = machine.status()["produced"].as_u64().expect("a count");
    let received = station.received();
    received.assert_dense_and_ordered();
    let values: Vec<u64> = received
        .stream("sim")
        .filter_map(|(_, record)| record["sample"]["v"].as_u64())
        .collect();
    assert_eq!(values, (0..produced).collect::<Vec<u64>>(), "to the unit");
}
