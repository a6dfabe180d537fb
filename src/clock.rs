//! Time: monotonic for order, wall for humans, boot id for what lies between starts.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names one start of the agent, so that (boot id, stream, sequence) never repeats and sorts by age.
///
/// `number` counts starts and is durable before the first record of the start exists; `nonce` keeps ids unique where
/// the state directory, and with it the count, was lost. Written `17-3fa9c2d1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId {
    /// Starts of the agent on this state directory, from 1.
    pub number: u32,
    /// Random.
    pub nonce: u32,
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.number, self.nonce)
    }
}

/// `CLOCK_MONOTONIC` now, in nanoseconds: the clock that drivers stamp with.
pub fn monotonic_ns() -> u64 {
    dunlin_driver::monotonic_ns()
}

/// The wall clock now, in nanoseconds since 1970; negative before. May be wrong and may jump.
pub fn wall_ns() -> i64 {
    let signed = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}

/// The wall clock now, in seconds since 1970, but never before what is known to be past.
#[cfg(feature = "identity")]
pub fn trusted_s() -> i64 {
    wall_ns().div_euclid(1_000_000_000)
}

/// Converts monotonic stamps to wall stamps by the offset at one instant. Taken anew for each batch, so that a jump of
/// the wall clock shows in the records after it and in no other.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    monotonic_ns: u64,
    wall_ns: i64,
}

impl Anchor {
    /// The offset between the clocks now.
    pub fn now() -> Anchor {
        Anchor {
            monotonic_ns: monotonic_ns(),
            wall_ns: wall_ns(),
        }
    }

    /// The wall time of a monotonic stamp.
    pub fn wall_ns(self, monotonic_ns: u64) -> i64 {
        let offset = i128::from(monotonic_ns) - i128::from(self.monotonic_ns);
        let wall = i128::from(self.wall_ns) + offset;
        i64::try_from(wall).unwrap_or(if wall < 0 { i64::MIN } else { i64::MAX })
    }
}
