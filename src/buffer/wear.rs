//! What flash may be written in a day, as a budget that fills steadily and is spent by the page.
//!
//! The budget holds an hour's share at most. The less is left, the more is done to spare it; what is written by classes
//! that are never held goes on and is owed.

use std::time::Instant;

const DAY_MS: i128 = 86_400_000;
const HOUR_MS: i128 = 3_600_000;

/// What is done to spare the flash. Each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pressure {
    /// Nothing.
    None,
    /// Groups wait longer for company.
    Wait,
    /// Payloads are compressed.
    Pack,
    /// Appends of the class bulk wait.
    Hold,
}

/// The budget, counted in bytes times the milliseconds of a day, so that no division loses any.
#[derive(Debug)]
pub(super) struct Wear {
    bytes_per_day: i128,
    left: i128,
    seen_bytes: u64,
    seen_ms: u128,
    began: Instant,
    held: bool,
}

impl Wear {
    /// A full budget; `None` where there is no bound.
    pub(super) fn new(bytes_per_day: u64, now: Instant) -> Option<Wear> {
        (bytes_per_day > 0).then(|| Wear {
            bytes_per_day: bytes_per_day.into(),
            left: i128::from(bytes_per_day) * HOUR_MS,
            seen_bytes: 0,
            seen_ms: 0,
            began: now,
            held: false,
        })
    }

    /// What to do now that so many bytes are written in all.
    pub(super) fn pressure(&mut self, bytes_written: u64, now: Instant) -> Pressure {
        let full = self.bytes_per_day * HOUR_MS;
        let now_ms = now.saturating_duration_since(self.began).as_millis();
        let earned = i128::try_from(now_ms - self.seen_ms).unwrap_or(0) * self.bytes_per_day;
        let spent = i128::from(bytes_written - self.seen_bytes) * DAY_MS;
        (self.seen_ms, self.seen_bytes) = (now_ms, bytes_written);
        // Owed is at most an hour's share too: after that, what is over is over.
        self.left = ((self.left + earned).min(full) - spent).max(-full);
        // Held until there is something to spend again, so that it does not come and go with each group.
        self.held = self.left <= 0 || self.held && self.left < full / 32;
        if self.held {
            Pressure::Hold
        } else if self.left <= full / 4 {
            Pressure::Pack
        } else if self.left <= full / 2 {
            Pressure::Wait
        } else {
            Pressure::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn pressure_rises_as_the_budget_goes_and_falls_as_it_fills() {
        let start = Instant::now();
        let mut wear = Wear::new(24_000, start).expect("a budget");
        let mut written = 0;
        let mut write = |wear: &mut Wear, bytes, seconds| {
            written += bytes;
            wear.pressure(written, start + Duration::from_secs(seconds))
        };
        assert_eq!(write(&mut wear, 499, 0), Pressure::None);
        assert_eq!(write(&mut wear, 1, 0), Pressure::Wait);
        assert_eq!(write(&mut wear, 250, 0), Pressure::Pack);
        assert_eq!(write(&mut wear, 250, 0), Pressure::Hold);
        // An hour earns 1000 bytes, a minute 16.
        assert_eq!(write(&mut wear, 0, 60), Pressure::Hold);
        assert_eq!(write(&mut wear, 0, 120), Pressure::Pack);
        assert_eq!(write(&mut wear, 0, 1000), Pressure::Wait);
        assert_eq!(write(&mut wear, 0, 10_000), Pressure::None);
        // However long it was idle, it holds an hour's share.
        assert_eq!(write(&mut wear, 1000, 90_000), Pressure::Hold);
        assert!(Wear::new(0, start).is_none());
    }

    /// Over days, with something to write all the time, what is written while it is not held is what the budget says.
    #[test]
    fn over_days_the_budget_is_kept() {
        let start = Instant::now();
        let mut wear = Wear::new(1_000_000, start).expect("a budget");
        let mut written = 0;
        for second in 0..3 * 86_400 {
            if wear.pressure(written, start + Duration::from_secs(second)) < Pressure::Hold {
                written += 4096;
            }
        }
        let most = 3_000_000 + 1_000_000 / 24 + 4096;
        assert!((2_900_000..=most).contains(&written), "{written}");
    }
}
