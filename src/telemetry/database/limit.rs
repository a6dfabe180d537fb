//! Limits of a value: yellow and red, low and high, with hysteresis and persistence.

use crate::level::Level;

/// The limits of one parameter. A side without a limit is infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Lower and upper yellow limit.
    pub yellow: (f64, f64),
    /// Lower and upper red limit.
    pub red: (f64, f64),
    /// How far within a limit a value must be for its level to end.
    pub hysteresis: f64,
    /// Values in a row that must agree for the level to change.
    pub persistence: u32,
}

impl Limits {
    /// The level of a value, seen from the level that holds: limits that were crossed are moved inwards.
    fn level(&self, value: f64, held: Level) -> Level {
        let held = held.number();
        let inwards = |beyond: bool| if beyond { self.hysteresis } else { 0.0 };
        let above = |limit: f64, at: i64| value > limit - inwards(held >= at);
        let below = |limit: f64, at: i64| value < limit + inwards(held <= at);
        if above(self.red.1, 2) {
            Level::RedHigh
        } else if below(self.red.0, -2) {
            Level::RedLow
        } else if above(self.yellow.1, 1) {
            Level::YellowHigh
        } else if below(self.yellow.0, -1) {
            Level::YellowLow
        } else {
            Level::Within
        }
    }
}

/// Watches the values of one parameter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    held: Level,
    next: Level,
    agreed: u32,
}

impl Watch {
    /// Takes the next value; gives the new level where it changes.
    pub fn take(&mut self, value: f64, limits: &Limits) -> Option<Level> {
        let level = limits.level(value, self.held);
        if level == self.held {
            self.agreed = 0;
            return None;
        }
        if level == self.next && self.agreed > 0 {
            self.agreed += 1;
        } else {
            (self.next, self.agreed) = (level, 1);
        }
        if self.agreed < limits.persistence {
            return None;
        }
        (self.held, self.agreed) = (level, 0);
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(limits: &Limits, values: &[f64]) -> Vec<i64> {
        let mut watch = Watch::default();
        let each = values
            .iter()
            .map(|value| watch.take(*value, limits).map_or(9, Level::number));
        each.collect()
    }

    const LIMITS: Limits = Limits {
        yellow: (10.0, 20.0),
        red: (5.0, 25.0),
        hysteresis: 1.0,
        persistence: 1,
    };

    #[test]
    fn each_level_and_back() {
        let values = [
            15.0, 20.0, 20.5, 26.0, 24.5, 24.0, 19.5, 19.0, 9.0, 4.0, 5.5, 6.0, 10.5, 11.0,
        ];
        let wanted = [9, 9, 1, 2, 9, 1, 9, 0, -1, -2, 9, -1, 9, 0];
        assert_eq!(levels(&LIMITS, &values), wanted);
    }

    #[test]
    fn a_level_that_does_not_last_is_none() {
        let limits = Limits {
            persistence: 3,
            ..LIMITS
        };
        let values = [21.0, 21.0, 15.0, 21.0, 21.0, 21.0, 15.0, 26.0, 26.0, 26.0];
        assert_eq!(levels(&limits, &values), [9, 9, 9, 9, 9, 1, 9, 9, 9, 2]);
    }

    #[test]
    fn a_side_without_a_limit_is_open() {
        let limits = Limits {
            yellow: (f64::NEG_INFINITY, 20.0),
            red: (f64::NEG_INFINITY, f64::INFINITY),
            ..LIMITS
        };
        assert_eq!(
            levels(&limits, &[-1e300, 1e300, 0.0, f64::NAN]),
            [9, 1, 0, 9]
        );
    }
}
