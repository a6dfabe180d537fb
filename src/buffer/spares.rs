//! Files that were segments and will be again. Their blocks are written already, so that a sync of what is written over
//! them needs nothing of the file system's own: no extent to convert, no journal to commit.

use super::Error;
use super::format;
use super::fs::{Storage, StorageFile};
use super::shared::Segment;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Spare files that a log keeps. They count against the size of the store, and give way to data.
const SPARES_MAX: usize = 2;

pub(super) struct Spare {
    pub(super) file: Arc<dyn StorageFile>,
    /// Bytes from the start that were written before.
    pub(super) bytes: u64,
    path: PathBuf,
}

/// The spare files of a log.
#[derive(Default)]
pub(super) struct Spares(Vec<Spare>);

impl Spares {
    /// Bytes that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|spare| spare.bytes).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes that a new segment has already.
    pub(super) fn head_start(&self) -> u64 {
        self.0.last().map_or(0, |spare| spare.bytes)
    }

    /// Keeps a segment that left the view, and says whether: not a poisoned one, not one that a reader may have open, and
    /// none that would save little. An error of the disk is a no.
    pub(super) fn keep(
        &mut self,
        storage: &dyn Storage,
        segment: &Segment,
        segment_bytes: u64,
    ) -> bool {
        let free = Arc::strong_count(&segment.hold) == 1 && !segment.poisoned;
        let worthwhile = segment.disk_bytes >= segment_bytes / 2;
        if !free || !worthwhile || self.0.len() == SPARES_MAX {
            return false;
        }
        let path = segment.path.with_file_name(format::spare_name(segment.id));
        let file = storage.open(&segment.path, true);
        let kept = file.and_then(|file| {
            storage.rename(&segment.path, &path)?;
            Ok(Spare {
                file,
                bytes: segment.disk_bytes,
                path,
            })
        });
        let is_kept = kept.is_ok();
        self.0.extend(kept);
        is_kept
    }

    /// Gives a spare the name of a segment, and makes the name durable before a byte of the file is written. So no crash
    /// leaves new bytes under an old name, and no id names two lives of a file. `None` where there is none, or the disk
    /// refuses: the spare is then given up.
    pub(super) fn reuse(&mut self, storage: &dyn Storage, path: &Path) -> Option<Spare> {
        let spare = self.0.pop()?;
        let dir = path.parent()?;
        let renamed = storage.rename(&spare.path, path);
        if renamed.and_then(|()| storage.sync_dir(dir)).is_ok() {
            return Some(spare);
        }
        // Under either name it is ignored by the next start: it holds nothing that is not released.
        let _ = storage.remove(&spare.path);
        let _ = storage.remove(path);
        None
    }

    /// Removes a spare.
    pub(super) fn discard(&mut self, storage: &dyn Storage) -> Result<(), Error> {
        let Some(spare) = self.0.last() else {
            return Ok(());
        };
        match storage.remove(&spare.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &spare.path, e));
            }
            _ => {}
        }
        self.0.pop();
        Ok(())
    }
}
