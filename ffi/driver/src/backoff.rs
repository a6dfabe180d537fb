//! How long to wait before a driver is started again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::spec::Backoff;

/// Full jitter over an upper end that doubles, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015):
/// many sources that failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Retry {
    rule: Backoff,
    failures: u32,
    healthy_since: Option<Instant>,
    random: u64,
}

impl Retry {
    pub(crate) fn new(rule: Backoff) -> Retry {
        Retry {
            rule,
            failures: 0,
            healthy_since: None,
            // A RandomState is keyed by the system's randomness; `| 1` because xorshift stays at zero.
            random: RandomState::new().build_hasher().finish() | 1,
        }
    }

    /// A reading went well. Forgets the failures once that has been so for `stable_ms`.
    pub(crate) fn succeeded(&mut self, now: Instant) {
        let since = *self.healthy_since.get_or_insert(now);
        if now.duration_since(since) >= Duration::from_millis(u64::from(self.rule.stable_ms)) {
            self.failures = 0;
        }
    }

    /// Something failed; says how long to wait.
    pub(crate) fn failed(&mut self) -> Duration {
        self.healthy_since = None;
        let upper_ms = u64::from(self.rule.base_ms)
            .saturating_mul(1 << self.failures.min(31))
            .min(u64::from(self.rule.max_ms));
        self.failures = self.failures.saturating_add(1);
        // xorshift64, Marsaglia 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Duration::from_micros(self.random % (upper_ms * 1000 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_bound_and_start_over_after_stable_readings_only() {
        let rule = Backoff {
            base_ms: 10,
            max_ms: 1000,
            stable_ms: 500,
        };
        let mut longest = [Duration::ZERO; 12];
        for _ in 0..400 {
            let mut retry = Retry::new(rule.clone());
            for slot in &mut longest {
                *slot = (*slot).max(retry.failed());
            }
        }
        for (index, longest) in longest.iter().enumerate() {
            let upper_ms = (10 << index).min(1000);
            assert!(
                *longest <= Duration::from_millis(upper_ms),
                "{index}: {longest:?}"
            );
            assert!(
                *longest >= Duration::from_millis(upper_ms * 8 / 10),
                "{index}: {longest:?}"
            );
        }
        let mut retry = Retry::new(rule);
        let start = Instant::now();
        for _ in 0..6 {
            retry.failed();
        }
        retry.succeeded(start);
        retry.succeeded(start + Duration::from_millis(499));
        assert_eq!(retry.failures, 6);
        retry.succeeded(start + Duration::from_millis(500));
        assert_eq!(retry.failures, 0);
    }
}
