//! Transfer frames: TM (CCSDS 132.0-B) and AOS (732.0-B).

use super::crc::Crc;

/// Length of the primary header of either, in bytes.
const HEADER_BYTES: usize = 6;
/// Length of the operational control field, in bytes.
const OCF_BYTES: usize = 4;
/// Length of the header of the packet zone in an AOS frame, in bytes.
const ZONE_HEADER_BYTES: usize = 2;
/// The virtual channel of AOS frames that only fill.
const AOS_IDLE_CHANNEL: u8 = 63;

/// Which frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TM.
    Tm,
    /// AOS.
    Aos,
}

/// What cannot be read from a frame itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which frames.
    pub protocol: Protocol,
    /// The frame error control field: the CRC over all before it; `None` where frames have none.
    pub checksum: Option<Crc>,
    /// Whether AOS frames have an operational control field; a TM frame says so itself.
    pub ocf: bool,
    /// Length of the insert zone of AOS frames, in bytes.
    pub insert_zone_bytes: usize,
    /// The only spacecraft that is meant.
    pub spacecraft: Option<u16>,
    /// Longest frame, in bytes.
    pub frame_bytes_max: usize,
}

/// Where packets begin in the data of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// The first one at this byte.
    First(usize),
    /// None does.
    Nowhere,
    /// The data only fills.
    Idle,
    /// The data is no packets.
    Other,
}

/// A frame that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Spacecraft identifier.
    pub spacecraft: u16,
    /// Virtual channel.
    pub channel: u8,
    /// Count of frames of the channel.
    pub count: u32,
    /// Bits of that count.
    pub count_bits: u32,
    /// Where packets begin.
    pub pointer: Pointer,
    /// Packets, or what else there is.
    pub data: &'a [u8],
    /// Operational control field.
    pub ocf: Option<&'a [u8]>,
}

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too short for what its header says, or longer than allowed.
    #[error("length")]
    Length,
    /// The checksum is wrong.
    #[error("checksum")]
    Checksum,
    /// Another version.
    #[error("version")]
    Version,
    /// Another spacecraft.
    #[error("spacecraft")]
    Spacecraft,
    /// The pointer leads out of the frame.
    #[error("pointer")]
    Pointer,
}

impl Settings {
    /// Reads a frame.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Refused> {
        if bytes.len() > self.frame_bytes_max {
            return Err(Refused::Length);
        }
        let body = match &self.checksum {
            Some(crc) => checked(crc, bytes)?,
            None => bytes,
        };
        let frame = match self.protocol {
            Protocol::Tm => tm(body)?,
            Protocol::Aos => self.aos(body)?,
        };
        if self.spacecraft.is_some_and(|only| only != frame.spacecraft) {
            return Err(Refused::Spacecraft);
        }
        match frame.pointer {
            Pointer::First(at) if at >= frame.data.len() => Err(Refused::Pointer),
            _ => Ok(frame),
        }
    }

    fn aos<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Refused> {
        let ([a, b, count @ .., signal], rest) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Refused::Length)?;
        if a >> 6 != 1 {
            return Err(Refused::Version);
        }
        let rest = rest.get(self.insert_zone_bytes..).ok_or(Refused::Length)?;
        let (zone, ocf) = without_ocf(rest, self.ocf)?;
        let channel = b & 0x3f;
        let ([first, second], data) = zone
            .split_first_chunk::<ZONE_HEADER_BYTES>()
            .ok_or(Refused::Length)?;
        let pointer = if channel == AOS_IDLE_CHANNEL {
            Pointer::Idle
        } else {
            pointer(u16::from_be_bytes([*first, *second]))
        };
        let [high, middle, low] = *count;
        let count = u32::from_be_bytes([0, high, middle, low]);
        // The count of the counter's rounds, where it is used.
        let cycle = (signal & 0x40 != 0).then_some(u32::from(signal & 0x0f) << 24);
        Ok(Frame {
            spacecraft: u16::from(a & 0x3f) << 2 | u16::from(b >> 6),
            channel,
            count: count | cycle.unwrap_or(0),
            count_bits: if cycle.is_some() { 28 } else { 24 },
            pointer,
            data,
            ocf,
        })
    }
}

fn checked<'a>(crc: &Crc, bytes: &'a [u8]) -> Result<&'a [u8], Refused> {
    let at = bytes.len().checked_sub(crc.length_bytes());
    let (body, field) = bytes.split_at(at.ok_or(Refused::Length)?);
    let found = field
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    if crc.of(body) == found {
        Ok(body)
    } else {
        Err(Refused::Checksum)
    }
}

fn tm(bytes: &[u8]) -> Result<Frame<'_>, Refused> {
    let ([a, b, _master, count, e, f], rest) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(Refused::Length)?;
    let id = u16::from_be_bytes([*a, *b]);
    if id >> 14 != 0 {
        return Err(Refused::Version);
    }
    let status = u16::from_be_bytes([*e, *f]);
    // The secondary header says its own length, less one.
    let secondary = if status & 0x8000 == 0 {
        0
    } else {
        usize::from(rest.first().ok_or(Refused::Length)? & 0x3f) + 1
    };
    let rest = rest.get(secondary..).ok_or(Refused::Length)?;
    let (data, ocf) = without_ocf(rest, id & 1 != 0)?;
    let pointer = if status & 0x4000 == 0 {
        pointer(status)
    } else {
        Pointer::Other
    };
    Ok(Frame {
        spacecraft: id >> 4 & 0x3ff,
        channel: u8::from(id & 8 != 0) << 2 | u8::from(id & 4 != 0) << 1 | u8::from(id & 2 != 0),
        count: u32::from(*count),
        count_bits: 8,
        pointer,
        data,
        ocf,
    })
}

fn without_ocf(bytes: &[u8], has_ocf: bool) -> Result<(&[u8], Option<&[u8]>), Refused> {
    if !has_ocf {
        return Ok((bytes, None));
    }
    let at = bytes.len().checked_sub(OCF_BYTES).ok_or(Refused::Length)?;
    let (data, ocf) = bytes.split_at(at);
    Ok((data, Some(ocf)))
}

/// Both protocols write it alike: eleven bits, the two highest values of which are words.
fn pointer(word: u16) -> Pointer {
    match word & 0x07ff {
        0x07ff => Pointer::Nowhere,
        0x07fe => Pointer::Idle,
        at => Pointer::First(usize::from(at)),
    }
}

#[cfg(test)]
mod tests;
