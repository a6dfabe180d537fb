//! Which stored messages are under way, and how far each log may be released.

use crate::record::Class;
use std::collections::VecDeque;

/// Position bits of a token; the class is above them. A log of 2^62 messages does not happen.
const CLASS_SHIFT: u32 = 62;

/// The number by which the uplink knows a message: class and position in one.
pub(super) fn token(class: Class, position: u64) -> u64 {
    (class as u64) << CLASS_SHIFT | position
}

/// Class and position of a token.
pub(super) fn of_token(token: u64) -> (Class, u64) {
    let class = match token >> CLASS_SHIFT {
        0 => Class::Bulk,
        1 => Class::Normal,
        _ => Class::Critical,
    };
    (class, token & ((1 << CLASS_SHIFT) - 1))
}

/// One message, or a stretch that will never be one.
#[derive(Debug)]
struct Entry {
    /// Last position that it stands for.
    position: u64,
    records: u64,
    bytes: usize,
    /// Messages that are sent for it: more than one where it was split.
    parts: u32,
    split: bool,
    done: bool,
}

/// Settled entries behind an unsettled one above which neighbours are joined.
const SETTLED_MAX: usize = 8192;

/// Messages of one log that were read and not yet released, in order.
///
/// While the broker refuses one topic the front stays, and every message of the other topics settles behind it: settled
/// neighbours become one entry, so that the unsettled ones, which the uplink bounds, bound the whole.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    /// Settled since neighbours were joined.
    settled: usize,
    /// Messages under way, and their bytes.
    open: (usize, usize),
}

impl Ledger {
    /// A message goes out.
    pub(super) fn sent(&mut self, position: u64, records: u64, bytes: usize) {
        self.open = (self.open.0 + 1, self.open.1 + bytes);
        self.entries.push_back(Entry {
            position,
            records,
            bytes,
            parts: 1,
            split: false,
            done: false,
        });
    }

    /// Messages under way, and their bytes.
    pub(super) fn open(&self) -> (usize, usize) {
        self.open
    }

    fn under_way(&mut self, position: u64) -> Option<&mut Entry> {
        let at = self
            .entries
            .binary_search_by_key(&position, |entry| entry.position)
            .ok()?;
        Some(&mut self.entries[at]).filter(|entry| !entry.done)
    }

    /// The message at `position` goes out as that many more.
    pub(super) fn split(&mut self, position: u64, more: u32) {
        if let Some(entry) = self.under_way(position) {
            entry.parts += more;
            entry.split = true;
        }
    }

    /// Of the message at `position` so many records are not for the broker.
    pub(super) fn refused(&mut self, position: u64, records: u64) {
        if let Some(entry) = self.under_way(position) {
            entry.records = entry.records.saturating_sub(records);
        }
    }

    /// Whether the message at `position` was split.
    pub(super) fn is_split(&mut self, position: u64) -> bool {
        self.under_way(position).is_some_and(|entry| entry.split)
    }

    /// How many records the message at `position` has, if it is under way.
    pub(super) fn records(&self, position: u64) -> Option<u64> {
        let at = self
            .entries
            .binary_search_by_key(&position, |entry| entry.position)
            .ok()?;
        let entry = &self.entries[at];
        (!entry.done).then_some(entry.records)
    }

    /// Everything up to `position` that was not a message (damaged, or dropped) needs no delivery.
    pub(super) fn skipped_to(&mut self, position: u64) {
        if self
            .entries
            .back()
            .is_none_or(|last| last.position < position)
        {
            self.entries.push_back(Entry {
                position,
                records: 0,
                bytes: 0,
                parts: 0,
                split: false,
                done: true,
            });
        }
    }

    /// The messages from `first` to `last` need no more delivery. Returns how many messages and records that newly
    /// settles.
    pub(super) fn settled(&mut self, first: u64, last: u64) -> (u64, u64) {
        let start = self.entries.partition_point(|entry| entry.position < first);
        let (mut messages, mut records) = (0, 0);
        for entry in self.entries.range_mut(start..) {
            if entry.position > last {
                break;
            }
            if !entry.done {
                entry.parts -= 1;
                if entry.parts > 0 {
                    continue;
                }
                entry.done = true;
                messages += 1;
                records += entry.records;
                self.open = (self.open.0 - 1, self.open.1 - entry.bytes);
                self.settled += 1;
            }
        }
        (messages, records)
    }

    /// Takes out the settled front; the position up to which the log may be released, if it moved.
    pub(super) fn release(&mut self) -> Option<u64> {
        let mut released = None;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.done) {
            released = Some(entry.position);
        }
        if self.entries.is_empty() {
            self.settled = 0;
        } else if self.settled > SETTLED_MAX {
            self.join();
        }
        released
    }

    /// Makes one entry of settled neighbours.
    fn join(&mut self) {
        self.settled = 0;
        let mut joined: VecDeque<Entry> = VecDeque::new();
        for entry in self.entries.drain(..) {
            match joined.back_mut() {
                Some(last) if last.done && entry.done => last.position = entry.position,
                _ => joined.push_back(entry),
            }
        }
        self.entries = joined;
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_carry_class_and_position() {
        for class in Class::ALL {
            assert_eq!(of_token(token(class, 12_345)), (class, 12_345));
        }
    }

    #[test]
    fn releases_only_a_settled_front() {
        let mut ledger = Ledger::default();
        for position in 0..4 {
            ledger.sent(position, 10, 100);
        }
        ledger.skipped_to(6);
        ledger.sent(7, 1, 1);
        assert_eq!(ledger.open(), (5, 401));
        assert_eq!(ledger.settled(1, 2), (2, 20));
        assert_eq!(ledger.open(), (3, 201));
        assert_eq!(ledger.release(), None);
        assert_eq!(ledger.settled(0, 0), (1, 10));
        assert_eq!(ledger.release(), Some(2));
        assert_eq!(ledger.settled(0, 3), (1, 10), "a repeated ack counts once");
        assert_eq!(ledger.release(), Some(6));
        assert!(!ledger.is_empty());
        assert_eq!(ledger.settled(7, 7), (1, 1));
        assert_eq!(ledger.release(), Some(7));
        assert!(ledger.is_empty());
    }

    #[test]
    fn a_split_message_is_settled_with_its_last_part() {
        let mut ledger = Ledger::default();
        ledger.sent(0, 1, 1);
        ledger.sent(1, 10, 1);
        ledger.split(1, 2);
        assert!(ledger.is_split(1) && !ledger.is_split(0));
        assert_eq!(ledger.settled(0, 1), (1, 1));
        ledger.refused(1, 4);
        assert_eq!(ledger.settled(1, 1), (0, 0));
        assert!(ledger.is_split(1), "to its end");
        assert_eq!(ledger.release(), Some(0));
        assert_eq!(ledger.settled(1, 1), (1, 6));
        assert_eq!(ledger.release(), Some(1));
    }

    #[test]
    fn one_that_stays_does_not_let_the_ledger_grow() {
        let mut ledger = Ledger::default();
        ledger.sent(0, 1, 1);
        for position in 1..100_000 {
            ledger.sent(position, 1, 1);
            assert_eq!(ledger.settled(position, position), (1, 1));
            assert_eq!(ledger.release(), None);
            assert!(ledger.entries.len() <= SETTLED_MAX + 3);
        }
        assert_eq!(ledger.settled(1, 99_999), (0, 0));
        assert_eq!(ledger.settled(0, 0), (1, 1));
        assert_eq!(ledger.release(), Some(99_999));
        assert!(ledger.is_empty());
    }
}
