//! Batches, and the acknowledgement that travels with each.

use crate::record::{Class, Record};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

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

impl Batch {
    /// The same records for one more party, which must acknowledge them too. Copies no record.
    #[must_use]
    pub fn share(&self) -> Batch {
        Batch {
            stream: Arc::clone(&self.stream),
            class: self.class,
            records: Arc::clone(&self.records),
            ack: self.ack.clone(),
        }
    }
}

/// What became of the records that a source produced.
#[derive(Debug, Default)]
pub struct Ledger {
    produced: AtomicU64,
    released: AtomicU64,
    failed: AtomicU64,
    resolved: Notify,
}

impl Ledger {
    /// Waits until no record is on its way. One source waits.
    pub async fn idle(&self) {
        while self.pending() > 0 {
            self.resolved.notified().await;
        }
    }

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

/// Who learns what became of a batch.
#[derive(Debug)]
enum Owner {
    /// The source of the records.
    Source { ledger: Arc<Ledger>, records: u64 },
    /// The batches that a transform made this one from: most often two at most.
    Inputs {
        few: [Option<Ack>; 2],
        more: Vec<Ack>,
    },
}

#[derive(Debug)]
struct Shared {
    owner: Owner,
    failed: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let failed = *self.failed.get_mut();
        match &mut self.owner {
            Owner::Source { ledger, records } => {
                let count = if failed {
                    &ledger.failed
                } else {
                    &ledger.released
                };
                count.fetch_add(*records, Ordering::AcqRel);
                ledger.resolved.notify_one();
            }
            // Where this batch failed, the inputs are dropped without `done`, and so fail.
            Owner::Inputs { few, more } if !failed => {
                let few = few.iter_mut().filter_map(Option::take);
                few.chain(more.drain(..)).for_each(Ack::done);
            }
            Owner::Inputs { .. } => {}
        }
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
        Ack::owned_by(Owner::Source {
            ledger: Arc::clone(ledger),
            records,
        })
    }

    /// The acknowledgement of a batch that was made from several others: each of `inputs` is done when it is, and fails
    /// when it fails.
    pub fn all(inputs: impl IntoIterator<Item = Ack>) -> Ack {
        let mut inputs = inputs.into_iter().fuse();
        match [inputs.next(), inputs.next()] {
            [Some(only), None] => only,
            few => Ack::owned_by(Owner::Inputs {
                few,
                more: inputs.collect(),
            }),
        }
    }

    fn owned_by(owner: Owner) -> Ack {
        let shared = Shared {
            owner,
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

    #[test]
    fn a_merged_ack_releases_every_input_and_only_when_all_parties_are_done() {
        let (ledger, first) = ack(5);
        let second = Ack::new(&ledger, 2);
        let merged = Ack::all([first, second]);
        let party = merged.clone();
        merged.done();
        assert_eq!((ledger.released(), ledger.pending()), (0, 7));
        party.done();
        assert_eq!((ledger.released(), ledger.pending()), (7, 0));
    }

    #[test]
    fn a_merged_ack_that_is_dropped_fails_every_input() {
        let (ledger, first) = ack(5);
        let second = Ack::new(&ledger, 2);
        drop(Ack::all([first, second]));
        assert_eq!((ledger.released(), ledger.failed()), (0, 7));
    }

    #[test]
    fn a_merged_ack_is_of_any_number_of_inputs() {
        for count in 0..6 {
            let ledger = Arc::new(Ledger::default());
            let merged = || Ack::all((0..count).map(|_| Ack::new(&ledger, 3)));
            let kept = merged();
            assert_eq!(ledger.pending(), 3 * count);
            kept.done();
            assert_eq!((ledger.released(), ledger.failed()), (3 * count, 0));
            drop(merged());
            assert_eq!((ledger.released(), ledger.failed()), (3 * count, 3 * count));
        }
    }

    #[test]
    fn an_input_held_for_later_stays_pending_while_its_other_part_is_done() {
        let (ledger, held) = ack(5);
        let merged = Ack::all([held.clone(), Ack::new(&ledger, 1)]);
        merged.done();
        assert_eq!((ledger.released(), ledger.pending()), (1, 5));
        held.done();
        assert_eq!(ledger.released(), 6);
    }
}
