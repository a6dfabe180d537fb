//! `check_crc`: frames whose checksum is wrong are left out, marked, or set aside.
//!
//! A frame is `skip_bytes` that are not covered, what is covered, the checksum, and `trailer_bytes` behind it. A frame
//! that is marked has the quality bad; one that is set aside has it too, and goes on in the stream `SOURCE.NAME`, of class
//! bulk. Where frames leave their stream, a gap of cause `check` takes their place and counts them: whoever reads the
//! stream upstream can ask for them again. Frames that are bad already pass unchanged, as all other records do.

use super::channels::PerChannel;
use super::glob::Globs;
use super::streams::Streams;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Cause, Channel, Class, Gap, Quality, Record};
use crate::stats::Tally;
use crate::telemetry::crc::{Crc, NAMES, Polynomial, PolynomialError, WIDTHS};
use std::sync::Arc;

/// Most bytes that may lie before or behind what is checked: the longest frame of a driver.
const MARGIN_BYTES_MAX: u64 = 65_536;

/// What becomes of a frame that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Drop,
    Tag,
    Quarantine,
}

/// Why a frame is wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Short { bytes: usize },
    Checksum { found: u64, computed: u64 },
}

#[derive(Debug)]
pub(super) struct CheckCrc {
    /// Those of frames that are set aside.
    streams: Streams,
    channels: Globs,
    algorithm: String,
    crc: Crc,
    skip_bytes: usize,
    trailer_bytes: usize,
    little_endian: bool,
    policy: Policy,
    /// Monotonic time of the last good frame, in nanoseconds.
    last_good: PerChannel<u64>,
    tally: Arc<Tally>,
}

impl CheckCrc {
    pub(super) fn configure(name: &str, section: &mut Section<'_>) -> Option<CheckCrc> {
        let channels = Globs::read(section, "channels");
        let margin = |section: &mut Section<'_>, key| {
            let bytes = section.integer(key, 0..=MARGIN_BYTES_MAX, 0);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let skip_bytes = margin(section, "skip_bytes");
        let trailer_bytes = margin(section, "trailer_bytes");
        let orders = [("big", false), ("little", true)];
        let little_endian = section.choice("byte_order", &orders, false);
        let policies = [
            ("drop", Policy::Drop),
            ("tag", Policy::Tag),
            ("quarantine", Policy::Quarantine),
        ];
        let policy = section.choice("on_failure", &policies, Policy::Drop);
        let (algorithm, crc) = algorithm(section)?;
        Some(CheckCrc {
            streams: Streams::new(name),
            channels,
            algorithm,
            crc,
            skip_bytes,
            trailer_bytes,
            little_endian,
            policy,
            last_good: PerChannel::new(),
            tally: Arc::default(),
        })
    }

    fn check(&self, frame: &[u8]) -> Option<Wrong> {
        let short = Some(Wrong::Short { bytes: frame.len() });
        let width = self.crc.length_bytes();
        let Some(rest) = frame.get(self.skip_bytes..) else {
            return short;
        };
        let Some(covered) = rest.len().checked_sub(width + self.trailer_bytes) else {
            return short;
        };
        let (covered, rest) = rest.split_at(covered);
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let found = if self.little_endian {
            rest[..width].iter().rev().fold(0, join)
        } else {
            rest[..width].iter().fold(0, join)
        };
        let computed = self.crc.of(covered);
        (found != computed).then_some(Wrong::Checksum { found, computed })
    }

    fn checked<'a>(&self, record: &'a Record) -> Option<(&'a Arc<Channel>, &'a [u8])> {
        match &record.body {
            Body::Frame {
                channel,
                bytes,
                quality,
            } if *quality != Quality::Bad && self.channels.matches(&channel.name) => {
                Some((channel, bytes))
            }
            _ => None,
        }
    }

    fn detail(&self, channel: &Channel, why: Wrong) -> String {
        let (name, algorithm) = (&channel.name, &self.algorithm);
        match why {
            Wrong::Short { bytes } => {
                format!("channel {name}: a frame of {bytes} bytes is too short for its {algorithm}")
            }
            Wrong::Checksum { found, computed } => {
                let digits = 2 * self.crc.length_bytes();
                format!(
                    "channel {name}: {algorithm} {found:#0w$x} in the frame, {computed:#0w$x} of its bytes",
                    w = digits + 2
                )
            }
        }
    }
}

/// A batch with something wrong in it, as it is taken apart.
#[derive(Debug)]
struct Sorted {
    kept: Vec<Record>,
    set_aside: Vec<Record>,
    /// The channel of the gap at the end of `kept`, while nothing has come behind it.
    open: Option<Arc<Channel>>,
}

impl Sorted {
    fn after(good: &[Record]) -> Sorted {
        Sorted {
            kept: good.to_vec(),
            set_aside: Vec::new(),
            open: None,
        }
    }

    fn keep(&mut self, record: Record) {
        self.kept.push(record);
        self.open = None;
    }

    /// Sets a frame aside; one more in the gap at the end, or a gap of its own.
    fn leave_out(&mut self, record: &Record, channel: &Arc<Channel>, gap: impl FnOnce() -> Gap) {
        self.set_aside.push(bad(record));
        let to_ns = record.monotonic_ns;
        if self.open.as_ref().is_some_and(|open| open == channel)
            && let Some(Body::Gap(last)) = self.kept.last_mut().map(|last| &mut last.body)
        {
            last.to_ns = to_ns;
            last.lost = last.lost.map(|lost| lost + 1);
            return;
        }
        self.kept.push(Record {
            monotonic_ns: to_ns,
            wall_ns: record.wall_ns,
            reply: None,
            body: Body::Gap(gap()),
        });
        self.open = Some(Arc::clone(channel));
    }
}

impl Transform for CheckCrc {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let mut last_good = std::mem::replace(&mut self.last_good, PerChannel::new());
        let states = last_good.stream(&batch.stream);
        let mut sorted: Option<Sorted> = None;
        let (mut good, mut short, mut checksum) = (0, 0, 0);
        for (at, record) in batch.records.iter().enumerate() {
            let checked = self.checked(record);
            let wrong = checked.and_then(|(channel, bytes)| Some((channel, self.check(bytes)?)));
            let Some((channel, why)) = wrong else {
                if let Some((channel, _)) = checked {
                    good += 1;
                    *states.of(channel, |_| 0) = record.monotonic_ns;
                }
                if let Some(sorted) = &mut sorted {
                    sorted.keep(record.clone());
                }
                continue;
            };
            match why {
                Wrong::Short { .. } => short += 1,
                Wrong::Checksum { .. } => checksum += 1,
            }
            let from_ns = *states.of(channel, |_| record.monotonic_ns);
            let sorted = sorted.get_or_insert_with(|| Sorted::after(&batch.records[..at]));
            if self.policy == Policy::Tag {
                sorted.keep(bad(record));
                continue;
            }
            sorted.leave_out(record, channel, || Gap {
                from_ns,
                to_ns: record.monotonic_ns,
                cause: Cause::Check,
                lost: Some(1),
                detail: self.detail(channel, why),
            });
        }
        self.last_good = last_good;
        for (reason, count) in [("good", good), ("short", short), ("checksum", checksum)] {
            self.tally.add(reason, count);
        }
        let Some(sorted) = sorted else {
            out.push(batch);
            return;
        };
        let aside = (self.policy == Policy::Quarantine).then(|| Batch {
            stream: self.streams.of(&batch.stream),
            class: Class::Bulk,
            records: Arc::new(sorted.set_aside),
            ack: batch.ack.clone(),
        });
        batch.records = Arc::new(sorted.kept);
        out.push(batch);
        out.extend(aside);
    }

    fn another(&self) -> Option<CheckCrc> {
        Some(CheckCrc {
            streams: self.streams.clone(),
            channels: self.channels.clone(),
            algorithm: self.algorithm.clone(),
            crc: self.crc.clone(),
            last_good: PerChannel::new(),
            tally: Arc::clone(&self.tally),
            ..*self
        })
    }

    fn tally(&self) -> Option<Arc<Tally>> {
        Some(Arc::clone(&self.tally))
    }
}

/// The algorithm that is configured, with a name for messages.
fn algorithm(section: &mut Section<'_>) -> Option<(String, Crc)> {
    let remedy = format!("choose one of {}, or give a polynomial", NAMES.join(", "));
    let named = section.text("algorithm");
    let table = section.section("polynomial");
    match (named, table) {
        (None, Some(table)) => polynomial(table).map(|crc| ("checksum".to_owned(), crc)),
        (Some(_), Some(table)) => {
            table.ignore();
            section.problem(
                "polynomial",
                "stands beside an algorithm",
                "remove one of them",
            );
            None
        }
        (Some(name), None) => {
            let crc = Crc::named(&name);
            if crc.is_none() {
                let what = format_args!("is {name:?}, which is unknown");
                section.problem("algorithm", what, remedy);
            }
            Some((name, crc?))
        }
        (None, None) => {
            if !section.has("algorithm") && !section.has("polynomial") {
                section.problem("algorithm", "is missing", remedy);
            }
            None
        }
    }
}

fn polynomial(mut section: Section<'_>) -> Option<Crc> {
    const CATALOGUE: &str = "write the parameters as the catalogues of CRCs do, the polynomial without its highest term";
    let width = section.optional_integer("width", 8..=64);
    let poly = section.optional_integer("poly", 1..=u64::MAX);
    for (key, given) in [("width", width), ("poly", poly)] {
        if given.is_none() && !section.has(key) {
            section.problem(key, "is missing", CATALOGUE);
        }
    }
    let init = section.integer("init", 0..=u64::MAX, 0);
    let reflect = section.flag("reflect", false);
    let xor_out = section.integer("xor_out", 0..=u64::MAX, 0);
    let check = section.optional_integer("check", 0..=u64::MAX);
    let made = Crc::new(Polynomial {
        width: u32::try_from(width?).unwrap_or(0),
        poly: poly?,
        init,
        reflect,
        xor_out,
    });
    match made {
        Ok(crc) => {
            let found = crc.check();
            if let Some(wanted) = check.filter(|wanted| *wanted != found) {
                let what = format_args!("is {wanted:#x}, and these parameters give {found:#x}");
                let remedy = "correct what is not as in the catalogue: check is the CRC of the characters 123456789";
                section.problem("check", what, remedy);
                return None;
            }
            Some(crc)
        }
        Err(error @ PolynomialError::Width(_)) => {
            section.problem("width", error, format_args!("choose one of {WIDTHS:?}"));
            None
        }
        Err(error) => {
            section.problem("poly", error, CATALOGUE);
            None
        }
    }
}

/// The frame as one that failed.
fn bad(record: &Record) -> Record {
    let mut marked = record.clone();
    if let Body::Frame { quality, .. } = &mut marked.body {
        *quality = Quality::Bad;
    }
    marked
}

#[cfg(test)]
mod tests;
