//! The agent as a user runs it: readings of real C drivers reach a real broker, and every way of ending ends well.

mod support;

#[path = "agent/clock.rs"]
mod clock;
#[path = "agent/delivery.rs"]
mod delivery;
#[path = "agent/devices.rs"]
mod devices;
#[path = "agent/downlink.rs"]
mod downlink;
#[path = "agent/hosts.rs"]
mod hosts;
#[path = "agent/identity.rs"]
mod identity;
#[cfg(feature = "quic")]
#[path = "agent/lanes.rs"]
mod lanes;
#[path = "agent/report.rs"]
mod report;
#[path = "agent/secrets.rs"]
mod secrets;
#[cfg(feature = "roughtime")]
#[path = "agent/signed.rs"]
mod signed;
#[path = "agent/slow.rs"]
mod slow;
#[path = "agent/stop.rs"]
mod stop;
#[path = "agent/token.rs"]
mod token;
#[path = "agent/transforms.rs"]
mod transforms;

use std::time::Duration;
use support::{Broker, Received, Subscriber, wait_for};

/// For what takes milliseconds on an idle machine: generous, because CI machines are not idle.
const SOON: Duration = Duration::from_secs(30);

/// A sim source whose one channel `n` counts readings from 0; it ends after `count`, 0 for never.
fn counter(name: &str, rate_hz: u32, count: u64) -> String {
    format!(
        "[sources.{name}]\ntype = \"driver\"\ndriver = \"sim\"\n\
         options = {{ rate_hz = {rate_hz}, count = {count}, waves = [{{ name = \"n\", shape = \"counter\" }}] }}\n\n"
    )
}

/// An uplink sink `cloud` that comes back soon after its broker does.
fn uplink(inputs: &[&str], endpoint: &str) -> String {
    format!(
        "[sinks.cloud]\ntype = \"uplink\"\ninputs = {inputs:?}\nendpoint = \"{endpoint}\"\nbackoff_max_ms = 500\n"
    )
}

/// Waits until the witness has `least` records, and gives all that arrived.
fn arrived(witness: &Subscriber, least: u64) -> Received {
    let mut received = Received::default();
    wait_for(&format!("{least} records arrive"), SOON, || {
        received = witness.received();
        received.records.len() as u64 >= least
    });
    received
}

/// The counter's values in the order of their ids.
fn counts(received: &Received, stream: &str) -> Vec<u64> {
    received
        .stream(stream)
        .filter_map(|(_, record)| record["sample"]["v"].as_u64())
        .collect()
}

/// A broker in a directory of its own, and the witness of what reaches it.
fn broker() -> (tempfile::TempDir, Broker, Subscriber) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let witness = broker.subscribe();
    (dir, broker, witness)
}
