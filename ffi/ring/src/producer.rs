//! The producer: writes behind what is published, and publishes.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use crate::batch::{ENTRY_BYTES, messages, table};
use crate::bell::Waiter;
use crate::memory::Slab;
use crate::shared::{EMPTY, Place, Shared, position};
use crate::sync::{Arc, Ordering, spin_loop, thread};
use crate::{MESSAGE_BYTES_MAX, Pages, Policy, Refused, SPINS};

/// The writing end of a ring. Dropping it publishes what is written and closes the ring.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    /// The slab that is written, its piece of the pool, and where that lies.
    slab: u64,
    piece: usize,
    memory: Slab,
    /// Where the next message goes, and where the table begins: what is between is free.
    offset: usize,
    table: usize,
    /// Messages of the slabs before.
    before: u64,
    published: u64,
    /// Pieces that are in no place of the window, with the slabs that were last in them.
    aside: Vec<Place>,
    /// What consumers were seen to hold; here so that it is allocated once.
    held: Vec<u64>,
}

/// Room for one message, to be written in place. Dropped without [`commit`](Claim::commit), it is as if it never was.
#[derive(Debug)]
pub struct Claim<'a> {
    producer: &'a mut Producer,
    bytes: &'a mut [u8],
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>) -> Producer {
        // Room for all, so that what is put there later never allocates.
        let mut aside = Vec::with_capacity(shared.pieces());
        aside.extend((1..shared.pieces()).map(|piece| Place::new(EMPTY.slab(), piece)));
        let held = Vec::with_capacity(shared.holds.len());
        let memory = shared.pool.slab(0);
        Producer {
            shared,
            slab: 0,
            piece: 0,
            memory,
            offset: 0,
            table: table(0),
            before: 0,
            published: 0,
            aside,
            held,
        }
    }

    /// Writes a message, and waits for consumers of the policy [`Policy::Block`] where there is no room. It is seen after the
    /// next [`publish`](Producer::publish), or when its slab is full.
    pub fn push(&mut self, message: &[u8]) -> Result<(), Refused> {
        self.wait_for_room(message.len())?;
        self.try_push(message)
    }

    /// As [`push`](Producer::push), but says [`Refused::Full`] instead of waiting.
    #[inline]
    pub fn try_push(&mut self, message: &[u8]) -> Result<(), Refused> {
        let mut claim = self.try_claim(message.len())?;
        claim.copy_from_slice(message);
        claim.commit(message.len());
        Ok(())
    }

    /// Room for a message of up to so many bytes, in the slab itself.
    #[inline]
    pub fn try_claim(&mut self, bytes: usize) -> Result<Claim<'_>, Refused> {
        self.make_room(bytes)?;
        #[cfg(loom)]
        self.shared.pool.written(self.piece, self.offset, bytes);
        // SAFETY: the bytes lie behind the messages that are published of this slab and, since room was made for them, in
        // front of the table; no consumer reads there. `memory` is where `piece` lies, which is one of the pool's and was free
        // when it was taken: no consumer reads what was there before. The borrow of the producer keeps it from writing there
        // by another way, and the pool where it is.
        let bytes = unsafe { &mut *self.memory.at(self.offset, bytes) };
        Ok(Claim {
            producer: self,
            bytes,
        })
    }

    /// Makes a message of the first bytes of the room that was claimed last: for the claim alone, which knows how many it has.
    #[inline]
    fn commit(&mut self, bytes: usize) {
        self.offset += bytes;
        self.table -= ENTRY_BYTES;
        #[cfg(loom)]
        self.shared
            .pool
            .written(self.piece, self.table, ENTRY_BYTES);
        // SAFETY: the entry lies below those of the messages before, and so of all that are published, and behind the room
        // that was claimed, however little of it the message takes: that had to leave place for an entry. `memory` is where
        // `piece` lies. So no consumer reads here, and the claim that is still borrowed does not reach here.
        let entry = unsafe { &mut *self.memory.at(self.table, ENTRY_BYTES) };
        #[expect(clippy::cast_possible_truncation, reason = "an offset in a slab")]
        let end = self.offset as u16;
        entry.copy_from_slice(&end.to_ne_bytes());
    }

    /// Lets the consumers see all that was written: one store for all of it. Without anything new it does nothing.
    #[inline]
    pub fn publish(&mut self) {
        let position = position(self.slab, messages(self.table));
        if position != self.published {
            self.published = position;
            // Consumers that see the position see the messages, labels and places before it.
            self.shared.head.0.store(position, Ordering::Release);
            self.shared.published.ring();
        }
    }

    /// Waits, spinning for a while and then parked, until there is room for a message of so many bytes.
    pub fn wait_for_room(&mut self, bytes: usize) -> Result<(), Refused> {
        for _ in 0..SPINS {
            match self.make_room(bytes) {
                Err(Refused::Full) => spin_loop(),
                settled => return settled,
            }
        }
        loop {
            let waiter = Waiter::Thread(thread::current());
            self.shared.moved.put_down(0, waiter);
            match self.make_room(bytes) {
                Err(Refused::Full) => thread::park(),
                settled => {
                    self.shared.moved.take_back(0);
                    return settled;
                }
            }
        }
    }

    /// As [`wait_for_room`](Producer::wait_for_room), for a task: pending, it will be woken.
    pub fn poll_room(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<Result<(), Refused>> {
        if let Err(Refused::Full) = self.make_room(bytes) {
            let waiter = Waiter::Task(context.waker().clone());
            self.shared.moved.put_down(0, waiter);
            if let Err(Refused::Full) = self.make_room(bytes) {
                return Poll::Pending;
            }
            self.shared.moved.take_back(0);
        }
        Poll::Ready(self.make_room(bytes))
    }

    /// Messages that were written since the ring was made.
    pub fn messages(&self) -> u64 {
        self.before + messages(self.table) as u64
    }

    /// What the memory is made of.
    pub fn pages(&self) -> Pages {
        self.shared.pool.pages()
    }

    #[inline]
    fn make_room(&mut self, bytes: usize) -> Result<(), Refused> {
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Refused::TooLong { bytes });
        }
        // With an entry of the table for it.
        if self.offset + bytes + ENTRY_BYTES > self.table {
            return self.turn();
        }
        Ok(())
    }

    /// Goes on to the next slab. What was written is published first, so that a batch lies in one slab, and consumers that
    /// are waited for have something to read.
    #[cold]
    fn turn(&mut self) -> Result<(), Refused> {
        self.publish();
        let next = self.slab + 1;
        if let Some(lapped) = next.checked_sub(self.shared.slabs()) {
            let gates = self.shared.policies.iter().zip(&self.shared.holds);
            let mut gates = gates.filter(|(policy, _)| **policy == Policy::Block);
            // Who is seen to hold a later slab has read this one. Relaxed: its piece is not written before it is asked again
            // for what it holds, as all are.
            if gates.any(|(_, holds)| holds.0.load(Ordering::Relaxed) <= lapped) {
                return Err(Refused::Full);
            }
        }
        let piece = self.free_piece();
        let (old, new) = (self.shared.label(self.piece), self.shared.label(piece));
        let written = messages(self.table) as u64;
        old.messages.store(written, Ordering::Relaxed);
        self.before += written;
        new.first.store(self.before, Ordering::Relaxed);
        let lapped = self.shared.replace(Place::new(next, piece));
        if lapped != EMPTY {
            self.aside.push(lapped);
        }
        (self.slab, self.piece) = (next, piece);
        self.memory = self.shared.pool.slab(piece);
        (self.offset, self.table) = (0, table(0));
        // Nothing yet, so there is nothing to publish.
        self.published = position(next, 0);
        Ok(())
    }

    /// A piece whose last slab no consumer holds. There is one more of them than could be held.
    fn free_piece(&mut self) -> usize {
        // The slabs of these pieces left their places before something was published, and the bell has fenced since. A
        // consumer that holds one and is not seen here has yet to look into the place: see `Consumer::enter`.
        // Each is asked once: one that goes on meanwhile would be seen to hold two.
        // Acquire: what a consumer read of a slab comes before its holding another.
        let holds = self.shared.holds.iter();
        self.held.clear();
        self.held
            .extend(holds.map(|holds| holds.0.load(Ordering::Acquire)));
        let free = |place: &Place| !self.held.contains(&place.slab());
        let found = self.aside.iter().position(free);
        let found = found.expect("more pieces than consumers can hold");
        self.aside.swap_remove(found).piece()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.publish();
        self.shared.closed.store(true, Ordering::Release);
        self.shared.published.ring();
    }
}

impl Claim<'_> {
    /// Makes a message of the first so many bytes.
    #[inline]
    pub fn commit(self, bytes: usize) {
        assert!(bytes <= self.bytes.len(), "more than was claimed");
        self.producer.commit(bytes);
    }
}

impl Deref for Claim<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Claim<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}
