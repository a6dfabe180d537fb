//! A simulated disk that asks a test before each call: which fails, and why, is the test's to say. It may do as little a call
//! as a disk is allowed to.

use super::super::fs::faulty::SimDisk;
use super::super::fs::{Moment, Storage, StorageFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is about to be done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    CreateDir,
    List,
    Create,
    Open,
    Remove,
    Rename,
    SyncDir,
    Size,
    Read,
    Write,
    Allocate,
    SetSize,
    Sync,
}

type Ask = dyn Fn(Call, &Path) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
pub(super) struct Picky {
    pub(super) disk: SimDisk,
    ask: Arc<Ask>,
    /// Bytes that a read or a write does at most.
    pub(super) piece: usize,
    /// What the block device below says that it wrote; 0 where it says nothing.
    pub(super) device: Arc<AtomicU64>,
}

impl Picky {
    pub(super) fn new(
        disk: &SimDisk,
        ask: impl Fn(Call, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Picky {
        Picky {
            disk: disk.clone(),
            ask: Arc::new(ask),
            piece: usize::MAX,
            device: Arc::default(),
        }
    }

    /// One that refuses nothing.
    pub(super) fn willing(disk: &SimDisk) -> Picky {
        Picky::new(disk, |_, _| Ok(()))
    }

    fn file(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let (picky, path) = (self.clone(), path.to_owned());
        Arc::new(PickyFile { picky, path, file })
    }
}

/// An error of the operating system.
pub(super) fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

pub(super) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "seg")
}

impl Storage for Picky {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        (self.ask)(Call::CreateDir, path)?;
        self.disk.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        (self.ask)(Call::List, dir)?;
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        (self.ask)(Call::Create, path)?;
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn StorageFile>> {
        (self.ask)(Call::Open, path)?;
        Ok(self.file(path, self.disk.open(path, write)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.ask)(Call::Remove, path)?;
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.ask)(Call::Rename, from)?;
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        (self.ask)(Call::SyncDir, dir)?;
        self.disk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }

    fn device_bytes_written(&self, _dir: &Path) -> Option<u64> {
        let bytes = self.device.load(Ordering::Relaxed);
        (bytes > 0).then_some(bytes)
    }

    fn moment(&self) -> Moment {
        self.disk.moment()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
}

struct PickyFile {
    picky: Picky,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
}

impl PickyFile {
    fn ask(&self, call: Call) -> io::Result<()> {
        (self.picky.ask)(call, &self.path)
    }
}

impl StorageFile for PickyFile {
    fn size(&self) -> io::Result<u64> {
        self.ask(Call::Size)?;
        self.file.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.ask(Call::Read)?;
        let some = bytes.len().min(self.picky.piece);
        self.file.read_at(&mut bytes[..some], offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.ask(Call::Write)?;
        let some = bytes.len().min(self.picky.piece);
        self.file.write_at(&bytes[..some], offset)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.ask(Call::Allocate)?;
        self.file.allocate(size)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.ask(Call::SetSize)?;
        self.file.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.ask(Call::Sync)?;
        self.file.sync()
    }
}
