//! The table of a `decode_ccsds`.

use super::packets::{Channels, Packets, Time};
use super::{DecodeCcsds, Globs, Made, Streams};
use crate::config::Section;
use crate::slabs::Slabs;
use crate::stats::Tally;
use crate::telemetry::ccsds::{Framing, Input, Settings};
use crate::telemetry::crc::Crc;
use crate::telemetry::frame::{self, Protocol};
use crate::telemetry::packet::{HEADER_BYTES, PACKET_BYTES_MAX};
use crate::telemetry::pus::Issue;
use crate::telemetry::sync::{self, Marker};
use crate::telemetry::time::{Code, Epoch};
use std::collections::VecDeque;
use std::sync::Arc;

/// Longest frame unless configured, in bytes.
const FRAME_BYTES_MAX: u64 = 1024;
/// Longest frame that may be configured: the longest of a driver.
const FRAME_BYTES_LIMIT: u64 = 65_536;
/// Shortest frame with a header, a byte of data and a checksum.
const FRAME_BYTES_MIN: u64 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Stream,
    Frames,
    Packets,
}

impl DecodeCcsds {
    pub(in crate::transforms) fn configure(
        name: &str,
        section: &mut Section<'_>,
    ) -> Option<DecodeCcsds> {
        let channels = Globs::read(section, "channels");
        let layers = [
            ("stream", Layer::Stream),
            ("frames", Layer::Frames),
            ("packets", Layer::Packets),
        ];
        let input = match section.choice("layer", &layers, Layer::Stream) {
            Layer::Stream => {
                let framing = framing(section);
                synchroniser(section, &framing).map(|sync| Input::Stream(sync, framing))
            }
            Layer::Frames => Some(Input::Frames(framing(section))),
            Layer::Packets => Some(Input::Packets),
        };
        let shortest = HEADER_BYTES as u64 + 1;
        let longest = PACKET_BYTES_MAX as u64;
        let packet_bytes_max = size(section, "packet_bytes_max", shortest, longest, longest);
        let segments = [("pass", false), ("join", true)];
        let join_segments = section.choice("segments", &segments, false);
        let issues = [
            ("none", None),
            ("pus-a", Some(Issue::A)),
            ("pus-c", Some(Issue::C)),
        ];
        let secondary = section.choice("secondary", &issues, None);
        let time = match section.section("time") {
            Some(table) => Some(time(table)?),
            None => None,
        };
        let policies = [("drop", false), ("quarantine", true)];
        let quarantine = section.choice("on_failure", &policies, false);
        let tally = Arc::<Tally>::default();
        Some(DecodeCcsds {
            channels,
            settings: Settings {
                input: input?,
                packet_bytes_max,
                join_segments,
            },
            quarantine,
            links: Vec::new(),
            streams: [Streams::new(name), Streams::new(format!("{name}.refused"))],
            made: Made::default(),
            packets: Box::new(Packets {
                secondary,
                time,
                tally: Arc::clone(&tally),
                channels: Channels::default(),
                slabs: Slabs::default(),
            }),
            held: VecDeque::new(),
            tally,
        })
    }
}

fn size(section: &mut Section<'_>, key: &'static str, min: u64, max: u64, default: u64) -> usize {
    usize::try_from(section.integer(key, min..=max, default)).unwrap_or(usize::MAX)
}

fn framing(section: &mut Section<'_>) -> Framing {
    let protocols = [("tm", Protocol::Tm), ("aos", Protocol::Aos)];
    let protocol = section.choice("protocol", &protocols, Protocol::Tm);
    let frame_bytes_max = size(
        section,
        "frame_bytes_max",
        FRAME_BYTES_MIN,
        FRAME_BYTES_LIMIT,
        FRAME_BYTES_MAX,
    );
    let checksum = section.flag("checksum", true);
    // A TM frame says itself what it has.
    let (ocf, insert_zone_bytes) = if protocol == Protocol::Aos {
        let insert_zone_bytes = size(section, "insert_zone_bytes", 0, FRAME_BYTES_LIMIT, 0);
        (section.flag("ocf", false), insert_zone_bytes)
    } else {
        (false, 0)
    };
    let spacecraft = section.optional_integer("spacecraft", 0..=0x3ff);
    Framing {
        frames: frame::Settings {
            protocol,
            checksum: checksum.then(|| Crc::named("crc16-ccitt")).flatten(),
            ocf,
            insert_zone_bytes,
            spacecraft: spacecraft.and_then(|id| u16::try_from(id).ok()),
            frame_bytes_max,
        },
        randomised: section.flag("randomised", false),
    }
}

fn synchroniser(section: &mut Section<'_>, framing: &Framing) -> Option<sync::Settings> {
    let remedy = "write the length of a transfer frame without its marker, as the mission has it";
    let longest = framing.frames.frame_bytes_max as u64;
    if !section.has("frame_bytes") {
        section.problem("frame_bytes", "is missing", remedy);
    }
    let frame_bytes = section.optional_integer("frame_bytes", FRAME_BYTES_MIN..=FRAME_BYTES_LIMIT);
    if let Some(bytes) = frame_bytes.filter(|bytes| *bytes > longest) {
        let what = format_args!("is {bytes}, above frame_bytes_max = {longest}");
        section.problem("frame_bytes", what, "choose a larger frame_bytes_max");
        return None;
    }
    let marker = match section.text("marker") {
        None => Some(Marker::CCSDS),
        Some(text) => {
            let marker = marker(&text);
            if marker.is_none() {
                let what = format_args!("is {text:?}");
                let remedy = "write 4 to 16 hex digits, two a byte, such as \"1acffc1d\"";
                section.problem("marker", what, remedy);
            }
            marker
        }
    };
    let few = |section: &mut Section<'_>, key, max, default| {
        u32::try_from(section.integer(key, 0..=max, default)).unwrap_or(0)
    };
    let marker_errors_max = few(section, "marker_errors_max", 4, 2);
    let flywheel_frames = few(section, "flywheel_frames", 100, 2);
    Some(sync::Settings {
        marker: marker?,
        frame_bytes: usize::try_from(frame_bytes?).ok()?,
        marker_errors_max,
        flywheel_frames,
    })
}

fn marker(text: &str) -> Option<Marker> {
    let digits = text.len();
    let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || !digits.is_multiple_of(2) || !(4..=16).contains(&digits) {
        return None;
    }
    Some(Marker {
        word: u64::from_str_radix(text, 16).ok()?,
        bits: u32::try_from(digits * 4).ok()?,
    })
}

/// The table `time`.
fn time(mut section: Section<'_>) -> Option<Time> {
    let codes = [("cuc", 0), ("cds", 1), ("preamble", 2)];
    let remedy = "choose one of cuc, cds, preamble";
    section.required_text("code", remedy)?;
    let code = section.choice("code", &codes, 0);
    let agency_s = section
        .optional_integer("epoch_s", 0..=u64::from(u32::MAX))
        .and_then(|seconds| i64::try_from(seconds).ok());
    let epoch = agency_s.map_or(Epoch::Ccsds, Epoch::Agency);
    let mut bytes = |key, min, max, default| {
        u8::try_from(section.integer(key, min..=max, default)).unwrap_or(0)
    };
    Some(match code {
        0 => Time::Known(Code::Cuc {
            coarse_bytes: bytes("coarse_bytes", 1, 7, 4),
            fine_bytes: bytes("fine_bytes", 0, 10, 2),
            epoch,
        }),
        1 => {
            let day_bytes = bytes("day_bytes", 2, 3, 2);
            let part_bytes = bytes("part_bytes", 0, 4, 0);
            if !part_bytes.is_multiple_of(2) {
                let what = format_args!("is {part_bytes}");
                section.problem(
                    "part_bytes",
                    what,
                    "choose 0, 2 (microseconds) or 4 (picoseconds)",
                );
                return None;
            }
            Time::Known(Code::Cds {
                day_bytes,
                part_bytes,
                epoch,
            })
        }
        _ => Time::Preamble(agency_s.unwrap_or(0)),
    })
}
