//! Fields whose place or size the packet itself tells: behind others that may be missing or are of any size, as long as an
//! earlier field says, or a tag in front of their text.

use super::field::{Coding, Layout, Raw};

/// A place in a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The field, by its place among the fields, from whose end it counts; from the start of the packet without one.
    pub behind: Option<usize>,
    /// How many bits from there.
    pub at_bits: usize,
}

/// How much room a field takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Room {
    /// What its layout says.
    Fixed,
    /// As many bits as `slope` times a number plus `intercept`.
    Of {
        /// The field of the number, by its place among the fields.
        field: usize,
        /// Bits for each of it.
        slope: f64,
        /// Bits beside.
        intercept: f64,
    },
    /// Its tag and what that counts.
    Tag,
}

/// What of a field is not in its layout. That one's first bit counts from `behind`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// The field from whose end it counts; from the start of the packet without one.
    pub behind: Option<usize>,
    /// Where what counts from its end does where it is not there.
    pub absent: Place,
    /// The room it takes.
    pub room: Room,
    /// Width of a number in front, of how many bytes are meant of what follows; 0 where there is none.
    pub tag_bits: usize,
    /// Most bits of the value, without such a number.
    pub most_bits: usize,
}

/// What later fields need of one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// Its value, for conditions and sizes.
    pub(super) number: Option<f64>,
    /// The bit behind it.
    pub(super) end_bits: Option<usize>,
    /// Whether the packet ends before it.
    pub(super) is_short: bool,
}

impl Place {
    /// Counted from the start of the packet; none where that is not known.
    pub(super) fn absolute(self, before: &[Before]) -> Option<usize> {
        match self.behind {
            None => Some(self.at_bits),
            Some(field) => before.get(field)?.end_bits?.checked_add(self.at_bits),
        }
    }
}

impl Extent {
    /// That of a field whose size is in its layout, and which is always there.
    #[cfg(feature = "xtce")]
    pub(super) fn plain(behind: Option<usize>) -> Extent {
        Extent {
            behind,
            absent: Place::default(),
            room: Room::Fixed,
            tag_bits: 0,
            most_bits: usize::MAX,
        }
    }

    /// The value of a field and the bit behind it; none where the packet ends before, or says what cannot be.
    pub(super) fn read(
        &self,
        layout: Layout,
        packet: &[u8],
        before: &[Before],
    ) -> Option<(Raw, usize)> {
        let place = Place {
            behind: self.behind,
            at_bits: layout.at_bits,
        };
        let at_bits = place.absolute(before)?;
        let left = (packet.len() * 8).checked_sub(at_bits)?;
        let room = match self.room {
            Room::Fixed => layout.bits,
            Room::Of {
                field,
                slope,
                intercept,
            } => bits(slope.mul_add(before.get(field)?.number?, intercept))?,
            Room::Tag => left,
        };
        let mut own = Layout {
            at_bits,
            bits: room,
            ..layout
        };
        if self.tag_bits > 0 {
            let tag = Layout {
                bits: self.tag_bits,
                coding: Coding::Uint,
                ..own
            };
            let bytes = tag.read(packet)?.number()?;
            own.at_bits += self.tag_bits;
            own.bits = bits(bytes * 8.0)?;
        }
        let end = own.at_bits.checked_add(own.bits)?;
        let behind = match self.room {
            Room::Tag => end,
            _ => at_bits.checked_add(room)?,
        };
        let is_whole = own.bits.is_multiple_of(8) || self.room == Room::Fixed;
        if own.bits > self.most_bits || end > behind || behind > packet.len() * 8 || !is_whole {
            return None;
        }
        Some((own.read(packet)?, behind))
    }
}

/// A number of bits: whole, not negative, and within what a packet may have.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole, not negative and no greater than a packet"
)]
fn bits(number: f64) -> Option<usize> {
    let most = (8 * crate::telemetry::packet::PACKET_BYTES_MAX) as f64;
    let is_right = (0.0..=most).contains(&number) && number.fract() == 0.0;
    is_right.then_some(number as usize)
}
