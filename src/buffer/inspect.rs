//! Looking at a buffer directory without changing it, also while an agent runs: no lock is taken, no file created.

use super::cursor;
use super::engine::check_format;
use super::format::{self, RecordKind, SegmentHeader};
use super::fs::{Storage, read_full};
use super::log::{payload_of, read_file};
use super::recovery::{list_segments, tail};
use super::shared::Segment;
use super::{Class, Error};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a buffer directory holds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Per class that has a directory, bulk first.
    pub logs: Vec<LogReport>,
}

impl Report {
    /// Whether nothing is damaged. A torn tail is no damage: it was never acknowledged, or is being written.
    pub fn is_sound(&self) -> bool {
        self.logs
            .iter()
            .all(|log| log.lost.is_empty() && log.damage() == 0)
    }
}

/// What a log holds.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// Class.
    pub class: Class,
    /// Segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Cursors by name: positions below are released. `None` where no slot is valid.
    pub cursors: Vec<(String, Option<u64>)>,
    /// Positions below it were dropped.
    pub floor: u64,
    /// Frames present.
    pub frames: u64,
    /// Positions from the first segment to the next one to be written.
    pub positions: Range<u64>,
    /// Positions in that range without a good frame (`verify` only).
    pub lost: Vec<Range<u64>>,
}

impl LogReport {
    /// Damaged stretches in all segments, and damaged headers.
    pub fn damage(&self) -> usize {
        let of = |s: &SegmentReport| s.damage.len() + usize::from(s.frames > 0 && !s.header_good);
        self.segments.iter().map(of).sum()
    }
}

/// What a segment holds.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// File.
    pub path: PathBuf,
    /// Id.
    pub id: u64,
    /// Positions, by the names of this file and the next.
    pub positions: Range<u64>,
    /// Size of the file in bytes.
    pub disk_bytes: u64,
    /// Whether the header is whole and says what the name says.
    pub header_good: bool,
    /// Good frames; 0 from `inspect`, save in the last segment.
    pub frames: u64,
    /// Damaged stretches, as offsets in the file.
    pub damage: Vec<Range<u64>>,
    /// Bytes after the last good record of the last segment.
    pub torn_bytes: u64,
}

/// An exported frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Log.
    pub class: Class,
    /// Position.
    pub position: u64,
    /// Whether it is released.
    pub released: bool,
    /// Whether it stands for dropped frames.
    pub gap: bool,
    /// Payload.
    pub payload: Vec<u8>,
}

/// Lists segments, positions and cursors. Reads only the last segment of each log.
pub fn inspect(storage: &dyn Storage, dir: &Path) -> Result<Report, Error> {
    walk(storage, dir, false, &mut |_| Ok(()))
}

/// Reads everything and checks every checksum and every position.
pub fn verify(storage: &dyn Storage, dir: &Path) -> Result<Report, Error> {
    walk(storage, dir, true, &mut |_| Ok(()))
}

/// Hands every good frame of every log to `each`, in order within a log, dropped ones left out; stops at its error.
pub fn export(
    storage: &dyn Storage,
    dir: &Path,
    each: &mut dyn FnMut(Exported) -> io::Result<()>,
) -> Result<Report, Error> {
    let mut each = |frame| each(frame).map_err(|e| Error::io("export from", dir, e));
    walk(storage, dir, true, &mut each)
}

type Each<'a> = &'a mut dyn FnMut(Exported) -> Result<(), Error>;

fn walk(storage: &dyn Storage, dir: &Path, all: bool, each: Each<'_>) -> Result<Report, Error> {
    if check_format(storage, dir)?.is_none() {
        let source = io::Error::new(io::ErrorKind::NotFound, "not a buffer directory");
        return Err(Error::io("read", &dir.join("format"), source));
    }
    let mut report = Report::default();
    for class in Class::ALL {
        let dir = dir.join(class.name());
        let names = match storage.list(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|e| Error::io("list", &dir, e))?,
        };
        report
            .logs
            .push(walk_log(storage, class, &dir, &names, all, each)?);
    }
    Ok(report)
}

fn walk_log(
    storage: &dyn Storage,
    class: Class,
    dir: &Path,
    names: &[String],
    all: bool,
    each: Each<'_>,
) -> Result<LogReport, Error> {
    let mut log = LogReport {
        class,
        segments: Vec::new(),
        cursors: Vec::new(),
        floor: 0,
        frames: 0,
        positions: 0..0,
        lost: Vec::new(),
    };
    for name in names {
        if let Some(stem) = name.strip_suffix(".cursor") {
            let path = dir.join(name);
            let released = cursor::read(storage, &path).map_err(|e| Error::io("read", &path, e))?;
            log.cursors.push((stem.to_owned(), released));
        }
    }
    let released = log
        .cursors
        .iter()
        .filter_map(|(_, r)| *r)
        .min()
        .unwrap_or(0);
    let segments = list_segments(names, dir);
    log.floor = floor(storage, &segments);
    let first = segments.first().map_or(released, |s| s.base);
    let mut next = first;
    let count = segments.len();
    for (at, segment) in segments.into_iter().enumerate() {
        let last = at + 1 == count;
        let Some(bytes) = read(storage, &segment)? else {
            // Released, and removed or written over, while we looked.
            next = next.max(segment.end);
            continue;
        };
        let (report, found) = look(&segment, &bytes, last, all || last);
        log.frames += report.frames;
        for (offset, record) in &found {
            if record.position > next && all {
                log.lost.push(next..record.position);
            }
            next = next.max(record.position + u64::from(record.kind != RecordKind::Commit));
            if record.kind == RecordKind::Commit || record.position < log.floor {
                continue;
            }
            let from = usize::try_from(*offset).unwrap_or(0) + format::RECORD_HEADER_BYTES;
            let stored = &bytes[from..from + record.payload_bytes];
            let Some(payload) = payload_of(record, stored) else {
                continue;
            };
            each(Exported {
                class,
                position: record.position,
                released: record.position < released,
                gap: record.kind == RecordKind::Gap,
                payload: payload.into_owned(),
            })?;
        }
        if !last && report.positions.end > next {
            if all {
                log.lost.push(next..report.positions.end);
            }
            next = report.positions.end;
        }
        log.segments.push(report);
    }
    log.positions = first..next;
    Ok(log)
}

/// Looks at one segment; the records returned are those that count.
fn look(
    segment: &Segment,
    bytes: &[u8],
    last: bool,
    scan_it: bool,
) -> (SegmentReport, Vec<(u64, format::Record)>) {
    let header = SegmentHeader::of(bytes, segment.id);
    let mut report = SegmentReport {
        path: segment.path.clone(),
        id: segment.id,
        positions: segment.base..segment.end,
        disk_bytes: bytes.len() as u64,
        header_good: header.is_some_and(|h| h.base == segment.base),
        frames: 0,
        damage: Vec::new(),
        torn_bytes: 0,
    };
    if !scan_it {
        return (report, Vec::new());
    }
    let mut scan = format::scan(bytes, segment.id);
    if last {
        let tail = tail(&scan, segment.base);
        report.torn_bytes = scan.torn_bytes(tail.end);
        report.positions.end = tail.next;
        scan.records.retain(|(offset, _)| *offset < tail.end);
        scan.damage.retain(|damage| damage.start < tail.end);
    } else {
        // What follows the last position that counts is void: a poisoned tail.
        let counts = |r: &format::Record| match r.kind {
            RecordKind::Commit => r.position <= segment.end,
            RecordKind::Data | RecordKind::Packed | RecordKind::Gap => r.position < segment.end,
        };
        scan.records.retain(|(_, record)| counts(record));
        let end = scan
            .records
            .last()
            .map_or(0, |(offset, r)| offset + r.bytes());
        scan.damage.retain(|damage| damage.start < end);
    }
    let frames = scan
        .records
        .iter()
        .filter(|(_, r)| r.kind != RecordKind::Commit);
    report.frames = frames.count() as u64;
    report.damage = scan.damage;
    (report, scan.records)
}

fn read(storage: &dyn Storage, segment: &Segment) -> Result<Option<Vec<u8>>, Error> {
    let file = match storage.open(&segment.path, false) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other,
    };
    let bytes = file.and_then(|file| {
        let bytes = read_file(file.as_ref())?;
        // A running agent may have begun to write another segment over it: the header is the first to change.
        let mut header = [0; 64];
        let read = read_full(file.as_ref(), &mut header, 0)?;
        Ok(bytes.starts_with(&header[..read]).then_some(bytes))
    });
    bytes.map_err(|e| Error::io("read", &segment.path, e))
}

fn floor(storage: &dyn Storage, segments: &[Segment]) -> u64 {
    for segment in segments.iter().rev() {
        let Ok(Some(bytes)) = read(storage, segment) else {
            continue;
        };
        let scan = format::scan(&bytes, segment.id);
        let commit = scan.commits.last().map(|(_, floor)| *floor);
        let header = SegmentHeader::of(&bytes, segment.id).map(|header| header.floor);
        if let Some(floor) = commit.or(header) {
            return floor;
        }
    }
    0
}
