//! One class's log: its segments, and the one that is being written.

use super::age::AgeClock;
use super::cursor::Cursor;
use super::format::{
    self, COMMIT_BYTES, Record, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader, Stamp,
};
use super::fs::{StorageFile, read_full, write_all};
use super::recovery;
use super::shared::{LogShared, PAGE_BYTES, Segment, Shared};
use super::spares::Spares;
use super::{Batch, Class, Error};
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest group that zeros are written behind.
const ZEROS_GROUP_BYTES_MAX: u64 = 32 << 10;
/// For about how many groups to come.
const ZEROS_GROUPS: u64 = 16;
/// Headers read to find when the segment after the oldest was begun, where some are damaged.
const HEADERS_MAX: usize = 4;

/// The segment that is being written.
struct Active {
    id: u64,
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    /// Where the next group goes; 0 while the header is not written.
    offset: u64,
    /// Whether the directory entry is durable.
    entered: bool,
    /// Whether the file was another segment before.
    recycled: bool,
    /// Up to where its blocks were ever written.
    written: u64,
    begun: Stamp,
}

/// A log, as the writer thread sees it.
pub(super) struct Log {
    shared: Arc<Shared>,
    class: Class,
    segment_bytes: u64,
    active: Option<Active>,
    /// Ended segments that the disk did not let us cut: tried again when a segment is started.
    uncut: Vec<Active>,
    next_id: u64,
    next: u64,
    floor: u64,
    cursor: Cursor,
    /// The lowest of the other cursors in the directory, as found at the start.
    others: u64,
    spares: Spares,
    age: AgeClock,
    /// The next position when ages were last looked at.
    looked: u64,
    /// Whether payloads are compressed.
    pub(super) pack: bool,
    /// Reused for every group.
    out: Vec<u8>,
}

impl Log {
    /// A log whose view was filled by recovery.
    pub(super) fn new(
        shared: Arc<Shared>,
        class: Class,
        segment_bytes: u64,
        next_id: u64,
        cursor: Cursor,
        others: u64,
        age: AgeClock,
    ) -> Log {
        let (next, floor) = {
            let mut view = shared.log(class).view();
            if let Some(last) = view.segments.back_mut() {
                // What was found is older than the start.
                last.newest_ms = Some(age.now_ms());
            }
            (view.next, view.floor)
        };
        Log {
            shared,
            class,
            segment_bytes,
            active: None,
            uncut: Vec::new(),
            next_id,
            next,
            floor,
            cursor,
            others,
            spares: Spares::default(),
            looked: next,
            age,
            pack: false,
            out: Vec::new(),
        }
    }

    fn log(&self) -> &LogShared {
        self.shared.log(self.class)
    }

    /// Bytes of records and commit that still fit into the active segment.
    pub(super) fn room(&self) -> u64 {
        let used = |a: &Active| a.offset.max(SEGMENT_HEADER_BYTES);
        self.active
            .as_ref()
            .map_or(0, |a| self.segment_bytes - used(a))
    }

    /// Starts a segment, and cuts the one before to its length.
    pub(super) fn rotate(&mut self) -> Result<(), Error> {
        // Before there is a file whose name says where the one before ends: it may stay though this fails.
        self.seal();
        let id = self.next_id;
        let path = self.log().dir.join(format::segment_name(id, self.next));
        self.next_id += 1;
        let storage = self.shared.storage.clone();
        let spare = self.spares.reuse(storage.as_ref(), &path);
        self.note_spares();
        let recycled = spare.is_some();
        let (file, written) = if let Some(spare) = spare {
            (spare.file, spare.bytes)
        } else {
            let file = storage.create(&path);
            (file.map_err(|e| Error::io("create", &path, e))?, 0)
        };
        if written < self.segment_bytes
            && let Err(e) = file.allocate(self.segment_bytes)
        {
            // If it stays, it is empty: the next start removes it.
            let _ = storage.remove(&path);
            return Err(Error::io("reserve space for", &path, e));
        }
        let begun = self.age.stamp(storage.moment());
        self.log().view().segments.push_back(Segment {
            id,
            base: self.next,
            end: self.next,
            bytes: 0,
            disk_bytes: self.segment_bytes,
            path: path.clone(),
            poisoned: false,
            begun_ms: Some(begun.age_ms),
            newest_ms: None,
            hold: Arc::default(),
        });
        let counters = &self.shared.counters;
        counters.syncs.add(u64::from(recycled));
        counters.segments_recycled.add(u64::from(recycled));
        self.active = Some(Active {
            id,
            file,
            path,
            offset: 0,
            entered: recycled,
            recycled,
            written,
            begun,
        });
        Ok(())
    }

    /// Bytes that another segment takes beyond what is taken.
    pub(super) fn growth(&self) -> u64 {
        self.segment_bytes - self.spares.head_start()
    }

    /// Spare files of the log.
    pub(super) fn spares(&self) -> usize {
        self.spares.len()
    }

    /// Gives the space of a spare file back.
    pub(super) fn discard_spare(&mut self) -> Result<(), Error> {
        let discarded = self.spares.discard(self.shared.storage.as_ref());
        self.note_spares();
        discarded
    }

    fn note_spares(&self) {
        self.log().view().spare_bytes = self.spares.bytes();
    }

    /// Ends the active segment. What was reserved and not used is given back, if the disk agrees.
    pub(super) fn seal(&mut self) {
        self.uncut.extend(self.active.take());
        let uncut = std::mem::take(&mut self.uncut);
        let mut view = self.shared.log(self.class).view();
        for ended in uncut {
            let Some(segment) = view.segments.iter_mut().find(|s| s.id == ended.id) else {
                continue;
            };
            if ended.file.set_size(ended.offset).is_ok() {
                segment.disk_bytes = ended.offset;
            } else {
                self.uncut.push(ended);
            }
        }
    }

    /// Appends data frames as one group and returns the first position once they are durable. They fit.
    pub(super) fn append(&mut self, batches: &[Batch]) -> Result<u64, Error> {
        let payloads = batches.iter().flat_map(Batch::iter);
        let floor = self.floor;
        self.group(payloads, RecordKind::Data, floor)
    }

    /// Raises the floor, with a gap frame for what is dropped, as one group. It fits.
    pub(super) fn append_gap(&mut self, payload: Option<&[u8]>, floor: u64) -> Result<(), Error> {
        self.group(payload.into_iter(), RecordKind::Gap, floor)?;
        self.floor = floor;
        self.log().view().floor = floor;
        Ok(())
    }

    fn group<'a>(
        &mut self,
        payloads: impl Iterator<Item = &'a [u8]>,
        kind: RecordKind,
        floor: u64,
    ) -> Result<u64, Error> {
        let first = self.next;
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let Some(active) = &self.active else {
            return Err(Error::Full);
        };
        let (id, offset) = (active.id, active.offset);
        if offset == 0 {
            let header = SegmentHeader {
                class: self.class,
                recycled: active.recycled,
                id,
                base: first,
                floor: self.floor,
                begun: active.begun,
            };
            out.extend_from_slice(&header.encode());
        }
        let mut next = first;
        for payload in payloads {
            let packed = match kind {
                RecordKind::Data if self.pack => format::pack(payload),
                _ => None,
            };
            let counters = &self.shared.counters;
            if let Some(packed) = packed {
                counters.frames_packed.add(1);
                format::encode(&mut out, offset, id, RecordKind::Packed, next, &packed);
            } else {
                format::encode(&mut out, offset, id, kind, next, payload);
            }
            next += 1;
        }
        let floor = floor.to_le_bytes();
        format::encode(&mut out, offset, id, RecordKind::Commit, next, &floor);
        let bytes = out.len() as u64;
        let end = offset + bytes;
        if end > active.written {
            let ahead = zeros_ahead(bytes, end).min(self.segment_bytes - end);
            out.resize(out.len() + usize::try_from(ahead).unwrap_or(0), 0);
        }
        let written = self.write(&out, end);
        self.out = out;
        if let Err(e) = written {
            self.poison();
            return Err(e);
        }
        self.next = next;
        self.publish();
        Ok(first)
    }

    /// Writes a group that ends at `end`, and zeros behind it, to the active segment, and makes it durable.
    fn write(&mut self, bytes: &[u8], end: u64) -> Result<(), Error> {
        let active = self.active.as_mut().ok_or(Error::Full)?;
        let counters = &self.shared.counters;
        counters.wrote(active.offset, bytes.len() as u64);
        let path = &active.path;
        write_all(active.file.as_ref(), bytes, active.offset)
            .map_err(|e| Error::io("write", path, e))?;
        counters.syncs.add(1);
        active.file.sync().map_err(|e| Error::io("sync", path, e))?;
        if !active.entered {
            let dir = &self.shared.log(self.class).dir;
            counters.syncs.add(1);
            let synced = self.shared.storage.sync_dir(dir);
            synced.map_err(|e| Error::io("sync", dir, e))?;
            active.entered = true;
        }
        active.written = active.written.max(active.offset + bytes.len() as u64);
        active.offset = end;
        Ok(())
    }

    /// Shows readers what became durable.
    fn publish(&mut self) {
        let log = self.shared.log(self.class);
        let mut view = log.view();
        view.next = self.next;
        if let (Some(segment), Some(active)) = (view.segments.back_mut(), &self.active) {
            segment.end = self.next;
            segment.bytes = active.offset;
        }
        drop(view);
        log.durable.send_modify(|durable| durable.next = self.next);
    }

    /// Gives the active segment up: what is in it beyond the last durable group is unknown, and is void because the
    /// next segment has the same base as this one's end.
    fn poison(&mut self) {
        self.shared.counters.segments_poisoned.add(1);
        let Some(active) = &self.active else {
            return;
        };
        if let Some(segment) = self.log().view().segments.back_mut() {
            segment.poisoned = true;
        }
        if active.offset > 0 {
            self.seal();
            return;
        }
        // Nothing in it was ever acknowledged. If it cannot be removed, it stays in view, empty, until it can.
        let removed = self.shared.storage.remove(&active.path).is_ok();
        if removed {
            self.log().view().segments.pop_back();
        }
        self.active = None;
    }

    /// Frames of the oldest segment that are neither released nor dropped, its id, and its path. The newest segment is
    /// never offered.
    pub(super) fn oldest(&self) -> Option<(u64, PathBuf, Range<u64>)> {
        let view = self.log().view();
        if view.segments.len() < 2 {
            return None;
        }
        let segment = view.segments.front()?;
        let from = segment.base.max(view.released).max(view.floor);
        let positions = from.min(segment.end)..segment.end;
        Some((segment.id, segment.path.clone(), positions))
    }

    /// Whether every frame of the oldest segment is older than `ttl_ms`, and some are neither released nor dropped. Ends
    /// the active segment when it spans a quarter of that, so that it is not much longer before they all are.
    pub(super) fn is_expired(&mut self, ttl_ms: u64) -> Result<bool, Error> {
        let now_ms = self.age.stamp(self.shared.storage.moment()).age_ms;
        let appended = self.looked..self.next;
        self.looked = self.next;
        for segment in &mut self.log().view().segments {
            if segment.end > appended.start && !appended.is_empty() {
                segment.newest_ms = Some(now_ms);
            }
        }
        let spans = |active: &Active| now_ms - active.begun.age_ms.min(now_ms) >= ttl_ms / 4;
        if self
            .active
            .as_ref()
            .is_some_and(|a| a.offset > 0 && spans(a))
        {
            self.seal();
        }
        let (mut newest_ms, later) = {
            let view = self.log().view();
            let Some(oldest) = view.segments.front() else {
                return Ok(false);
            };
            if oldest.base.max(view.released).max(view.floor) >= oldest.end {
                return Ok(false);
            }
            let later = view.segments.range(1..).take(HEADERS_MAX);
            (oldest.newest_ms, later.cloned().collect::<Vec<_>>())
        };
        // The frames of a segment are older than any later one.
        for segment in &later {
            let begun_ms = match segment.begun_ms {
                None => recovery::header(&self.shared, segment)?.map(|h| h.begun.age_ms),
                known => known,
            };
            if let Some(begun_ms) = begun_ms {
                newest_ms = Some(newest_ms.map_or(begun_ms, |ms: u64| ms.min(begun_ms)));
                break;
            }
        }
        // What nothing is known of is not too old.
        Ok(newest_ms.is_some_and(|ms| now_ms.saturating_sub(ms) > ttl_ms))
    }

    /// Removes the oldest segment, which is dropped or released, durably so; or keeps its file to write over it.
    pub(super) fn retire_oldest(&mut self) -> Result<(), Error> {
        // Out of view first: whoever has not got hold of it by now does not get it any more.
        let Some(segment) = self.log().view().segments.pop_front() else {
            return Ok(());
        };
        let storage = self.shared.storage.clone();
        if self
            .spares
            .keep(storage.as_ref(), &segment, self.segment_bytes)
        {
            self.note_spares();
            return Ok(());
        }
        match storage.remove(&segment.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                let error = Error::io("remove", &segment.path, e);
                self.log().view().segments.push_front(segment);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Persists the cursor.
    pub(super) fn persist(&mut self) -> Result<(), Error> {
        let released = self.log().view().released;
        let shared = self.shared.clone();
        self.cursor
            .persist(shared.storage.as_ref(), released, &shared.counters)
    }

    /// Frames released since the cursor was persisted.
    pub(super) fn unpersisted(&self) -> u64 {
        let released = self.log().view().released;
        released.saturating_sub(self.cursor.durable.max(self.cursor.found))
    }

    /// Removes whole segments that are released or dropped, the cursor first. The newest stays.
    pub(super) fn reclaim(&mut self) -> Result<(), Error> {
        loop {
            let (end, empty, released) = {
                let view = self.log().view();
                let Some(segment) = view.segments.front().filter(|_| view.segments.len() > 1)
                else {
                    return Ok(());
                };
                (segment.end, segment.end <= segment.base, view.released)
            };
            let gone = empty || end <= self.floor;
            if !gone {
                if end > released.min(self.others) {
                    return Ok(());
                }
                if end > self.cursor.durable {
                    self.persist()?;
                }
            }
            self.retire_oldest()?;
        }
    }
}

/// Zeros to write behind a small group that goes where nothing was written yet. They convert the reserved blocks of
/// groups to come in one go, and spare each of those a commit of the file system's journal, which is more than they are.
/// A large group is worth its own.
fn zeros_ahead(group_bytes: u64, end: u64) -> u64 {
    if group_bytes > ZEROS_GROUP_BYTES_MAX {
        return 0;
    }
    let pages = group_bytes.next_multiple_of(PAGE_BYTES) * ZEROS_GROUPS;
    (end + pages).next_multiple_of(PAGE_BYTES) - end
}

/// Bytes that a group needs.
pub(super) fn group_bytes(batches: &[Batch]) -> u64 {
    batches.iter().map(Batch::encoded_bytes).sum::<u64>() + COMMIT_BYTES
}

/// All bytes of a file.
pub(super) fn read_file(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    let read = read_full(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Payloads of the good frames of a segment, in a range of positions.
pub(super) fn frames_of(
    bytes: &[u8],
    id: u64,
    positions: Range<u64>,
) -> impl Iterator<Item = (u64, Cow<'_, [u8]>)> {
    let scan = format::scan(bytes, id);
    scan.records
        .into_iter()
        .filter_map(move |(offset, record)| {
            if record.kind == RecordKind::Commit || !positions.contains(&record.position) {
                return None;
            }
            let from = usize::try_from(offset).ok()? + format::RECORD_HEADER_BYTES;
            let payload = payload_of(&record, &bytes[from..from + record.payload_bytes])?;
            Some((record.position, payload))
        })
}

/// The payload of a record, given the bytes that are stored of it.
pub(super) fn payload_of<'a>(record: &Record, stored: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    match record.kind {
        RecordKind::Packed => format::unpack(stored).map(Cow::Owned),
        _ => Some(Cow::Borrowed(stored)),
    }
}

/// Opens a file and reads all of it.
pub(super) fn load(shared: &Shared, path: &Path) -> Result<Vec<u8>, Error> {
    let file = shared.storage.open(path, false);
    let bytes = file.and_then(|file| read_file(file.as_ref()));
    bytes.map_err(|e| Error::io("read", path, e))
}
