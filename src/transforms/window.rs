//! `window`: one record per function and channel over each stretch of `length_ms`, instead of all samples.
//!
//! Windows are tumbling and lie on multiples of their length in monotonic time. A window closes when a sample at or
//! after its end comes, or `grace_ms` after its end when none does, or at the drain; one without samples gives nothing.
//! A late sample, older than the open window, is counted in the open one: nothing is lost, and it is late by a batch at
//! most, or, behind a transform with workers, by what waits before one of them. The records are named
//! `channel.function`, in the stream `source.name`, and carry the time of the window's end (of its last sample, where it
//! was closed early).
//!
//! `min`, `max` and `last` keep the kind of the channel (for a bool, `min` is "all true" and `max` is "any true");
//! `mean` and `sum` are floats, a bool counting 0 or 1; `count` is an integer. Bad samples and values that are not finite
//! are not counted: where nothing else came, `count` is 0 and the others are of quality bad. Where an uncertain sample
//! was counted, they are uncertain. Frames and gaps pass unchanged, at once, in the stream `source.name`.
//!
//! Values that different curves of a telemetry database are meant for are counted together, as they are. No one curve is
//! that of the records, so they have none: as values of a parameter that has contexts, `calibrate` marks them bad.
//!
//! The acks of the samples are held until the records of their window are durable. A window closes early, and the rest
//! of its stretch becomes another, at [`HELD_BATCHES_MAX`] held acks or [`CHANNELS_MAX`] channels.

use super::channels::CHANNELS_MAX;
use super::glob::Globs;
use crate::config::Section;
use crate::pipeline::{Ack, Batch, Transform};
use crate::record::{Body, Calibration, Channel, Class, Kind, Quality, Record, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Most batches of a stream whose acks one window holds.
const HELD_BATCHES_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Mean,
    Sum,
    Count,
    Last,
}

const FUNCTIONS: [(&str, Function); 6] = [
    ("min", Function::Min),
    ("max", Function::Max),
    ("mean", Function::Mean),
    ("sum", Function::Sum),
    ("count", Function::Count),
    ("last", Function::Last),
];

/// What is kept of one channel.
#[derive(Debug)]
struct Summary {
    channel: Arc<Channel>,
    count: u64,
    sum: f64,
    min: Value,
    max: Value,
    last: Value,
    uncertain: bool,
}

/// The open window of one stream.
#[derive(Debug)]
struct Open {
    stream: Arc<str>,
    class: Class,
    /// Number of the window: its start is this many lengths.
    index: u64,
    channels: Vec<Summary>,
    by_name: HashMap<String, usize>,
    held: Vec<Ack>,
    last_monotonic_ns: u64,
    last_wall_ns: i64,
    /// Time of the records given last; those that follow are not older.
    given_ns: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    name: String,
    channels: Globs,
    length_ns: u64,
    grace_ns: u64,
    functions: Vec<(&'static str, Function)>,
    streams: HashMap<Arc<str>, Open>,
}

impl Window {
    pub(super) fn configure(name: &str, section: &mut Section<'_>) -> Option<Window> {
        let channels = Globs::read(section, "channels");
        let length_ms = section.optional_integer("length_ms", 10..=86_400_000);
        if !section.has("length_ms") {
            let remedy = "give the length of a window, such as length_ms = 60000";
            section.problem("length_ms", "is missing", remedy);
        }
        let grace_ms = section.integer("grace_ms", 0..=60_000, 500);
        let words = section.texts("functions");
        if words.is_empty() {
            let remedy =
                "give functions = [\"min\", \"max\", \"mean\", \"count\"], or some of sum and last";
            section.problem("functions", "names no function", remedy);
        }
        let mut functions = Vec::new();
        for word in &words {
            match FUNCTIONS.iter().find(|(known, _)| known == word) {
                Some(function) if functions.contains(function) => {
                    section.problem(
                        "functions",
                        format_args!("names {word:?} twice"),
                        "name it once",
                    );
                }
                Some(function) => functions.push(*function),
                None => {
                    let what = format!("names {word:?}, which is unknown");
                    let remedy = "choose of min, max, mean, sum, count, last";
                    section.problem("functions", what, remedy);
                }
            }
        }
        Some(Window {
            name: name.to_owned(),
            channels,
            length_ns: length_ms? * 1_000_000,
            grace_ns: grace_ms * 1_000_000,
            functions: (functions.len() == words.len() && !words.is_empty())
                .then_some(functions)?,
            streams: HashMap::new(),
        })
    }

    /// Closes the window of a stream, if it has samples.
    fn close(&self, open: &mut Open, early: bool, out: &mut Vec<Batch>) {
        if open.channels.is_empty() {
            return;
        }
        let end_ns = open.index.saturating_add(1).saturating_mul(self.length_ns);
        let at_ns = if early {
            open.last_monotonic_ns
        } else {
            end_ns
        };
        let at_ns = at_ns.max(open.given_ns);
        open.given_ns = at_ns;
        let since_last = at_ns.saturating_sub(open.last_monotonic_ns);
        let wall_ns = open.last_wall_ns.saturating_add_unsigned(since_last);
        let mut records = Vec::with_capacity(open.channels.len() * self.functions.len());
        for summary in open.channels.drain(..) {
            for (suffix, function) in &self.functions {
                records.push(Record {
                    monotonic_ns: at_ns,
                    wall_ns,
                    reply: None,
                    body: summary.body(suffix, *function),
                });
            }
        }
        open.by_name.clear();
        out.push(Batch {
            stream: Arc::clone(&open.stream),
            class: open.class,
            records: Arc::new(records),
            ack: Ack::all(std::mem::take(&mut open.held)),
        });
    }

    /// Counts a sample. `held` says whether the open window holds the ack of its batch already.
    fn count(
        &self,
        open: &mut Open,
        record: &Record,
        ack: &Ack,
        held: &mut bool,
        out: &mut Vec<Batch>,
    ) {
        let Body::Sample {
            channel,
            value,
            quality,
        } = &record.body
        else {
            return;
        };
        let index = record.monotonic_ns / self.length_ns;
        let known = open.by_name.get(&channel.name).copied();
        let changed = known.is_some_and(|at| {
            let seen = &open.channels[at].channel;
            !Arc::ptr_eq(seen, channel) && !is_same(seen, channel)
        });
        let full = known.is_none() && open.channels.len() >= CHANNELS_MAX;
        if index > open.index || changed || full {
            let early = index <= open.index;
            self.close(open, early, out);
            *held = false;
        }
        open.index = open.index.max(index);
        if !*held {
            open.held.push(ack.clone());
            *held = true;
        }
        open.last_monotonic_ns = open.last_monotonic_ns.max(record.monotonic_ns);
        open.last_wall_ns = record.wall_ns;
        let at = if let Some(at) = open.by_name.get(&channel.name) {
            *at
        } else {
            open.channels.push(Summary::new(channel, *value));
            open.by_name
                .insert(channel.name.clone(), open.channels.len() - 1);
            open.channels.len() - 1
        };
        open.channels[at].add(*value, *quality);
    }
}

impl Summary {
    fn new(channel: &Arc<Channel>, value: Value) -> Summary {
        Summary {
            channel: Arc::clone(channel),
            count: 0,
            sum: 0.0,
            min: value,
            max: value,
            last: value,
            uncertain: false,
        }
    }

    fn add(&mut self, value: Value, quality: Quality) {
        if quality == Quality::Bad || !value.as_f64().is_finite() {
            return;
        }
        if self.count == 0 || less(value, self.min) {
            self.min = value;
        }
        if self.count == 0 || less(self.max, value) {
            self.max = value;
        }
        self.last = value;
        self.sum += value.as_f64();
        self.count += 1;
        self.uncertain |= quality == Quality::Uncertain;
    }

    fn body(&self, suffix: &str, function: Function) -> Body {
        let kept = self.channel.kind;
        let unit = self.channel.unit.as_str();
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        let (value, kind, unit) = match function {
            Function::Min => (self.min, kept, unit),
            Function::Max => (self.max, kept, unit),
            Function::Last => (self.last, kept, unit),
            Function::Mean if self.count == 0 => (Value::Float(0.0), Kind::Float, unit),
            Function::Mean => (
                Value::Float(self.sum / self.count as f64),
                Kind::Float,
                unit,
            ),
            Function::Sum => (Value::Float(self.sum), Kind::Float, unit),
            Function::Count => (Value::Int(count), Kind::Int, "1"),
        };
        let quality = match (function, self.count) {
            (Function::Count, _) => Quality::Good,
            (_, 0) => Quality::Bad,
            _ if self.uncertain => Quality::Uncertain,
            _ => Quality::Good,
        };
        let channel = Arc::new(Channel {
            name: format!("{}.{suffix}", self.channel.name),
            unit: unit.to_owned(),
            kind,
            calibration: self.channel.calibration.as_ref().map(|by| Calibration {
                version: Arc::clone(&by.version),
                context: None,
            }),
        });
        Body::Sample {
            channel,
            value,
            quality,
        }
    }
}

/// Whether samples of both channels are of one window: whichever curves are meant, which may differ from sample to sample.
fn is_same(seen: &Channel, channel: &Channel) -> bool {
    (&seen.name, &seen.unit, seen.kind) == (&channel.name, &channel.unit, channel.kind)
        && seen.version() == channel.version()
}

/// Integers exactly; others as floats.
fn less(a: Value, b: Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a < b,
        (a, b) => a.as_f64() < b.as_f64(),
    }
}

impl Transform for Window {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let mut open = self.streams.remove(&batch.stream).unwrap_or_else(|| Open {
            stream: format!("{}.{}", batch.stream, self.name).into(),
            class: batch.class,
            index: 0,
            channels: Vec::new(),
            by_name: HashMap::new(),
            held: Vec::new(),
            last_monotonic_ns: 0,
            last_wall_ns: 0,
            given_ns: 0,
        });
        if open.held.len() >= HELD_BATCHES_MAX {
            self.close(&mut open, true, out);
        }
        open.class = batch.class;
        let counted = |record: &Record| match &record.body {
            Body::Sample { channel, .. } => self.channels.matches(&channel.name),
            Body::Frame { .. } | Body::Gap(_) => false,
        };
        let mut held = false;
        for record in batch.records.iter().filter(|record| counted(record)) {
            self.count(&mut open, record, &batch.ack, &mut held, out);
        }
        super::retain(&mut batch, |record| !counted(record));
        let source = std::mem::replace(&mut batch.stream, Arc::clone(&open.stream));
        // What is not counted goes on now; the share of the ack that came with the batch goes with it, or is done.
        super::forward(batch, out);
        self.streams.insert(source, open);
    }

    fn deadline_ns(&self) -> Option<u64> {
        let open = self
            .streams
            .values()
            .filter(|open| !open.channels.is_empty());
        open.map(|open| {
            let end_ns = open.index.saturating_add(1).saturating_mul(self.length_ns);
            end_ns.saturating_add(self.grace_ns)
        })
        .min()
    }

    fn tick(&mut self, now_ns: u64, out: &mut Vec<Batch>) {
        let mut streams = std::mem::take(&mut self.streams);
        for open in streams.values_mut() {
            let end_ns = open.index.saturating_add(1).saturating_mul(self.length_ns);
            if end_ns.saturating_add(self.grace_ns) <= now_ns {
                self.close(open, false, out);
            }
        }
        self.streams = streams;
    }

    fn flush(&mut self, out: &mut Vec<Batch>) {
        let mut streams = std::mem::take(&mut self.streams);
        for open in streams.values_mut() {
            self.close(open, true, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::Transform as _;
    use crate::record::{Body, Quality, Value};
    use crate::transforms::testing::*;

    const ALL: &str =
        "length_ms = 1000\nfunctions = ['min', 'max', 'mean', 'count', 'sum', 'last']";

    fn flushed(records: Vec<crate::record::Record>) -> String {
        let mut rig = Rig::new("window", ALL);
        let mut out = rig.apply(records);
        rig.transform.flush(&mut out);
        values(&out)
    }

    #[test]
    fn functions_and_kinds() {
        assert_eq!(
            flushed(vec![at(10, "c", 3.0), at(20, "c", 1.0), at(30, "c", 2.0)]),
            "c.min=1 Cel float, c.max=3 Cel float, c.mean=2 Cel float, c.count=3 1 int, \
             c.sum=6 Cel float, c.last=2 Cel float"
        );
        let exact = (1 << 60) + 1;
        assert_eq!(
            flushed(vec![int("i", exact)]),
            "i.min=1152921504606846977 1 int, i.max=1152921504606846977 1 int, \
             i.mean=1152921504606847000 1 float, i.count=1 1 int, \
             i.sum=1152921504606847000 1 float, i.last=1152921504606846977 1 int"
        );
        assert_eq!(
            flushed(vec![flag("b", true), flag("b", false)]),
            "b.min=false 1 bool, b.max=true 1 bool, b.mean=0.5 1 float, b.count=2 1 int, \
             b.sum=1 1 float, b.last=false 1 bool"
        );
        assert_eq!(
            flushed(vec![bad("c", 9.0), sample("c", f64::NAN)]),
            "c.min=9 Cel float!, c.max=9 Cel float!, c.mean=0 Cel float!, c.count=0 1 int, \
             c.sum=0 Cel float!, c.last=9 Cel float!"
        );
        assert_eq!(flushed(vec![frame("f"), gap()]), "f=[1, 2], gap");
    }

    #[test]
    fn bad_samples_are_left_out_and_uncertain_ones_tell() {
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['max', 'count']");
        let uncertain = of(2, "c", "Cel", Value::Float(1.0), Quality::Uncertain);
        let mut out = rig.apply(vec![bad("c", 99.0), uncertain]);
        rig.transform.flush(&mut out);
        assert_eq!(values(&out), "c.max=1 Cel float~, c.count=1 1 int");
    }

    #[test]
    fn boundaries_late_samples_and_stream() {
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['count', 'sum']");
        let out = rig.apply(vec![
            at(500, "c", 1.0),
            at(999, "c", 2.0),
            at(1000, "c", 4.0),
        ]);
        assert_eq!(values(&out), "c.count=2 1 int, c.sum=3 Cel float");
        assert_eq!(&*out[0].stream, "s.t");
        let first = &out[0].records[0];
        assert_eq!(
            (first.monotonic_ns, first.wall_ns),
            (1_000_000_000, 1_000_000_000)
        );
        let out = rig.apply(vec![at(900, "c", 8.0), at(5200, "c", 16.0)]);
        assert_eq!(values(&out), "c.count=2 1 int, c.sum=12 Cel float");
        assert_eq!(out[0].records[0].monotonic_ns, 2_000_000_000);
        // 500 ms of grace after the end at 6 s.
        assert_eq!(rig.transform.deadline_ns(), Some(6_500_000_000));
        let mut out = Vec::new();
        rig.transform.tick(6_499_999_999, &mut out);
        assert!(out.is_empty());
        rig.transform.tick(6_500_000_000, &mut out);
        assert_eq!(values(&out), "c.count=1 1 int, c.sum=16 Cel float");
        assert_eq!(rig.transform.deadline_ns(), None);
    }

    #[test]
    fn values_of_different_curves_are_of_one_window_and_its_records_of_none() {
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['count', 'max']");
        let each = [1, 2, 1].map(|context| in_context(int("x", 10), context));
        assert!(rig.apply(each.into()).is_empty(), "nothing closes it");
        let mut out = Vec::new();
        rig.transform.flush(&mut out);
        assert_eq!(values(&out), "x.count=3 1 int, x.max=10 1 int");
        for record in out[0].records.iter() {
            let Body::Sample { channel, .. } = &record.body else {
                panic!("{record:?}");
            };
            assert_eq!((channel.version(), channel.context()), (Some("1"), None));
        }
    }

    #[test]
    fn acks_wait_for_the_window_that_holds_the_samples() {
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['count']");
        assert!(
            rig.apply(vec![at(100, "c", 1.0), gap()])
                .pop()
                .is_some_and(|gap| {
                    gap.ack.done();
                    true
                })
        );
        assert!(rig.apply(vec![at(200, "c", 1.0)]).is_empty());
        assert_eq!((rig.ledger.released(), rig.ledger.pending()), (0, 3));
        // This batch lies in two windows: it waits for both.
        let closed = rig
            .apply(vec![at(900, "c", 1.0), at(1100, "c", 1.0)])
            .pop()
            .unwrap();
        closed.ack.done();
        assert_eq!((rig.ledger.released(), rig.ledger.pending()), (3, 2));
        let mut out = Vec::new();
        rig.transform.flush(&mut out);
        assert_eq!(rig.ledger.released(), 3);
        out.pop().unwrap().ack.done();
        assert_eq!((rig.ledger.released(), rig.ledger.failed()), (5, 0));
    }

    #[test]
    fn a_window_that_fails_fails_all_its_samples() {
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['count']");
        rig.apply(vec![at(100, "c", 1.0)]);
        rig.apply(vec![at(200, "c", 1.0)]);
        drop(rig.transform);
        assert_eq!((rig.ledger.released(), rig.ledger.failed()), (0, 2));
    }

    #[test]
    fn held_acks_and_channels_are_bounded() {
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['count']");
        for _ in 0..super::HELD_BATCHES_MAX {
            assert!(rig.apply(vec![at(1, "c", 1.0)]).is_empty());
        }
        let out = rig.apply(vec![at(1, "c", 1.0)]);
        assert_eq!(
            values(&out),
            format!("c.count={} 1 int", super::HELD_BATCHES_MAX)
        );
        let mut rig = Rig::new("window", "length_ms = 1000\nfunctions = ['count']");
        let many = (0..=super::CHANNELS_MAX).map(|n| at(1, &format!("c{n}"), 1.0));
        let out = rig.apply(many.collect());
        assert_eq!(out[0].records.len(), super::CHANNELS_MAX);
    }

    #[test]
    fn problems() {
        refuses("window", "functions = ['min']", "t.length_ms: is missing");
        refuses(
            "window",
            "length_ms = 1000",
            "t.functions: names no function",
        );
        refuses(
            "window",
            "length_ms = 1\nfunctions = ['min']",
            "t.length_ms: is 1",
        );
        refuses(
            "window",
            "length_ms = 1000\nfunctions = ['median']",
            "names \"median\"",
        );
        refuses(
            "window",
            "length_ms = 1000\nfunctions = ['min', 'min']",
            "\"min\" twice",
        );
    }
}
