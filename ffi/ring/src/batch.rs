//! Messages as they lie in a slab: a length of four bytes, the message, and up to three bytes that make the next length
//! aligned. Reading them is safe code over the bytes of a batch.

use std::iter::FusedIterator;

/// Bytes in front of a message: its length.
pub(crate) const HEADER_BYTES: usize = 4;

/// Bytes that a message takes in a slab.
#[inline]
pub(crate) fn footprint(bytes: usize) -> usize {
    (HEADER_BYTES + bytes).next_multiple_of(HEADER_BYTES)
}

/// Messages that a consumer has not seen before, where the producer wrote them. Borrowed from the consumer, which cannot be
/// asked for the next batch while one of them is in use.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) lost: u64,
}

impl<'a> Batch<'a> {
    /// Messages that were lost to this consumer between the last batch and this one: exactly so many. Always 0 for
    /// [`Policy::Block`](crate::Policy::Block).
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The messages as they lie in the slab: before each its length, of four bytes in the order of this machine, behind it as
    /// many bytes as make the next length aligned to four. So they can be sent as they are.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The messages in the order in which they were written. There is at least one.
    pub fn iter(&self) -> Messages<'a> {
        Messages {
            rest: self.bytes,
            length: 0,
            step: footprint(0),
        }
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = &'a [u8];
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Batch<'a> {
    type Item = &'a [u8];
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.iter()
    }
}

/// The messages of a batch.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    /// The length of the last one, and what it took in the slab.
    length: usize,
    step: usize,
}

impl Messages<'_> {
    /// Out of the way, so that there is a branch: where lengths repeat, the processor goes on to the next message before it
    /// has the length of this one.
    #[cold]
    #[inline(never)]
    fn change(&mut self, length: usize) {
        (self.length, self.step) = (length, footprint(length));
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, _) = self.rest.split_first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_ne_bytes(*length) as usize;
        if length != self.length {
            self.change(length);
        }
        let (whole, rest) = self.rest.split_at(self.step);
        self.rest = rest;
        Some(&whole[HEADER_BYTES..][..length])
    }
}

impl FusedIterator for Messages<'_> {}
