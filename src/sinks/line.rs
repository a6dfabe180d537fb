//! One record as one JSON line.

use super::time::rfc3339;
use crate::record::{Body, Quality, Record, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// The line. Keys that do not apply are left out; a value that is not finite, or of bad quality, is `null`.
#[derive(Serialize)]
struct Line<'a> {
    stream: &'a str,
    boot: &'a str,
    seq: u64,
    monotonic_ns: u64,
    time: String,
    #[serde(flatten)]
    body: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Sample {
        channel: &'a str,
        value: Option<Number>,
        unit: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        calibration: Option<&'a str>,
        quality: &'static str,
    },
    Frame {
        channel: &'a str,
        unit: &'a str,
        frame: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        quality: Option<&'static str>,
    },
    Gap {
        gap: Missing<'a>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Float(f64),
    Int(i64),
    Bool(bool),
}

#[derive(Serialize)]
struct Missing<'a> {
    from_ns: u64,
    to_ns: u64,
    cause: &'static str,
    lost: Option<u64>,
    detail: &'a str,
}

pub(super) fn quality_name(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "good",
        Quality::Uncertain => "uncertain",
        Quality::Bad => "bad",
    }
}

/// Appends the line of a record, with its newline.
pub(super) fn append(text: &mut Vec<u8>, stream: &str, boot: &str, seq: u64, record: &Record) {
    let body = match &record.body {
        Body::Sample {
            channel,
            value,
            quality,
        } => Content::Sample {
            channel: &channel.name,
            value: (*quality != Quality::Bad).then_some(match value {
                Value::Float(float) => Number::Float(*float),
                Value::Int(int) => Number::Int(*int),
                Value::Bool(flag) => Number::Bool(*flag),
            }),
            unit: &channel.unit,
            calibration: channel.version(),
            quality: quality_name(*quality),
        },
        Body::Frame {
            channel,
            bytes,
            quality,
        } => Content::Frame {
            channel: &channel.name,
            unit: &channel.unit,
            frame: STANDARD.encode(bytes),
            quality: (*quality != Quality::Good).then(|| quality_name(*quality)),
        },
        Body::Gap(gap) => Content::Gap {
            gap: Missing {
                from_ns: gap.from_ns,
                to_ns: gap.to_ns,
                cause: gap.cause.name(),
                lost: gap.lost,
                detail: &gap.detail,
            },
        },
    };
    let line = Line {
        stream,
        boot,
        seq,
        monotonic_ns: record.monotonic_ns,
        time: rfc3339(record.wall_ns),
        body,
    };
    // serde_json writes a float that is not finite as null.
    serde_json::to_writer(&mut *text, &line)
        .expect("text keys, and memory does not fail to take bytes");
    text.push(b'\n');
}
