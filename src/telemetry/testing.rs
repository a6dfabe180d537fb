//! What the tests of the chain share: a sender, and a source of chance.

use super::crc::Crc;
use super::packet::{Header, Part};
use super::randomiser::randomise;

/// Chance that is the same each time.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

pub(crate) fn packet(apid: u16, count: u16, part: Part, data: &[u8]) -> Vec<u8> {
    let header = Header {
        version: 0,
        telecommand: false,
        secondary: false,
        apid,
        part,
        count,
        total_bytes: 6 + data.len(),
    };
    let mut bytes = header.write().to_vec();
    bytes.extend_from_slice(data);
    bytes
}

/// A sender of TM frames of one spacecraft.
pub(crate) struct Sender {
    pub(crate) frame_bytes: usize,
    pub(crate) checksum: bool,
    pub(crate) randomised: bool,
    crc: Crc,
    counts: [u8; 8],
    master: u8,
    /// Packets that are not sent yet, and how many bytes of the first have been.
    waiting: Vec<(Vec<u8>, usize)>,
}

impl Sender {
    pub(crate) fn new(frame_bytes: usize) -> Sender {
        Sender {
            frame_bytes,
            checksum: true,
            randomised: false,
            crc: Crc::named("crc16-ccitt").unwrap(),
            counts: [0; 8],
            master: 0,
            waiting: Vec::new(),
        }
    }

    pub(crate) fn packet(&mut self, packet: Vec<u8>) {
        self.waiting.push((packet, 0));
    }

    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next frame of a virtual channel, filled up with an idle packet where packets run out.
    pub(crate) fn frame(&mut self, channel: u8) -> Vec<u8> {
        let room = self.frame_bytes - 6 - if self.checksum { 2 } else { 0 };
        let mut data = Vec::new();
        let mut first = None;
        while data.len() < room {
            if self.waiting.is_empty() {
                let fill = (room - data.len()).max(7) - 6;
                self.packet(packet(0x7ff, 0, Part::Whole, &vec![0x55; fill]));
            }
            let (packet, sent) = &mut self.waiting[0];
            if *sent == 0 && first.is_none() {
                first = Some(u16::try_from(data.len()).unwrap());
            }
            let end = packet.len().min(*sent + room - data.len());
            data.extend_from_slice(&packet[*sent..end]);
            *sent = end;
            if end == packet.len() {
                self.waiting.remove(0);
            }
        }
        self.framed(channel, first.unwrap_or(0x7ff), &data)
    }

    /// A frame with this pointer and data.
    pub(crate) fn framed(&mut self, channel: u8, pointer: u16, data: &[u8]) -> Vec<u8> {
        let id = 0x155_u16 << 4 | u16::from(channel) << 1;
        let mut frame = id.to_be_bytes().to_vec();
        let count = &mut self.counts[usize::from(channel)];
        frame.extend([self.master, *count]);
        (*count, self.master) = (count.wrapping_add(1), self.master.wrapping_add(1));
        frame.extend((0x1800 | pointer).to_be_bytes());
        frame.extend_from_slice(data);
        if self.checksum {
            let crc = u16::try_from(self.crc.of(&frame)).unwrap();
            frame.extend(crc.to_be_bytes());
        }
        if self.randomised {
            randomise(&mut frame);
        }
        frame
    }
}

/// Bits, so that some can be taken out or put in.
#[derive(Clone, Default)]
pub(crate) struct Bits(pub(super) Vec<bool>);

impl Bits {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
        }
    }

    pub(crate) fn marked(&mut self, frame: &[u8]) {
        self.push(&[0x1a, 0xcf, 0xfc, 0x1d]);
        self.push(frame);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let eight = self.0.chunks(8);
        eight
            .map(|bits| {
                let value = bits.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit));
                value << (8 - bits.len())
            })
            .collect()
    }
}
