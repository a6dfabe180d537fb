//! `extract`: the fields of packets become samples, by a telemetry database.
//!
//! A frame is a packet from its primary header on. Its fields go on in the stream `SOURCE.NAME`, as they are in the packet:
//! numbers and truth values as samples of unit 1, texts and bytes as frames. What they mean is for `calibrate`; which of several
//! curves a value has is found here, where its packet is, and goes with the channel.

use super::database::Watched;
use super::glob::Globs;
use super::streams::Streams;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Calibration, Channel, Kind, Quality, Record, Value};
use crate::stats::Tally;
use crate::telemetry::database::field::{Coding, Raw};
use crate::telemetry::database::{Database, Field, Found, Packet};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Those of the fields of each packet, by its name.
type Channels = HashMap<String, Vec<FieldChannels>>;

/// The channels of one field, which differ in the context of its values.
#[derive(Debug)]
struct FieldChannels {
    /// Where no context holds.
    own: Arc<Channel>,
    /// Of contexts of its parameter by their places, once a value was in them: most fields are in few of many.
    contexts: BTreeMap<usize, Arc<Channel>>,
}

#[derive(Debug)]
pub(super) struct Extract {
    streams: Streams,
    channels: Globs,
    watched: Watched,
    /// Whether packets that were read are left out.
    drop: bool,
    /// Of the database they were made for: channels by the name of the packet.
    made: Option<(Arc<Database>, Channels)>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Counts {
    packets: u64,
    unknown: u64,
    invalid: u64,
    short: u64,
}

impl Extract {
    pub(super) fn configure(name: &str, section: &mut Section<'_>) -> Option<Extract> {
        let channels = Globs::read(section, "channels");
        let drop = section.choice("packets", &[("pass", false), ("drop", true)], false);
        let tally = Arc::default();
        Some(Extract {
            streams: Streams::new(name),
            channels,
            watched: Watched::configure(name, section, &tally)?,
            drop,
            made: None,
            tally,
        })
    }
}

fn channels(packet: &Packet, database: &Database) -> Vec<FieldChannels> {
    let each = packet.fields.iter();
    each.map(|field| FieldChannels::new(field, database))
        .collect()
}

impl FieldChannels {
    fn new(field: &Field, database: &Database) -> FieldChannels {
        let kind = match field.layout.coding {
            Coding::Uint | Coding::Int | Coding::SignMagnitude | Coding::OnesComplement => {
                Kind::Int
            }
            Coding::Float | Coding::Mil1750a => Kind::Float,
            Coding::Bool => Kind::Bool,
            Coding::Text | Coding::Bytes => Kind::Frame,
        };
        FieldChannels {
            own: Arc::new(Channel {
                name: field.name.clone(),
                unit: "1".to_owned(),
                kind,
                calibration: Some(calibration(&field.name, None, database)),
            }),
            contexts: BTreeMap::new(),
        }
    }

    /// The channel of a value in a context.
    fn of(&mut self, context: Option<usize>, database: &Database) -> &Arc<Channel> {
        let own = &self.own;
        let Some(at) = context else { return own };
        self.contexts.entry(at).or_insert_with(|| {
            Arc::new(Channel {
                calibration: Some(calibration(&own.name, context, database)),
                ..(**own).clone()
            })
        })
    }
}

/// What is known of a field in a context, by its place among those of the parameter.
fn calibration(name: &str, context: Option<usize>, database: &Database) -> Calibration {
    let parameter = database.parameter(name);
    Calibration {
        version: Arc::clone(&database.version),
        context: parameter.and_then(|parameter| parameter.context(context)),
    }
}

fn body(channel: &Arc<Channel>, raw: Raw) -> Body {
    let channel = Arc::clone(channel);
    let value = match raw {
        Raw::Int(value) => Value::Int(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Bool(value) => Value::Bool(value),
        Raw::Bytes(bytes) => {
            return Body::Frame {
                channel,
                bytes: bytes.into(),
                quality: Quality::Good,
            };
        }
    };
    Body::Sample {
        channel,
        value,
        quality: Quality::Good,
    }
}

impl Transform for Extract {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let database = self.watched.current();
        let is_same = |(of, _): &(Arc<Database>, Channels)| Arc::ptr_eq(of, &database);
        if !self.made.as_ref().is_some_and(is_same) {
            self.made = Some((Arc::clone(&database), Channels::new()));
        }
        let Some((_, made)) = &mut self.made else {
            unreachable!("made above");
        };
        let (mut found, mut counts) = (Vec::new(), Counts::default());
        let mut read = vec![false; batch.records.len()];
        for (record, read) in batch.records.iter().zip(&mut read) {
            let Body::Frame {
                channel,
                bytes,
                quality,
            } = &record.body
            else {
                continue;
            };
            if *quality == Quality::Bad || !self.channels.matches(&channel.name) {
                continue;
            }
            let Some(packet) = database.packet(bytes) else {
                counts.unknown += 1;
                continue;
            };
            counts.packets += 1;
            *read = true;
            if !made.contains_key(&packet.name) {
                made.insert(packet.name.clone(), channels(packet, &database));
            }
            let channels = made.get_mut(&packet.name);
            let mut channels = channels.into_iter().flatten();
            packet.read(bytes, |_, field, context| {
                let channel = channels.next();
                match (field, channel) {
                    (Found::Value(raw), Some(channel)) => found.push(Record {
                        monotonic_ns: record.monotonic_ns,
                        wall_ns: record.wall_ns,
                        body: body(channel.of(context, &database), raw),
                        reply: None,
                    }),
                    (Found::Invalid, _) => counts.invalid += 1,
                    (Found::Short | Found::Value(_), _) => counts.short += 1,
                }
            });
        }
        for (reason, count) in [
            ("packets", counts.packets),
            ("unknown_packets", counts.unknown),
            ("invalid_fields", counts.invalid),
            ("short_fields", counts.short),
        ] {
            self.tally.add(reason, count);
        }
        if !found.is_empty() {
            out.push(Batch {
                stream: self.streams.of(&batch.stream),
                class: batch.class,
                records: Arc::new(found),
                ack: batch.ack.clone(),
            });
        }
        if self.drop {
            let mut next = read.into_iter();
            super::retain(&mut batch, |_| !next.next().unwrap_or(false));
        }
        super::forward(batch, out);
    }

    fn another(&self) -> Option<Extract> {
        Some(Extract {
            streams: self.streams.clone(),
            channels: self.channels.clone(),
            watched: self.watched.clone(),
            made: None,
            tally: Arc::clone(&self.tally),
            ..*self
        })
    }

    fn tally(&self) -> Option<Arc<Tally>> {
        Some(Arc::clone(&self.tally))
    }
}

#[cfg(test)]
mod tests;
