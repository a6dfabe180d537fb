//! The time that certificates are held against: the wall clock, but never a time before what is known to be past.
//!
//! A gateway without a battery boots in 1970. Held against that clock no certificate is valid yet; held against none at
//! all, one that expired years ago is good. So there is a floor: the clock may be behind it, time is not.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 that are past.
static FLOOR_S: AtomicI64 = AtomicI64::new(0);

/// Time as certificates see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Seconds since 1970: the wall clock, or the floor where the clock is behind it.
    pub now_s: i64,
    /// How far the wall clock is behind the floor, in seconds; 0 where it is not.
    pub behind_s: i64,
}

/// Says that a time is past. It is for the whole process, and only ever raised.
pub fn raise_time_floor(past_s: i64) {
    FLOOR_S.fetch_max(past_s, Ordering::Relaxed);
}

/// What time it is, as far as is known.
pub fn trusted_time() -> Trusted {
    let wall_s = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    hold(wall_s, FLOOR_S.load(Ordering::Relaxed))
}

fn hold(wall_s: i64, floor_s: i64) -> Trusted {
    Trusted {
        now_s: wall_s.max(floor_s),
        behind_s: floor_s.saturating_sub(wall_s).max(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_unless_it_is_behind_what_is_past() {
        let at = |now_s, behind_s| Trusted { now_s, behind_s };
        assert_eq!(hold(0, 1_000), at(1_000, 1_000));
        assert_eq!(hold(1_000, 1_000), at(1_000, 0));
        assert_eq!(hold(2_000, 1_000), at(2_000, 0));
    }
}
