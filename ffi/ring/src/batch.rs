//! Messages as they lie in a slab: one behind the other from its start, and from its end backwards a table of where each of
//! them ends. Where a message lies follows from the table alone, so that a reader need not wait for one message to find the
//! next, and messages of 64 bytes are a line of the cache each. Reading them is safe code over the bytes of a batch.

use std::iter::{FusedIterator, Rev};
use std::slice;

use crate::SLAB_BYTES;

/// Bytes of an entry of the table: an offset in the slab. The topmost is where the first message begins.
pub(crate) const ENTRY_BYTES: usize = 2;

type Entry = [u8; ENTRY_BYTES];

/// Where the table of so many messages begins.
#[inline]
pub(crate) fn table(messages: usize) -> usize {
    SLAB_BYTES - ENTRY_BYTES * (messages + 1)
}

/// The messages of a slab whose table begins here.
#[inline]
pub(crate) fn messages(table: usize) -> usize {
    (SLAB_BYTES - table) / ENTRY_BYTES - 1
}

#[inline]
pub(crate) fn offset(entry: Entry) -> usize {
    usize::from(u16::from_ne_bytes(entry))
}

/// Messages that a consumer has not seen before, where the producer wrote them. Borrowed from the consumer, which cannot be
/// asked for the next batch while one of them is in use.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The slab up to the end of the last message.
    pub(crate) bytes: &'a [u8],
    /// From the entry of the last message to the one in front of the first.
    pub(crate) entries: &'a [Entry],
    lost: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(bytes: &'a [u8], entries: &'a [Entry], lost: u64) -> Batch<'a> {
        Batch {
            bytes,
            entries,
            lost,
        }
    }

    /// Messages that were lost to this consumer between the last batch and this one: exactly so many. Always 0 for
    /// [`Policy::Block`](crate::Policy::Block).
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The messages in the order in which they were written. There is at least one.
    #[inline]
    pub fn iter(&self) -> Messages<'a> {
        let mut ends = self.entries.iter().rev();
        Messages {
            bytes: self.bytes,
            start: ends.next().map_or(0, |entry| offset(*entry)),
            ends,
        }
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = &'a [u8];
    type IntoIter = Messages<'a>;

    #[inline]
    fn into_iter(self) -> Messages<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Batch<'a> {
    type Item = &'a [u8];
    type IntoIter = Messages<'a>;

    #[inline]
    fn into_iter(self) -> Messages<'a> {
        self.iter()
    }
}

/// The messages of a batch.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    ends: Rev<slice::Iter<'a, Entry>>,
    /// Where the next message begins.
    start: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = offset(*self.ends.next()?);
        let message = &self.bytes[self.start..end];
        self.start = end;
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for Messages<'_> {}
impl FusedIterator for Messages<'_> {}
