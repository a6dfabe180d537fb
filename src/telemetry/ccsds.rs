//! The whole chain: bytes, frames, virtual channels, packets, APIDs.

use super::Counts;
use super::assemble::{Assembler, packets};
use super::frame::{self, Frame, Pointer, Refused};
use super::packet::{COUNT_BITS, Header, IDLE_APID};
use super::randomiser::randomise;
use super::segments::Segments;
use super::sequence::{Sequence, Step};
use super::sync::{self, Synchroniser};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Most virtual channels, over all spacecraft: as many as one AOS spacecraft has.
pub const CHANNELS_MAX: usize = 64;
/// Most APIDs whose counts are kept, over all spacecraft: as many as one has.
pub const APIDS_MAX: usize = 2048;

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// Bits, in which markers stand before frames.
    Stream(sync::Settings, Framing),
    /// One frame at a time.
    Frames(Framing),
    /// Packets, whole, one or more at a time.
    Packets,
}

/// What is known of frames.
#[derive(Clone, Debug)]
pub struct Framing {
    /// How they are read.
    pub frames: frame::Settings,
    /// Whether they are randomised.
    pub randomised: bool,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What comes in.
    pub input: Input,
    /// Longest packet, in bytes.
    pub packet_bytes_max: usize,
    /// Whether segments become one packet.
    pub join_segments: bool,
}

/// Whose count says that something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Frames of a virtual channel.
    Channel(u8),
    /// Packets of an APID.
    Apid(u16),
}

/// What comes out, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A packet.
    Packet {
        /// Spacecraft; 0 where the input has no frames.
        spacecraft: u16,
        /// Its primary header.
        header: Header,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Something is missing.
    Gap {
        /// Spacecraft; 0 where the input has no frames.
        spacecraft: u16,
        /// Of what.
        counter: Counter,
        /// Count of the first that is missing.
        first: u32,
        /// How many are.
        lost: u32,
    },
    /// A frame that is refused.
    Refused {
        /// Why.
        reason: Refused,
        /// All of it.
        bytes: &'a [u8],
    },
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    sync: Option<Synchroniser>,
    framing: Option<Framing>,
    chain: Chain,
    /// A frame without its noise.
    plain: Vec<u8>,
    counts: Counts,
}

/// From sound frames on.
#[derive(Debug)]
struct Chain {
    channels: HashMap<(u16, u8), Channel, BuildHasherDefault<Spread>>,
    packets: Packets,
    packet_bytes_max: usize,
}

/// Spreads keys of a few bits. A sender who finds keys that collide gains little: there are few at most.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u16(u16::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u16(u16::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[derive(Debug)]
struct Channel {
    sequence: Sequence,
    assembler: Assembler,
    /// Of its spacecraft, in [`Packets`].
    table: usize,
}

#[derive(Debug)]
struct Packets {
    /// Spacecraft, each with the places of its APIDs in `counters`; as many as there are channels at most.
    tables: Vec<(u16, Vec<u16>)>,
    counters: Vec<Sequence>,
    segments: Option<Segments>,
}

/// The place of an APID that has none.
const NOWHERE: u16 = u16::MAX;

impl Decoder {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Decoder {
        let (sync, framing) = match settings.input {
            Input::Stream(sync, framing) => (Some(Synchroniser::new(sync)), Some(framing)),
            Input::Frames(framing) => (None, Some(framing)),
            Input::Packets => (None, None),
        };
        Decoder {
            sync,
            framing,
            chain: Chain {
                channels: HashMap::default(),
                packets: Packets {
                    tables: Vec::new(),
                    counters: Vec::new(),
                    segments: settings.join_segments.then(Segments::default),
                },
                packet_bytes_max: settings.packet_bytes_max,
            },
            plain: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether bytes are held of which something may come.
    pub fn holds(&self) -> bool {
        let in_sync = self.sync.as_ref().is_some_and(Synchroniser::holds);
        let mut channels = self.chain.channels.values();
        in_sync || channels.any(|channel| channel.assembler.holds())
    }

    /// Takes bytes: any number of a stream, one frame, or whole packets.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Event<'_>)) {
        if let Some(sync) = &mut self.sync {
            sync.push(bytes);
            self.drain(out);
        } else if let Some(framing) = &self.framing {
            framing.take(
                bytes,
                &mut self.plain,
                &mut self.chain,
                &mut self.counts,
                out,
            );
        } else {
            let Chain {
                packets: taken,
                packet_bytes_max,
                ..
            } = &mut self.chain;
            let table = taken.table(0);
            let mut take = |header, packet: &[u8], counts: &mut Counts| {
                taken.take(table, header, packet, counts, out);
            };
            packets(bytes, *packet_bytes_max, &mut self.counts, &mut take);
        }
    }

    /// No more bytes come: decides on what is held.
    pub fn finish(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        if let Some(sync) = &mut self.sync {
            sync.finish();
            self.drain(out);
        }
        for channel in self.chain.channels.values_mut() {
            channel.assembler.cut(&mut self.counts);
        }
    }

    fn drain(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        let (Some(sync), Some(framing)) = (&mut self.sync, &self.framing) else {
            return;
        };
        let (plain, chain, counts) = (&mut self.plain, &mut self.chain, &mut self.counts);
        while let Some(frame) = sync.next(counts) {
            match framing.take(frame, plain, chain, counts, out) {
                Some(true) => sync.accepted(),
                Some(false) => sync.rejected(),
                None => {}
            }
        }
    }
}

impl Framing {
    /// Takes a frame. Says whether it is sound, where a checksum tells.
    fn take(
        &self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        chain: &mut Chain,
        counts: &mut Counts,
        out: &mut dyn FnMut(Event<'_>),
    ) -> Option<bool> {
        let bytes = if self.randomised {
            plain.clear();
            plain.extend_from_slice(bytes);
            randomise(plain);
            &plain[..]
        } else {
            bytes
        };
        let read = self.frames.read(bytes);
        let told = self.frames.checksum.is_some();
        let sound = told.then_some(!matches!(read, Err(Refused::Checksum | Refused::Length)));
        match read {
            Ok(frame) => chain.take(&frame, bytes, counts, out),
            Err(reason) => {
                *match reason {
                    Refused::Length => &mut counts.length,
                    Refused::Checksum => &mut counts.checksum,
                    Refused::Version => &mut counts.version,
                    Refused::Spacecraft => &mut counts.spacecraft,
                    Refused::Pointer => &mut counts.pointer,
                } += 1;
                out(Event::Refused { reason, bytes });
            }
        }
        sound
    }
}

impl Chain {
    /// Takes a sound frame.
    fn take(
        &mut self,
        frame: &Frame<'_>,
        bytes: &[u8],
        counts: &mut Counts,
        out: &mut dyn FnMut(Event<'_>),
    ) {
        let key = (frame.spacecraft, frame.channel);
        if !self.channels.contains_key(&key) {
            if self.channels.len() >= CHANNELS_MAX {
                counts.channels += 1;
                return;
            }
            let channel = Channel {
                sequence: Sequence::new(frame.count_bits),
                assembler: Assembler::new(self.packet_bytes_max),
                table: self.packets.table(frame.spacecraft),
            };
            self.channels.insert(key, channel);
        }
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let step = channel.sequence.step(frame.count, bytes);
        match step {
            Step::First | Step::Next => {}
            Step::Duplicate => return counts.duplicates += 1,
            Step::Late => return counts.late += 1,
            Step::Gap { first, lost } => {
                counts.lost_frames += u64::from(lost);
                out(Event::Gap {
                    spacecraft: frame.spacecraft,
                    counter: Counter::Channel(frame.channel),
                    first,
                    lost,
                });
            }
        }
        counts.frames += 1;
        counts.idle_frames += u64::from(frame.pointer == Pointer::Idle);
        counts.other_frames += u64::from(frame.pointer == Pointer::Other);
        let follows = step == Step::Next;
        let (table, packets) = (channel.table, &mut self.packets);
        channel.assembler.take(
            frame.data,
            frame.pointer,
            follows,
            counts,
            &mut |header, packet, counts| packets.take(table, header, packet, counts, out),
        );
    }
}

impl Packets {
    /// The table of a spacecraft; of its own where there is none yet.
    fn table(&mut self, spacecraft: u16) -> usize {
        let mut known = self.tables.iter();
        known
            .position(|(id, _)| *id == spacecraft)
            .unwrap_or_else(|| {
                self.tables
                    .push((spacecraft, vec![NOWHERE; usize::from(IDLE_APID)]));
                self.tables.len() - 1
            })
    }

    /// The counter of an APID.
    fn counter(&mut self, table: usize, apid: u16) -> &mut Sequence {
        let place = self.tables[table].1[usize::from(apid)];
        if place != NOWHERE {
            return &mut self.counters[usize::from(place)];
        }
        if self.counters.len() >= APIDS_MAX {
            // Counts begin anew; no packet is lost by that.
            self.counters.clear();
            for (_, places) in &mut self.tables {
                places.fill(NOWHERE);
            }
        }
        let place = self.counters.len();
        self.tables[table].1[usize::from(apid)] = u16::try_from(place).unwrap_or(NOWHERE);
        self.counters.push(Sequence::new(COUNT_BITS));
        &mut self.counters[place]
    }

    fn take(
        &mut self,
        table: usize,
        header: Header,
        packet: &[u8],
        counts: &mut Counts,
        out: &mut dyn FnMut(Event<'_>),
    ) {
        if header.apid == IDLE_APID {
            counts.idle_packets += 1;
            return;
        }
        let spacecraft = self.tables[table].0;
        let counter = self.counter(table, header.apid);
        let step = counter.step(u32::from(header.count), packet);
        match step {
            Step::First | Step::Next => {}
            Step::Duplicate => return counts.duplicates += 1,
            Step::Late => return counts.late += 1,
            Step::Gap { first, lost } => {
                counts.lost_packets += u64::from(lost);
                out(Event::Gap {
                    spacecraft,
                    counter: Counter::Apid(header.apid),
                    first,
                    lost,
                });
            }
        }
        counts.packets += 1;
        let given = match &mut self.segments {
            None => Some((header, packet)),
            Some(segments) => {
                let follows = !matches!(step, Step::Gap { .. });
                segments.take(spacecraft, header, packet, follows, counts)
            }
        };
        if let Some((header, bytes)) = given {
            out(Event::Packet {
                spacecraft,
                header,
                bytes,
            });
        }
    }
}

#[cfg(test)]
mod tests;
