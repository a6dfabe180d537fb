//! Messages of either encoding as lines of JSON.

use crate::payload::{Item, ItemBody, Message};
use crate::record::{Quality, Value};

/// A message as one line of JSON: as it came, or, where it came as CBOR, the same in JSON.
pub(super) fn line(message: &Message, payload: &[u8]) -> String {
    if let (Some(b'{'), Ok(text)) = (payload.first(), std::str::from_utf8(payload)) {
        return text.to_owned();
    }
    let records: Vec<serde_json::Value> = message.records.iter().map(record).collect();
    serde_json::json!({
        "v": message.version,
        "agent": message.agent,
        "boot": message.boot,
        "stream": message.stream,
        "class": message.class.name(),
        "seq": message.seq,
        "records": records,
    })
    .to_string()
}

fn record(item: &Item) -> serde_json::Value {
    use base64::Engine as _;
    let (kind, body) = match &item.body {
        ItemBody::Sample {
            ch,
            value,
            unit,
            cal,
            quality,
        } => {
            let value = match value {
                Value::Float(value) if !value.is_finite() => value.to_string().into(),
                Value::Float(value) => (*value).into(),
                Value::Int(value) => (*value).into(),
                Value::Bool(value) => (*value).into(),
            };
            let value: serde_json::Value = value;
            let body = serde_json::json!({ "ch": ch, "v": value, "unit": unit, "cal": cal, "quality": quality_name(*quality) });
            ("sample", body)
        }
        ItemBody::Frame { ch, bytes, quality } => {
            let bytes = base64::engine::general_purpose::STANDARD.encode(bytes);
            let body =
                serde_json::json!({ "ch": ch, "bytes": bytes, "quality": quality_name(*quality) });
            ("frame", body)
        }
        ItemBody::Gap {
            from_ns,
            to_ns,
            cause,
            lost,
            detail,
        } => {
            let body = serde_json::json!({
                "from_ns": from_ns, "to_ns": to_ns, "cause": cause, "lost": lost, "detail": detail,
            });
            ("gap", body)
        }
        ItemBody::Unknown => ("unknown", serde_json::Value::Null),
    };
    serde_json::json!({ "mono_ns": item.mono_ns, "wall_ns": item.wall_ns, kind: body })
}

fn quality_name(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "good",
        Quality::Uncertain => "uncertain",
        Quality::Bad => "bad",
    }
}
