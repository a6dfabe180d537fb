//! `dunlin buffer`: looks into a stored buffer, changes nothing.

use super::args::BufferAction;
use super::table::Table;
use super::{Failure, print};
use crate::buffer::fs::Disk;
use crate::buffer::{self, Report};
use crate::exit::Exit;
use crate::payload::Encoding;
use crate::sinks;
use serde::Serialize;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// Runs one action on the store in `dir`.
pub(super) fn buffer(action: BufferAction, dir: &Path) -> Result<Exit, Failure> {
    if dir.join("sinks").is_dir() {
        let message = format!(
            "{} is a state directory, not a store.\n  Remedy: give one of its stores, {}/sinks/SINK/buffer.",
            dir.display(),
            dir.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let unreadable = |error: buffer::Error| {
        let message = format!(
            "{error}.\n  Remedy: give the directory of a store, STATE_DIR/sinks/SINK/buffer."
        );
        Failure::new(Exit::Unavailable, message)
    };
    match action {
        BufferAction::Inspect => print(&render(
            &buffer::inspect(&Disk, dir).map_err(unreadable)?,
            false,
        )),
        BufferAction::Verify => {
            let report = buffer::verify(&Disk, dir).map_err(unreadable)?;
            print(&render(&report, true))?;
            Ok(if report.is_sound() {
                Exit::Ok
            } else {
                Exit::Data
            })
        }
        BufferAction::Export => export(dir).map_err(unreadable),
    }
}

fn render(report: &Report, verified: bool) -> String {
    let mut table = Table::new([
        "class", "segments", "from", "to", "released", "pending", "bytes", "torn",
    ]);
    let mut damage = Vec::new();
    for log in &report.logs {
        let released = log
            .cursors
            .iter()
            .filter_map(|(_, released)| *released)
            .min();
        let from = released.unwrap_or(log.positions.start).max(log.floor);
        table.row([
            log.class.name().to_owned(),
            log.segments.len().to_string(),
            log.positions.start.to_string(),
            log.positions.end.to_string(),
            released.unwrap_or(0).to_string(),
            log.positions.end.saturating_sub(from).to_string(),
            log.segments
                .iter()
                .map(|segment| segment.disk_bytes)
                .sum::<u64>()
                .to_string(),
            log.segments
                .iter()
                .map(|segment| segment.torn_bytes)
                .sum::<u64>()
                .to_string(),
        ]);
        for segment in &log.segments {
            let path = segment.path.display();
            if !segment.header_good {
                damage.push(format!("{path}: header damaged"));
            }
            damage.extend(
                segment
                    .damage
                    .iter()
                    .map(|at| format!("{path}: bytes {at:?} damaged")),
            );
        }
        damage.extend(
            log.lost
                .iter()
                .map(|lost| format!("class {}: positions {lost:?} lost", log.class.name())),
        );
    }
    let mut lines = table.lines();
    if verified || !damage.is_empty() {
        lines.push(String::new());
        if damage.is_empty() {
            let frames: u64 = report.logs.iter().map(|log| log.frames).sum();
            lines.push(format!("sound: {frames} messages read and checked"));
        }
        lines.extend(damage);
    }
    lines.join("\n")
}

/// One exported message.
#[derive(Serialize)]
struct Line<'a> {
    class: &'a str,
    position: u64,
    topic: &'a str,
    records: u32,
    /// The payload itself where it is JSON, else in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cbor: Option<String>,
}

fn export(dir: &Path) -> Result<Exit, buffer::Error> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut closed = false;
    let mut each = |frame: buffer::Exported| {
        if frame.released || closed {
            return Ok(());
        }
        let written = write_line(&mut out, &frame);
        if written
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        {
            // The reader has seen enough.
            closed = true;
            return Ok(());
        }
        written
    };
    let report = buffer::export(&Disk, dir, &mut each)?;
    // Reported by the exit code alone: what could be read was printed.
    let _ = out.flush();
    Ok(if report.is_sound() {
        Exit::Ok
    } else {
        Exit::Data
    })
}

fn write_line(out: &mut impl io::Write, frame: &buffer::Exported) -> io::Result<()> {
    use base64::Engine as _;
    let message = sinks::read_message(&frame.payload)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let json = (message.encoding == Encoding::Json)
        .then(|| serde_json::from_slice::<&serde_json::value::RawValue>(message.payload))
        .transpose()?;
    let line = Line {
        class: frame.class.name(),
        position: frame.position,
        topic: message.topic,
        records: message.records,
        payload: json,
        cbor: (message.encoding == Encoding::Cbor)
            .then(|| base64::engine::general_purpose::STANDARD.encode(message.payload)),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
