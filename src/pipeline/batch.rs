//! Batches, and the acknowledgement that travels with each.

use crate::record::{Class, Record};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Records of one stream, in order, with the acknowledgement that their source waits for.
#[derive(Debug)]
pub struct Batch {
    /// Name of the stream: the source, or `source.transform` where a transform made new records.
    pub stream: Arc<str>,
    /// What to drop first when space runs out.
    pub class: Class,
    /// At least one record.
    pub records: Arc<Vec<Record>>,
    /// Resolved when every sink that needs the records has them durably.
    pub ack: Ack,
}

/// What became of the records that a source produced.
#[derive(Debug, Default)]
pub struct Ledger {
    produced: AtomicU64,
    released: AtomicU64,
    failed: AtomicU64,
}

impl Ledger {
    /// Records handed to the pipeline.
    pub fn produced(&self) -> u64 {
        self.produced.load(Ordering::Acquire)
    }

    /// Records that every sink that needs them has durably, or that a transform left out on purpose.
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Records that some sink could not take.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Acquire)
    }

    /// Records still on their way.
    pub fn pending(&self) -> u64 {
        // Read in this order, so that a record resolved in between is never counted as both.
        let resolved = self.released() + self.failed();
        self.produced().saturating_sub(resolved)
    }
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    records: u64,
    failed: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let count = if *self.failed.get_mut() {
            &self.ledger.failed
        } else {
            &self.ledger.released
        };
        count.fetch_add(self.records, Ordering::AcqRel);
    }
}

/// One party's share in the acknowledgement of a batch.
///
/// Clone it for each further party that must take the records. Each calls [`Ack::done`] once it has them durably; a
/// share that is dropped without it, on an error path or in a panic, fails the batch. The source's [`Ledger`] learns
/// the outcome when the last share is gone.
#[derive(Debug)]
pub struct Ack {
    shared: Arc<Shared>,
    done: bool,
}

impl Ack {
    /// The acknowledgement of `records` records that a source hands to the pipeline now.
    pub fn new(ledger: &Arc<Ledger>, records: u64) -> Ack {
        ledger.produced.fetch_add(records, Ordering::AcqRel);
        let shared = Shared {
            ledger: Arc::clone(ledger),
            records,
            failed: AtomicBool::new(false),
        };
        Ack {
            shared: Arc::new(shared),
            done: false,
        }
    }

    /// This party has the records durably, or left them out on purpose.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Clone for Ack {
    fn clone(&self) -> Ack {
        Ack {
            shared: Arc::clone(&self.shared),
            done: false,
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.done {
            self.shared.failed.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(records: u64) -> (Arc<Ledger>, Ack) {
        let ledger = Arc::new(Ledger::default());
        let ack = Ack::new(&ledger, records);
        (ledger, ack)
    }

    #[test]
    fn released_when_the_last_party_is_done() {
        let (ledger, first) = ack(5);
        let second = first.clone();
        first.done();
        assert_eq!((ledger.released(), ledger.pending()), (0, 5));
        second.done();
        assert_eq!(
            (ledger.released(), ledger.failed(), ledger.pending()),
            (5, 0, 0)
        );
    }

    #[test]
    fn one_dropped_share_fails_the_batch() {
        let (ledger, first) = ack(5);
        let second = first.clone();
        drop(first);
        second.done();
        assert_eq!((ledger.released(), ledger.failed()), (0, 5));
    }
}
