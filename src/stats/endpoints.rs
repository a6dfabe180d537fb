//! What is known of the endpoints of an uplink, for the status file.

use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// The endpoints of an uplink, in the order of preference.
#[derive(Debug, Default)]
pub struct Endpoints(Mutex<Vec<Endpoint>>);

/// What is known of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its URL.
    pub name: String,
    /// Whether the connection that stands is to it.
    pub connected: bool,
    /// Its circuit breaker.
    pub breaker: Breaker,
    /// Failed attempts within the breaker's window, when an attempt last ended.
    pub failures: usize,
}

/// A circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// The endpoint may be tried.
    Closed,
    /// It is left alone until then; later than that it is half-open.
    Open(Instant),
    /// What comes next decides.
    HalfOpen,
}

impl Endpoints {
    /// What is known now.
    pub fn set(&self, endpoints: Vec<Endpoint>) {
        // A list is valid at every instant, so that a panic elsewhere cannot have left it half-made.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = endpoints;
    }
}

/// One endpoint as the status file has it.
#[derive(Serialize)]
struct Row<'a> {
    endpoint: &'a str,
    connected: bool,
    /// `closed`, `open` or `half-open`.
    breaker: &'static str,
    failures: usize,
    /// How long it is left alone from now, in milliseconds.
    open_ms: u64,
}

impl Serialize for Endpoints {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serializer.collect_seq(endpoints.iter().map(|endpoint| {
            // Time has passed since it was told.
            let open_ms = match endpoint.breaker {
                Breaker::Open(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
                }
                Breaker::Closed | Breaker::HalfOpen => 0,
            };
            let breaker = match endpoint.breaker {
                Breaker::Closed => "closed",
                Breaker::Open(_) if open_ms > 0 => "open",
                Breaker::Open(_) | Breaker::HalfOpen => "half-open",
            };
            Row {
                endpoint: &endpoint.name,
                connected: endpoint.connected,
                breaker,
                failures: endpoint.failures,
                open_ms,
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn an_open_breaker_is_half_open_once_its_time_is_over() {
        let now = Instant::now();
        let endpoint = |breaker| Endpoint {
            name: "mqtt://127.0.0.1:1883".to_owned(),
            connected: false,
            breaker,
            failures: 2,
        };
        let endpoints = Endpoints::default();
        assert_eq!(serde_json::to_value(&endpoints).unwrap(), json!([]));
        let all = [
            Breaker::Open(now + Duration::from_hours(1)),
            Breaker::Open(now),
            Breaker::HalfOpen,
            Breaker::Closed,
        ];
        endpoints.set(all.map(endpoint).to_vec());
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
