//! A telemetry database in TOML that anybody may write, and a packet read by it.
#![no_main]

#[path = "database/read.rs"]
mod read;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| read::take("db.toml", input));
