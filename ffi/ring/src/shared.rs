//! What producer and consumers share, and the pact about slabs.
//!
//! Slabs are numbered for ever. The last few of them, the window, can be found: slab `n` in the window's place
//! `n % window`, as its number and the piece of the pool that it occupies. The pool has more pieces than the window has
//! places, so that a piece which a lapped consumer still reads can be left alone while the producer goes on with another.

use crate::bell::Bell;
use crate::memory::{Pool, SLAB_BITS};
use crate::sync::{Apart, AtomicBool, AtomicU64, Ordering};
use crate::{Error, Policy};

/// Bits of a place that name the piece of the pool.
const PIECE_BITS: u32 = 16;
/// A place that no slab was in.
pub(crate) const EMPTY: Place = Place(u64::MAX);
/// What a consumer holds that has left.
pub(crate) const NOTHING: u64 = u64::MAX;

/// A slab's number and its piece of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn new(slab: u64, piece: usize) -> Place {
        Place(slab << PIECE_BITS | piece as u64)
    }

    pub(crate) fn slab(self) -> u64 {
        self.0 >> PIECE_BITS
    }

    #[expect(clippy::cast_possible_truncation, reason = "16 bits are taken")]
    pub(crate) fn piece(self) -> usize {
        self.0 as u16 as usize
    }
}

/// What is known of the slab in a piece of the pool, beside its bytes.
#[derive(Debug, Default)]
pub(crate) struct Label {
    /// Number of its first message. Written before the slab can be found.
    pub(crate) first: AtomicU64,
    /// How many it has. Written before anything in the next slab is published.
    pub(crate) messages: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// Position behind what is published: the slab's number and how many messages of it are.
    pub(crate) head: Apart<AtomicU64>,
    /// Nothing more will be published.
    pub(crate) closed: AtomicBool,
    window: Box<[AtomicU64]>,
    labels: Box<[Label]>,
    /// The slab that each consumer holds.
    pub(crate) holds: Box<[Apart<AtomicU64>]>,
    pub(crate) policies: Box<[Policy]>,
    /// Rung when something is published.
    pub(crate) published: Bell,
    /// Rung when a consumer goes on to another slab.
    pub(crate) moved: Bell,
    pub(crate) pool: Pool,
}

impl Shared {
    pub(crate) fn new(slabs: usize, policies: &[Policy]) -> Result<Shared, Error> {
        let skipping = policies.iter().filter(|policy| **policy == Policy::Skip);
        // One that is always free, and one for each consumer that may hold what was lapped.
        let pieces = slabs + skipping.count() + 1;
        let shared = Shared {
            head: Apart::default(),
            closed: AtomicBool::new(false),
            window: (0..slabs).map(|_| AtomicU64::new(EMPTY.0)).collect(),
            labels: (0..pieces).map(|_| Label::default()).collect(),
            holds: policies.iter().map(|_| Apart::default()).collect(),
            policies: policies.into(),
            published: Bell::new(policies.len()),
            moved: Bell::new(1),
            pool: Pool::new(pieces).map_err(|source| Error::Memory {
                kib: pieces * crate::SLAB_BYTES / 1024,
                source,
            })?,
        };
        // Slab 0 is in piece 0, and all consumers hold it.
        shared.place(0).store(Place::new(0, 0).0, Ordering::Relaxed);
        Ok(shared)
    }

    /// Slabs that can be found at a time.
    pub(crate) fn slabs(&self) -> u64 {
        self.window.len() as u64
    }

    pub(crate) fn pieces(&self) -> usize {
        self.labels.len()
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize")]
    fn place(&self, slab: u64) -> &AtomicU64 {
        &self.window[(slab % self.slabs()) as usize]
    }

    pub(crate) fn label(&self, piece: usize) -> &Label {
        &self.labels[piece]
    }

    /// What is in the place of this slab: it, or one that came a whole window earlier or later.
    pub(crate) fn find(&self, slab: u64) -> Place {
        Place(self.place(slab).load(Ordering::Acquire))
    }

    /// Puts a slab in its place and says what was there. For the producer.
    pub(crate) fn replace(&self, place: Place) -> Place {
        let slot = self.place(place.slab());
        // Only the producer writes here.
        let old = Place(slot.load(Ordering::Relaxed));
        slot.store(place.0, Ordering::Release);
        old
    }
}

/// The slab of a position.
pub(crate) fn slab_of(position: u64) -> u64 {
    position >> SLAB_BITS
}

/// The messages of its slab that are in front of a position.
#[expect(clippy::cast_possible_truncation, reason = "16 bits are left")]
pub(crate) fn messages_of(position: u64) -> usize {
    (position & (crate::SLAB_BYTES as u64 - 1)) as usize
}

pub(crate) fn position(slab: u64, messages: usize) -> u64 {
    slab << SLAB_BITS | messages as u64
}
