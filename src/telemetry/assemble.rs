//! Packets out of the data of the frames of one virtual channel.

use super::Counts;
use super::frame::Pointer;
use super::packet::Header;

/// Puts packets together.
#[derive(Debug)]
pub struct Assembler {
    packet_bytes_max: usize,
    /// A packet of which the end has not come; at most the longest packet and one frame.
    partial: Vec<u8>,
}

impl Assembler {
    /// One that has nothing.
    pub fn new(packet_bytes_max: usize) -> Assembler {
        Assembler {
            packet_bytes_max,
            partial: Vec::new(),
        }
    }

    /// Whether a packet has begun.
    pub fn holds(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Takes the data of the next frame, whose pointer lies within it; `follows` says whether none is missing before it.
    pub fn take(
        &mut self,
        data: &[u8],
        pointer: Pointer,
        follows: bool,
        counts: &mut Counts,
        out: &mut dyn FnMut(Header, &[u8], &mut Counts),
    ) {
        if !follows {
            self.cut(counts);
        }
        match pointer {
            Pointer::Idle | Pointer::Other => {}
            Pointer::Nowhere => self.continued(data, false, counts, out),
            Pointer::First(at) => {
                let (end, packets) = data.split_at(at.min(data.len()));
                self.continued(end, true, counts, out);
                self.packets(packets, counts, out);
            }
        }
    }

    /// No more frames come.
    pub fn cut(&mut self, counts: &mut Counts) {
        counts.cut_packets += u64::from(!self.partial.is_empty());
        self.partial.clear();
    }

    /// More of the packet that has begun. Where `must_end`, the next one begins behind it.
    fn continued(
        &mut self,
        more: &[u8],
        must_end: bool,
        counts: &mut Counts,
        out: &mut dyn FnMut(Header, &[u8], &mut Counts),
    ) {
        if self.partial.is_empty() {
            return;
        }
        self.partial.extend_from_slice(more);
        let Some(header) = Header::read(&self.partial) else {
            if must_end {
                self.cut(counts);
            }
            return;
        };
        if !self.allows(&header, counts) {
            self.partial.clear();
            return;
        }
        let total = header.total_bytes;
        let ends_as_said = self.partial.len() == total;
        if self.partial.len() > total {
            // Whole, but something else lies where the next one should begin.
            counts.cut_packets += 1;
        }
        if let Some(whole) = self.partial.get(..total) {
            out(header, whole, counts);
            self.partial.clear();
        } else if must_end && !ends_as_said {
            self.cut(counts);
        }
    }

    /// Packets from the first byte on, the last of which may go on in the next frame.
    fn packets(
        &mut self,
        mut data: &[u8],
        counts: &mut Counts,
        out: &mut dyn FnMut(Header, &[u8], &mut Counts),
    ) {
        while !data.is_empty() {
            let Some(header) = Header::read(data) else {
                self.partial.extend_from_slice(data);
                return;
            };
            let allowed = self.allows(&header, counts);
            if header.version != 0 {
                // Its length is not known.
                return;
            }
            let Some((packet, rest)) = data.split_at_checked(header.total_bytes) else {
                if allowed {
                    self.partial.extend_from_slice(data);
                }
                return;
            };
            if allowed {
                out(header, packet, counts);
            }
            data = rest;
        }
    }

    fn allows(&self, header: &Header, counts: &mut Counts) -> bool {
        let is_other = header.version != 0;
        let is_long = !is_other && header.total_bytes > self.packet_bytes_max;
        counts.other_packets += u64::from(is_other);
        counts.long_packets += u64::from(is_long);
        !is_other && !is_long
    }
}

/// The packets of bytes that are nothing else, for input without frames. What is left over is cut.
pub fn packets(
    bytes: &[u8],
    packet_bytes_max: usize,
    counts: &mut Counts,
    out: &mut dyn FnMut(Header, &[u8], &mut Counts),
) {
    let mut assembler = Assembler::new(packet_bytes_max);
    assembler.packets(bytes, counts, out);
    assembler.cut(counts);
}
