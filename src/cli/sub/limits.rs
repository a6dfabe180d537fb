//! What is known of limits: `calibrate` tells each change of a parameter's level in a stream of its own.

use crate::level::Level;
use crate::record::Value;
use std::collections::BTreeMap;

/// What `calibrate` appends to the name of a parameter, for the channel of its levels.
const ALARM: &str = ".alarm";

/// For a person, who expects values within their limits.
pub(super) fn name(level: Level) -> &'static str {
    match level {
        Level::Within => "",
        other => other.name(),
    }
}

/// A line of a terminal in the colour of its level (ECMA-48, 8.3.117).
pub(super) fn colour(level: Level, line: &str) -> String {
    let code = match level {
        Level::RedLow | Level::RedHigh => 31,
        Level::YellowLow | Level::YellowHigh => 33,
        Level::Within => return line.to_owned(),
    };
    format!("\x1b[{code}m{line}\x1b[0m")
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
        if let Value::Int(number) = value
            && let Some(level) = Level::of_number(*number)
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
        assert_eq!(name(levels.of(&key("bus", "temp"))), "yellow low");
        levels.learn("bus.cal", "temp.alarm", &Value::Int(0), 10);
        assert_eq!(colour(levels.of(&key("bus", "temp")), "x"), "x");
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
        assert_eq!(colour(Level::RedLow, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(colour(Level::YellowHigh, "x"), "\x1b[33mx\x1b[0m");
    }
}
