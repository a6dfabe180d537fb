//! Space packets (CCSDS 133.0-B): the primary header.

/// Length of a primary header, in bytes.
pub const HEADER_BYTES: usize = 6;
/// Longest packet that a header can announce, in bytes.
pub const PACKET_BYTES_MAX: usize = HEADER_BYTES + 65_536;
/// The APID of packets that only fill.
pub const IDLE_APID: u16 = 0x7ff;
/// Bits of the sequence count.
pub const COUNT_BITS: u32 = 14;

/// Which part of a larger unit a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One in between.
    Middle,
    /// The first.
    First,
    /// The last.
    Last,
    /// All of it.
    Whole,
}

/// A primary header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version; 0 for a space packet.
    pub version: u8,
    /// Whether it is a telecommand.
    pub telecommand: bool,
    /// Whether a secondary header follows.
    pub secondary: bool,
    /// Application process identifier.
    pub apid: u16,
    /// Which part it is.
    pub part: Part,
    /// Sequence count, or the name of a telecommand.
    pub count: u16,
    /// Length of the packet with this header, in bytes.
    pub total_bytes: usize,
}

impl Header {
    /// Reads one; `None` where there are not enough bytes.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let (first, second, length) = (word(0)?, word(2)?, word(4)?);
        Some(Header {
            version: u8::try_from(first >> 13).unwrap_or(0),
            telecommand: first & 0x1000 != 0,
            secondary: first & 0x0800 != 0,
            apid: first & 0x07ff,
            part: match second >> 14 {
                0 => Part::Middle,
                1 => Part::First,
                2 => Part::Last,
                _ => Part::Whole,
            },
            count: second & 0x3fff,
            total_bytes: HEADER_BYTES + 1 + usize::from(length),
        })
    }

    /// Writes it, as far as a packet of this length can be.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let flags = u16::from(self.telecommand) << 12 | u16::from(self.secondary) << 11;
        let first = u16::from(self.version) << 13 | flags | self.apid & 0x7ff;
        let part = match self.part {
            Part::Middle => 0,
            Part::First => 1,
            Part::Last => 2,
            Part::Whole => 3,
        };
        let second = part << 14 | self.count & 0x3fff;
        let length = self.total_bytes.saturating_sub(HEADER_BYTES + 1);
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        let mut bytes = [0; HEADER_BYTES];
        for (place, word) in bytes.chunks_mut(2).zip([first, second, length]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        // Telemetry with a secondary header, APID 0x42, whole, count 0x1234, 22 bytes of data.
        let header = Header::read(&[0x08, 0x42, 0xd2, 0x34, 0x00, 0x15, 0xff]).unwrap();
        let wanted = Header {
            version: 0,
            telecommand: false,
            secondary: true,
            apid: 0x42,
            part: Part::Whole,
            count: 0x1234,
            total_bytes: 28,
        };
        assert_eq!(header, wanted);
        assert!(Header::read(&[0; 5]).is_none());
    }

    #[test]
    fn what_is_written_reads_back() {
        for n in 0..=u16::MAX {
            let [a, b] = n.to_be_bytes();
            for bytes in [
                [a, b, 0x55, 0xaa, 1, 2],
                [0, 1, a, b, 3, 4],
                [0, 1, 2, 3, a, b],
            ] {
                assert_eq!(Header::read(&bytes).unwrap().write(), bytes);
            }
        }
    }
}
