//! How a value stands to its limits: what `calibrate` tells as a number, and people read as words.

/// How a value stands to its limits; as a number, below 0 for too low, 2 for red.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Below the red limit.
    RedLow,
    /// Below the yellow limit.
    YellowLow,
    /// Within.
    #[default]
    Within,
    /// Above the yellow limit.
    YellowHigh,
    /// Above the red limit.
    RedHigh,
}

impl Level {
    const ALL: [Level; 5] = [
        Level::RedLow,
        Level::YellowLow,
        Level::Within,
        Level::YellowHigh,
        Level::RedHigh,
    ];

    /// -2 to 2.
    pub fn number(self) -> i64 {
        match self {
            Level::RedLow => -2,
            Level::YellowLow => -1,
            Level::Within => 0,
            Level::YellowHigh => 1,
            Level::RedHigh => 2,
        }
    }

    /// The level of a number, where it is one's.
    pub fn of_number(number: i64) -> Option<Level> {
        Level::ALL
            .into_iter()
            .find(|level| level.number() == number)
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Level::RedLow => "red low",
            Level::YellowLow => "yellow low",
            Level::Within => "within limits",
            Level::YellowHigh => "yellow high",
            Level::RedHigh => "red high",
        }
    }
}
