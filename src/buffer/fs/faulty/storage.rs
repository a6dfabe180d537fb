//! The simulated disk as the buffer sees it.

use super::super::{Moment, Storage, StorageFile};
use super::{Change, Dir, Fault, Inode, Op, Random, SimDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Storage for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.medium();
        if medium.dirs.contains_key(path) {
            return Ok(());
        }
        medium.op(Op::CreateDir)?;
        medium.dirs.insert(path.to_owned(), Dir::default());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut medium = self.medium();
        medium.read()?;
        let dir = medium.dirs.get(dir).ok_or(io::ErrorKind::NotFound)?;
        Ok(dir.cached.keys().cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut medium = self.medium();
        medium.op(Op::Create)?;
        if medium.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = medium.inodes.len();
        medium.inodes.push(Inode::default());
        medium.entry(path, Some(inode))?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Arc<dyn StorageFile>> {
        let mut medium = self.medium();
        let inode = medium.find(path)?;
        medium.read()?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.medium();
        medium.find(path)?;
        medium.op(Op::Remove)?;
        medium.entry(path, None)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut medium = self.medium();
        medium.op(Op::Rename)?;
        let inode = medium.find(from)?;
        // A rename is one transaction of the journal: both names or neither. The old name may come back alone in
        // this model, which is harsher.
        medium.entry(to, Some(inode))?;
        medium.entry(from, None)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut medium = self.medium();
        medium.op(Op::SyncDir)?;
        let synced = medium.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        synced.durable = synced.cached.clone();
        synced.dirty.clear();
        for (path, inner) in &mut medium.dirs {
            inner.entered |= path.parent() == Some(dir);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.medium().free.unwrap_or(1 << 40))
    }

    fn device_bytes_written(&self, _dir: &Path) -> Option<u64> {
        None
    }

    fn moment(&self) -> Moment {
        self.medium().moment
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl StorageFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let mut medium = self.disk.medium();
        medium.read()?;
        Ok(medium.inodes[self.inode].cached.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut medium = self.disk.medium();
        medium.read()?;
        let from = usize::try_from(offset).expect("small files");
        let stored = medium.inodes[self.inode].cached.get(from..).unwrap_or(&[]);
        let n = stored.len().min(bytes.len());
        bytes[..n].copy_from_slice(&stored[..n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut medium = self.disk.medium();
        let at = usize::try_from(offset).expect("small files");
        if medium.dead {
            return medium.op(Op::Write).map(|_| 0);
        }
        let fault = medium.op(Op::Write);
        // A write that fails, or that the power interrupts, may have stored a part.
        let n = match fault {
            Err(_) | Ok(Some(Fault::Short)) => bytes.len().div_ceil(2),
            Ok(_) => bytes.len(),
        };
        let change = Change::Write(at, bytes[..n].to_vec());
        medium.change(self.inode, change, fault.as_ref().ok().copied().flatten());
        fault.map(|_| n)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.set_size(size)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut medium = self.disk.medium();
        medium.op(Op::Size)?;
        let size = usize::try_from(size).expect("small files");
        medium.change(self.inode, Change::Size(size), None);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut medium = self.disk.medium();
        let outcome = medium.op(Op::Sync);
        if medium.dead {
            return outcome.map(drop);
        }
        let mut random = medium.random.take().unwrap_or_else(|| Random::new(7));
        let inode = &mut medium.inodes[self.inode];
        for change in std::mem::take(&mut inode.dirty) {
            if outcome.is_ok() {
                change.apply(&mut inode.durable);
            } else {
                change.apply_torn(&mut inode.durable, &mut random);
            }
        }
        medium.random = Some(random);
        outcome.map(drop)
    }
}
