//! Where entries are: behind each other, or where they say.

use super::element::Element;
use super::encodings::Coded;
use super::sizes::Size;
use crate::telemetry::database::FIELDS_MAX;
use crate::telemetry::database::extent::Place;
use crate::telemetry::packet::PACKET_BYTES_MAX;

/// Longest packet, in bits.
#[expect(clippy::cast_possible_wrap, reason = "half a million")]
pub(super) const BITS_MAX: i64 = 8 * PACKET_BYTES_MAX as i64;

/// A place, counted from the start of what holds it or from the end of a value in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    /// The value, by its place among those of what holds it.
    pub(super) behind: Option<usize>,
    pub(super) at: i64,
}

/// Where the next entry begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    At(Spot),
    /// Something is wrong before.
    Unknown,
}

impl Default for Next {
    fn default() -> Next {
        Next::At(Spot::default())
    }
}

impl Spot {
    /// Behind a value, wherever that is.
    pub(super) fn behind(value: usize) -> Spot {
        Spot {
            behind: Some(value),
            at: 0,
        }
    }

    /// Within something around what holds it: that begins at `start` there, and has `before` values before.
    pub(super) fn within(self, start: Spot, before: usize) -> Spot {
        match self.behind {
            Some(value) => Spot {
                behind: Some(value + before),
                at: self.at,
            },
            None => Spot {
                behind: start.behind,
                at: start.at + self.at,
            },
        }
    }

    /// The place behind a value that begins here.
    pub(super) fn past(self, value: usize, coded: &Coded<'_>) -> Option<Spot> {
        if !matches!(coded.size, Size::Fixed) {
            return Some(Spot::behind(value));
        }
        Some(Spot {
            at: self.at + i64::try_from(coded.layout.bits).ok()?,
            ..self
        })
    }

    /// Where it is no farther off than a packet is long: places are added up.
    pub(super) fn bounded(self, entry: Element<'_>) -> Option<Spot> {
        if !(-BITS_MAX..=BITS_MAX).contains(&self.at) {
            let what = format!("leads to bit {}", self.at);
            entry.problem(what, format!("a packet has bits 0 to {BITS_MAX}"));
            return None;
        }
        Some(self)
    }

    /// As fields have it, where `bits` from here are in a packet.
    pub(super) fn checked(self, entry: Element<'_>, bits: usize) -> Option<Place> {
        let end = self.at + i64::try_from(bits).ok()?;
        if self.at < 0 || end > BITS_MAX {
            let from = self.behind.map_or("", |_| ", counted from another entry");
            let what = format!("leads from bit {} to bit {end}{from}", self.at);
            entry.problem(what, format!("a packet has bits 0 to {BITS_MAX}"));
            return None;
        }
        Some(Place {
            behind: self.behind,
            at_bits: usize::try_from(self.at).ok()?,
        })
    }
}

/// Where an entry begins.
pub(super) fn start(entry: Element<'_>, next: Next) -> Option<Spot> {
    let mut offset = 0;
    if let Some(location) = entry.child("LocationInContainerInBits") {
        location.allow(&["referenceLocation"], &["FixedValue"]);
        let references = [("previousEntry", false), ("containerStart", true)];
        let from_start = location.choice("referenceLocation", &references)?;
        offset = location.fixed::<i64>()?;
        if !(-BITS_MAX..=BITS_MAX).contains(&offset) {
            location.problem(
                format!("is {offset}"),
                format!("a packet has {BITS_MAX} bits"),
            );
            return None;
        }
        if from_start {
            return Some(Spot {
                behind: None,
                at: offset,
            });
        }
    }
    match next {
        Next::At(spot) => Spot {
            at: spot.at + offset,
            ..spot
        }
        .bounded(entry),
        Next::Unknown => None,
    }
}

/// How often, and with how many bits between.
pub(super) fn repeat(element: Element<'_>) -> Option<(i64, i64)> {
    element.allow(&[], &["Count", "Offset"]);
    let number = |name: &str| {
        let child = element.child(name)?;
        child.allow(&[], &["FixedValue"]);
        child.fixed::<i64>()
    };
    if element.child("Count").is_none() {
        element.problem("has no Count", "give it one with a FixedValue");
    }
    let count = number("Count")?;
    let gap = if element.child("Offset").is_some() {
        number("Offset")?
    } else {
        0
    };
    let is_right = usize::try_from(count).is_ok_and(|count| (1..=FIELDS_MAX).contains(&count));
    if !is_right || !(0..=BITS_MAX).contains(&gap) {
        let what = format!("repeats {count} times with {gap} bits between");
        element.problem(
            what,
            format!("choose 1 to {FIELDS_MAX} times, and no negative Offset"),
        );
        return None;
    }
    Some((count, gap))
}
