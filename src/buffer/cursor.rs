//! Cursor files: what a named reader has released, durable.

use super::Error;
use super::format::{CURSOR_SLOT_BYTES, CURSOR_SLOTS, CursorSlot};
use super::fs::{Storage, StorageFile, read_full, write_all};
use super::shared::Counters;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cursor that this store moves.
pub(super) struct Cursor {
    path: PathBuf,
    /// `None` until the first write, and after a failed one: the next goes to a new file.
    file: Option<Arc<dyn StorageFile>>,
    sequence: u64,
    /// What the file said at the start. It may have been in the page cache only, so nothing is freed by it
    /// before it is written anew.
    pub(super) found: u64,
    /// Positions below it are released, durably since this start.
    pub(super) durable: u64,
}

impl Cursor {
    pub(super) fn open(storage: &dyn Storage, dir: &Path, name: &str) -> Result<Cursor, Error> {
        let path = dir.join(format!("{name}.cursor"));
        let slot = match storage.open(&path, false) {
            Ok(file) => newest(file.as_ref()).map_err(|e| Error::io("read", &path, e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let slot = slot.unwrap_or_default();
        Ok(Cursor {
            path,
            file: None,
            sequence: slot.sequence,
            found: slot.released,
            durable: 0,
        })
    }

    /// Makes `released` durable. After an error the old value stands, or the new one: both are true.
    pub(super) fn persist(
        &mut self,
        storage: &dyn Storage,
        released: u64,
        counters: &Counters,
    ) -> Result<(), Error> {
        if released <= self.durable {
            return Ok(());
        }
        let slot = CursorSlot {
            sequence: self.sequence + 1,
            released,
        };
        let written = match self.file.take() {
            Some(file) => overwrite(file, slot, counters),
            None => self.replace(storage, slot, counters),
        };
        self.file = Some(written.map_err(|e| Error::io("write", &self.path, e))?);
        self.sequence = slot.sequence;
        self.durable = released;
        Ok(())
    }

    /// Writes a new file in the place of the old.
    fn replace(
        &self,
        storage: &dyn Storage,
        slot: CursorSlot,
        counters: &Counters,
    ) -> io::Result<Arc<dyn StorageFile>> {
        let new = self.path.with_extension("new");
        match storage.remove(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = storage.create(&new)?;
        file.set_size(CURSOR_SLOTS[1] + CURSOR_SLOT_BYTES as u64)?;
        let file = overwrite(file, slot, counters)?;
        storage.rename(&new, &self.path)?;
        counters.syncs.add(1);
        storage.sync_dir(self.path.parent().expect("a file in a directory"))?;
        Ok(file)
    }
}

/// Writes the slot that does not hold the newest value.
fn overwrite(
    file: Arc<dyn StorageFile>,
    slot: CursorSlot,
    counters: &Counters,
) -> io::Result<Arc<dyn StorageFile>> {
    let offset = CURSOR_SLOTS[usize::from(slot.sequence % 2 == 1)];
    counters.wrote(offset, CURSOR_SLOT_BYTES as u64);
    counters.syncs.add(1);
    write_all(file.as_ref(), &slot.encode(), offset)?;
    file.sync()?;
    Ok(file)
}

/// The released position that a cursor file states.
pub(super) fn read(storage: &dyn Storage, path: &Path) -> io::Result<Option<u64>> {
    let file = storage.open(path, false)?;
    Ok(newest(file.as_ref())?.map(|slot| slot.released))
}

fn newest(file: &dyn StorageFile) -> io::Result<Option<CursorSlot>> {
    let mut best: Option<CursorSlot> = None;
    for offset in CURSOR_SLOTS {
        let mut bytes = [0; CURSOR_SLOT_BYTES];
        let read = read_full(file, &mut bytes, offset)?;
        let slot = CursorSlot::parse(&bytes[..read]);
        if slot.is_some_and(|s| best.is_none_or(|b| s.sequence > b.sequence)) {
            best = slot;
        }
    }
    Ok(best)
}
