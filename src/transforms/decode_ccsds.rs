//! `decode_ccsds`: byte frames of a receiver become space packets.
//!
//! What comes in on a channel is a stream of bits with markers, transfer frames, or packets; what goes on is one frame a
//! packet, in the stream `SOURCE.NAME`, on the channel `apid-N`. What the counts of virtual channels and APIDs say is
//! missing becomes gaps of cause `sequence` there. Frames that are refused are counted by reason, and on request go on as
//! bad in `SOURCE.NAME.refused`, of class bulk.
//!
//! Acks of bytes of which a decoder still holds some wait for what comes of them, for [`HELD_BATCHES_MAX`] batches at most.

mod configure;
mod packets;

use super::glob::Globs;
use super::streams::Streams;
use crate::pipeline::{Ack, Batch, Transform};
use crate::record::{Body, Class, Quality, Record};
use crate::stats::Tally;
use crate::telemetry::Counts;
use crate::telemetry::ccsds::{Decoder, Settings};
use packets::Packets;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most channels, over all streams, that have a decoder in a worker. Frames of others pass unchanged.
const DECODERS_MAX: usize = 16;
/// Most batches whose acks wait in a worker.
const HELD_BATCHES_MAX: usize = 1024;
/// Most records for which room is kept from batch to batch.
const ROOM_RECORDS_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct DecodeCcsds {
    channels: Globs,
    settings: Settings,
    quarantine: bool,
    links: Vec<Link>,
    /// `SOURCE.NAME` and `SOURCE.NAME.refused`.
    streams: [Streams; 2],
    /// Empty between batches. What goes on is a list of its own, as long as it has to be: one that grew as records came would
    /// be allocated several times, and one with room for the most there ever were would carry that from queue to queue.
    made: Made,
    packets: Box<Packets>,
    held: VecDeque<Ack>,
    tally: Arc<Tally>,
}

/// What comes in on one channel.
#[derive(Debug)]
struct Link {
    stream: Arc<str>,
    /// Name of the channel.
    channel: String,
    decoder: Decoder,
    class: Class,
    /// Monotonic and wall time of what came last, in nanoseconds.
    at: (u64, i64),
    /// What the tally has been told.
    told: Counts,
}

/// What is made of a batch.
#[derive(Debug, Default)]
struct Made {
    /// Packets and gaps.
    records: Vec<Record>,
    /// Frames that were refused.
    refused: Vec<Record>,
}

impl DecodeCcsds {
    fn is_meant(&self, record: &Record) -> bool {
        matches!(&record.body, Body::Frame { channel, quality, .. }
            if *quality != Quality::Bad && self.channels.matches(&channel.name))
    }

    /// Decodes a record; says whether it did.
    fn decode(&mut self, batch: &Batch, record: &Record, made: &mut Made) -> bool {
        let Body::Frame { channel, bytes, .. } = &record.body else {
            return false;
        };
        let now = (record.monotonic_ns, record.wall_ns);
        let is_it = |link: &Link| link.channel == channel.name && link.stream == batch.stream;
        let at = if let Some(at) = self.links.iter().position(is_it) {
            at
        } else {
            if self.links.len() >= DECODERS_MAX {
                self.tally.add("undecoded", 1);
                return false;
            }
            self.links.push(Link {
                stream: Arc::clone(&batch.stream),
                channel: channel.name.clone(),
                decoder: Decoder::new(self.settings.clone()),
                class: batch.class,
                at: now,
                told: Counts::default(),
            });
            self.links.len() - 1
        };
        let link = &mut self.links[at];
        link.class = batch.class;
        let from_ns = std::mem::replace(&mut link.at, now).0;
        let packets = &mut self.packets;
        let quarantine = self.quarantine.then_some(channel);
        link.decoder.push(bytes, &mut |event| {
            packets.take(event, from_ns, now, quarantine, made);
        });
        link.tell(&self.tally);
        true
    }

    fn holds(&self) -> bool {
        self.links.iter().any(|link| link.decoder.holds())
    }

    /// Hands on what was made, with a share of `ack` each.
    fn hand_on(
        &mut self,
        made: &mut Made,
        of: (&Arc<str>, Class),
        ack: &Ack,
        out: &mut Vec<Batch>,
    ) {
        let (stream, class) = of;
        let each = [(&mut made.records, class), (&mut made.refused, Class::Bulk)];
        for ((records, class), streams) in each.into_iter().zip(&mut self.streams) {
            if !records.is_empty() {
                let mut own = Vec::with_capacity(records.len());
                own.append(records);
                out.push(Batch {
                    stream: streams.of(stream),
                    class,
                    records: Arc::new(own),
                    ack: ack.clone(),
                });
                records.shrink_to(ROOM_RECORDS_MAX);
            }
        }
    }
}

impl Link {
    /// Adds to the tally what was counted since.
    fn tell(&mut self, tally: &Tally) {
        let now = *self.decoder.counts();
        if now != self.told {
            for ((name, count), (_, before)) in now.named().zip(self.told.named()) {
                tally.add(name, count - before);
            }
            self.told = now;
        }
    }
}

impl Transform for DecodeCcsds {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        if !batch.records.iter().any(|record| self.is_meant(record)) {
            out.push(batch);
            return;
        }
        let mut passed = Vec::new();
        let mut made = std::mem::take(&mut self.made);
        for record in batch.records.iter() {
            if !self.is_meant(record) || !self.decode(&batch, record, &mut made) {
                passed.push(record.clone());
            }
        }
        let source = (Arc::clone(&batch.stream), batch.class);
        let made_any = !made.records.is_empty() || !made.refused.is_empty();
        let holds = self.holds();
        let own = batch.ack.clone();
        if passed.is_empty() {
            batch.ack.done();
        } else {
            batch.records = Arc::new(passed);
            out.push(batch);
        }
        if made_any {
            let kept = holds.then(|| own.clone());
            let ack = Ack::all(self.held.drain(..).chain([own]));
            self.held.extend(kept);
            self.hand_on(&mut made, (&source.0, source.1), &ack, out);
            ack.done();
        } else if holds {
            self.held.push_back(own);
            if self.held.len() > HELD_BATCHES_MAX
                && let Some(oldest) = self.held.pop_front()
            {
                oldest.done();
            }
        } else {
            own.done();
            self.held.drain(..).for_each(Ack::done);
        }
        self.made = made;
    }

    fn flush(&mut self, out: &mut Vec<Batch>) {
        let ack = Ack::all(self.held.drain(..));
        for mut link in std::mem::take(&mut self.links) {
            let mut made = Made::default();
            let packets = &mut self.packets;
            let (from_ns, at) = (link.at.0, link.at);
            link.decoder.finish(&mut |event| {
                packets.take(event, from_ns, at, None, &mut made);
            });
            link.tell(&self.tally);
            self.hand_on(&mut made, (&link.stream, link.class), &ack, out);
        }
        ack.done();
    }

    fn another(&self) -> Option<DecodeCcsds> {
        Some(DecodeCcsds {
            channels: self.channels.clone(),
            settings: self.settings.clone(),
            quarantine: self.quarantine,
            links: Vec::new(),
            streams: self.streams.clone(),
            made: Made::default(),
            packets: Box::new(self.packets.another()),
            held: VecDeque::new(),
            tally: Arc::clone(&self.tally),
        })
    }

    fn tally(&self) -> Option<Arc<Tally>> {
        Some(Arc::clone(&self.tally))
    }
}

#[cfg(test)]
mod tests;
