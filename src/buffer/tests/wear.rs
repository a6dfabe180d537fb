//! The budget of the flash at its bounds: how much is owed at most, and when it lets go.

use super::super::wear::{Pressure, Wear};
use std::time::{Duration, Instant};

/// What is owed to the flash is an hour's share at most: after that, what is over is over.
#[test]
fn a_budget_that_is_far_overdrawn_is_held_for_an_hour() {
    let start = Instant::now();
    let mut wear = Wear::new(24_000, start).expect("a budget");
    let mut at = |written, seconds| wear.pressure(written, start + Duration::from_secs(seconds));
    // An hour earns 1000 bytes, and 31 are to be there before anything goes on.
    assert_eq!(at(10_000, 0), Pressure::Hold);
    assert_eq!(at(10_000, 3600), Pressure::Hold);
    assert_eq!(at(10_000, 3700), Pressure::Hold);
    assert_eq!(at(10_000, 3720), Pressure::Pack);
}

/// To the millisecond: what is spent to the last byte is held until a thirty-second of an hour's share is there.
#[test]
fn a_spent_budget_is_held_until_there_is_something_to_spend() {
    let start = Instant::now();
    for (ms, pressure) in [(112_499, Pressure::Hold), (112_500, Pressure::Pack)] {
        let mut wear = Wear::new(24_000, start).expect("a budget");
        assert_eq!(wear.pressure(1000, start), Pressure::Hold);
        let later = start + Duration::from_millis(ms);
        assert_eq!(wear.pressure(1000, later), pressure, "{ms}");
    }
}
