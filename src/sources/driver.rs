//! `driver`: readings of a C driver, taken in a process of its own.
//!
//! The supervisor in `ffi/driver` keeps the process alive and says what happened; this node turns that into records:
//! readings into samples and frames, outages and overruns into gaps, in the order in which they happened.

mod configure;
mod convert;

pub use configure::Settings;

use crate::pipeline::{Ack, Batch, Ledger, Outlet};
use crate::record::{Class, Record};
use crate::stats::SourceStats;
use convert::Converter;
use dunlin_driver::{Event, Supervisor};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// A driver source that is ready to run.
pub struct DriverSource {
    stream: Arc<str>,
    class: Class,
    supervisor: Supervisor,
    converter: Converter,
    stats: Arc<SourceStats>,
    ledger: Arc<Ledger>,
}

impl DriverSource {
    /// A source that starts its driver when it is run.
    pub fn new(settings: Settings, stats: Arc<SourceStats>, ledger: Arc<Ledger>) -> DriverSource {
        stats.state.set("starting");
        DriverSource {
            stream: settings.spec.name.as_str().into(),
            class: settings.class,
            supervisor: Supervisor::new(settings.spec),
            converter: Converter::default(),
            stats,
            ledger,
        }
    }

    /// Reads until `stop` turns true, then closes the device and hands over what was still under way. A pipeline that
    /// takes nothing holds this up, and with it the driver: that is the back-pressure.
    pub async fn run(mut self, outlet: Outlet, mut stop: watch::Receiver<bool>) {
        loop {
            let records = tokio::select! {
                biased;
                // The sender lives as long as the agent; its end means stop as well.
                _ = stop.wait_for(|stop| *stop) => break,
                event = self.supervisor.next() => {
                    take(event, &self.stream, &mut self.converter, &self.stats)
                }
            };
            let pid = self.supervisor.pid().unwrap_or(0);
            self.stats.host_pid.store(pid, Ordering::Relaxed);
            send(&outlet, &self.stream, self.class, &self.ledger, records).await;
        }
        let stopped = self.supervisor.stop().await;
        if let Some(error) = stopped.error {
            tracing::warn!(source = %self.stream, "the device did not close well: {error}");
        }
        let mut records = Vec::new();
        if let Some(outage) = &stopped.outage {
            self.stats.outages.add(1);
            records.push(convert::outage(outage));
        }
        self.converter
            .samples(&stopped.last.samples, &self.stats, &mut records);
        self.converter
            .frames(stopped.last.frames(), &self.stats, &mut records);
        send(&outlet, &self.stream, self.class, &self.ledger, records).await;
        self.stats.state.set("stopped");
        self.stats.host_pid.store(0, Ordering::Relaxed);
    }
}

/// What an event means: a change of state, or records, or both.
fn take(
    event: Event<'_>,
    source: &str,
    converter: &mut Converter,
    stats: &SourceStats,
) -> Vec<Record> {
    let mut records = Vec::new();
    match event {
        Event::Ready(started) => {
            converter.channels(&started.channels);
            stats.state.set("running");
            tracing::info!(
                source,
                driver = started.driver.id,
                version = started.driver.version,
                pid = started.pid,
                channels = started.channels.len(),
                started_us = u64::try_from(started.started_in.as_micros()).unwrap_or(u64::MAX),
                "driver ready"
            );
            for missing in &started.missing_sandbox {
                tracing::warn!(source, "sandbox: {missing}");
            }
        }
        Event::Samples(samples) => converter.samples(samples, stats, &mut records),
        Event::Frames(frames) => converter.frames(frames, stats, &mut records),
        Event::DeviceError { errno, text } => {
            stats.device_errors.add(1);
            // Once an episode, not once a reading: a dead sensor must not flood a flash disk with logs.
            let state = format!("device error {errno}: {text}");
            if stats.state.get() != state {
                tracing::warn!(source, errno, "device error: {text}");
                stats.state.set(state);
            }
        }
        Event::Down {
            cause,
            detail,
            retry_in,
        } => {
            let retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
            stats.state.set(format!("down, {}: {detail}", cause.name()));
            tracing::warn!(
                source,
                cause = cause.name(),
                retry_ms,
                "driver down: {detail}"
            );
        }
        Event::Outage(outage) => {
            stats.outages.add(1);
            stats.state.set("running");
            let down_us = outage.to_ns.saturating_sub(outage.from_ns) / 1000;
            tracing::info!(
                source,
                cause = outage.cause.name(),
                down_us,
                "readings flow again"
            );
            records.push(convert::outage(&outage));
        }
    }
    records
}

async fn send(
    outlet: &Outlet,
    stream: &Arc<str>,
    class: Class,
    ledger: &Arc<Ledger>,
    records: Vec<Record>,
) {
    if records.is_empty() {
        return;
    }
    let ack = Ack::new(ledger, records.len() as u64);
    outlet
        .send(Batch {
            stream: Arc::clone(stream),
            class,
            records: Arc::new(records),
            ack,
        })
        .await;
}
