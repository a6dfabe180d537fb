//! Devices that fail: they are reported, tried again, and disturb nobody else.

use crate::support::{Agent, free_port, hostile, wait_for};
use crate::{SOON, arrived, broker, counter, counts, uplink};
use std::time::Duration;

#[test]
fn a_driver_that_crashes_at_open_is_tried_again_and_disturbs_nobody() {
    let (dir, broker, witness) = broker();
    let bad = format!(
        "[sources.bad]\ntype = \"driver\"\ndriver = \"{}\"\noptions = {{ mode = \"open-crash\" }}\n\
         restart = {{ base_ms = 5, max_ms = 50 }}\n\n",
        hostile(dir.path())
    );
    let config = bad + &counter("good", 1000, 2000) + &uplink(&["bad", "good"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/good/produced", 2000, SOON);
    wait_for("the state says why", SOON, || {
        let state = agent.status()["sources"]["bad"]["state"].to_string();
        state.contains("down, crash") && state.contains("SIGSEGV")
    });
    let tried = |agent: &Agent| agent.log().matches("driver down").count();
    let before = tried(&agent);
    wait_for("it is tried again and again", SOON, || {
        tried(&agent) >= before + 5
    });
    agent.stop();
    assert_eq!(agent.count("/sources/good/outages"), 0);
    let received = arrived(&witness, 2000);
    assert!(counts(&received, "good").into_iter().eq(0..2000));
    assert_eq!(received.gaps("good").len(), 0);
}

#[test]
fn a_device_error_is_in_the_status_and_its_end_leaves_one_gap() {
    let (dir, broker, witness) = broker();
    let config = format!(
        "[sources.bus]\ntype = \"driver\"\ndriver = \"{}\"\ninterval_ms = 20\n\
         options = {{ mode = \"eio-once\", arg = \"10\" }}\n\n",
        hostile(dir.path())
    ) + &uplink(&["bus"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/bus/device_errors", 1, SOON);
    agent.wait_count("/sources/bus/readings", 60, SOON);
    wait_for("the state is well again", SOON, || {
        agent.status()["sources"]["bus"]["state"] == "running"
    });
    agent.stop();
    assert_eq!(
        agent.log().matches("driver down").count(),
        0,
        "the host lived"
    );
    let received = arrived(&witness, agent.count("/produced"));
    received.assert_dense_and_ordered();
    let gaps = received.gaps("bus");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["cause"], "device", "{gaps:?}");
    let (from, to) = (&gaps[0]["from_ns"], &gaps[0]["to_ns"]);
    assert!(from.as_u64() < to.as_u64(), "{gaps:?}");
    // Just where the reading is missing: after ten of them.
    let place = received
        .stream("bus")
        .position(|(_, record)| record.get("gap").is_some());
    assert_eq!(
        place,
        Some(40),
        "ten readings of three channels and a frame"
    );
}

#[test]
fn a_modbus_device_that_is_not_there_is_an_episode_in_the_status() {
    let (dir, broker, witness) = broker();
    let port = free_port();
    let config = format!(
        "[sources.plc]\ntype = \"driver\"\ndriver = \"modbus\"\ninterval_ms = 50\n\
         grants = {{ network = [\"127.0.0.1:{port}\"] }}\n\
         options = {{ address = \"127.0.0.1:{port}\", registers = [{{ name = \"t\", table = \"holding\", \
         address = 0, type = \"uint16\" }}] }}\n\n"
    ) + &counter("good", 100, 0)
        + &uplink(&["plc", "good"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    wait_for("the state says that nobody listens", SOON, || {
        agent.assert_alive();
        let state = agent.status()["sources"]["plc"]["state"].to_string();
        state.contains("refused")
    });
    let made = agent.count("/sources/good/produced");
    agent.wait_count("/sources/good/produced", made + 50, SOON);
    agent.stop();
    assert_eq!(agent.count("/sources/good/outages"), 0);
    let received = arrived(&witness, agent.count("/produced"));
    assert_eq!(received.gaps("good").len(), 0);
}

#[test]
fn a_device_that_hangs_at_the_end_does_not_hold_the_drain_up() {
    let (dir, broker, _witness) = broker();
    let config = format!(
        "[sources.stuck]\ntype = \"driver\"\ndriver = \"{}\"\ninterval_ms = 20\ndeadline_ms = 500\n\
         options = {{ mode = \"close-hang\" }}\n\n",
        hostile(dir.path())
    ) + &counter("good", 1000, 0)
        + &uplink(&["stuck", "good"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/stuck/readings", 3, SOON);
    agent.wait_count("/sources/good/produced", 100, SOON);
    let told = std::time::Instant::now();
    agent.stop();
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(agent.count("/uplinked"), agent.count("/produced"));
}
