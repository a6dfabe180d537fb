//! What `dunlin telemetry decode` prints: a line for each packet, value, time and gap.

use crate::record::{Body, Channel, Quality, Record, Value};
use crate::telemetry::packet::{HEADER_BYTES, Header};
use serde_json::{Value as Json, json};
use std::io::{self, Write};

/// Bytes of a packet that a line of the table shows.
const SHOWN_BYTES: usize = 16;

/// What is printed.
pub(super) struct Lines<W> {
    pub(super) out: W,
    /// Lines of JSON, not a table.
    pub(super) json: bool,
}

/// What is known of a value beside itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// The time of its packet, in nanoseconds since 1970.
    pub(super) time_ns: Option<i64>,
    /// How an alarm stands to its limits.
    pub(super) level: Option<&'static str>,
}

impl<W: Write> Lines<W> {
    pub(super) fn heading(&mut self) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let heading = ["channel", "count", "bytes", "data"];
        let [channel, count, bytes, data] = heading;
        writeln!(self.out, "{channel:<24} {count:>6} {bytes:>6}  {data}")
    }

    /// One line of a record; `said` where it is a value by a telemetry database.
    pub(super) fn record(&mut self, record: &Record, said: Option<Said>) -> io::Result<()> {
        match &record.body {
            Body::Frame {
                channel,
                bytes,
                quality,
            } if *quality == Quality::Good => match said {
                Some(said) => self.text(channel, bytes, said),
                None => self.packet(&channel.name, bytes),
            },
            Body::Frame { channel, bytes, .. } => self.line(
                || json!({ "channel": channel.name, "refused": hex(bytes) }),
                || format!("{:<24} {:>6} {:>6}  refused", channel.name, "", bytes.len()),
            ),
            Body::Sample {
                channel,
                value,
                quality,
            } => self.value(channel, *value, *quality, said),
            Body::Gap(gap) => self.line(
                || json!({ "gap": gap.detail, "lost": gap.lost }),
                || {
                    let lost = gap.lost.unwrap_or(0);
                    format!(
                        "{:<24} {:>6} {:>6}  {lost} lost: {}",
                        "gap", "", "", gap.detail
                    )
                },
            ),
        }
    }

    fn value(
        &mut self,
        channel: &Channel,
        value: Value,
        quality: Quality,
        said: Option<Said>,
    ) -> io::Result<()> {
        let is_bad = quality == Quality::Bad;
        let level = said.and_then(|said| said.level);
        self.line(
            || {
                let mut line = json!({ "channel": channel.name, "unit": channel.unit });
                line["value"] = if is_bad { Json::Null } else { number(value) };
                if let Some(level) = level {
                    line["level"] = level.into();
                }
                about(channel, said, line)
            },
            || {
                let value = match level {
                    Some(level) => level.to_owned(),
                    None if is_bad => "bad".to_owned(),
                    None if channel.unit == "1" => value.to_string(),
                    None => format!("{value} {}", channel.unit),
                };
                format!("{:<24} {:>6} {:>6}  {value}", channel.name, "", "")
            },
        )
    }

    /// A text, or bytes that are none.
    fn text(&mut self, channel: &Channel, bytes: &[u8], said: Said) -> io::Result<()> {
        let text = str::from_utf8(bytes).ok();
        let text = text.filter(|text| !text.contains(char::is_control));
        self.line(
            || {
                let line = match text {
                    Some(text) => json!({ "channel": channel.name, "text": text }),
                    None => json!({ "channel": channel.name, "hex": hex(bytes) }),
                };
                about(channel, Some(said), line)
            },
            || {
                let shown = text.map_or_else(|| hex(bytes), |text| format!("{text:?}"));
                format!("{:<24} {:>6} {:>6}  {shown}", channel.name, "", "")
            },
        )
    }

    fn packet(&mut self, channel: &str, bytes: &[u8]) -> io::Result<()> {
        let count = Header::read(bytes).map(|header| header.count);
        let data = bytes.get(HEADER_BYTES..).unwrap_or_default();
        self.line(
            || json!({ "channel": channel, "count": count, "packet": hex(bytes) }),
            || {
                let more = if data.len() > SHOWN_BYTES { "..." } else { "" };
                let shown = hex(&data[..data.len().min(SHOWN_BYTES)]);
                let count = count.unwrap_or(0);
                format!("{channel:<24} {count:>6} {:>6}  {shown}{more}", bytes.len())
            },
        )
    }

    fn line(
        &mut self,
        json: impl FnOnce() -> serde_json::Value,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        if self.json {
            writeln!(self.out, "{}", json())
        } else {
            writeln!(self.out, "{}", text())
        }
    }
}

/// A line of JSON with what is known of a value beside itself.
fn about(channel: &Channel, said: Option<Said>, mut line: Json) -> Json {
    if let Some(time_ns) = said.and_then(|said| said.time_ns) {
        line["time_ns"] = time_ns.into();
    }
    if let Some(version) = channel.version() {
        line["calibration"] = version.into();
    }
    line
}

/// Nothing where it is not finite.
fn number(value: Value) -> Json {
    match value {
        Value::Int(value) => value.into(),
        Value::Float(value) => value.into(),
        Value::Bool(value) => value.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let each = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    each.collect()
}
