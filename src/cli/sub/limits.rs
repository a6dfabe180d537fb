//! What is known of limits: `calibrate` tells each change of a parameter's level in a stream of its own.

use crate::record::Value;
use std::collections::BTreeMap;

/// What `calibrate` appends to the name of a parameter, for the channel of its levels.
const ALARM: &str = ".alarm";

/// How a value stands to its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    RedLow,
    YellowLow,
    Within,
    YellowHigh,
    RedHigh,
}

impl Level {
    fn of(value: &Value) -> Option<Level> {
        match value {
            Value::Int(-2) => Some(Level::RedLow),
            Value::Int(-1) => Some(Level::YellowLow),
            Value::Int(0) => Some(Level::Within),
            Value::Int(1) => Some(Level::YellowHigh),
            Value::Int(2) => Some(Level::RedHigh),
            _ => None,
        }
    }

    /// For a person, who expects values within their limits.
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::RedLow => "red low",
            Level::YellowLow => "yellow low",
            Level::Within => "",
            Level::YellowHigh => "yellow high",
            Level::RedHigh => "red high",
        }
    }

    /// A line of a terminal in the colour of the level (ECMA-48, 8.3.117).
    pub(super) fn colour(self, line: &str) -> String {
        let code = match self {
            Level::RedLow | Level::RedHigh => 31,
            Level::YellowLow | Level::YellowHigh => 33,
            Level::Within => return line.to_owned(),
        };
        format!("\x1b[{code}m{line}\x1b[0m")
    }
}

/// The levels by stream and channel of the values.
#[derive(Debug, Default)]
pub(super) struct Levels(BTreeMap<(String, String), Level>);

impl Levels {
    /// Learns from a sample, where it tells a level: `temp.alarm` in `SOURCE.NODE` speaks of `temp` in `SOURCE`.
    pub(super) fn learn(&mut self, stream: &str, channel: &str, value: &Value, rows_max: usize) {
        let (Some(of), Some((source, _))) = (channel.strip_suffix(ALARM), stream.rsplit_once('.'))
        else {
            return;
        };
        let key = (source.to_owned(), of.to_owned());
        if let Some(level) = Level::of(value)
            && (self.0.len() < rows_max || self.0.contains_key(&key))
        {
            self.0.insert(key, level);
        }
    }

    /// The last level of a channel; `Within` where none was told since the start.
    pub(super) fn of(&self, key: &(String, String)) -> Level {
        self.0.get(key).copied().unwrap_or(Level::Within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str, channel: &str) -> (String, String) {
        (stream.to_owned(), channel.to_owned())
    }

    #[test]
    fn a_level_is_that_of_the_values_until_the_next_one() {
        let mut levels = Levels::default();
        levels.learn("bus.cal", "temp.alarm", &Value::Int(2), 10);
        assert_eq!(levels.of(&key("bus", "temp")), Level::RedHigh);
        assert_eq!(levels.of(&key("bus.cal", "temp.alarm")), Level::Within);
        assert_eq!(levels.of(&key("bus", "volt")), Level::Within);
        levels.learn("bus.cal", "temp.alarm", &Value::Int(-1), 10);
        assert_eq!(levels.of(&key("bus", "temp")).name(), "yellow low");
        levels.learn("bus.cal", "temp.alarm", &Value::Int(0), 10);
        assert_eq!(levels.of(&key("bus", "temp")).colour("x"), "x");
    }

    #[test]
    fn what_is_no_level_teaches_nothing() {
        let mut levels = Levels::default();
        levels.learn("bus.cal", "temp.alarm", &Value::Int(3), 10);
        levels.learn("bus.cal", "temp.alarm", &Value::Float(1.0), 10);
        levels.learn("bus", "temp.alarm", &Value::Int(1), 10);
        levels.learn("bus.cal", "temp", &Value::Int(1), 10);
        assert_eq!(levels.0.len(), 0);
        for channel in ["a.alarm", "b.alarm", "a.alarm"] {
            levels.learn("bus.cal", channel, &Value::Int(1), 1);
        }
        assert_eq!(levels.0.len(), 1, "bounded as the table is");
    }

    #[test]
    fn colours_are_those_of_the_names() {
        assert_eq!(Level::RedLow.colour("x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Level::YellowHigh.colour("x"), "\x1b[33mx\x1b[0m");
    }
}
