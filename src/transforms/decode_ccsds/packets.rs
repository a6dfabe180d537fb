//! Events of a decoder as records.

use super::Made;
use crate::record::{Body, Cause, Channel, Gap, Kind, Quality, Record, Value};
use crate::slabs::Slabs;
use crate::stats::Tally;
use crate::telemetry::ccsds::{Counter, Event};
use crate::telemetry::frame::Refused;
use crate::telemetry::packet::{HEADER_BYTES, Header};
use crate::telemetry::pus::Issue;
use crate::telemetry::time::{Code, TimeError};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most channels whose names are kept; with more, they are made anew.
const NAMES_MAX: usize = 4096;

/// The time in secondary headers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    /// Always of this code.
    Known(Code),
    /// Each says of which. Epoch of the agency, in seconds since 1970.
    Preamble(i64),
}

impl Time {
    fn read(self, bytes: &[u8]) -> Result<i64, TimeError> {
        match self {
            Time::Known(code) => code.read(bytes),
            Time::Preamble(agency_epoch_s) => {
                let (code, rest) = Code::preamble(bytes, agency_epoch_s)?;
                code.read(rest)
            }
        }
    }
}

/// What a channel is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    apid: u16,
    service: Option<(u8, u8)>,
    is_time: bool,
}

/// Makes records.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) secondary: Option<Issue>,
    pub(super) time: Option<Time>,
    pub(super) tally: Arc<Tally>,
    pub(super) channels: Channels,
    pub(super) slabs: Slabs,
}

/// Channels by what they are named after.
#[derive(Debug, Default)]
pub(super) struct Channels(HashMap<Name, Arc<Channel>>);

impl Channels {
    fn of(&mut self, name: Name) -> Arc<Channel> {
        if let Some(known) = self.0.get(&name) {
            return Arc::clone(known);
        }
        let mut text = format!("apid-{}", name.apid);
        if let Some((service, subtype)) = name.service {
            write!(text, ".{service}.{subtype}").expect("a String takes every write");
        }
        if name.is_time {
            text.push_str(".time");
        }
        let (unit, kind) = if name.is_time {
            ("ns", Kind::Int)
        } else {
            ("1", Kind::Frame)
        };
        let made = Arc::new(Channel {
            name: text,
            unit: unit.to_owned(),
            kind,
            calibration: None,
        });
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        self.0.insert(name, Arc::clone(&made));
        made
    }
}

impl Packets {
    /// The same, with no channel yet.
    pub(super) fn another(&self) -> Packets {
        Packets {
            secondary: self.secondary,
            time: self.time,
            tally: Arc::clone(&self.tally),
            channels: Channels::default(),
            slabs: Slabs::default(),
        }
    }

    /// Adds the records of an event. `from_ns` is when something came last, `now` what comes now; refused frames are kept
    /// where `quarantine` names the channel they came on.
    pub(super) fn take(
        &mut self,
        event: Event<'_>,
        from_ns: u64,
        now: (u64, i64),
        quarantine: Option<&Arc<Channel>>,
        made: &mut Made,
    ) {
        let at = |body| Record {
            monotonic_ns: now.0,
            wall_ns: now.1,
            body,
            reply: None,
        };
        match event {
            Event::Packet { header, bytes, .. } => {
                let service = self.service(header, bytes);
                let name = Name {
                    apid: header.apid,
                    service: service.map(|(service, _)| service),
                    is_time: false,
                };
                let rest = match service {
                    Some((_, rest)) => Some(rest),
                    // Where the time is in a header that could not be read is not known.
                    None if self.secondary.is_some() => None,
                    None => Some(&bytes[HEADER_BYTES..]),
                };
                if let (true, Some(code), Some(rest)) = (header.secondary, self.time, rest) {
                    match code.read(rest) {
                        Ok(ns) => made.records.push(at(Body::Sample {
                            channel: self.channels.of(Name {
                                service: None,
                                is_time: true,
                                ..name
                            }),
                            value: Value::Int(ns),
                            quality: Quality::Good,
                        })),
                        Err(_) => self.tally.add("bad_time", 1),
                    }
                }
                made.records.push(at(Body::Frame {
                    channel: self.channels.of(name),
                    bytes: self.slabs.put(bytes),
                    quality: Quality::Good,
                }));
            }
            Event::Gap {
                spacecraft,
                counter,
                first,
                lost,
            } => {
                let detail = match counter {
                    Counter::Channel(channel) => format!(
                        "spacecraft {spacecraft} virtual channel {channel} frames from count {first} on"
                    ),
                    Counter::Apid(apid) => {
                        format!("spacecraft {spacecraft} apid {apid} packets from count {first} on")
                    }
                };
                made.records.push(at(Body::Gap(Gap {
                    from_ns,
                    to_ns: now.0,
                    cause: Cause::Sequence,
                    lost: Some(u64::from(lost)),
                    detail,
                })));
            }
            // Not wrong, only not meant.
            Event::Refused {
                reason: Refused::Spacecraft,
                ..
            } => {}
            Event::Refused { bytes, .. } => {
                if let Some(channel) = quarantine {
                    made.refused.push(at(Body::Frame {
                        channel: Arc::clone(channel),
                        bytes: self.slabs.put(bytes),
                        quality: Quality::Bad,
                    }));
                }
            }
        }
    }

    /// Service and subtype of a packet that has them, and what is behind its secondary header's fixed part.
    fn service<'a>(&self, header: Header, bytes: &'a [u8]) -> Option<((u8, u8), &'a [u8])> {
        let issue = self.secondary.filter(|_| header.secondary)?;
        let read = issue.read(&bytes[HEADER_BYTES..]);
        if read.is_none() {
            self.tally.add("bad_secondary", 1);
        }
        read.map(|secondary| ((secondary.service, secondary.subtype), secondary.rest))
    }
}
