//! Bounds: what happens when the disk, the buffer or the broker gives no more.

mod support;

#[path = "limits/buffer.rs"]
mod buffer;
#[path = "limits/disk.rs"]
mod disk;
#[path = "limits/memory.rs"]
mod memory;
#[path = "limits/quarantine.rs"]
mod quarantine;

use std::time::Duration;

/// For what takes milliseconds on an idle machine: generous, because CI machines are not idle.
const SOON: Duration = Duration::from_secs(30);

/// A sim source of one counter, of a class.
fn counter(name: &str, rate_hz: u32, count: u64, class: &str) -> String {
    format!(
        "[sources.{name}]\ntype = \"driver\"\ndriver = \"sim\"\nclass = \"{class}\"\n\
         options = {{ rate_hz = {rate_hz}, count = {count}, waves = [{{ name = \"n\", shape = \"counter\" }}] }}\n\n"
    )
}

/// An uplink sink `cloud` with a buffer of eight segments of 1 MiB, the smallest there is.
fn uplink(inputs: &[&str], endpoint: &str, policy: &str) -> String {
    format!(
        "[sinks.cloud]\ntype = \"uplink\"\ninputs = {inputs:?}\nendpoint = \"{endpoint}\"\nbackoff_base_ms = 50\nbackoff_max_ms = 200\n\
         buffer = {{ size_mb = 8, segment_mb = 1, policy = \"{policy}\", leave_free_mb = 0 }}\n"
    )
}
