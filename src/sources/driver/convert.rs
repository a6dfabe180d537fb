//! Readings of a driver as records.

use crate::clock::{self, Anchor};
use crate::record::{self, Body, Cause, Gap, Record};
use crate::slabs::Slabs;
use crate::stats::SourceStats;
use dunlin_driver as driver;
use std::sync::Arc;

/// The channels of a device and what was last seen on each.
#[derive(Debug, Default)]
pub(super) struct Converter {
    channels: Vec<(Arc<record::Channel>, u64)>,
    slabs: Slabs,
}

impl Converter {
    /// The device was opened and has these channels.
    pub(super) fn channels(&mut self, channels: &[driver::Channel]) {
        let now = clock::monotonic_ns();
        let convert = |channel: &driver::Channel| record::Channel {
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            kind: match channel.kind {
                driver::Kind::Float => record::Kind::Float,
                driver::Kind::Int => record::Kind::Int,
                driver::Kind::Bool => record::Kind::Bool,
                driver::Kind::Frame => record::Kind::Frame,
            },
            calibration: None,
        };
        self.channels = channels
            .iter()
            .map(|channel| (Arc::new(convert(channel)), now))
            .collect();
    }

    /// Appends samples, each overrun as a gap before the sample that followed it.
    pub(super) fn samples(
        &mut self,
        samples: &[driver::Sample],
        stats: &SourceStats,
        records: &mut Vec<Record>,
    ) {
        let anchor = Anchor::now();
        records.reserve(samples.len());
        stats.readings.add(samples.len() as u64);
        for sample in samples {
            let Some(channel) = self.seen(
                anchor,
                sample.channel,
                sample.monotonic_ns,
                sample.lost,
                stats,
                records,
            ) else {
                continue;
            };
            let value = match sample.value {
                driver::Value::Float(value) => record::Value::Float(value),
                driver::Value::Int(value) => record::Value::Int(value),
                driver::Value::Bool(value) => record::Value::Bool(value),
            };
            let quality = match sample.quality {
                driver::Quality::Good => record::Quality::Good,
                driver::Quality::Uncertain => record::Quality::Uncertain,
                driver::Quality::Bad => record::Quality::Bad,
            };
            let body = Body::Sample {
                channel,
                value,
                quality,
            };
            records.push(at(anchor, sample.monotonic_ns, body));
        }
    }

    /// Appends frames, each overrun as a gap before the frame that followed it.
    pub(super) fn frames(
        &mut self,
        frames: driver::Frames<'_>,
        stats: &SourceStats,
        records: &mut Vec<Record>,
    ) {
        let anchor = Anchor::now();
        stats.readings.add(frames.len() as u64);
        for (span, bytes) in frames.iter() {
            let Some(channel) = self.seen(
                anchor,
                span.channel,
                span.monotonic_ns,
                span.lost,
                stats,
                records,
            ) else {
                continue;
            };
            let body = Body::Frame {
                channel,
                bytes: self.slabs.put(bytes),
                quality: record::Quality::Good,
            };
            records.push(at(anchor, span.monotonic_ns, body));
        }
    }

    /// The channel of a reading, after a gap record for what was lost before it. The layer below has checked that the
    /// channel exists.
    fn seen(
        &mut self,
        anchor: Anchor,
        channel: u32,
        monotonic_ns: u64,
        lost: u32,
        stats: &SourceStats,
        records: &mut Vec<Record>,
    ) -> Option<Arc<record::Channel>> {
        let (channel, last_ns) = self.channels.get_mut(usize::try_from(channel).ok()?)?;
        let from_ns = std::mem::replace(last_ns, monotonic_ns);
        if lost > 0 {
            stats.overruns.add(u64::from(lost));
            let gap = Gap {
                from_ns,
                to_ns: monotonic_ns,
                cause: Cause::Overrun,
                lost: Some(u64::from(lost)),
                detail: format!("channel {}", channel.name),
            };
            records.push(at(anchor, monotonic_ns, Body::Gap(gap)));
        }
        Some(Arc::clone(channel))
    }
}

/// The gap record of an outage.
pub(super) fn outage(outage: &driver::Outage) -> Record {
    let cause = match outage.cause {
        driver::Cause::Crash { .. } | driver::Cause::Exit { .. } => Cause::Crash,
        driver::Cause::Hang { .. } => Cause::Hang,
        driver::Cause::Limit { .. } => Cause::Limit,
        driver::Cause::Contract => Cause::Contract,
        driver::Cause::Device { .. } => Cause::Device,
        driver::Cause::Start => Cause::Start,
    };
    let gap = Gap {
        from_ns: outage.from_ns,
        to_ns: outage.to_ns,
        cause,
        lost: None,
        detail: outage.detail.clone(),
    };
    at(Anchor::now(), outage.to_ns, Body::Gap(gap))
}

fn at(anchor: Anchor, monotonic_ns: u64, body: Body) -> Record {
    Record {
        monotonic_ns,
        wall_ns: anchor.wall_ns(monotonic_ns),
        reply: None,
        body,
    }
}
