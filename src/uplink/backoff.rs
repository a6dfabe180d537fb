//! Waits between attempts: exponential with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS, 2015).
//!
//! Each wait is uniform in 0 to min(max, base * 2^attempt), so that gateways that lost one broker together do not come
//! back together. No clock and no entropy of its own: the seed is passed in.

use super::reason::Pace;

/// The least bound of the waits after the end of a connection that the broker's other clients share: the longest wait
/// divided by this.
const SPREAD: u64 = 12;

/// A series of waits.
#[derive(Clone, Debug)]
pub struct Backoff {
    base_ms: u64,
    max_ms: u64,
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// A series that starts at `base_ms` and is bounded by `max_ms`.
    pub fn new(base_ms: u64, max_ms: u64, seed: u64) -> Backoff {
        let base_ms = base_ms.max(1);
        Backoff {
            base_ms,
            max_ms: max_ms.max(base_ms),
            attempt: 0,
            seed,
        }
    }

    /// Bound of the next wait at the normal pace, in milliseconds.
    pub fn bound_ms(&self) -> u64 {
        let factor = 1_u64.checked_shl(self.attempt).unwrap_or(u64::MAX);
        self.base_ms.saturating_mul(factor).min(self.max_ms)
    }

    /// The next wait, in milliseconds.
    pub fn next_ms(&mut self, pace: Pace) -> u64 {
        while pace == Pace::Spread && self.bound_ms() < self.max_ms / SPREAD {
            self.attempt += 1;
        }
        let floor_ms = match pace {
            Pace::Normal | Pace::Spread => 0,
            Pace::Spare => self.max_ms / 10,
            Pace::Slow => self.max_ms / 2,
        };
        let span_ms = match pace {
            Pace::Slow => self.max_ms - floor_ms,
            Pace::Normal | Pace::Spread | Pace::Spare => {
                self.bound_ms().min(self.max_ms - floor_ms)
            }
        };
        self.attempt = self.attempt.saturating_add(1).min(63);
        floor_ms + self.random() % (span_ms + 1)
    }

    /// Starts again at the base.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_within_its_bound_and_jitter_fills_it() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(100, 5_000, seed);
            for attempt in 0..80 {
                let bound = (100_u64 << attempt.min(20)).min(5_000);
                assert_eq!(backoff.bound_ms(), bound);
                assert!(backoff.next_ms(Pace::Normal) <= bound);
            }
        }
        let (mut low, mut high) = (0, 0);
        for seed in 0..1_000 {
            match Backoff::new(1_000, 60_000, seed * 7).next_ms(Pace::Normal) {
                0..=250 => low += 1,
                750..=1_000 => high += 1,
                _ => {}
            }
        }
        assert!(
            low > 180 && high > 180,
            "not uniform: {low} low, {high} high of 1000"
        );
    }

    #[test]
    fn what_all_clients_lose_together_is_spread_from_the_first_wait() {
        let mut backoff = Backoff::new(500, 60_000, 1);
        backoff.next_ms(Pace::Spread);
        // 500 ms doubled to no less than 60 s / 12, and doubled on from there.
        assert_eq!(backoff.bound_ms(), 16_000);
        backoff.next_ms(Pace::Spread);
        assert_eq!(backoff.bound_ms(), 32_000);
        let waits = (0..1_000).map(|seed| Backoff::new(500, 60_000, seed).next_ms(Pace::Spread));
        let mean_ms = waits.sum::<u64>() / 1_000;
        assert!((3_600..=4_400).contains(&mean_ms), "{mean_ms} of 0 to 8000");
        // Where the longest wait is short nothing changes.
        let mut short = Backoff::new(500, 2_000, 1);
        short.next_ms(Pace::Spread);
        assert_eq!(short.bound_ms(), 1_000);
    }

    #[test]
    fn a_pace_sets_a_floor_and_never_passes_the_maximum() {
        for seed in 0..500 {
            let mut backoff = Backoff::new(100, 10_000, seed);
            for _ in 0..10 {
                let spare = backoff.clone().next_ms(Pace::Spare);
                let slow = backoff.clone().next_ms(Pace::Slow);
                assert!((1_000..=10_000).contains(&spare), "{spare}");
                assert!((5_000..=10_000).contains(&slow), "{slow}");
                backoff.next_ms(Pace::Normal);
            }
        }
    }
}
