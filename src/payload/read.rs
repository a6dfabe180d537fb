//! Bytes to records. The input is hostile until it has parsed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Encoding, Item, ItemBody, MESSAGE_MAX_BYTES, Message, PayloadError, VERSION};
use crate::record::{Class, Quality, Value};

pub(super) fn decode(bytes: &[u8]) -> Result<Message, PayloadError> {
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(PayloadError::TooLong { bytes: bytes.len() });
    }
    // A CBOR map has major type 5.
    let encoding = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Encoding::Json,
        _ if bytes.first().is_some_and(|byte| byte >> 5 == 5) => Encoding::Cbor,
        _ => return Err(PayloadError::NeitherJsonNorCbor),
    };
    let malformed = |detail: String| PayloadError::Malformed { encoding, detail };
    let wire: Wire = match encoding {
        Encoding::Json => serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?,
        Encoding::Cbor => {
            cbor4ii::serde::from_slice(bytes).map_err(|e| malformed(e.to_string()))?
        }
    };
    if wire.v != VERSION {
        return Err(PayloadError::Version { found: wire.v });
    }
    Ok(Message {
        version: wire.v,
        agent: wire.agent,
        boot: wire.boot,
        stream: wire.stream,
        class: wire
            .class
            .as_deref()
            .and_then(Class::from_name)
            .unwrap_or_default(),
        seq: wire.seq,
        records: wire.records.into_iter().map(item).collect(),
    })
}

fn item(record: WireRecord) -> Item {
    let body = if let Some(sample) = record.sample {
        ItemBody::Sample {
            ch: sample.ch,
            value: sample.v.0,
            unit: sample.unit,
            cal: sample.cal,
            quality: quality(sample.quality.as_deref()),
        }
    } else if let Some(frame) = record.frame {
        ItemBody::Frame {
            ch: frame.ch,
            bytes: frame.bytes.0,
            quality: quality(frame.quality.as_deref()),
        }
    } else if let Some(gap) = record.gap {
        ItemBody::Gap {
            from_ns: gap.from_ns,
            to_ns: gap.to_ns,
            cause: gap.cause,
            lost: gap.lost,
            detail: gap.detail,
        }
    } else {
        ItemBody::Unknown
    };
    Item {
        mono_ns: record.mono_ns,
        wall_ns: record.wall_ns,
        body,
    }
}

fn quality(name: Option<&str>) -> Quality {
    match name {
        None => Quality::Good,
        Some("uncertain") => Quality::Uncertain,
        // A quality that is unknown here is no reason to trust the value.
        Some(_) => Quality::Bad,
    }
}

#[derive(Deserialize)]
struct Wire {
    v: u32,
    agent: String,
    boot: String,
    stream: String,
    class: Option<String>,
    seq: u64,
    records: Vec<WireRecord>,
}

#[derive(Deserialize)]
struct WireRecord {
    mono_ns: u64,
    wall_ns: i64,
    sample: Option<WireSample>,
    frame: Option<WireFrame>,
    gap: Option<WireGap>,
}

#[derive(Deserialize)]
struct WireSample {
    ch: String,
    v: Number,
    unit: String,
    cal: Option<String>,
    quality: Option<String>,
}

#[derive(Deserialize)]
struct WireFrame {
    ch: String,
    bytes: Octets,
    quality: Option<String>,
}

#[derive(Deserialize)]
struct WireGap {
    from_ns: u64,
    to_ns: u64,
    cause: String,
    lost: Option<u64>,
    detail: String,
}

struct Number(Value);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a truth value, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Number, E> {
        Ok(Number(Value::Bool(v)))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Number, E> {
        Ok(Number(Value::Int(v)))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Number, E> {
        Ok(Number(
            i64::try_from(v).map_or(Value::Float(v as f64), Value::Int),
        ))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Number, E> {
        Ok(Number(Value::Float(v)))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Number, E> {
        match v {
            "NaN" => Ok(Number(Value::Float(f64::NAN))),
            "Infinity" => Ok(Number(Value::Float(f64::INFINITY))),
            "-Infinity" => Ok(Number(Value::Float(f64::NEG_INFINITY))),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(v), &self)),
        }
    }
}

struct Octets(Vec<u8>);

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Octets, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(OctetsVisitor)
        } else {
            deserializer.deserialize_bytes(OctetsVisitor)
        }
    }
}

struct OctetsVisitor;

impl Visitor<'_> for OctetsVisitor {
    type Value = Octets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, in JSON as base64")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Octets, E> {
        STANDARD.decode(v).map(Octets).map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Octets, E> {
        Ok(Octets(v.to_vec()))
    }
}
