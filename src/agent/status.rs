//! The status file: what the agent is doing, rewritten whole every second, for `dunlin status` and for monitors.

use super::state_dir::ClockFile;
use crate::clock::{self, BootId};
use crate::pipeline::Ledger;
#[cfg(feature = "downlink")]
use crate::stats::DownlinkStats;
#[cfg(feature = "identity")]
use crate::stats::IdentityStats;
#[cfg(feature = "telemetry")]
use crate::stats::Tally;
#[cfg(feature = "roughtime")]
use crate::stats::TimeStats;
use crate::stats::{Count, SinkStats, SourceStats};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a source says of itself and what became of its records.
#[derive(Debug, Default)]
pub(super) struct SourceStatus {
    /// Written by the source.
    pub stats: Arc<SourceStats>,
    /// Written by the acks of its batches.
    pub ledger: Arc<Ledger>,
}

/// Everything that the status file is made of.
#[derive(Debug)]
pub(super) struct Status {
    /// The file.
    pub file: PathBuf,
    /// What keeps time over restarts.
    pub clock_file: Mutex<ClockFile>,
    /// The agent's name.
    pub agent: Arc<str>,
    /// This start.
    pub boot: BootId,
    /// Monotonic time of the start of the process, in nanoseconds.
    pub started_ns: u64,
    /// Sources by name.
    pub sources: BTreeMap<String, SourceStatus>,
    /// What transforms count, by name.
    #[cfg(feature = "telemetry")]
    pub transforms: BTreeMap<String, Arc<Tally>>,
    /// What inboxes count, by the name of their source.
    #[cfg(feature = "downlink")]
    pub downlinks: BTreeMap<String, Arc<DownlinkStats>>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Arc<SinkStats>>,
    /// Records that nodes missed that may be skipped, by name.
    pub skipped: BTreeMap<String, Arc<Count>>,
    /// The agent's own certificate, where it gets one.
    #[cfg(feature = "identity")]
    pub identity: Option<Arc<IdentityStats>>,
    /// The signed time, where servers are asked.
    #[cfg(feature = "roughtime")]
    pub time: Option<Arc<TimeStats>>,
}

/// The file's content.
#[derive(Serialize)]
struct Document<'a> {
    agent: &'a str,
    boot: String,
    version: &'static str,
    pid: u32,
    uptime_ms: u64,
    wall_ns: i64,
    /// What is wrong with the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
    /// Records that the sources made in this start.
    produced: u64,
    /// Records that every sink has, or that a transform left out on purpose.
    released: u64,
    /// Records that some sink could not take.
    failed: u64,
    /// Sums over the sinks, in records.
    durable: u64,
    uplinked: u64,
    dropped: u64,
    rejected: u64,
    sources: BTreeMap<&'a str, SourceDocument<'a>>,
    #[cfg(feature = "telemetry")]
    transforms: BTreeMap<&'a str, &'a Tally>,
    #[cfg(feature = "downlink")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    downlinks: BTreeMap<&'a str, &'a DownlinkStats>,
    sinks: BTreeMap<&'a str, &'a SinkStats>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    skipped: BTreeMap<&'a str, &'a Count>,
    #[cfg(feature = "identity")]
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a IdentityStats>,
    #[cfg(feature = "roughtime")]
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a TimeStats>,
}

#[derive(Serialize)]
struct SourceDocument<'a> {
    #[serde(flatten)]
    stats: &'a SourceStats,
    produced: u64,
    released: u64,
    failed: u64,
    pending: u64,
}

/// Sums at one instant, in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// Made by the sources.
    pub produced: u64,
    /// Durable in a sink.
    pub durable: u64,
    /// Confirmed by a broker.
    pub uplinked: u64,
    /// Dropped by policy.
    pub dropped: u64,
    /// Could not be taken by some sink.
    pub failed: u64,
}

impl Status {
    /// The sums now.
    pub(super) fn totals(&self) -> Totals {
        let sources = |count: fn(&Ledger) -> u64| -> u64 {
            self.sources
                .values()
                .map(|source| count(&source.ledger))
                .sum()
        };
        let sinks = |count: fn(&SinkStats) -> u64| -> u64 {
            self.sinks.values().map(|sink| count(sink)).sum()
        };
        // Later stages first: a record counted as uplinked is then surely counted as durable and as produced.
        let uplinked = sinks(|sink| sink.uplinked.get());
        let dropped = sinks(|sink| sink.dropped.get());
        let durable = sinks(|sink| sink.durable.get());
        let failed = sources(Ledger::failed);
        Totals {
            produced: sources(Ledger::produced),
            durable,
            uplinked,
            dropped,
            failed,
        }
    }

    /// Replaces the file. Not fsynced: it speaks of a running process and means nothing after a crash.
    pub(super) fn write(&self) -> io::Result<()> {
        let totals = self.totals();
        let document = Document {
            agent: &self.agent,
            boot: self.boot.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_ms: (clock::monotonic_ns() - self.started_ns) / 1_000_000,
            wall_ns: clock::wall_ns(),
            clock: clock::complaint(),
            produced: totals.produced,
            released: self
                .sources
                .values()
                .map(|source| source.ledger.released())
                .sum(),
            failed: totals.failed,
            durable: totals.durable,
            uplinked: totals.uplinked,
            dropped: totals.dropped,
            rejected: self.sinks.values().map(|sink| sink.rejected.get()).sum(),
            sources: self
                .sources
                .iter()
                .map(|(name, source)| (&**name, document(source)))
                .collect(),
            #[cfg(feature = "telemetry")]
            transforms: self
                .transforms
                .iter()
                .map(|(name, tally)| (&**name, &**tally))
                .collect(),
            #[cfg(feature = "downlink")]
            downlinks: self
                .downlinks
                .iter()
                .map(|(name, inbox)| (&**name, &**inbox))
                .collect(),
            sinks: self
                .sinks
                .iter()
                .map(|(name, sink)| (&**name, &**sink))
                .collect(),
            skipped: self
                .skipped
                .iter()
                .map(|(name, count)| (&**name, &**count))
                .collect(),
            #[cfg(feature = "identity")]
            identity: self.identity.as_deref(),
            #[cfg(feature = "roughtime")]
            time: self.time.as_deref(),
        };
        let mut clock_file = self
            .clock_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = clock_file.store(clock::seen_s()) {
            tracing::warn!("{error}");
        }
        drop(clock_file);
        let mut text = serde_json::to_vec_pretty(&document)?;
        text.push(b'\n');
        let temporary = self.file.with_extension("new");
        fs::write(&temporary, text)?;
        fs::rename(&temporary, &self.file)
    }
}

fn document(source: &SourceStatus) -> SourceDocument<'_> {
    let (released, failed) = (source.ledger.released(), source.ledger.failed());
    SourceDocument {
        stats: &source.stats,
        produced: source.ledger.produced(),
        released,
        failed,
        pending: source.ledger.pending(),
    }
}
