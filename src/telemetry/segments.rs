//! Units that a sender spread over several packets, by the sequence flags of one APID (CCSDS 133.0-B).

use super::Counts;
use super::packet::{HEADER_BYTES, Header, PACKET_BYTES_MAX, Part};
use std::collections::HashMap;

/// Most bytes of units that are not whole yet, over all APIDs.
pub const OPEN_BYTES_MAX: usize = 4 << 20;

/// Joins segments.
#[derive(Debug, Default)]
pub struct Segments {
    /// Unfinished units by spacecraft and APID, each as the packet that it will be.
    open: HashMap<(u16, u16), Vec<u8>>,
    /// Their bytes together.
    bytes: usize,
    /// The last one that became whole.
    whole: Vec<u8>,
}

impl Segments {
    /// Takes a packet, of which `follows` says whether none is missing before it in its APID. Gives the packet, or, with
    /// the last segment of a unit, one packet that holds the first one's header and the data of all.
    pub fn take<'a>(
        &'a mut self,
        spacecraft: u16,
        header: Header,
        packet: &'a [u8],
        follows: bool,
        counts: &mut Counts,
    ) -> Option<(Header, &'a [u8])> {
        let key = (spacecraft, header.apid);
        if !follows || matches!(header.part, Part::First | Part::Whole) {
            self.give_up(key, counts);
        }
        match header.part {
            Part::Whole => Some((header, packet)),
            Part::First => {
                self.grow(key, packet, true, counts);
                None
            }
            Part::Middle | Part::Last => {
                let data = packet.get(HEADER_BYTES..).unwrap_or_default();
                let grown = self.grow(key, data, false, counts);
                if header.part == Part::Middle || !grown {
                    return None;
                }
                self.whole = self.open.remove(&key)?;
                self.bytes -= self.whole.len();
                let joined = Header {
                    part: Part::Whole,
                    total_bytes: self.whole.len(),
                    ..Header::read(&self.whole)?
                };
                self.whole[..HEADER_BYTES].copy_from_slice(&joined.write());
                Some((joined, &self.whole))
            }
        }
    }

    fn grow(&mut self, key: (u16, u16), data: &[u8], first: bool, counts: &mut Counts) -> bool {
        if first {
            self.open.insert(key, Vec::new());
        }
        let Some(unit) = self.open.get_mut(&key) else {
            counts.lone_segments += 1;
            return false;
        };
        if unit.len() + data.len() > PACKET_BYTES_MAX || self.bytes + data.len() > OPEN_BYTES_MAX {
            counts.long_packets += 1;
            self.bytes -= unit.len();
            self.open.remove(&key);
            return false;
        }
        unit.extend_from_slice(data);
        self.bytes += data.len();
        true
    }

    /// Whatever is unfinished in an APID never will be whole.
    fn give_up(&mut self, key: (u16, u16), counts: &mut Counts) {
        if let Some(unit) = self.open.remove(&key) {
            self.bytes -= unit.len();
            counts.cut_packets += 1;
        }
    }
}
