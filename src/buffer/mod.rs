//! The store-and-forward log: an append resolves only once its bytes survive a power cut.
//!
//! The buffer stores opaque payloads. One [`Store`] holds one log per [`Class`] in a directory each, all under one
//! size limit, so that bulk can be dropped while critical stays. `docs/buffer.md` says the same at more length.
//!
//! # Files (format 2, little-endian throughout)
//! ```text
//! DIR/format                 text "dunlin-buffer 2\n"; a newer number is refused and nothing is touched
//! DIR/lock                   locked by flock(2) while an agent runs, holds its pid
//! DIR/<class>/<id>-<base>.seg    segments; id and first position, 16 hex digits each
//! DIR/<class>/<id>.spare         a file that was a segment and will be another one
//! DIR/<class>/<name>.cursor      what the reader of that name has released
//! ```
//! A **segment** is a file of full size, new (`fallocate`) or spare. It is written front to back, cut to its used length
//! when the next one takes over, and unlinked whole or kept as a spare. Its header, 64 bytes: magic `DUNLINSG`, version
//! u16, header length u16, class u8, recycled u8, 2 zero bytes, id u64, base position u64, floor u64, age of the log in ms
//! u64, uptime in ms u64, boot u32, CRC32C u32 of all before it.
//!
//! Everything after the header is **records**, each at a multiple of 8 bytes:
//! ```text
//! 0  u32 length of the payload in the low 24 bits, kind in the high 8: 0xD1 data, 0xD2 gap, 0xD3 commit, 0xD4 packed data
//! 4  u32 CRC32C of: segment id u64, offset in the segment u64, bytes 0..4, bytes 8..16, payload, padding
//! 8  u64 position (data, gap) or the position after the group (commit)
//! 16 payload, then zero bytes up to the next multiple of 8
//! ```
//! Id and offset are in the checksum and not in the file: a frame that a disk wrote to the wrong place, or that a
//! reused block still holds, does not check. Positions are dense in a log, so whatever is missing shows, and is counted.
//! A **commit** record ends each group (one write, one sync); its payload is the log's *floor* (u64): positions
//! below it were dropped. **Packed data** is the length of the payload (u32) and an LZ4 block.
//!
//! A **cursor** file has two slots of 64 bytes at offsets 0 and 4096, written in turn: magic `DUNLINCR`, version u16, 6
//! zero bytes, sequence u64, released u64 (positions below it are delivered), 28 zero bytes, CRC32C u32. The valid
//! slot of the higher sequence counts. Any number of names may exist; space is bounded by the lowest.
//!
//! # Rules
//! 1. Ack after file sync, and after directory sync where the segment is new.
//! 2. A failed write or sync poisons its segment: it is never written or synced again, what was not
//!    acknowledged is written anew, from memory, to a new segment whose base ends the poisoned one. If that fails too,
//!    the append returns a retryable error, and the next append tries a new segment again: `degraded` until one works.
//! 3. A segment's end is the base of the next; whatever it holds beyond is void (the poisoned tail).
//! 4. Space is freed only when the cursor that releases it is durable. A stale cursor means duplicates, never loss.
//! 5. A drop is committed before it is done: the gap frame and the raised floor are one group; then the unlink.
//! 6. After a start, appends go to a new segment. Bytes of unknown state are never written over.
//! 7. A spare has its new name, durably, before a byte of it is written; one that a reader holds, or that is poisoned, is
//!    never written over.
//!
//! # Recovery, and what a crash can leave behind
//! Only the last segment is scanned, so a start costs the same at any size; older ones are checked as they are read.
//! | left behind | done |
//! |---|---|
//! | half a group at the tail | frames before the first bad byte are kept (never acknowledged, but whole), the rest cut off and counted as torn |
//! | a bad record with a good one after it | skipped to the next good one; the positions between are reported lost |
//! | an empty or headless last segment, or one with the header of an older life | kept until the next one is durable |
//! | a gap frame without its commit | cut off: the drop did not happen |
//! | segments below the floor or the cursor | unlinked again |
//! | spare files | unlinked |
//! | a stale or half-written cursor | the other slot: duplicates |
//! | no directory entry for a new segment | nothing in it was acknowledged |
//!
//! A frame lost to a bad sector of the very last group cannot be told from one that was being written at the
//! power cut: it is reported as lost, which is the safe side.
//!
//! # Threads
//! One writer thread a store does all writes, syncs, unlinks and cursor files. Reads are `pread`s of up to 256 KiB on
//! tokio's blocking pool, one hop for hundreds of frames, so no reader thread idles and the runtime never blocks.

mod age;
mod cursor;
mod engine;
mod format;
pub mod fs;
mod inspect;
mod log;
mod options;
mod reader;
mod recovery;
mod shared;
mod spares;
mod store;
mod wear;
mod writer;

#[cfg(test)]
mod tests;

pub use format::{FORMAT_VERSION, PAYLOAD_BYTES_MAX};
pub use inspect::{Exported, LogReport, Report, SegmentReport, export, inspect, verify};
pub use options::{Batch, Commit, Dropped, OnDrop, Options, Policy, Why};
pub use reader::{Chunk, Frame, Reader};
pub use recovery::{LogRecovery, Recovery};
pub use shared::{Degraded, Stats};
pub use store::{AppendError, Store};

use crate::record::Class;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What can go wrong with a buffer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk said no.
    #[error("cannot {op} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Another agent has the directory.
    #[error(
        "the buffer directory {dir} is in use by process {pid}: stop that agent, or give this one another directory",
        dir = dir.display()
    )]
    Locked {
        /// Directory.
        dir: PathBuf,
        /// Process id of the holder as it wrote it, or `?`.
        pid: String,
    },
    /// The directory was written by a newer agent.
    #[error(
        "the buffer directory {dir} has format {found}, this agent knows up to {known}: run the newer agent, let it \
         drain, or give this one another directory; nothing was changed",
        dir = dir.display()
    )]
    Version {
        /// Directory.
        dir: PathBuf,
        /// Version found, as written.
        found: String,
        /// Newest known.
        known: u16,
    },
    /// An option is out of its range.
    #[error("buffer option {name}: {rule}")]
    Options {
        /// Option.
        name: &'static str,
        /// What must hold.
        rule: String,
    },
    /// A payload or an append exceeds its bound.
    #[error("cannot append {bytes} bytes: {bound} is {max}")]
    TooLarge {
        /// Size asked for, in bytes.
        bytes: u64,
        /// Name of the bound.
        bound: &'static str,
        /// The bound in bytes.
        max: u64,
    },
    /// The store is full, and its policy is to wait.
    #[error("the buffer is full")]
    Full,
    /// The store was closed.
    #[error("the buffer is closed")]
    Closed,
}

impl Error {
    fn io(op: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io {
            op,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// Whether the same call may succeed later, with nothing changed but the state of the disk.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Io { .. } | Error::Full)
    }
}
