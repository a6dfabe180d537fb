//! Which endpoint is tried: the first in order that is not known to fail. A circuit breaker each, and the way back.
//!
//! No I/O and no clock: times are milliseconds since any instant that never goes back.

use std::collections::VecDeque;

/// Attempts that are remembered of an endpoint.
const WINDOW_MAX: usize = 10;

/// When an endpoint is left, and when it is tried again. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbySettings {
    /// Share of attempts within `window_ms` that must fail, in percent.
    pub failure_percent: u8,
    /// Least attempts for a judgement.
    pub attempts_min: usize,
    /// How long an attempt counts.
    pub window_ms: u64,
    /// First time that an endpoint is left alone. Each failed probe doubles it, up to `open_ms_max`.
    pub open_ms: u64,
    /// Longest time that it is left alone.
    pub open_ms_max: u64,
    /// Mean time to PUBACK above which another endpoint is looked for.
    pub ack_ms_max: u64,
    /// How long a standby must have worked before the way back is looked for, and how long one that was too slow is
    /// left alone.
    pub calm_ms: u64,
}

impl Default for StandbySettings {
    fn default() -> StandbySettings {
        StandbySettings {
            failure_percent: 80,
            attempts_min: 2,
            window_ms: 60_000,
            open_ms: 5_000,
            open_ms_max: 600_000,
            ack_ms_max: 800,
            calm_ms: 60_000,
        }
    }
}

/// What an attempt, or the end of a connection, says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It carried messages for a while: nothing speaks against it.
    Proven,
    /// It failed, which may happen.
    Failed,
    /// It failed in a way that will last, such as UDP without any answer.
    Blocked,
    /// It works and is too slow.
    Slow,
}

/// A circuit breaker as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// The endpoint may be tried.
    Closed,
    /// It is left alone until then.
    Open {
        /// In the milliseconds of the caller.
        until_ms: u64,
    },
    /// Its time is over: the next attempt, or the connection that stands and is not proven yet, decides.
    HalfOpen,
}

/// The endpoints of an uplink, by their place in its list.
#[derive(Clone, Debug)]
pub struct Standby {
    settings: StandbySettings,
    breakers: Vec<Breaker>,
}

#[derive(Clone, Debug, Default)]
struct Breaker {
    /// When each attempt failed.
    failed: VecDeque<u64>,
    /// When it was last proven. That ends what is remembered of before.
    proven_ms: Option<u64>,
    /// Left alone until then; `None` while closed.
    open_until_ms: Option<u64>,
    /// How often it opened without having been proven since.
    opened: u32,
}

impl Standby {
    /// Endpoints of which nothing is known yet.
    ///
    /// # Panics
    /// Where there is none.
    pub fn new(endpoints: usize, settings: StandbySettings) -> Standby {
        assert!(endpoints > 0, "an uplink has an endpoint");
        Standby {
            settings,
            breakers: vec![Breaker::default(); endpoints],
        }
    }

    /// What is thought of an endpoint, and how many of its attempts failed within the window.
    pub fn state(&self, index: usize, now_ms: u64) -> (BreakerState, usize) {
        let breaker = &self.breakers[index];
        let state = match breaker.open_until_ms {
            None => BreakerState::Closed,
            Some(until_ms) if until_ms > now_ms => BreakerState::Open { until_ms },
            Some(_) => BreakerState::HalfOpen,
        };
        let since_ms = now_ms.saturating_sub(self.settings.window_ms);
        let failed = breaker.failed.iter().filter(|at_ms| **at_ms >= since_ms);
        (state, failed.count())
    }

    /// The endpoint to try now. Where all are left alone it is the one whose time is over first: something must be
    /// tried, and the waits between attempts are the backoff's.
    pub fn choose(&self, now_ms: u64) -> usize {
        let ready = (0..self.breakers.len()).find(|&index| self.may_try(index, now_ms));
        ready.unwrap_or_else(|| {
            let until = |index: &usize| self.breakers[*index].open_until_ms;
            (0..self.breakers.len()).min_by_key(until).unwrap_or(0)
        })
    }

    /// An endpoint before `current` that may be tried again, where `current` has worked for the calm.
    pub fn way_back(&self, current: usize, connected_ms: u64, now_ms: u64) -> Option<usize> {
        let calm = now_ms.saturating_sub(connected_ms) >= self.settings.calm_ms;
        (0..current).find(|&index| calm && self.may_try(index, now_ms))
    }

    /// When `way_back` may next have another answer, while `current` works.
    pub fn look_back_ms(&self, current: usize, connected_ms: u64) -> Option<u64> {
        let calm_ms = connected_ms + self.settings.calm_ms;
        let ready = |index: usize| self.breakers[index].open_until_ms.unwrap_or(0);
        (0..current).map(|index| ready(index).max(calm_ms)).min()
    }

    /// Whether a mean time to PUBACK is a reason to leave `current`: there must be somewhere else to go.
    pub fn is_too_slow(&self, current: usize, ack_ms: u64, now_ms: u64) -> bool {
        let other = |index| index != current && self.may_try(index, now_ms);
        ack_ms > self.settings.ack_ms_max && (0..self.breakers.len()).any(other)
    }

    /// An attempt or a connection ended.
    pub fn ended(&mut self, index: usize, outcome: Outcome, now_ms: u64) {
        let settings = self.settings;
        let breaker = &mut self.breakers[index];
        let probe = breaker.open_until_ms.is_some();
        let open = match outcome {
            Outcome::Proven => {
                *breaker = Breaker {
                    proven_ms: Some(now_ms),
                    ..Breaker::default()
                };
                return;
            }
            Outcome::Slow => {
                breaker.open_until_ms = Some(now_ms + settings.calm_ms);
                return;
            }
            Outcome::Blocked => true,
            Outcome::Failed => {
                breaker.failed.push_back(now_ms);
                breaker.forget(now_ms.saturating_sub(settings.window_ms));
                let attempts = breaker.failed.len() + usize::from(breaker.proven_ms.is_some());
                let enough = attempts >= settings.attempts_min;
                let share =
                    100 * breaker.failed.len() >= usize::from(settings.failure_percent) * attempts;
                probe || (enough && share)
            }
        };
        if open {
            let factor = 1_u64.checked_shl(breaker.opened).unwrap_or(u64::MAX);
            let open_ms = settings.open_ms.saturating_mul(factor);
            breaker.open_until_ms = Some(now_ms + open_ms.min(settings.open_ms_max));
            breaker.opened = breaker.opened.saturating_add(1);
        }
    }

    fn may_try(&self, index: usize, now_ms: u64) -> bool {
        self.breakers[index]
            .open_until_ms
            .is_none_or(|until_ms| until_ms <= now_ms)
    }
}

impl Breaker {
    fn forget(&mut self, before_ms: u64) {
        let failed = &mut self.failed;
        while failed.len() > WINDOW_MAX || failed.front().is_some_and(|at| *at < before_ms) {
            failed.pop_front();
        }
        self.proven_ms = self.proven_ms.filter(|at_ms| *at_ms >= before_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Standby {
        Standby::new(2, StandbySettings::default())
    }

    #[test]
    fn the_first_is_preferred_and_left_after_two_failures() {
        let mut standby = two();
        assert_eq!(standby.choose(0), 0);
        standby.ended(0, Outcome::Failed, 0);
        assert_eq!(standby.choose(0), 0, "one failure may happen");
        standby.ended(0, Outcome::Failed, 100);
        assert_eq!(standby.choose(100), 1);
        assert_eq!(standby.choose(5_099), 1, "open for 5 s");
        assert_eq!(standby.choose(5_100), 0, "then one probe");
    }

    #[test]
    fn the_state_is_closed_then_open_then_half_open_until_something_decides() {
        let mut standby = two();
        let state = |standby: &Standby, now| standby.state(0, now);
        assert_eq!(state(&standby, 0), (BreakerState::Closed, 0));
        standby.ended(0, Outcome::Failed, 0);
        assert_eq!(state(&standby, 0), (BreakerState::Closed, 1));
        standby.ended(0, Outcome::Failed, 100);
        let open = BreakerState::Open { until_ms: 5_100 };
        assert_eq!(state(&standby, 5_099), (open, 2));
        assert_eq!(state(&standby, 5_100), (BreakerState::HalfOpen, 2));
        assert_eq!(
            state(&standby, 60_050),
            (BreakerState::HalfOpen, 1),
            "what is older than the window does not count"
        );
        standby.ended(0, Outcome::Failed, 5_100);
        let open = BreakerState::Open { until_ms: 15_100 };
        assert_eq!(state(&standby, 5_100), (open, 3));
        standby.ended(0, Outcome::Proven, 15_100);
        assert_eq!(state(&standby, 15_100), (BreakerState::Closed, 0));
        assert_eq!(standby.state(1, 0), (BreakerState::Closed, 0));
    }

    #[test]
    fn blocked_is_believed_at_once_and_remembered_longer_each_time() {
        let mut standby = two();
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..9 {
            standby.ended(0, Outcome::Blocked, now);
            assert_eq!(standby.choose(now), 1);
            let back = standby.look_back_ms(1, 0).unwrap();
            waits.push(back - now);
            now = back;
        }
        // The calm of the standby comes first, then 5 s doubled each time up to ten minutes.
        assert_eq!(
            waits,
            [
                60_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000, 600_000
            ]
        );
    }

    #[test]
    fn a_share_below_the_threshold_keeps_the_endpoint() {
        let mut standby = two();
        standby.ended(0, Outcome::Proven, 0);
        standby.ended(0, Outcome::Failed, 1);
        standby.ended(0, Outcome::Failed, 2);
        standby.ended(0, Outcome::Failed, 3);
        assert_eq!(standby.choose(3), 0, "3 of 4 are 75 %");
        standby.ended(0, Outcome::Failed, 4);
        assert_eq!(standby.choose(4), 1, "4 of 5 are 80 %");
        // Attempts that are older than the window do not count.
        let mut standby = two();
        standby.ended(0, Outcome::Failed, 0);
        standby.ended(0, Outcome::Failed, 60_001);
        assert_eq!(standby.choose(60_001), 0);
    }

    #[test]
    fn the_way_back_waits_for_the_calm_and_for_the_breaker() {
        let mut standby = two();
        standby.ended(0, Outcome::Blocked, 0);
        assert_eq!(standby.way_back(1, 10, 59_999), None, "not calm yet");
        assert_eq!(standby.way_back(1, 10, 60_010), Some(0));
        assert_eq!(standby.look_back_ms(1, 10), Some(60_010));
        standby.ended(0, Outcome::Failed, 60_010);
        assert_eq!(
            standby.way_back(1, 10, 60_011),
            None,
            "a failed probe opens again"
        );
        assert_eq!(
            standby.way_back(1, 10, 70_010),
            Some(0),
            "for twice as long"
        );
        standby.ended(0, Outcome::Proven, 80_000);
        assert_eq!(standby.choose(80_000), 0);
        assert_eq!(
            standby.way_back(0, 0, 999_999),
            None,
            "nothing is better than the first"
        );
    }

    #[test]
    fn slow_is_left_only_where_there_is_somewhere_to_go() {
        let mut standby = two();
        assert!(!standby.is_too_slow(0, 800, 0));
        assert!(standby.is_too_slow(0, 801, 0));
        standby.ended(1, Outcome::Blocked, 0);
        assert!(
            !standby.is_too_slow(0, 801, 1),
            "the standby is known to fail"
        );
        standby.ended(0, Outcome::Slow, 10_000);
        assert_eq!(standby.choose(10_000), 1);
        assert_eq!(standby.choose(70_000), 0);
        let alone = Standby::new(1, StandbySettings::default());
        assert!(!alone.is_too_slow(0, 60_000, 0));
    }

    #[test]
    fn an_endpoint_is_always_named() {
        let mut standby = Standby::new(1, StandbySettings::default());
        for now in 0..20 {
            standby.ended(0, Outcome::Blocked, now);
            assert_eq!(standby.choose(now), 0);
        }
        let mut standby = two();
        standby.ended(1, Outcome::Blocked, 0);
        standby.ended(0, Outcome::Blocked, 1);
        assert_eq!(standby.choose(2), 1, "whose time is over first");
    }
}
