//! A consumer: holds the slab that it reads, and goes on to the next.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::batch::{Batch, ENTRY_BYTES, offset, table};
use crate::bell::Waiter;
use crate::memory::Slab;
use crate::shared::{NOTHING, Shared, messages_of, position, slab_of};
use crate::sync::{Arc, Ordering, fence, spin_loop, thread};
use crate::{Idle, Pages, SPINS};

/// A reading end of a ring.
///
/// A batch ends with the next call, and so do its messages:
///
/// ```compile_fail,E0499
/// fn two(consumer: &mut dunlin_ring::Consumer) {
///     let first = consumer.try_batch().unwrap();
///     let second = consumer.try_batch().unwrap();
///     assert_ne!(first.iter().next(), second.iter().next());
/// }
/// ```
#[derive(Debug)]
pub struct Consumer {
    pub(crate) shared: Arc<Shared>,
    seat: usize,
    /// The piece of the pool that is the slab that is held, where it lies, and the position behind what was read of it.
    pub(crate) piece: usize,
    memory: Slab,
    pub(crate) position: u64,
    /// Where the producer was seen to be.
    seen: u64,
    lost: u64,
}

/// The next batch, as messages of the slab that is held.
struct Found {
    from: usize,
    to: usize,
    lost: u64,
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, seat: usize) -> Consumer {
        let memory = shared.pool.slab(0);
        Consumer {
            shared,
            seat,
            piece: 0,
            memory,
            position: 0,
            seen: 0,
            lost: 0,
        }
    }

    /// What was published and not read yet, as far as it lies in one slab.
    #[inline]
    pub fn try_batch(&mut self) -> Result<Batch<'_>, Idle> {
        let found = self.look()?;
        Ok(self.lend(&found))
    }

    /// As [`try_batch`](Consumer::try_batch), but waits for something, spinning for a while and then parked. None when the
    /// producer is gone and all was read.
    pub fn batch(&mut self) -> Option<Batch<'_>> {
        for _ in 0..SPINS {
            match self.look() {
                Ok(found) => return Some(self.lend(&found)),
                Err(Idle::Closed) => return None,
                Err(Idle::Empty) => spin_loop(),
            }
        }
        loop {
            let waiter = Waiter::Thread(thread::current());
            self.shared.published.put_down(self.seat, waiter);
            let found = self.look();
            if let Err(Idle::Empty) = found {
                thread::park();
                continue;
            }
            self.shared.published.take_back(self.seat);
            return found.ok().map(|found| self.lend(&found));
        }
    }

    /// As [`batch`](Consumer::batch), for a task. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<Batch<'_>> {
        let found = poll_fn(|context| self.poll_look(context)).await?;
        Some(self.lend(&found))
    }

    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<Option<Found>> {
        let mut found = self.look();
        if let Err(Idle::Empty) = found {
            let waiter = Waiter::Task(context.waker().clone());
            self.shared.published.put_down(self.seat, waiter);
            found = self.look();
            if let Err(Idle::Empty) = found {
                return Poll::Pending;
            }
            self.shared.published.take_back(self.seat);
        }
        Poll::Ready(found.ok())
    }

    /// Messages that were lost to this consumer so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What the memory is made of.
    pub fn pages(&self) -> Pages {
        self.shared.pool.pages()
    }

    fn look(&mut self) -> Result<Found, Idle> {
        if self.position == self.seen {
            self.seen = self.shared.head.0.load(Ordering::Acquire);
            if self.position == self.seen {
                if !self.shared.closed.load(Ordering::Acquire) {
                    return Err(Idle::Empty);
                }
                // What was published last came before the end, and may have come after the look above.
                self.seen = self.shared.head.0.load(Ordering::Acquire);
                if self.position == self.seen {
                    return Err(Idle::Closed);
                }
            }
        }
        let mut lost = 0;
        loop {
            let (from, slab) = (messages_of(self.position), slab_of(self.position));
            let label = self.shared.label(self.piece);
            let to = if slab == slab_of(self.seen) {
                messages_of(self.seen)
            } else {
                // The producer was seen behind this slab, so it is full, and these are written.
                let messages = label.messages.load(Ordering::Relaxed);
                usize::try_from(messages).expect("fewer than bytes")
            };
            if from < to {
                self.lost += lost;
                return Ok(Found { from, to, lost });
            }
            let past = label.first.load(Ordering::Relaxed) + to as u64;
            self.enter(slab + 1);
            let label = self.shared.label(self.piece);
            lost = label.first.load(Ordering::Relaxed) - past;
        }
    }

    /// Holds this slab or, if it was lapped, one half a window behind the producer, where there is both something to read
    /// and time to read it. Nothing of a slab is looked at before this returns.
    #[cold]
    fn enter(&mut self, mut slab: u64) {
        let holds = &self.shared.holds[self.seat].0;
        let place = loop {
            // Release: what was read of the slab that was held is read.
            holds.store(slab, Ordering::Release);
            // Either the producer sees this when it looks for a free piece, or the slab is seen to have left its place.
            fence(Ordering::SeqCst);
            let place = self.shared.find(slab);
            if place.slab() == slab {
                break place;
            }
            self.seen = self.shared.head.0.load(Ordering::Acquire);
            slab = slab_of(self.seen) - self.shared.slabs() / 2;
        };
        self.piece = place.piece();
        self.memory = self.shared.pool.slab(self.piece);
        self.position = position(slab, 0);
        self.shared.moved.ring();
    }

    /// The messages that were found, as read.
    #[inline]
    fn lend(&mut self, found: &Found) -> Batch<'_> {
        let Found { from, to, lost } = *found;
        self.position += (to - from) as u64;
        let entries_bytes = table(from) + ENTRY_BYTES - table(to);
        #[cfg(loom)]
        self.shared.pool.read(self.piece, table(to), entries_bytes);
        // SAFETY: these entries are published, or the zero, which is never written: the producer writes below them as long as
        // this piece is this slab's, and it takes no piece whose slab is held. This consumer holds the slab, until a later call
        // on it, which its borrow in the batch forbids. The pool lives as long as the consumer, and has the piece, which came
        // from a place of the window; `memory` is where it lies. A slab has fewer messages than entries fit into it.
        let entries = unsafe { &*self.memory.at(table(to), entries_bytes) };
        let (entries, _) = entries.as_chunks();
        let end = offset(entries[0]);
        #[cfg(loom)]
        self.shared.pool.read(self.piece, 0, end);
        // SAFETY: the messages up to the end of the last that was seen to be published, in front of which the producer does
        // not write, for the same reasons and as long. An end lies in the slab.
        let bytes = unsafe { &*self.memory.at(0, end) };
        Batch::new(bytes, entries, lost)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.holds[self.seat]
            .0
            .store(NOTHING, Ordering::Release);
        self.shared.moved.ring();
    }
}
