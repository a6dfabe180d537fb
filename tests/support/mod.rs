//! What the tests that drive the real binary share: a real broker, a real subscriber, the agent as a process.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary compiles this module and uses a part of it"
)]

mod agent;
mod broker;
mod ccsds;
mod lab;
mod ports;
mod received;

pub use agent::{Agent, Ended, dunlin, dunlin_with, kill};
pub use broker::{Broker, Subscriber};
pub use ccsds::ccsds;
pub use lab::{Lab, lab, quic_front};
pub use ports::free_port;
pub use received::{Id, Received};

use std::time::{Duration, Instant};

/// Waits until `ready` says so; panics with `what` after `limit`.
pub fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Builds the hostile driver in `dir` and gives its path; its option `mode` says how it misbehaves, `arg` after how
/// many good readings.
pub fn hostile(dir: &std::path::Path) -> String {
    let so = dir.join("hostile.so");
    let root = env!("CARGO_MANIFEST_DIR");
    let built = std::process::Command::new("cc")
        .args([
            "-std=gnu99",
            "-O1",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
        ])
        .args([
            "-I",
            &format!("{root}/ffi/include"),
            "-Wno-infinite-recursion",
            "-o",
        ])
        .arg(&so)
        .args([
            &format!("{root}/ffi/examples/hostile/hostile.c"),
            "-lpthread",
            "-lm",
        ])
        .status()
        .expect("a C compiler is installed: scripts/setup.sh test");
    assert!(built.success());
    so.display().to_string()
}

/// A small xorshift generator: tests that draw print their seed, so that a failure can be run again.
pub struct Random(u64);

impl Random {
    /// A generator; prints its seed, taken from `DUNLIN_TEST_SEED` where that is set.
    pub fn new() -> Random {
        let seed = std::env::var("DUNLIN_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            u64::try_from(now.as_nanos() & 0xFFFF_FFFF).unwrap() | 1
        });
        println!("DUNLIN_TEST_SEED={seed}");
        Random(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
