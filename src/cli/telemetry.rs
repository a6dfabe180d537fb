//! `dunlin telemetry`: what is in a file of telemetry, decoded as a `decode_ccsds` of the agent would.

mod check;
mod lines;
mod meaning;
mod plot;
mod recording;

pub(super) use check::check;

use super::args::Telemetry;
use super::{Failure, print};
use crate::config::parse;
use crate::exit::Exit;
use crate::pipeline::{Ack, Batch, Ledger, Transform as _};
use crate::record::{Body, Channel, Class, Kind, Quality, Record};
use crate::telemetry::packet::Header;
use crate::transforms::{self, Transform};
use bytes::Bytes;
use lines::Lines;
use meaning::Meaning;
use recording::Frames;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Decodes a file.
pub(super) fn decode(request: &Telemetry) -> Result<Exit, Failure> {
    let file = request.file.as_path();
    let unreadable = |error: &io::Error| {
        let message = format!(
            "cannot read {}: {error}.\n  Remedy: give a file that holds a recording of telemetry.",
            file.display()
        );
        Failure::new(Exit::Unavailable, message)
    };
    let mut transform = configured(request)?;
    let mut meaning = Meaning::of(request)?;
    let file_bytes = File::open(file).map_err(|error| unreadable(&error))?;
    let mut bytes: Box<dyn Read> = if request.lines {
        Box::new(Frames::of(BufReader::new(file_bytes)))
    } else {
        Box::new(file_bytes)
    };
    let mut out = Lines {
        out: BufWriter::new(io::stdout().lock()),
        json: request.json,
    };
    let shown = out.heading().map_err(Broken::Out).and_then(|()| {
        run(
            (&mut transform, meaning.as_mut()),
            &mut bytes,
            request.packets,
            &mut out,
        )
    });
    match shown {
        Ok(()) => {}
        Err(Broken::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(Exit::Ok);
        }
        Err(Broken::Out(error)) => {
            let message = format_args!("cannot write to standard output: {error}");
            return Err(Failure::new(Exit::Internal, message));
        }
        Err(Broken::In(error)) => return Err(unreadable(&error)),
    }
    let packets = transform.tally().map_or(0, |tally| tally.get("packets"));
    drop(out);
    let counts = transform.tally().map(|tally| json!(&*tally));
    if request.json {
        print(&json!({ "counts": counts }).to_string())?;
    } else {
        let counts = counts.as_ref().and_then(serde_json::Value::as_object);
        let each = counts.into_iter().flatten();
        let each: Vec<String> = each
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        print(&format!("\n{}", each.join(", ")))?;
    }
    if packets == 0 {
        let message = format!(
            "no packet was found in {}.\n  Remedy: look at the counts; correct -o frame_bytes, marker, randomised, checksum \
             or spacecraft.",
            file.display()
        );
        return Err(Failure::new(Exit::Data, message));
    }
    if let Some(meaning) = meaning {
        meaning.finish()?;
    }
    Ok(Exit::Ok)
}

/// The transform that the options describe.
fn configured(request: &Telemetry) -> Result<Transform, Failure> {
    let mut text = String::from("[decode]\ntype = \"decode_ccsds\"\ninputs = [\"file\"]\n");
    if request.packets {
        text.push_str("layer = \"packets\"\n");
    }
    for (key, value) in &request.options {
        let is_value = toml::de::DeTable::parse(&format!("x = {value}")).is_ok();
        // A word needs no quotes here.
        if is_value {
            text.push_str(&format!("{key} = {value}\n"));
        } else {
            text.push_str(&format!("{key} = {value:?}\n"));
        }
    }
    let made = parse(Path::new("the options"), &text, |root, _| {
        let section = root.section("decode")?;
        transforms::configure("decode", section).1
    });
    match made {
        Ok(Some(transform)) => Ok(transform),
        Ok(None) => Err(Failure::new(Exit::Usage, "the options describe no decoder")),
        Err(problems) => Err(Failure::new(Exit::Usage, problems)),
    }
}

/// What broke off.
enum Broken {
    In(io::Error),
    Out(io::Error),
}

fn run(
    (transform, mut meaning): (&mut Transform, Option<&mut Meaning>),
    file: &mut impl Read,
    packets: bool,
    out: &mut Lines<impl Write>,
) -> Result<(), Broken> {
    let channel = Arc::new(Channel {
        name: "file".to_owned(),
        unit: "1".to_owned(),
        kind: Kind::Frame,
        calibration: None,
    });
    let ledger = Arc::new(Ledger::default());
    let mut held = Vec::new();
    let mut made = Vec::new();
    loop {
        let read = file
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut held)
            .map_err(Broken::In)?;
        // A decoder of packets wants them whole, one of a stream takes them as they come.
        let whole = if packets && read > 0 {
            whole_packets(&held)
        } else {
            held.len()
        };
        if whole > 0 {
            let body = Body::Frame {
                channel: Arc::clone(&channel),
                bytes: Bytes::copy_from_slice(&held[..whole]),
                quality: Quality::Good,
            };
            let record = Record {
                monotonic_ns: 0,
                wall_ns: 0,
                body,
                reply: None,
            };
            let batch = Batch {
                stream: "file".into(),
                class: Class::Normal,
                records: Arc::new(vec![record]),
                ack: Ack::new(&ledger, 1),
            };
            transform.apply(batch, &mut made);
        }
        held.drain(..whole);
        if read == 0 {
            transform.flush(&mut made);
        }
        for batch in made.drain(..) {
            for record in batch.records.iter() {
                let shown = match &mut meaning {
                    Some(meaning) => meaning.take(record, |record, said| out.record(record, said)),
                    None => out.record(record, None),
                };
                shown.map_err(Broken::Out)?;
            }
            batch.ack.done();
        }
        if read == 0 {
            return out.out.flush().map_err(Broken::Out);
        }
    }
}

/// Length of the packets at the front that are whole.
fn whole_packets(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = Header::read(&bytes[at..]) {
        if at + header.total_bytes > bytes.len() {
            break;
        }
        at += header.total_bytes;
    }
    at
}
