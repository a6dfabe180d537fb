//! Counters and states that nodes keep and the agent reports: in its status file and at its end.
//!
//! Counters only grow. Every node writes its own; readers see each counter exactly and the set of them nearly at one
//! instant.

mod endpoints;

pub use endpoints::{Breaker, Endpoint, Endpoints};

use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Count {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

/// A number that goes up and down.
#[cfg(feature = "downlink")]
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

#[cfg(feature = "downlink")]
impl Gauge {
    /// What it is now.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "downlink")]
impl Serialize for Gauge {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

/// Counts by reason. The reasons are words of the code, so that there are few.
#[cfg(feature = "telemetry")]
#[derive(Debug, Default)]
pub struct Tally(Mutex<std::collections::BTreeMap<&'static str, u64>>);

#[cfg(feature = "telemetry")]
impl Tally {
    /// Adds `more` to a reason; one that is never more than 0 is not listed.
    pub fn add(&self, reason: &'static str, more: u64) {
        if more > 0 {
            // Counts are valid at every instant, so that a panic elsewhere cannot have left them half-made.
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(reason).or_default() += more;
        }
    }

    /// The count of a reason so far.
    pub fn get(&self, reason: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(reason).copied().unwrap_or(0)
    }
}

#[cfg(feature = "telemetry")]
impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .serialize(serializer)
    }
}

/// A short text that changes, such as why a node is degraded.
#[derive(Debug, Default)]
pub struct Note(Mutex<String>);

impl Note {
    fn lock(&self) -> MutexGuard<'_, String> {
        // A text is valid at every instant, so that a panic elsewhere cannot have left it half-made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the text.
    pub fn set(&self, text: impl Into<String>) {
        *self.lock() = text.into();
    }

    /// The text now.
    pub fn get(&self) -> String {
        self.lock().clone()
    }
}

impl Serialize for Note {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.lock())
    }
}

/// What a source reports.
#[derive(Debug, Default, Serialize)]
pub struct SourceStats {
    /// What it is doing: `starting`, `running`, or why it is not.
    pub state: Note,
    /// Process id of its driver host, 0 while there is none.
    #[serde(serialize_with = "relaxed_u32")]
    pub host_pid: AtomicU32,
    /// Samples and frames taken from the driver.
    pub readings: Count,
    /// Outages of the driver host, each with its gap record.
    pub outages: Count,
    /// Errors that the device reported while its host lived.
    pub device_errors: Count,
    /// Readings that the driver says were lost before it was read.
    pub overruns: Count,
}

/// What a sink reports, in records unless said otherwise.
#[derive(Debug, Default, Serialize)]
pub struct SinkStats {
    /// What it is doing: `starting`, `connected`, or why it is not.
    pub state: Note,
    /// Whether it is held up by its storage.
    #[serde(serialize_with = "relaxed_bool")]
    pub degraded: AtomicBool,
    /// What holds its storage up; empty while nothing does. Apart from the state, which speaks of the connection.
    pub fault: Note,
    /// What is known of its endpoints; empty where it has none.
    pub endpoints: Endpoints,
    /// Fsynced, and so acknowledged to the pipeline.
    pub durable: Count,
    /// Confirmed by the broker's PUBACK.
    pub uplinked: Count,
    /// Dropped by the buffer's policy or because of their age, each reported in a gap record.
    pub dropped: Count,
    /// Those among them that were dropped because of their age.
    pub expired: Count,
    /// Refused by the broker for ever, and set aside in the quarantine.
    pub rejected: Count,
    /// Records among the durable ones that went to where an answer is expected.
    #[cfg(feature = "downlink")]
    pub replies: Count,
    /// Records that were to, and may not: they went the way of all others.
    #[cfg(feature = "downlink")]
    pub replies_refused: Count,
    /// Messages that were larger than the broker takes, and went as several.
    pub split: Count,
    /// Messages confirmed.
    pub messages: Count,
    /// Connections made.
    pub connects: Count,
    /// Bytes that the sink wrote to storage in this start: messages, headers, cursors.
    pub stored_bytes: Count,
    /// The same in whole pages: over `payload_bytes`, the wear of the flash, without what the file system writes for itself.
    pub page_bytes: Count,
    /// Bytes written meanwhile to the block device below, by everyone; 0 where it keeps no statistics.
    pub device_bytes: Count,
    /// Bytes of the messages among them.
    pub payload_bytes: Count,
}

/// What an inbox reports, in messages of this start.
#[cfg(feature = "downlink")]
#[derive(Debug, Default, Serialize)]
pub struct DownlinkStats {
    /// What the broker answered to the subscriptions.
    pub state: Note,
    /// What keeps the inbox from writing; empty while nothing does.
    pub fault: Note,
    /// Stored, and so confirmed.
    pub received: Count,
    /// Repeats that were recognised, confirmed and not stored.
    pub duplicates: Count,
    /// Handed over, and with all consumers.
    pub handed: Count,
    /// Stored and not yet with all consumers.
    pub waiting: Gauge,
    /// Handed over by an earlier start, and perhaps not with all consumers.
    pub uncertain: Count,
    /// Dropped because too many waited; only of `QoS` 0.
    pub dropped: Count,
    /// On topics that no subscription names: confirmed and left alone.
    pub unasked: Count,
}

/// What the agent's identity reports. Times are texts, for people.
#[cfg(feature = "identity")]
#[derive(Debug, Default, Serialize)]
pub struct IdentityStats {
    /// `in use`, or why there is no certificate, or no new one.
    pub state: Note,
    /// Whose the certificate is.
    pub subject: Note,
    /// When it ends.
    pub expires: Note,
    /// When the next one is asked for.
    pub renews: Note,
    /// Exchanges with the EST server that gave no certificate.
    pub failures: Count,
}

/// What is known of the signed time.
#[derive(Debug, Default, serde::Serialize)]
pub struct TimeStats {
    /// How many servers agree, or why there is no signed time.
    pub state: Note,
    /// Rounds that gave a time.
    pub rounds: Count,
    /// Rounds that gave none.
    pub failures: Count,
}

fn relaxed_u32<S: serde::Serializer>(value: &AtomicU32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(value.load(Ordering::Relaxed))
}

fn relaxed_bool<S: serde::Serializer>(
    value: &AtomicBool,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(value.load(Ordering::Relaxed))
}
