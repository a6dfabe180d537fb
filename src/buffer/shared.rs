//! What the writer thread publishes: the segments that readers may read, how far, and the counters.

use super::Class;
use super::fs::Storage;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A segment as readers see it.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    /// First position.
    pub(super) base: u64,
    /// Position after the last durable one.
    pub(super) end: u64,
    /// Durable bytes, header included.
    pub(super) bytes: u64,
    /// Bytes that it occupies.
    pub(super) disk_bytes: u64,
    pub(super) path: PathBuf,
    /// Whether a write to it failed: it is never written again.
    pub(super) poisoned: bool,
    /// Age of the log when it was begun, where that is known without a look at its header.
    pub(super) begun_ms: Option<u64>,
    /// Age of the log when all its frames were there, where that is known.
    pub(super) newest_ms: Option<u64>,
    /// Shared by whoever may read the file: it is not written over while it is anyone's but the view's.
    pub(super) hold: Arc<()>,
}

/// A log as readers see it. Changed by the writer thread, except `released`.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// Positions below it are delivered, durably so or not yet.
    pub(super) released: u64,
    /// Positions below it were dropped.
    pub(super) floor: u64,
    /// The next position.
    pub(super) next: u64,
    /// Bytes of files kept to become segments again.
    pub(super) spare_bytes: u64,
}

impl View {
    /// Bytes that the log takes.
    pub(super) fn disk_bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|s| s.disk_bytes);
        segments.sum::<u64>() + self.spare_bytes
    }
}

/// How far readers may go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Durable {
    /// Positions below it are durable.
    pub(super) next: u64,
    pub(super) closed: bool,
}

pub(super) struct LogShared {
    pub(super) dir: PathBuf,
    view: Mutex<View>,
    pub(super) durable: watch::Sender<Durable>,
}

impl LogShared {
    pub(super) fn new(dir: PathBuf) -> LogShared {
        LogShared {
            dir,
            view: Mutex::default(),
            durable: watch::Sender::default(),
        }
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        // Nothing under this lock panics half way through a change, so a poisoned view is a whole one.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the store cannot write just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// The last error.
    pub cause: String,
    /// Appends refused since it last worked.
    pub refused: u64,
}

pub(super) struct Shared {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) logs: [LogShared; 3],
    pub(super) counters: Counters,
    degraded: Mutex<Option<Degraded>>,
    bulk_held: AtomicBool,
    device: Mutex<Device>,
}

/// What the block device below says of itself.
struct Device {
    /// Bytes that it had written when the store was opened.
    before: Option<u64>,
    /// Bytes since.
    written: u64,
    asked: Instant,
}

impl Shared {
    pub(super) fn new(storage: Arc<dyn Storage>, dir: &std::path::Path) -> Shared {
        let device = Device {
            before: storage.device_bytes_written(dir),
            written: 0,
            asked: Instant::now(),
        };
        Shared {
            device: Mutex::new(device),
            storage,
            logs: Class::ALL.map(|class| LogShared::new(dir.join(class.name()))),
            counters: Counters::default(),
            degraded: Mutex::default(),
            bulk_held: AtomicBool::new(false),
        }
    }

    pub(super) fn log(&self, class: Class) -> &LogShared {
        &self.logs[class as usize]
    }

    pub(super) fn degraded(&self) -> MutexGuard<'_, Option<Degraded>> {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that appends of the class bulk wait for the wear budget, or do not.
    pub(super) fn hold_bulk(&self, held: bool) {
        self.bulk_held.store(held, Ordering::Relaxed);
    }

    /// Bytes written since the store was opened to the block device below, by everyone; 0 where it keeps no statistics. The
    /// statistics are read once a second at most.
    pub(super) fn device_bytes_written(&self) -> u64 {
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        if device.asked.elapsed() >= Duration::from_secs(1) {
            let now = self.storage.device_bytes_written(&self.logs[0].dir);
            let written = now.zip(device.before);
            device.written = written.map_or(0, |(now, before)| now.saturating_sub(before));
            device.asked = Instant::now();
        }
        device.written
    }

    pub(super) fn stats(&self) -> Stats {
        let c = &self.counters;
        let mut stats = Stats {
            frames_appended: c.frames_appended.get(),
            bytes_appended: c.bytes_appended.get(),
            frames_durable: c.frames_durable.get(),
            frames_released: c.frames_released.get(),
            frames_dropped: c.frames_dropped.get(),
            frames_recovered: c.frames_recovered.get(),
            frames_lost: c.frames_lost.get(),
            bytes_torn: c.bytes_torn.get(),
            records_corrupt: c.records_corrupt.get(),
            bytes_written: c.bytes_written.get(),
            page_bytes_written: c.page_bytes_written.get(),
            syncs: c.syncs.get(),
            segments_poisoned: c.segments_poisoned.get(),
            segments_recycled: c.segments_recycled.get(),
            frames_expired: c.frames_expired.get(),
            frames_packed: c.frames_packed.get(),
            ..Stats::default()
        };
        for log in &self.logs {
            let view = log.view();
            stats.segments += view.segments.len() as u64;
            stats.disk_bytes += view.disk_bytes();
            stats.frames_stored += view.next.saturating_sub(view.released.max(view.floor));
        }
        stats.degraded.clone_from(&self.degraded());
        if stats.degraded.is_none() && self.bulk_held.load(Ordering::Relaxed) {
            let cause = "wear budget spent: appends of class bulk wait".to_owned();
            stats.degraded = Some(Degraded { cause, refused: 0 });
        }
        stats
    }
}

/// A counter that one thread or several add to; only its sum matters, so ordering is relaxed.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes of a page: a disk is written a page at a time.
pub(super) const PAGE_BYTES: u64 = 4096;

impl Counters {
    /// Counts a write.
    pub(super) fn wrote(&self, offset: u64, bytes: u64) {
        let pages = (offset + bytes).div_ceil(PAGE_BYTES) - offset / PAGE_BYTES;
        self.bytes_written.add(bytes);
        self.page_bytes_written.add(pages * PAGE_BYTES);
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames_appended: Counter,
    pub(super) bytes_appended: Counter,
    pub(super) frames_durable: Counter,
    pub(super) frames_released: Counter,
    pub(super) frames_dropped: Counter,
    pub(super) frames_recovered: Counter,
    pub(super) frames_lost: Counter,
    pub(super) bytes_torn: Counter,
    pub(super) records_corrupt: Counter,
    pub(super) bytes_written: Counter,
    pub(super) page_bytes_written: Counter,
    pub(super) syncs: Counter,
    pub(super) segments_poisoned: Counter,
    pub(super) segments_recycled: Counter,
    pub(super) frames_expired: Counter,
    pub(super) frames_packed: Counter,
}

/// Counters since the store was opened, and its size now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames handed to `append`.
    pub frames_appended: u64,
    /// Their payload bytes.
    pub bytes_appended: u64,
    /// Frames made durable, gap frames not counted.
    pub frames_durable: u64,
    /// Frames released.
    pub frames_released: u64,
    /// Frames dropped for want of space or because of their age, unreleased.
    pub frames_dropped: u64,
    /// Unreleased frames found at the start.
    pub frames_recovered: u64,
    /// Positions that readers found missing.
    pub frames_lost: u64,
    /// Bytes of half-written groups cut off at the start.
    pub bytes_torn: u64,
    /// Stretches of damage that were skipped.
    pub records_corrupt: u64,
    /// Bytes written to segments and cursors, headers included: over `bytes_appended`, the write amplification above
    /// the file system.
    pub bytes_written: u64,
    /// The same in whole pages, which is what reaches the disk: what a file system writes for itself is not in it.
    pub page_bytes_written: u64,
    /// File and directory syncs.
    pub syncs: u64,
    /// Segments given up after a failed write or sync.
    pub segments_poisoned: u64,
    /// Segments written over the blocks of an older one.
    pub segments_recycled: u64,
    /// Frames dropped because of their age; `frames_dropped` has them too.
    pub frames_expired: u64,
    /// Frames stored compressed.
    pub frames_packed: u64,
    /// Segments now.
    pub segments: u64,
    /// Bytes that they, and files kept to become segments, occupy now.
    pub disk_bytes: u64,
    /// Frames stored and neither released nor dropped now.
    pub frames_stored: u64,
    /// Set while the disk refuses writes, or the wear budget holds the class bulk.
    pub degraded: Option<Degraded>,
}
