//! The time that certificates are held against: the wall clock, but never a time before what is known to be past, and not
//! where it is known to be wrong.
//!
//! A gateway without a battery boots in 1970. Held against that clock no certificate is valid yet; held against none at
//! all, one that expired years ago is good. So there is a floor: the clock may be behind it, time is not. And there may be
//! a signed time, from servers whose keys are known: it says on both sides how far off the clock is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 that are past.
static FLOOR_S: AtomicI64 = AtomicI64::new(0);

/// The last signed time.
static SIGNED: Mutex<Option<Signed>> = Mutex::new(None);

/// How far the wall clock may be outside of a signed time before it is wrong, in seconds. Certificates are valid from a
/// little before they are signed, and clocks without NTP drift by this much in days.
const TOLERANCE_S: i64 = 60;

/// Time as certificates see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Seconds since 1970: the wall clock, or what is known where the clock is wrong.
    pub now_s: i64,
    /// How far the wall clock is behind the floor, in seconds; 0 where it is not, or where a signed time is known.
    pub behind_s: i64,
    /// How far the wall clock is from the signed time, in seconds: below 0 where it is behind, above where it is ahead; 0
    /// where it is right, or no signed time is known.
    pub off_s: i64,
}

/// A span in which a moment of the monotonic clock lay.
#[derive(Clone, Copy, Debug)]
struct Signed {
    at: Instant,
    from_s: i64,
    to_s: i64,
}

/// Says that a time is past. It is for the whole process, and only ever raised.
pub fn raise_time_floor(past_s: i64) {
    FLOOR_S.fetch_max(past_s, Ordering::Relaxed);
}

/// Says that the moment `at` lay between two times, in seconds since 1970, as servers signed. It is for the whole process, and
/// goes on with the monotonic clock, which stands still while the machine is suspended: what is said last counts.
pub fn set_signed_time(at: Instant, from_s: i64, to_s: i64) {
    raise_time_floor(from_s);
    *SIGNED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Signed { at, from_s, to_s });
}

/// What time it is, as far as is known.
pub fn trusted_time() -> Trusted {
    let seconds = |since: Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let wall_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, seconds);
    let signed = *SIGNED.lock().unwrap_or_else(PoisonError::into_inner);
    let signed = signed.map(|signed| {
        let since_s = seconds(signed.at.elapsed());
        [signed.from_s, signed.to_s].map(|limit_s| limit_s.saturating_add(since_s))
    });
    hold(wall_s, FLOOR_S.load(Ordering::Relaxed), signed)
}

fn hold(wall_s: i64, floor_s: i64, signed: Option<[i64; 2]>) -> Trusted {
    let Some([from_s, to_s]) = signed else {
        return Trusted {
            now_s: wall_s.max(floor_s),
            behind_s: floor_s.saturating_sub(wall_s).max(0),
            off_s: 0,
        };
    };
    let nearest_s = wall_s.clamp(from_s, to_s.max(from_s));
    let off_s = wall_s.saturating_sub(nearest_s);
    let is_right = off_s.abs() <= TOLERANCE_S;
    let now_s = if is_right { wall_s } else { nearest_s };
    Trusted {
        now_s: now_s.max(floor_s),
        behind_s: 0,
        off_s: if is_right { 0 } else { off_s },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_unless_it_is_behind_what_is_past() {
        let at = |now_s, behind_s| Trusted {
            now_s,
            behind_s,
            off_s: 0,
        };
        assert_eq!(hold(0, 1_000, None), at(1_000, 1_000));
        assert_eq!(hold(1_000, 1_000, None), at(1_000, 0));
        assert_eq!(hold(2_000, 1_000, None), at(2_000, 0));
    }

    #[test]
    fn the_clock_counts_unless_it_is_far_from_a_signed_time() {
        let signed = Some([5_000, 5_010]);
        let at = |now_s, off_s| Trusted {
            now_s,
            behind_s: 0,
            off_s,
        };
        assert_eq!(hold(0, 1_000, signed), at(5_000, -5_000));
        assert_eq!(hold(4_939, 1_000, signed), at(5_000, -61));
        assert_eq!(hold(4_940, 1_000, signed), at(4_940, 0));
        assert_eq!(hold(5_005, 1_000, signed), at(5_005, 0));
        assert_eq!(hold(5_070, 1_000, signed), at(5_070, 0));
        assert_eq!(hold(9_999, 1_000, signed), at(5_010, 4_989));
        // What is past is past, whoever signs another time.
        assert_eq!(hold(5_005, 6_000, signed), at(6_000, 0));
    }
}
