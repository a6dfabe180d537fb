//! `deadband`: passes a sample only when it differs enough from the last one that passed on its channel.
//!
//! The first sample of a channel passes, and every change of quality. Numbers pass when they differ by more than
//! `absolute`, or by more than `percent` of the last value that passed; where both are given, either is enough. A bool
//! passes when it changes. A bad sample after a bad one has no value to compare and is left out. `max_silence_ms` lets
//! one sample through when the channel has been silent for that long, by the time of its samples: the heartbeat needs
//! samples to come in. A value that is not finite passes when the last one was finite, and the other way round. A value
//! that another curve of the telemetry database is meant for passes, too: as calibrated it may be far from the last one.
//! Frames and gaps pass; after a gap the next sample of each channel of the stream passes, as for a new start.

use super::channels::PerChannel;
use super::glob::Globs;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Quality, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The last sample that passed.
#[derive(Clone, Copy, Debug)]
struct Last {
    value: Value,
    quality: Quality,
    /// Which curve is meant.
    context: Option<u128>,
    at_ns: u64,
    /// How many gaps the stream had had.
    gaps: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Deadband {
    channels: Globs,
    absolute: Option<f64>,
    percent: Option<f64>,
    max_silence_ns: Option<u64>,
    last: PerChannel<Option<Last>>,
    /// How many gaps each stream has had.
    gaps: HashMap<Arc<str>, u64>,
}

impl Deadband {
    pub(super) fn configure(_name: &str, section: &mut Section<'_>) -> Option<Deadband> {
        let deadband = Deadband {
            channels: Globs::read(section, "channels"),
            absolute: section.number("absolute"),
            percent: section.number("percent"),
            max_silence_ns: section
                .optional_integer("max_silence_ms", 1..=86_400_000)
                .map(|ms| ms * 1_000_000),
            last: PerChannel::new(),
            gaps: HashMap::new(),
        };
        if !section.has("absolute") && !section.has("percent") {
            let what = "is a deadband without a band";
            section.problem(
                "type",
                what,
                "give absolute, percent or both; 0 passes every change",
            );
            return None;
        }
        for (key, band) in [
            ("absolute", deadband.absolute),
            ("percent", deadband.percent),
        ] {
            if let Some(band) = band.filter(|band| *band < 0.0) {
                section.problem(key, format_args!("is {band}"), "choose 0 or more");
                return None;
            }
        }
        Some(deadband)
    }

    fn passes(&self, last: Last, now: Last) -> bool {
        let silent_ns = now.at_ns.saturating_sub(last.at_ns);
        if last.gaps != now.gaps
            || last.quality != now.quality
            || last.context != now.context
            || self.max_silence_ns.is_some_and(|max| silent_ns >= max)
        {
            return true;
        }
        if now.quality == Quality::Bad {
            return false;
        }
        let difference = match (last.value, now.value) {
            (Value::Bool(before), Value::Bool(value)) => return before != value,
            // Exact where floats would not be; as a float only once it is small, or far beyond any band.
            (Value::Int(before), Value::Int(value)) => before.abs_diff(value) as f64,
            (before, value) => {
                let (before, value) = (before.as_f64(), value.as_f64());
                if !before.is_finite() || !value.is_finite() {
                    return before.is_finite() != value.is_finite();
                }
                (value - before).abs()
            }
        };
        let relative = |percent: f64| last.value.as_f64().abs() * percent / 100.0;
        self.absolute.is_some_and(|band| difference > band)
            || self
                .percent
                .is_some_and(|percent| difference > relative(percent))
    }
}

impl Transform for Deadband {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let mut last = std::mem::replace(&mut self.last, PerChannel::new());
        let states = last.stream(&batch.stream);
        let mut gaps = self.gaps.get(&batch.stream).copied().unwrap_or(0);
        super::retain(&mut batch, |record| match &record.body {
            Body::Gap(_) => {
                gaps += 1;
                true
            }
            Body::Sample {
                channel,
                value,
                quality,
            } if self.channels.matches(&channel.name) => {
                let now = Last {
                    value: *value,
                    quality: *quality,
                    context: channel.context(),
                    at_ns: record.monotonic_ns,
                    gaps,
                };
                let state = states.of(channel, |_| None);
                let passes = state.is_none_or(|last| self.passes(last, now));
                if passes {
                    *state = Some(now);
                }
                passes
            }
            Body::Frame { .. } | Body::Sample { .. } => true,
        });
        self.gaps.insert(Arc::clone(&batch.stream), gaps);
        self.last = last;
        super::forward(batch, out);
    }
}

#[cfg(test)]
mod tests {
    use crate::record::{Body, Quality, Record, Value};
    use crate::transforms::testing::*;

    fn passed(config: &str, input: &[f64]) -> String {
        let each = input.iter().zip(0u64..);
        let records: Vec<Record> = each.map(|(v, ms)| at(ms * 100, "c", *v)).collect();
        let out = values(&Rig::new("deadband", config).apply(records));
        out.replace("c=", "").replace(" Cel float", "")
    }

    #[test]
    fn bands() {
        let nan = f64::NAN;
        for (config, input, wanted) in [
            (
                "absolute = 1",
                &[10.0, 11.0, 11.1, 10.5, 10.0][..],
                "10, 11.1, 10",
            ),
            ("absolute = 0", &[1.0, 1.0, 2.0], "1, 2"),
            (
                "percent = 10",
                &[100.0, 110.0, 110.5, 105.0, -1.0],
                "100, 110.5, -1",
            ),
            ("percent = 10", &[0.0, 0.0, 0.1], "0, 0.1"),
            (
                "absolute = 5\npercent = 1",
                &[100.0, 101.5, 99.9],
                "100, 101.5, 99.9",
            ),
            (
                "absolute = 9\nmax_silence_ms = 300",
                &[1.0, 1.0, 1.0, 2.0, 2.0],
                "1, 2",
            ),
            ("absolute = 1", &[1.0, nan, nan, 1.0], "1, NaN, 1"),
        ] {
            assert_eq!(passed(config, input), wanted, "{config}");
        }
    }

    #[test]
    fn bools_qualities_gaps_and_frames() {
        let mut rig = Rig::new("deadband", "absolute = 100");
        let input = vec![
            flag("b", true),
            flag("b", true),
            flag("b", false),
            of(0, "i", "1", Value::Int(1), Quality::Good),
            of(0, "i", "1", Value::Int(2), Quality::Uncertain),
            of(0, "i", "1", Value::Int(3), Quality::Bad),
            of(0, "i", "1", Value::Int(4), Quality::Bad),
            frame("f"),
            gap(),
            of(0, "i", "1", Value::Int(5), Quality::Bad),
        ];
        assert_eq!(
            values(&rig.apply(input)),
            "b=true 1 bool, b=false 1 bool, i=1 1 int, i=2 1 int~, i=3 1 int!, f=[1, 2], gap, i=5 1 int!"
        );
        assert_eq!(
            rig.ledger.failed(),
            10,
            "the batch was dropped by this test, not by the transform"
        );
    }

    /// The same number of another gain is another value.
    #[test]
    fn a_value_of_another_curve_passes() {
        let each = [1, 1, 2, 2, 1].map(|context| in_context(int("x", 10), context));
        let mut rig = Rig::new("deadband", "absolute = 100");
        let passed = rig.apply(each.into());
        let contexts: Vec<Option<u128>> = passed[0]
            .records
            .iter()
            .map(|record| match &record.body {
                Body::Sample { channel, .. } => channel.context(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(contexts, [Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn a_gap_begins_its_own_stream_anew_and_no_other() {
        let mut rig = Rig::new("deadband", "absolute = 1");
        rig.apply(vec![at(0, "c", 1.0)]);
        let mut out = Vec::new();
        let mut other = rig.batch(vec![gap()]);
        other.stream = "other".into();
        crate::pipeline::Transform::apply(&mut rig.transform, other, &mut out);
        assert!(rig.apply(vec![at(1, "c", 1.0)]).is_empty());
        assert_eq!(names(&rig.apply(vec![gap(), at(2, "c", 1.0)])), "gap c");
    }

    #[test]
    fn a_shared_batch_is_left_as_it_was_for_the_other_party() {
        let mut rig = Rig::new("deadband", "absolute = 1");
        let mut out = Vec::new();
        let batch = rig.batch(vec![at(0, "c", 1.0), at(1, "c", 1.0)]);
        let other = batch.share();
        crate::pipeline::Transform::apply(&mut rig.transform, batch, &mut out);
        assert_eq!((out[0].records.len(), other.records.len()), (1, 2));
    }

    #[test]
    fn problems() {
        refuses("deadband", "", "t.type: is a deadband without a band");
        refuses("deadband", "absolute = -1", "t.absolute: is -1");
        refuses(
            "deadband",
            "absolute = 1\nmax_silence_ms = 0",
            "t.max_silence_ms: is 0",
        );
    }
}
