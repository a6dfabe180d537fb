//! `calibrate`: values get their meaning, by a telemetry database: a curve, a unit, names, limits.
//!
//! A sample whose name is a parameter of the database becomes what its curve gives, in the parameter's unit. Where the curve
//! gives nothing, it is bad. Of a parameter with contexts the curve is that of the context which `extract` found; where that is
//! not known, the sample is bad, too. A value with a name (a label) is followed by a frame of that name, on the channel
//! `PARAMETER.label`, when the name changes. A change of level against limits becomes a sample on `PARAMETER.alarm`, in the
//! stream `SOURCE.NAME`, of class critical: -2 red low, -1 yellow low, 0 within, 1 yellow high, 2 red high.

use super::channels::PerChannel;
use super::database::Watched;
use super::glob::Globs;
use super::streams::Streams;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Calibration, Channel, Class, Kind, Quality, Record, Value};
use crate::stats::Tally;
use crate::telemetry::database::limit::Watch;
use crate::telemetry::database::{Database, Parameter};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Calibrate {
    /// Those of alarms.
    streams: Streams,
    channels: Globs,
    watched: Watched,
    states: PerChannel<State>,
    tally: Arc<Tally>,
}

/// What is known of one channel.
#[derive(Debug, Default)]
struct State {
    /// Of which database; none before the first value.
    version: Option<Arc<str>>,
    plan: Option<Plan>,
    /// Outlives a change of database.
    watch: Watch,
    label: Option<String>,
}

#[derive(Debug)]
struct Plan {
    parameter: Parameter,
    value: Arc<Channel>,
    alarm: Arc<Channel>,
    label: Arc<Channel>,
}

impl Plan {
    fn new(database: &Database, of: &Channel) -> Option<Plan> {
        let parameter = database.parameter(&of.name)?.clone();
        let unit = parameter.unit.clone().unwrap_or_else(|| of.unit.clone());
        let kind = if parameter.is_curved() {
            Kind::Float
        } else {
            of.kind
        };
        let channel = |ending: &str, unit: String, kind| {
            Arc::new(Channel {
                name: format!("{}{ending}", of.name),
                unit,
                kind,
                calibration: Some(Calibration {
                    version: Arc::clone(&database.version),
                    context: None,
                }),
            })
        };
        Some(Plan {
            value: channel("", unit, kind),
            alarm: channel(".alarm", "1".to_owned(), Kind::Int),
            label: channel(".label", "1".to_owned(), Kind::Frame),
            parameter,
        })
    }
}

/// What comes of a batch.
#[derive(Default)]
struct Made {
    records: Vec<Record>,
    alarms: Vec<Record>,
    calibrated: u64,
    outside: u64,
    /// In no context that is known.
    no_context: u64,
}

impl Calibrate {
    pub(super) fn configure(name: &str, section: &mut Section<'_>) -> Option<Calibrate> {
        let channels = Globs::read(section, "channels");
        let tally = Arc::default();
        Some(Calibrate {
            streams: Streams::new(name),
            channels,
            watched: Watched::configure(name, section, &tally)?,
            states: PerChannel::new(),
            tally,
        })
    }
}

impl State {
    /// Adds what a sample becomes. Says whether it is a parameter.
    fn take(&mut self, record: &Record, database: &Arc<Database>, made: &mut Made) -> bool {
        let Body::Sample {
            channel,
            value,
            quality,
        } = &record.body
        else {
            return false;
        };
        if self.version.as_ref() != Some(&database.version) {
            self.version = Some(Arc::clone(&database.version));
            self.plan = Plan::new(database, channel);
        }
        let Some(plan) = &self.plan else {
            return false;
        };
        let at = |body| Record {
            monotonic_ns: record.monotonic_ns,
            wall_ns: record.wall_ns,
            body,
            reply: None,
        };
        let is_usable = *quality != Quality::Bad;
        let raw = value.as_f64();
        let context = channel.context();
        let curved = plan.parameter.curved(raw, context);
        let curved = curved.filter(|_| is_usable);
        let found = curved.filter(|curved| plan.parameter.is_right(raw, *curved));
        let (value_out, quality_out) = match found {
            Some(found) if plan.parameter.is_curved() => (Value::Float(found), *quality),
            Some(_) => (*value, *quality),
            None if plan.parameter.is_curved() => (Value::Float(f64::NAN), Quality::Bad),
            None => (*value, Quality::Bad),
        };
        made.calibrated += u64::from(found.is_some());
        if is_usable && found.is_none() {
            let is_known = plan.parameter.curve_in(context).is_ok();
            made.outside += u64::from(is_known);
            made.no_context += u64::from(!is_known);
        }
        made.records.push(at(Body::Sample {
            channel: Arc::clone(&plan.value),
            value: value_out,
            quality: quality_out,
        }));
        let number = match value {
            _ if found.is_none() => None,
            Value::Int(number) => Some(*number),
            Value::Bool(flag) => Some(i64::from(*flag)),
            Value::Float(_) => None,
        };
        if let Some(number) = number {
            let label = plan.parameter.label(number);
            if label != self.label.as_deref() {
                self.label = label.map(str::to_owned);
                made.records.extend(label.map(|label| {
                    at(Body::Frame {
                        channel: Arc::clone(&plan.label),
                        bytes: Bytes::copy_from_slice(label.as_bytes()),
                        quality: Quality::Good,
                    })
                }));
            }
        }
        let limits = plan.parameter.limits.as_ref();
        // A value that is not right is beyond a limit all the same.
        let watched = limits.zip(curved);
        if let Some(level) = watched.and_then(|(limits, curved)| self.watch.take(curved, limits)) {
            made.alarms.push(at(Body::Sample {
                channel: Arc::clone(&plan.alarm),
                value: Value::Int(level.number()),
                quality: Quality::Good,
            }));
        }
        true
    }
}

impl Transform for Calibrate {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let database = self.watched.current();
        let states = self.states.stream(&batch.stream);
        let mut made = Made {
            records: Vec::with_capacity(batch.records.len()),
            ..Made::default()
        };
        for record in batch.records.iter() {
            let state = match &record.body {
                Body::Sample { channel, .. } if self.channels.matches(&channel.name) => {
                    Some(states.of(channel, |_| State::default()))
                }
                _ => None,
            };
            if !state.is_some_and(|state| state.take(record, &database, &mut made)) {
                made.records.push(record.clone());
            }
        }
        for (reason, count) in [
            ("calibrated", made.calibrated),
            ("outside", made.outside),
            ("no_context", made.no_context),
            ("alarms", made.alarms.len() as u64),
        ] {
            self.tally.add(reason, count);
        }
        let alarms = (!made.alarms.is_empty()).then(|| Batch {
            stream: self.streams.of(&batch.stream),
            class: Class::Critical,
            records: Arc::new(made.alarms),
            ack: batch.ack.clone(),
        });
        out.extend(alarms);
        batch.records = Arc::new(made.records);
        out.push(batch);
    }

    fn another(&self) -> Option<Calibrate> {
        Some(Calibrate {
            streams: self.streams.clone(),
            channels: self.channels.clone(),
            watched: self.watched.clone(),
            states: PerChannel::new(),
            tally: Arc::clone(&self.tally),
        })
    }

    fn tally(&self) -> Option<Arc<Tally>> {
        Some(Arc::clone(&self.tally))
    }
}

#[cfg(test)]
mod tests;
