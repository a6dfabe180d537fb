//! What a start finds, and what it makes of it.

use super::age::AgeClock;
use super::cursor::{self, Cursor};
use super::format::{self, RecordKind, Scan, SegmentHeader, Stamp};
use super::fs::read_full;
use super::log::{Log, read_file};
use super::shared::{Segment, Shared};
use super::{Class, Error, Options};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What opening a store found in one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecovery {
    /// Its class.
    pub class: Class,
    /// Positions neither released nor dropped.
    pub pending: Range<u64>,
    /// Segments found.
    pub segments: usize,
    /// Bytes of a half-written group cut off the tail.
    pub torn_bytes: u64,
    /// Positions found damaged in the last segment; a reader reports them too, and those of older segments.
    pub lost: Vec<Range<u64>>,
}

/// What opening a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Per class, bulk first.
    pub logs: Vec<LogRecovery>,
}

impl Recovery {
    /// Frames neither released nor dropped.
    pub fn frames(&self) -> u64 {
        self.logs
            .iter()
            .map(|log| log.pending.end - log.pending.start)
            .sum()
    }
}

/// What is kept of the last segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Offset after the last record that is kept.
    pub(super) end: u64,
    /// The next position.
    pub(super) next: u64,
    pub(super) lost: Vec<Range<u64>>,
}

/// Decides what is kept of the last segment: everything up to the last commit, and after it whole data frames up to the
/// first bad byte, or gap frame.
pub(super) fn tail(scan: &Scan, base: u64) -> Tail {
    let mut tail = Tail {
        end: format::SEGMENT_HEADER_BYTES,
        next: base,
        lost: Vec::new(),
    };
    let is_commit = |(_, record): &(u64, format::Record)| record.kind == RecordKind::Commit;
    let commits = scan
        .records
        .iter()
        .rposition(is_commit)
        .map_or(0, |at| at + 1);
    for (at, (offset, record)) in scan.records.iter().enumerate() {
        let committed = at < commits;
        if !committed && (*offset != tail.end || record.kind == RecordKind::Gap) {
            break;
        }
        if record.position > tail.next {
            tail.lost.push(tail.next..record.position);
        }
        let after = record.position + u64::from(record.kind != RecordKind::Commit);
        tail.next = tail.next.max(after);
        tail.end = offset + record.bytes();
    }
    tail
}

/// Reads a log's directory and makes it ready for appends.
pub(super) fn recover(
    shared: &Arc<Shared>,
    class: Class,
    options: &Options,
) -> Result<(Log, LogRecovery), Error> {
    let storage = shared.storage.as_ref();
    let dir = shared.log(class).dir.clone();
    let names = storage.list(&dir).map_err(|e| Error::io("list", &dir, e))?;

    let cursor = Cursor::open(storage, &dir, &options.cursor)?;
    let mut others = u64::MAX;
    for name in &names {
        let Some(stem) = name.strip_suffix(".cursor") else {
            continue;
        };
        if stem != options.cursor {
            let path = dir.join(name);
            let released = cursor::read(storage, &path).map_err(|e| Error::io("read", &path, e))?;
            // A cursor that cannot be read holds everything back.
            others = others.min(released.unwrap_or(0));
        }
    }

    for name in names.iter().filter(|name| name.ends_with(format::SPARE)) {
        let path = dir.join(name);
        let removed = storage.remove(&path);
        removed.map_err(|e| Error::io("remove", &path, e))?;
    }
    let mut segments = list_segments(&names, &dir);
    for segment in &mut segments {
        let size = storage
            .open(&segment.path, false)
            .and_then(|file| file.size());
        let size = size.map_err(|e| Error::io("open", &segment.path, e))?;
        segment.bytes = size;
        segment.disk_bytes = size;
    }

    let mut recovery = LogRecovery {
        class,
        pending: 0..0,
        segments: segments.len(),
        torn_bytes: 0,
        lost: Vec::new(),
    };
    let mut next = cursor.found;
    if let Some(last) = segments.last_mut() {
        let kept = settle(shared, last, &mut recovery)?;
        next = next.max(kept);
    }
    let floor = floor(shared, &segments)?;
    let age = AgeClock::resume(newest_stamp(shared, &segments)?, storage.moment());

    let next_id = segments.last().map_or(0, |s| s.id + 1);
    let mut view = shared.log(class).view();
    view.released = cursor.found;
    view.floor = floor;
    view.next = next;
    let start = cursor.found.max(floor).min(next);
    recovery.pending = start..next;
    let first = segments.first().map_or(next, |s| s.base);
    if first > start {
        recovery.lost.insert(0, start..first);
    }
    recovery.lost.retain(|lost| lost.end > start);
    view.segments = segments.into();
    drop(view);
    shared.counters.frames_recovered.add(next - start);
    shared.counters.bytes_torn.add(recovery.torn_bytes);
    shared
        .log(class)
        .durable
        .send_modify(|durable| durable.next = next);

    let log = Log::new(
        shared.clone(),
        class,
        options.segment_bytes,
        next_id,
        cursor,
        others,
        age,
    );
    Ok((log, recovery))
}

/// The segments of a directory in order, each up to the base of the next; sizes not known yet.
pub(super) fn list_segments(names: &[String], dir: &std::path::Path) -> Vec<Segment> {
    let mut found: Vec<(u64, u64, PathBuf)> = Vec::new();
    for name in names {
        if let Some((id, base)) = format::parse_segment_name(name) {
            found.push((id, base, dir.join(name)));
        }
    }
    found.sort_unstable();
    let bases: Vec<u64> = found.iter().map(|f| f.1).collect();
    let mut segments = Vec::with_capacity(found.len());
    for (at, (id, base, path)) in found.into_iter().enumerate() {
        segments.push(Segment {
            id,
            base,
            end: bases.get(at + 1).map_or(base, |&end| end.max(base)),
            bytes: 0,
            disk_bytes: 0,
            path,
            poisoned: false,
            begun_ms: None,
            newest_ms: None,
            hold: Arc::default(),
        });
    }
    segments
}

/// Scans the last segment, cuts its torn tail off, makes the rest durable, and returns the next position.
fn settle(shared: &Shared, last: &mut Segment, recovery: &mut LogRecovery) -> Result<u64, Error> {
    let fail = |op| {
        let path = last.path.clone();
        move |e: io::Error| Error::io(op, &path, e)
    };
    let file = shared
        .storage
        .open(&last.path, true)
        .map_err(fail("open"))?;
    let bytes = read_file(file.as_ref()).map_err(fail("read"))?;
    let scan = format::scan(&bytes, last.id);
    let tail = tail(&scan, last.base);
    last.end = tail.next;
    last.bytes = tail.end;
    recovery.torn_bytes = scan.torn_bytes(tail.end);
    recovery.lost = tail.lost;
    if bytes.len() as u64 > tail.end {
        file.set_size(tail.end).map_err(fail("cut"))?;
        last.disk_bytes = tail.end;
    }
    // What a killed agent wrote may be in the page cache only, and is about to be shown to readers.
    shared.counters.syncs.add(1);
    file.sync().map_err(fail("sync"))?;
    Ok(tail.next)
}

/// The stamp of the newest segment that has one.
fn newest_stamp(shared: &Shared, segments: &[Segment]) -> Result<Stamp, Error> {
    for segment in segments.iter().rev() {
        if let Some(header) = header(shared, segment)? {
            return Ok(header.begun);
        }
    }
    Ok(Stamp::default())
}

/// The header of a segment, if it is whole.
pub(super) fn header(shared: &Shared, segment: &Segment) -> Result<Option<SegmentHeader>, Error> {
    let mut bytes = [0; 64];
    let file = shared.storage.open(&segment.path, false);
    let read = file.and_then(|file| read_full(file.as_ref(), &mut bytes, 0));
    let read = read.map_err(|e| Error::io("read", &segment.path, e))?;
    Ok(SegmentHeader::of(&bytes[..read], segment.id))
}

/// The floor that the newest commit or header states.
fn floor(shared: &Shared, segments: &[Segment]) -> Result<u64, Error> {
    for segment in segments.iter().rev() {
        let bytes = super::log::load(shared, &segment.path)?;
        let scan = format::scan(&bytes, segment.id);
        // Beyond the segment's end lies what was void before it was committed.
        let commit = scan
            .commits
            .iter()
            .rev()
            .find(|(next, _)| *next <= segment.end);
        let header = SegmentHeader::of(&bytes, segment.id).map(|header| header.floor);
        if let Some(floor) = commit.map(|(_, floor)| *floor).or(header) {
            return Ok(floor);
        }
    }
    Ok(0)
}
