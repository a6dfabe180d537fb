//! Fan-out of byte messages from one producer to several consumers, in which a message is written once and read where it
//! lies.
//!
//! ```
//! use dunlin_ring::{Policy, ring};
//! let (mut producer, mut consumers) = ring(16, &[Policy::Block, Policy::Skip])?;
//! producer.push(b"one")?;
//! producer.push(b"two")?;
//! producer.publish();
//! for consumer in &mut consumers {
//!     let batch = consumer.try_batch()?;
//!     assert_eq!(batch.lost(), 0);
//!     assert_eq!(batch.iter().collect::<Vec<_>>(), [b"one", b"two"]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! ```text
//!   slabs, numbered for ever     ... 17 | 18 | 19 | 20 |               a position: slab number * 64 Ki + messages in it
//!   window, slab n at n % 4      [20: piece 0][17: 3][18: 5][19: 1]    the slabs that can be found
//!   pool, pieces of 64 KiB       [0][1][2][3][4][5][6]                 the window's, one for each consumer that
//!                                                                      skips, and one more
//!   a slab                       message 0 | message 1 | ... free ... | end of 1 | end of 0 | 0
//! ```
//! A slab is the unit of memory, a batch is what is published together and lies in one slab, a message takes its own bytes and
//! two in the table of ends. All memory is one mapping, made and touched at the start; afterwards nothing allocates.
//!
//! # Rules
//!
//! - A consumer **holds** the slab that it reads, and no other. A batch is lent, and ends with the next call on the consumer.
//! - [`Policy::Block`]: the producer does not put a slab into a place of the window before each such consumer holds a later
//!   one than what is there.
//! - [`Policy::Skip`]: the producer goes on. A slab that leaves the window goes aside with its piece, and the piece is used
//!   again when no consumer holds that slab. A lapped consumer reads what it holds to the end; its next slab is gone, which
//!   it sees before it reads a byte, and it goes on half a window behind the producer. Messages are counted in the label of
//!   each slab, so what was lost between two slabs is exact.
//!
//! # Why no byte is read while it is written
//!
//! 1. *Within a slab.* The producer writes messages behind those that are published, their ends below the entries of these,
//!    and stores the position (release) afterwards. A consumer loads it (acquire) and reads in front of it. One store and
//!    one load a batch. The zero on top of the table is there from the start and never written.
//! 2. *A piece is used again.* A consumer that goes on stores the slab that it will hold (release, H), fences (C), and
//!    loads the place (P). The producer that takes a slab out of its place stores the place (R), publishes, which fences (F,
//!    in `Bell::ring`), and then loads what each consumer holds (L); both fences are sequentially consistent. If C comes
//!    before F, L sees H or a later store: the piece is left alone, or the consumer has gone on since, and L (acquire) puts
//!    all that it read there before what is written now. If F comes before C, P sees R or a later store: the consumer sees
//!    that the slab is gone and reads nothing.
//! 3. *A consumer that blocks* is waited for before a slab that it holds leaves its place. It passes 2 as others do.
//! 4. *Labels* (number of the first message, how many there are) are of the piece and are reused with it. The first is
//!    written before the place (release, P acquires it); the other before the next publication, and not read by a consumer
//!    that has not seen the producer in a later slab.
//! 5. *Sleep*: `bell.rs`, with the same pair of fences.
//!
//! `src/model.rs` runs these under loom (`scripts/ring.sh loom`), `tests/threads.rs` by `scripts/tsan.sh`,
//! `tests/sequence.rs` compares with a vector, `tests/allocations.rs` counts copies and allocations.

mod batch;
mod bell;
mod consumer;
mod memory;
#[cfg(all(loom, test))]
mod model;
mod producer;
mod shared;
mod sync;

pub use batch::{Batch, Messages};
pub use consumer::Consumer;
pub use memory::{Pages, SLAB_BYTES};
pub use producer::{Claim, Producer};

use sync::Arc;

/// The longest message, in bytes: a slab but for its entry and the zero.
pub const MESSAGE_BYTES_MAX: usize = SLAB_BYTES - 2 * batch::ENTRY_BYTES;
/// Fewest slabs of a window. A consumer that was lapped goes on in the middle of it, which must be neither end.
pub const SLABS_MIN: usize = 3;
/// Most slabs of a window: 1 GiB.
pub const SLABS_MAX: usize = 16_384;
/// Most consumers of a ring.
pub const CONSUMERS_MAX: usize = bell::SEATS_MAX;
/// How often is looked again before a thread is parked.
pub(crate) const SPINS: u32 = if cfg!(loom) { 0 } else { 64 };

/// What becomes of the producer when this consumer is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The producer waits for it.
    Block,
    /// The producer laps it, and it is told how many messages it lost.
    Skip,
}

/// A ring could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Out of bounds.
    #[error("a ring has {SLABS_MIN} to {SLABS_MAX} slabs, not {slabs}")]
    Slabs {
        /// As many were asked for.
        slabs: usize,
    },
    /// Out of bounds.
    #[error("a ring has 1 to {CONSUMERS_MAX} consumers, not {consumers}")]
    Consumers {
        /// As many were asked for.
        consumers: usize,
    },
    /// The kernel gave no memory.
    #[error("map {kib} KiB for a ring")]
    Memory {
        /// As much was asked for.
        kib: usize,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// A message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A consumer with [`Policy::Block`] has not read what is in the way.
    #[error("the ring is full: a consumer that the producer waits for is a whole window behind")]
    Full,
    /// It fits in no slab.
    #[error("a message of {bytes} bytes is longer than {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// There is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Idle {
    /// Nothing new is published.
    #[error("nothing new is published")]
    Empty,
    /// Nor ever will be.
    #[error("the producer is gone and all is read")]
    Closed,
}

/// Makes a ring whose window is so many slabs, with one consumer for each policy.
pub fn ring(slabs: usize, policies: &[Policy]) -> Result<(Producer, Vec<Consumer>), Error> {
    if !(SLABS_MIN..=SLABS_MAX).contains(&slabs) {
        return Err(Error::Slabs { slabs });
    }
    let consumers = policies.len();
    if !(1..=CONSUMERS_MAX).contains(&consumers) {
        return Err(Error::Consumers { consumers });
    }
    let shared = Arc::new(shared::Shared::new(slabs, policies)?);
    let consumers = (0..consumers).map(|seat| Consumer::new(Arc::clone(&shared), seat));
    let consumers = consumers.collect();
    Ok((Producer::new(shared), consumers))
}
