//! Frames in a stream of bits, by the marker before each (CCSDS 131.0-B, attached sync marker).
//!
//! A frame is given out as soon as it is whole and its marker stands where it was expected. Where it does not, what
//! follows decides: a marker a frame later means that only this one was hit; a marker elsewhere means that bits were lost
//! or came on top, and that one is taken; with neither, `flywheel_frames` more are taken unseen, then the search begins
//! anew. A frame that turned out to be sound ([`Synchroniser::accepted`]) is never searched for markers; one that is not
//! ([`Synchroniser::rejected`]) is, and where another marker follows that one, it is the right one of the two: data that
//! looks like a marker does not hold the lock.

use super::Counts;

/// What marks a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The bits, right-aligned.
    pub word: u64,
    /// Their number: 16 to 64.
    pub bits: u32,
}

impl Marker {
    /// That of CCSDS 131.0-B for frames without turbo or low-density codes.
    pub const CCSDS: Marker = Marker {
        word: 0x1acf_fc1d,
        bits: 32,
    };
}

/// How frames are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What stands before each frame.
    pub marker: Marker,
    /// Length of a frame without its marker, in bytes.
    pub frame_bytes: usize,
    /// Bits of a marker that may be wrong where it is expected; while searching, none may.
    pub marker_errors_max: u32,
    /// Frames in a row that are taken although there is no marker near.
    pub flywheel_frames: u32,
}

/// Where a marker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// There.
    At(usize),
    /// Nowhere.
    Nowhere,
    /// Bytes are missing to tell.
    Unknown,
}

/// Finds frames. Holds at most four of them, and what was pushed last.
#[derive(Debug)]
pub struct Synchroniser {
    settings: Settings,
    buffer: Vec<u8>,
    /// Bit at which the next marker is expected, or the search goes on.
    at: usize,
    /// Bit below which no marker is looked for.
    floor: usize,
    /// Bit behind the last frame, or the first bit that is held.
    end: usize,
    /// Bits since the last frame that are not held any more.
    forgotten_bits: u64,
    /// Frames in a row taken without a marker, while locked.
    misses: Option<u32>,
    ended: bool,
    /// The last frame was not sound.
    doubt: bool,
    /// Bit below which no doubt begins: one frame given out twice over is enough.
    doubt_from: usize,
    /// A frame whose bits do not begin with a byte.
    shifted: Vec<u8>,
    /// For each value of a byte the bits of the byte before it at which a marker may begin.
    shifts: [u8; 256],
}

/// A marker covers the second byte that it touches, so that this one tells where it can begin: at few places at most.
fn shifts(marker: Marker) -> [u8; 256] {
    let mut shifts = [0; 256];
    for shift in 0..8 {
        let second = marker.word >> (marker.bits - (16 - shift));
        shifts[usize::from(second.to_le_bytes()[0])] |= 1 << shift;
    }
    shifts
}

impl Synchroniser {
    /// One that searches.
    pub fn new(settings: Settings) -> Synchroniser {
        Synchroniser {
            settings,
            buffer: Vec::new(),
            at: 0,
            floor: 0,
            end: 0,
            forgotten_bits: 0,
            misses: None,
            ended: false,
            doubt: false,
            doubt_from: 0,
            shifted: Vec::new(),
            shifts: shifts(settings.marker),
        }
    }

    /// Takes bytes. Ask for frames until there is none before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        let done = self.at.min(self.floor) / 8;
        if done > 0 {
            self.forgotten_bits += (done * 8).saturating_sub(self.end) as u64;
            self.end = self.end.max(done * 8);
            self.buffer.drain(..done);
            for bit in [&mut self.at, &mut self.floor, &mut self.end] {
                *bit -= done * 8;
            }
            self.doubt_from = self.doubt_from.saturating_sub(done * 8);
        }
        self.ended = false;
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come: what is held is decided as it is.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// Whether bytes behind the last frame are held.
    pub fn holds(&self) -> bool {
        self.bits() > self.end.max(self.at)
    }

    /// The frame given out last is sound, so that no marker is in it.
    pub fn accepted(&mut self) {
        self.floor = self.end;
    }

    /// The frame given out last is not sound.
    pub fn rejected(&mut self) {
        self.doubt = self.floor >= self.doubt_from;
    }

    /// Bits of a marker and its frame.
    fn period(&self) -> usize {
        self.marker_bits() + self.settings.frame_bytes * 8
    }

    fn marker_bits(&self) -> usize {
        self.settings.marker.bits as usize
    }

    fn bits(&self) -> usize {
        self.buffer.len() * 8
    }

    /// Bits of a marker that are wrong at a place; all of them where bits are missing.
    fn errors(&self, at: usize) -> u32 {
        let Marker { word, bits } = self.settings.marker;
        if at + self.marker_bits() > self.bits() {
            return bits;
        }
        let first = at / 8;
        let mut nine = [0_u8; 9];
        let rest = &self.buffer[first..];
        let taken = rest.len().min(9);
        nine[..taken].copy_from_slice(&rest[..taken]);
        let (eight, ninth) = (nine[..8].try_into().unwrap_or([0; 8]), nine[8]);
        let shift = at % 8;
        let low = u64::from(ninth) >> (8 - shift);
        let found = (u64::from_be_bytes(eight) << shift | low) >> (64 - bits);
        (found ^ word).count_ones()
    }

    fn is_marker(&self, at: usize) -> bool {
        self.errors(at) <= self.settings.marker_errors_max
    }

    /// The first place from `from` and before `to` where a marker is without error.
    fn find(&self, from: usize, to: usize) -> Option<usize> {
        let to = self.last(to);
        let seconds = self.buffer.get(from / 8 + 1..)?;
        let bytes = (from / 8..to.div_ceil(8)).zip(seconds);
        for (byte, second) in bytes {
            let mut shifts = self.shifts[usize::from(*second)];
            while shifts != 0 {
                let at = byte * 8 + shifts.trailing_zeros() as usize;
                shifts &= shifts - 1;
                if (from..to).contains(&at) && self.errors(at) == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The same for the last such place.
    fn find_last(&self, from: usize, to: usize) -> Option<usize> {
        let to = self.last(to);
        (from..to).rev().find(|at| {
            let shifts = self
                .buffer
                .get(at / 8 + 1)
                .map_or(0, |second| self.shifts[usize::from(*second)]);
            shifts >> (at % 8) & 1 == 1 && self.errors(*at) == 0
        })
    }

    /// `to`, or the first place at which a marker is not whole.
    fn last(&self, to: usize) -> usize {
        to.min((self.bits() + 1).saturating_sub(self.marker_bits()))
    }

    fn is_whole(&self, at: usize) -> bool {
        at + self.period() <= self.bits()
    }

    /// Whether all that may speak for or against a frame at this place is there.
    fn can_decide(&self, at: usize) -> bool {
        self.ended || at + 2 * self.period() + self.marker_bits() <= self.bits()
    }

    /// The next frame, without its marker.
    pub fn next(&mut self, counts: &mut Counts) -> Option<&[u8]> {
        loop {
            let place = match self.misses {
                Some(misses) => self.next_locked(misses, counts),
                None => self.next_searching(),
            };
            match place {
                Place::At(at) => return Some(self.take(at, counts)),
                Place::Nowhere => {}
                Place::Unknown => return None,
            }
        }
    }

    /// Where the next frame is, or nowhere where the lock is lost.
    fn next_locked(&mut self, misses: u32, counts: &mut Counts) -> Place {
        if self.doubt {
            match self.inner() {
                Place::At(inner) => {
                    counts.slips += 1;
                    self.doubt_from = inner + self.period();
                    return Place::At(inner);
                }
                Place::Nowhere => self.doubt = false,
                Place::Unknown => return Place::Unknown,
            }
        }
        let (at, period) = (self.at, self.period());
        let whole = self.is_whole(at);
        if whole && self.is_marker(at) {
            self.misses = Some(0);
            return Place::At(at);
        }
        if !self.can_decide(at) {
            return Place::Unknown;
        }
        if whole && self.is_marker(at + period) {
            counts.flywheel += 1;
            self.misses = Some(0);
            return Place::At(at);
        }
        if let Some(elsewhere) = self.elsewhere(at) {
            counts.slips += 1;
            self.misses = Some(0);
            return Place::At(elsewhere);
        }
        if whole && misses < self.settings.flywheel_frames {
            counts.flywheel += 1;
            self.misses = Some(misses + 1);
            return Place::At(at);
        }
        self.misses = None;
        self.at = (at + period).min((self.bits() + 1).saturating_sub(self.marker_bits()));
        self.floor = self.at;
        Place::Nowhere
    }

    /// A marker within the last frame that another follows.
    fn inner(&self) -> Place {
        let period = self.period();
        let mut next = self.floor;
        while let Some(found) = self.find(next, self.end) {
            let seen = found + period + self.marker_bits() <= self.bits();
            if seen && self.is_marker(found + period) {
                return Place::At(found);
            }
            if !seen && !self.ended {
                return Place::Unknown;
            }
            next = found + 1;
        }
        Place::Nowhere
    }

    /// A marker near a place where one was expected: rather one that another follows, rather before than behind.
    fn elsewhere(&self, at: usize) -> Option<usize> {
        let period = self.period();
        let (from, to) = (self.floor, at + period);
        let mut next = from;
        while let Some(found) = self.find(next, to) {
            if self.is_whole(found) && self.is_marker(found + period) {
                // A frame that ends before it may be there as well.
                let before = (found + 1).saturating_sub(period);
                return self.find_last(from, before).or(Some(found));
            }
            next = found + 1;
        }
        self.find_last(from, at)
            .or_else(|| self.find(at + 1, to))
            .filter(|found| self.is_whole(*found))
    }

    fn next_searching(&mut self) -> Place {
        let period = self.period();
        let Some(at) = self.find(self.at, usize::MAX) else {
            self.at = self
                .at
                .max((self.bits() + 1).saturating_sub(self.marker_bits()));
            self.floor = self.at;
            return Place::Unknown;
        };
        (self.at, self.floor) = (at, at);
        if self.is_whole(at) && self.is_marker(at + period) {
            self.misses = Some(0);
            return Place::At(at);
        }
        if !self.can_decide(at) {
            return Place::Unknown;
        }
        // Data may look like a marker: one that another follows is the better one.
        let mut next = at + 1;
        let place = loop {
            match self.find(next, at + period) {
                Some(found) if self.is_whole(found) && self.is_marker(found + period) => {
                    break found;
                }
                Some(found) => next = found + 1,
                None => break at,
            }
        };
        if !self.is_whole(place) {
            return Place::Unknown;
        }
        self.misses = Some(0);
        Place::At(place)
    }

    /// Gives out the frame whose marker is at a place.
    fn take(&mut self, at: usize, counts: &mut Counts) -> &[u8] {
        let first = at + self.marker_bits();
        counts.skipped_bits += self.forgotten_bits + at.saturating_sub(self.end) as u64;
        self.forgotten_bits = 0;
        self.doubt = false;
        // Not behind the marker: what was taken for one, with its errors, may reach into the right one.
        self.floor = at + 1;
        self.end = at + self.period();
        self.at = self.end;
        let bytes = self.settings.frame_bytes;
        let (byte, shift) = (first / 8, first % 8);
        if shift == 0 {
            return &self.buffer[byte..byte + bytes];
        }
        self.shifted.resize(bytes, 0);
        let source = &self.buffer[byte..=byte + bytes];
        let (words, rest) = self.shifted.as_chunks_mut::<8>();
        let (whole, tail) = source.split_at(words.len() * 8);
        for (at, (word, from)) in words.iter_mut().zip(whole.as_chunks::<8>().0).enumerate() {
            let next = u64::from(source[at * 8 + 8]);
            *word = (u64::from_be_bytes(*from) << shift | next >> (8 - shift)).to_be_bytes();
        }
        for (out, pair) in rest.iter_mut().zip(tail.windows(2)) {
            *out = pair[0] << shift | pair[1] >> (8 - shift);
        }
        &self.shifted
    }
}

#[cfg(test)]
mod tests;
