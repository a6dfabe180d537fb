//! One class's log: its segments, and the one that is being written.

use super::cursor::Cursor;
use super::format::{self, COMMIT_BYTES, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::fs::{StorageFile, read_full, write_all};
use super::shared::{LogShared, Segment, Shared};
use super::{Batch, Class, Error};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The segment that is being written.
struct Active {
    id: u64,
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    /// Where the next group goes; 0 while the header is not written.
    offset: u64,
    /// Whether the directory entry is durable.
    entered: bool,
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
    ) -> Log {
        let (next, floor) = {
            let view = shared.log(class).view();
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
        let id = self.next_id;
        let path = self.log().dir.join(format::segment_name(id, self.next));
        self.next_id += 1;
        let storage = self.shared.storage.clone();
        let file = storage
            .create(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        if let Err(e) = file.allocate(self.segment_bytes) {
            // If it stays, it is empty: the next start removes it.
            let _ = storage.remove(&path);
            return Err(Error::io("reserve space for", &path, e));
        }
        self.seal();
        self.log().view().segments.push_back(Segment {
            id,
            base: self.next,
            end: self.next,
            bytes: 0,
            disk_bytes: self.segment_bytes,
            path: path.clone(),
        });
        self.active = Some(Active {
            id,
            file,
            path,
            offset: 0,
            entered: false,
        });
        Ok(())
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
                id,
                base: first,
                floor: self.floor,
            };
            out.extend_from_slice(&header.encode());
        }
        let mut next = first;
        for payload in payloads {
            format::encode(&mut out, offset, id, kind, next, payload);
            next += 1;
        }
        let floor = floor.to_le_bytes();
        format::encode(&mut out, offset, id, RecordKind::Commit, next, &floor);
        let written = self.write(&out);
        self.out = out;
        if let Err(e) = written {
            self.poison();
            return Err(e);
        }
        self.next = next;
        self.publish();
        Ok(first)
    }

    /// Writes to the active segment, and makes it durable.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let active = self.active.as_mut().ok_or(Error::Full)?;
        let counters = &self.shared.counters;
        counters.bytes_written.add(bytes.len() as u64);
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
        active.offset += bytes.len() as u64;
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

    /// Frames of the oldest segment that are neither released nor dropped, and its path. The newest segment is
    /// never offered.
    pub(super) fn oldest(&self) -> Option<(Segment, Range<u64>)> {
        let view = self.log().view();
        if view.segments.len() < 2 {
            return None;
        }
        let segment = view.segments.front()?.clone();
        let from = segment.base.max(view.released).max(view.floor);
        let positions = from.min(segment.end)..segment.end;
        Some((segment, positions))
    }

    /// Removes the oldest segment, which is dropped or released, durably so.
    pub(super) fn unlink_oldest(&mut self) -> Result<(), Error> {
        let Some(path) = self.log().view().segments.front().map(|s| s.path.clone()) else {
            return Ok(());
        };
        match self.shared.storage.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, e));
            }
            _ => {}
        }
        self.log().view().segments.pop_front();
        Ok(())
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
            self.unlink_oldest()?;
        }
    }
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
) -> impl Iterator<Item = (u64, &[u8])> {
    let scan = format::scan(bytes, id);
    scan.records
        .into_iter()
        .filter_map(move |(offset, record)| {
            if record.kind == RecordKind::Commit || !positions.contains(&record.position) {
                return None;
            }
            let from = usize::try_from(offset).ok()? + format::RECORD_HEADER_BYTES;
            Some((record.position, &bytes[from..from + record.payload_bytes]))
        })
}

/// Opens a file and reads all of it.
pub(super) fn load(shared: &Shared, path: &Path) -> Result<Vec<u8>, Error> {
    let file = shared.storage.open(path, false);
    let bytes = file.and_then(|file| read_file(file.as_ref()));
    bytes.map_err(|e| Error::io("read", path, e))
}
