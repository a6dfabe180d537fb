//! What the owner of a store decides, and the batch it hands over.

use super::format::{self, PAYLOAD_BYTES_MAX};
use super::{Class, Error};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// What an append does when the store is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The oldest segment of the lowest class is dropped, and a gap frame says so. An append never drops
    /// a higher class than its own, and a class keeps the segment it is writing.
    #[default]
    DropOldest,
    /// Appends wait until space is released.
    Block,
}

/// When a group is written and synced. Whichever bound is reached first.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Frames in a group.
    pub records_max: usize,
    /// Payload bytes in a group.
    pub bytes_max: usize,
    /// How long the first append of a group waits for company and, about, for the sync, in milliseconds; 0 for no waiting.
    pub latency_ms_max: u64,
}

impl Default for Commit {
    fn default() -> Commit {
        Commit {
            records_max: 512,
            bytes_max: 1 << 20,
            latency_ms_max: 5,
        }
    }
}

/// Why frames are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// For want of space.
    Space,
    /// They are older than `Options::ttl_ms`.
    Age,
}

/// A stretch of a log that is about to be dropped.
pub struct Dropped<'a> {
    /// Why.
    pub why: Why,
    /// Of which log.
    pub class: Class,
    /// Positions that go, none of them released. The count is exact.
    pub positions: Range<u64>,
    /// Their payloads, gap frames of earlier drops included; what is damaged or cannot be read is left out.
    pub frames: Box<dyn Iterator<Item = (u64, Cow<'a, [u8]>)> + 'a>,
}

/// Builds the payload of the gap frame that stands for what is dropped; `None` for no gap frame. Called on the
/// writer thread: it must not block and must not append to the same store.
pub type OnDrop = Arc<dyn Fn(Dropped<'_>) -> Option<Vec<u8>> + Send + Sync>;

/// How a store behaves.
#[derive(Clone)]
pub struct Options {
    /// Bound of all segments of all classes on disk, in bytes; at least eight segments.
    pub size_max_bytes: u64,
    /// Size of a segment, in bytes; 64 KiB to 1 GiB. An append may hold half of it.
    pub segment_bytes: u64,
    /// When full.
    pub policy: Policy,
    /// Group commit.
    pub commit: Commit,
    /// Compress payloads (LZ4) where that saves an eighth or more.
    pub compress: bool,
    /// Age at which frames are dropped, per class, in milliseconds; 0 for never. Looked at a segment at a time, so up to a
    /// quarter later.
    pub ttl_ms: [u64; 3],
    /// Bytes, in whole pages, that may be written in a day; 0 for any number. What is done as less is left of it: groups
    /// wait up to `wear_latency_ms_max`; payloads are compressed; appends of the class bulk wait.
    pub wear_bytes_per_day: u64,
    /// `Commit::latency_ms_max` while the budget is short, in milliseconds, if it is longer.
    pub wear_latency_ms_max: u64,
    /// Free space of the file system below which no segment is created, in bytes.
    pub free_bytes_min: u64,
    /// Payload bytes that may wait for the writer, per class; more and `append` waits.
    pub queue_bytes_max: usize,
    /// Name of this store's cursor: letters, digits and dashes.
    pub cursor: String,
    /// Released frames after which the cursor is persisted. A crash repeats at most about this many.
    pub cursor_frames_max: u64,
    /// Time after which a moved cursor is persisted, in milliseconds.
    pub cursor_ms_max: u64,
    /// Builds gap frames.
    pub on_drop: Option<OnDrop>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            size_max_bytes: 1 << 30,
            segment_bytes: 8 << 20,
            policy: Policy::DropOldest,
            commit: Commit::default(),
            compress: false,
            ttl_ms: [0; 3],
            wear_bytes_per_day: 0,
            wear_latency_ms_max: 1000,
            free_bytes_min: 0,
            queue_bytes_max: 8 << 20,
            cursor: "uplink".to_owned(),
            cursor_frames_max: 4096,
            cursor_ms_max: 200,
            on_drop: None,
        }
    }
}

impl Options {
    /// Encoded bytes that one append may hold: half a segment.
    pub fn append_bytes_max(&self) -> u64 {
        self.segment_bytes / 2
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let fail = |name, rule: String| Err(Error::Options { name, rule });
        if !(64 << 10..=1 << 30).contains(&self.segment_bytes)
            || !self.segment_bytes.is_multiple_of(4096)
        {
            return fail(
                "segment_bytes",
                "must be 65536 to 1073741824, a multiple of 4096".to_owned(),
            );
        }
        if self.size_max_bytes < 8 * self.segment_bytes {
            let least = 8 * self.segment_bytes;
            return fail(
                "size_max_bytes",
                format!("must be at least eight segments, {least}"),
            );
        }
        if self.commit.records_max == 0 || self.commit.bytes_max == 0 {
            return fail("commit", "bounds must be at least 1".to_owned());
        }
        if self.queue_bytes_max < 4096 || self.queue_bytes_max > 1 << 30 {
            return fail("queue_bytes_max", "must be 4096 to 1073741824".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.cursor.is_empty() || self.cursor.len() > 64 || !self.cursor.chars().all(plain) {
            return fail(
                "cursor",
                "must be 1 to 64 letters, digits and dashes".to_owned(),
            );
        }
        Ok(())
    }
}

/// Payloads of one append, side by side in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a payload.
    pub fn push(&mut self, payload: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(payload));
    }

    /// Adds the payload that `write` appends to the vector, which may already hold others: append only.
    pub fn push_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let out = write(&mut self.bytes);
        self.ends.push(self.bytes.len());
        out
    }

    /// Number of payloads.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all payloads.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Removes all payloads and keeps the allocation.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The payloads in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |&end| {
            let payload = &self.bytes[from..end];
            from = end;
            payload
        })
    }

    /// Bytes of its records on disk.
    pub(super) fn encoded_bytes(&self) -> u64 {
        self.iter().map(|p| format::record_bytes(p.len())).sum()
    }

    pub(super) fn check(&self, append_bytes_max: u64) -> Result<(), Error> {
        let longest = self.iter().map(<[u8]>::len).max().unwrap_or(0);
        if longest > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes: longest as u64,
                bound: "payload_bytes_max",
                max: PAYLOAD_BYTES_MAX as u64,
            });
        }
        let bytes = self.encoded_bytes();
        if bytes > append_bytes_max {
            return Err(Error::TooLarge {
                bytes,
                bound: "append_bytes_max",
                max: append_bytes_max,
            });
        }
        Ok(())
    }
}

impl From<Vec<Vec<u8>>> for Batch {
    fn from(payloads: Vec<Vec<u8>>) -> Batch {
        payloads.into_iter().collect()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Batch {
    fn from_iter<I: IntoIterator<Item = T>>(payloads: I) -> Batch {
        let mut batch = Batch::new();
        for payload in payloads {
            batch.push(payload.as_ref());
        }
        batch
    }
}
