//! Records to bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::{Encoding, Envelope, VERSION};
use crate::record::{Body, Class, Quality, Record, Value};

const INFALLIBLE: &str = "writing to memory, of types that both formats can express, cannot fail";

pub(super) fn encode(
    encoding: Encoding,
    envelope: &Envelope<'_>,
    records: &[Record],
    out: &mut Vec<u8>,
) {
    let message = Message { envelope, records };
    match encoding {
        Encoding::Json => serde_json::to_writer(&mut *out, &message).expect(INFALLIBLE),
        Encoding::Cbor => {
            *out = cbor4ii::serde::to_vec(std::mem::take(out), &message).expect(INFALLIBLE);
        }
    }
}

struct Message<'a> {
    envelope: &'a Envelope<'a>,
    records: &'a [Record],
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Envelope {
            agent,
            boot,
            stream,
            class,
            seq,
        } = *self.envelope;
        let with_class = class != Class::Normal;
        let mut fields = serializer.serialize_struct("Message", 6 + usize::from(with_class))?;
        fields.serialize_field("v", &VERSION)?;
        fields.serialize_field("agent", agent)?;
        fields.serialize_field("boot", &Shown(boot))?;
        fields.serialize_field("stream", stream)?;
        if with_class {
            fields.serialize_field("class", class.name())?;
        }
        fields.serialize_field("seq", &seq)?;
        fields.serialize_field("records", &Records(self.records))?;
        fields.end()
    }
}

struct Shown(crate::clock::BootId);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

struct Records<'a>(&'a [Record]);

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for record in self.0 {
            list.serialize_element(&One(record))?;
        }
        list.end()
    }
}

struct One<'a>(&'a Record);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Record", 3)?;
        fields.serialize_field("mono_ns", &self.0.monotonic_ns)?;
        fields.serialize_field("wall_ns", &self.0.wall_ns)?;
        let body = Content(&self.0.body);
        match &self.0.body {
            Body::Sample { .. } => fields.serialize_field("sample", &body)?,
            Body::Frame { .. } => fields.serialize_field("frame", &body)?,
            Body::Gap(_) => fields.serialize_field("gap", &body)?,
        }
        fields.end()
    }
}

struct Content<'a>(&'a Body);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Body::Sample {
                channel,
                value,
                quality,
            } => {
                let trusted = *quality == Quality::Good;
                let count = 3 + usize::from(!trusted) + usize::from(channel.calibration.is_some());
                let mut fields = serializer.serialize_struct("Sample", count)?;
                fields.serialize_field("ch", &channel.name)?;
                fields.serialize_field("v", &Number(*value))?;
                fields.serialize_field("unit", &channel.unit)?;
                if let Some(version) = channel.version() {
                    fields.serialize_field("cal", version)?;
                }
                if !trusted {
                    fields.serialize_field("quality", quality_name(*quality))?;
                }
                fields.end()
            }
            Body::Frame {
                channel,
                bytes,
                quality,
            } => {
                let trusted = *quality == Quality::Good;
                let mut fields =
                    serializer.serialize_struct("Frame", if trusted { 2 } else { 3 })?;
                fields.serialize_field("ch", &channel.name)?;
                fields.serialize_field("bytes", &Octets(bytes))?;
                if !trusted {
                    fields.serialize_field("quality", quality_name(*quality))?;
                }
                fields.end()
            }
            Body::Gap(gap) => {
                let count = 4 + usize::from(gap.lost.is_some());
                let mut fields = serializer.serialize_struct("Gap", count)?;
                fields.serialize_field("from_ns", &gap.from_ns)?;
                fields.serialize_field("to_ns", &gap.to_ns)?;
                fields.serialize_field("cause", gap.cause.name())?;
                if let Some(lost) = gap.lost {
                    fields.serialize_field("lost", &lost)?;
                }
                fields.serialize_field("detail", &gap.detail)?;
                fields.end()
            }
        }
    }
}

/// The name of a quality that is written, which `Good` is not.
fn quality_name(quality: Quality) -> &'static str {
    if quality == Quality::Bad {
        "bad"
    } else {
        "uncertain"
    }
}

struct Number(Value);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Float(v) if v.is_finite() || !serializer.is_human_readable() => {
                serializer.serialize_f64(v)
            }
            Value::Float(v) if v.is_nan() => serializer.serialize_str("NaN"),
            Value::Float(v) if v > 0.0 => serializer.serialize_str("Infinity"),
            Value::Float(_) => serializer.serialize_str("-Infinity"),
            Value::Int(v) => serializer.serialize_i64(v),
            Value::Bool(v) => serializer.serialize_bool(v),
        }
    }
}

struct Octets<'a>(&'a [u8]);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}
