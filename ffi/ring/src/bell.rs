//! Waiting without a busy loop, and without a system call where nobody waits: an event count.
//!
//! Who waits puts itself down, and then looks once more at what it waits for. Who changes that looks, afterwards, whether
//! anybody is put down. A fence between the two steps on either side makes it impossible that both look too early.

use std::task::Waker;

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, fence, thread};

/// Seats of one bell: the bits of a word.
pub(crate) const SEATS_MAX: usize = 64;

/// Whom to wake.
#[derive(Debug)]
pub(crate) enum Waiter {
    Thread(thread::Thread),
    Task(Waker),
}

#[derive(Debug)]
pub(crate) struct Bell {
    /// One bit for each seat whose waiter is to be woken.
    waiting: AtomicU64,
    seats: Box<[Mutex<Option<Waiter>>]>,
}

impl Bell {
    pub(crate) fn new(seats: usize) -> Bell {
        assert!(seats <= SEATS_MAX);
        Bell {
            waiting: AtomicU64::new(0),
            seats: (0..seats).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Puts a waiter down. The caller must look once more at what it waits for before it sleeps.
    pub(crate) fn put_down(&self, seat: usize, waiter: Waiter) {
        // The one before falls when the seat is free again: a task that goes with its last waker may ring this bell.
        let before = self.seat(seat).replace(waiter);
        drop(before);
        self.waiting.fetch_or(1 << seat, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Takes the waiter of a seat back, if it was not woken meanwhile.
    pub(crate) fn take_back(&self, seat: usize) {
        self.waiting.fetch_and(!(1 << seat), Ordering::Relaxed);
        let waiter = self.seat(seat).take();
        drop(waiter);
    }

    /// Wakes all who are put down; called after each change of what they wait for.
    #[inline]
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        for seat in 0..self.seats.len() {
            // One at a time: a waker that panics leaves those behind it to the next ringing.
            if self.waiting.fetch_and(!(1 << seat), Ordering::Acquire) >> seat & 1 == 0 {
                continue;
            }
            // Not a temporary of the match: a waker may run code of others, which must not find the seat locked.
            let waiter = self.seat(seat).take();
            match waiter {
                Some(Waiter::Thread(thread)) => thread.unpark(),
                Some(Waiter::Task(waker)) => waker.wake(),
                None => {}
            }
        }
    }

    fn seat(&self, seat: usize) -> MutexGuard<'_, Option<Waiter>> {
        let seat = self.seats[seat].lock();
        seat.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
