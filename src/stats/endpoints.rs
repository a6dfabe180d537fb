//! What is known of the endpoints of an uplink, for the status file.

use crate::uplink::{BreakerState, Standing};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The endpoints of an uplink, in the order of preference.
#[derive(Debug, Default)]
pub struct Endpoints(Mutex<Vec<Standing>>);

impl Endpoints {
    /// What is known now.
    pub fn set(&self, standings: Vec<Standing>) {
        // A list is valid at every instant, so that a panic elsewhere cannot have left it half-made.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standings;
    }
}

/// One endpoint as the status file has it.
#[derive(Serialize)]
struct Row {
    endpoint: String,
    connected: bool,
    /// `closed`, `open` or `half-open`.
    breaker: &'static str,
    /// Failed attempts within the breaker's window, when an attempt last ended.
    failures: usize,
    /// How long it is left alone from now, in milliseconds.
    open_ms: u64,
}

impl Serialize for Endpoints {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let standings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serializer.collect_seq(standings.iter().map(|standing| {
            // Time has passed since it was told.
            let open_ms = match standing.breaker {
                BreakerState::Open { until_ms } => {
                    let until = standing.since + Duration::from_millis(until_ms);
                    let left = until.saturating_duration_since(tokio::time::Instant::now());
                    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
                }
                BreakerState::Closed | BreakerState::HalfOpen => 0,
            };
            let breaker = match standing.breaker {
                BreakerState::Closed => "closed",
                BreakerState::Open { .. } if open_ms > 0 => "open",
                BreakerState::Open { .. } | BreakerState::HalfOpen => "half-open",
            };
            let endpoint = standing.endpoint.to_string();
            Row {
                endpoint,
                connected: standing.connected,
                breaker,
                failures: standing.failures,
                open_ms,
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::time::Instant;

    #[test]
    fn an_open_breaker_is_half_open_once_its_time_is_over() {
        let now = Instant::now();
        let standing = |breaker, since| Standing {
            endpoint: "mqtt://127.0.0.1:1883".parse().unwrap(),
            connected: false,
            breaker,
            since,
            failures: 2,
        };
        let endpoints = Endpoints::default();
        assert_eq!(serde_json::to_value(&endpoints).unwrap(), json!([]));
        let open = |until_ms| BreakerState::Open { until_ms };
        endpoints.set(vec![
            standing(open(3_600_000), now),
            standing(open(0), now),
            standing(BreakerState::HalfOpen, now),
            standing(BreakerState::Closed, now),
        ]);
        let rows = serde_json::to_value(&endpoints).unwrap();
        let breakers: Vec<_> = (0..4).map(|at| rows[at]["breaker"].clone()).collect();
        assert_eq!(breakers, ["open", "half-open", "half-open", "closed"]);
        let open_ms = rows[0]["open_ms"].as_u64().unwrap();
        assert!((3_500_000..=3_600_000).contains(&open_ms), "{open_ms}");
        assert_eq!(rows[1]["open_ms"], 0);
        assert_eq!(rows[0]["failures"], 2);
        assert_eq!(rows[0]["endpoint"], "mqtt://127.0.0.1:1883");
    }
}
