//! What the tests of the transforms share: records, a transform with its ledger, and a short notation of the outcome.

use super::{Transform, configure};
use crate::config::parse;
use crate::pipeline::{Ack, Batch, Ledger, Transform as _};
use crate::record::{Body, Calibration, Cause, Channel, Class, Gap, Kind, Quality, Record, Value};
use std::path::Path;
use std::sync::Arc;

pub(super) fn record(at_ms: u64, body: Body) -> Record {
    Record {
        monotonic_ns: at_ms * 1_000_000,
        wall_ns: i64::try_from(at_ms).unwrap() * 1_000_000,
        reply: None,
        body,
    }
}

pub(super) fn channel(name: &str, unit: &str, kind: Kind) -> Arc<Channel> {
    Arc::new(Channel {
        name: name.to_owned(),
        unit: unit.to_owned(),
        kind,
        calibration: None,
    })
}

pub(super) fn of(at_ms: u64, name: &str, unit: &str, value: Value, quality: Quality) -> Record {
    let kind = match value {
        Value::Float(_) => Kind::Float,
        Value::Int(_) => Kind::Int,
        Value::Bool(_) => Kind::Bool,
    };
    let channel = channel(name, unit, kind);
    let body = Body::Sample {
        channel,
        value,
        quality,
    };
    record(at_ms, body)
}

pub(super) fn sample(name: &str, value: f64) -> Record {
    of(0, name, "Cel", Value::Float(value), Quality::Good)
}

pub(super) fn at(at_ms: u64, name: &str, value: f64) -> Record {
    of(at_ms, name, "Cel", Value::Float(value), Quality::Good)
}

pub(super) fn bad(name: &str, value: f64) -> Record {
    of(0, name, "Cel", Value::Float(value), Quality::Bad)
}

pub(super) fn int(name: &str, value: i64) -> Record {
    of(0, name, "1", Value::Int(value), Quality::Good)
}

/// The same value, with a curve of the telemetry database `1` that is meant.
pub(super) fn in_context(mut record: Record, context: u128) -> Record {
    if let Body::Sample { channel, .. } = &mut record.body {
        Arc::make_mut(channel).calibration = Some(Calibration {
            version: "1".into(),
            context: Some(context),
        });
    }
    record
}

pub(super) fn flag(name: &str, value: bool) -> Record {
    of(0, name, "1", Value::Bool(value), Quality::Good)
}

pub(super) fn frame(name: &str) -> Record {
    framed(0, name, b"\x01\x02")
}

pub(super) fn framed(at_ms: u64, name: &str, bytes: &[u8]) -> Record {
    let body = Body::Frame {
        channel: channel(name, "1", Kind::Frame),
        bytes: bytes::Bytes::copy_from_slice(bytes),
        quality: Quality::Good,
    };
    record(at_ms, body)
}

pub(super) fn gap() -> Record {
    let gap = Gap {
        from_ns: 0,
        to_ns: 1,
        cause: Cause::Crash,
        lost: None,
        detail: String::new(),
    };
    record(0, Body::Gap(gap))
}

pub(super) struct Rig {
    pub(super) transform: Transform,
    pub(super) ledger: Arc<Ledger>,
}

fn make(kind: &str, config: &str) -> Result<Transform, String> {
    let text = format!("[t]\ntype = '{kind}'\ninputs = ['s']\n{config}\n");
    parse(Path::new("x"), &text, |root, _| {
        configure("t", root.section("t").unwrap()).1
    })
    .map(|made| made.expect("a problem was reported where nothing was made"))
    .map_err(|problems| problems.to_string())
}

impl Rig {
    pub(super) fn new(kind: &str, config: &str) -> Rig {
        Rig {
            transform: make(kind, config).unwrap(),
            ledger: Arc::default(),
        }
    }

    /// With a telemetry database, which is written to `dir` as `db.toml`.
    pub(super) fn with_database(kind: &str, dir: &Path, database: &str, config: &str) -> Rig {
        let file = dir.join("db.toml");
        std::fs::write(&file, database).unwrap();
        Rig::new(kind, &format!("database = '{}'\n{config}", file.display()))
    }

    pub(super) fn batch(&self, records: Vec<Record>) -> Batch {
        let count = u64::try_from(records.len()).unwrap();
        Batch {
            stream: "s".into(),
            class: Class::Normal,
            records: Arc::new(records),
            ack: Ack::new(&self.ledger, count),
        }
    }

    pub(super) fn apply(&mut self, records: Vec<Record>) -> Vec<Batch> {
        let mut out = Vec::new();
        let batch = self.batch(records);
        self.transform.apply(batch, &mut out);
        out
    }
}

/// Names of what is left, with `!` for bad quality.
pub(super) fn names(batches: &[Batch]) -> String {
    let records = batches.iter().flat_map(|batch| batch.records.iter());
    let names = records.map(|record| match &record.body {
        Body::Gap(_) => "gap".to_owned(),
        Body::Sample {
            channel, quality, ..
        }
        | Body::Frame {
            channel, quality, ..
        } if *quality == Quality::Bad => format!("{}!", channel.name),
        Body::Sample { channel, .. } | Body::Frame { channel, .. } => channel.name.clone(),
    });
    names.collect::<Vec<_>>().join(" ")
}

/// `name=value unit`, with `!` for bad and `~` for uncertain quality.
pub(super) fn values(batches: &[Batch]) -> String {
    let records = batches.iter().flat_map(|batch| batch.records.iter());
    let values = records.map(|record| match &record.body {
        Body::Gap(_) => "gap".to_owned(),
        Body::Frame { channel, bytes, .. } => format!("{}={:?}", channel.name, &bytes[..]),
        Body::Sample {
            channel,
            value,
            quality,
        } => {
            let mark = match quality {
                Quality::Good => "",
                Quality::Uncertain => "~",
                Quality::Bad => "!",
            };
            let kind = channel.kind.name();
            format!("{}={value} {} {kind}{mark}", channel.name, channel.unit)
        }
    });
    values.collect::<Vec<_>>().join(", ")
}

pub(super) fn run(kind: &str, config: &str, records: Vec<Record>) -> String {
    names(&Rig::new(kind, config).apply(records))
}

pub(super) fn refuses(kind: &str, config: &str, wanted: &str) {
    let found = make(kind, config).map(|_| ()).unwrap_err();
    assert!(found.contains(wanted), "{found}");
    assert!(found.contains("Remedy: "), "{found}");
}
