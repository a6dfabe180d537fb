//! A simulated disk: a page cache over a medium, that forgets, tears and reorders what was not synced.
//!
//! Every change is counted as an operation. One can be told to fail with an errno, once or for ever, or to be the last
//! before the power goes: from then on everything fails, and [`SimDisk::after_crash`] gives the disk as the next boot
//! finds it, damaged as a seed says. A failed sync marks the pages clean without writing them all, as ext4, XFS
//! and Btrfs do: a second sync then succeeds and proves nothing.

use super::{Storage, StorageFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A small generator (xorshift64*), so that a printed seed replays.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % n
    }

    fn half(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes before it.
    Crash,
    /// It, and only it, fails with this errno.
    Once(i32),
    /// It and all later ones fail with this errno, until healed.
    Forever(i32),
    /// A write stores half of its bytes and says so.
    Short,
}

/// What a disk may leave out, to show that the tests notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Write,
    Size,
    Sync,
    SyncDir,
    Create,
    Remove,
    Rename,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Size(size) => bytes.resize(*size, 0),
            Change::Write(at, data) => {
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }

    /// The parts that a power cut keeps: sectors of 512 bytes, each on its own.
    fn apply_torn(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let Change::Write(at, data) = self else {
            if random.half() {
                self.apply(bytes);
            }
            return;
        };
        let (mut from, all) = (0, random.below(4));
        while from < data.len() {
            let to = ((at + from) / 512 * 512 + 512 - at).min(data.len());
            // A quarter of the writes arrive whole, a quarter not at all.
            if all == 0 || (all != 1 && random.half()) {
                Change::Write(at + from, data[from..to].to_vec()).apply(bytes);
            }
            from = to;
        }
    }
}

#[derive(Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Changes that are not synced.
    dirty: Vec<Change>,
}

#[derive(Clone, Default)]
struct Dir {
    cached: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Names whose entry changed, with what it was changed to.
    dirty: Vec<(String, Option<usize>)>,
}

#[derive(Default)]
struct Medium {
    inodes: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Dir>,
    /// Operations so far.
    ops: Vec<Op>,
    fault: Option<(usize, Fault)>,
    dead: bool,
    random: Option<Random>,
}

impl Medium {
    fn op(&mut self, op: Op) -> io::Result<Option<Fault>> {
        let number = self.ops.len();
        self.ops.push(op);
        if self.dead {
            return Err(io::Error::other("the power is off"));
        }
        match self.fault {
            Some((at, Fault::Crash)) if number >= at => {
                self.dead = true;
                Err(io::Error::other("the power went"))
            }
            Some((at, Fault::Once(errno))) if number == at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Some((at, Fault::Forever(errno))) if number >= at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Some((at, Fault::Short)) if number == at => Ok(Some(Fault::Short)),
            _ => Ok(None),
        }
    }

    fn change(&mut self, inode: usize, change: Change) {
        let inode = &mut self.inodes[inode];
        change.apply(&mut inode.cached);
        inode.dirty.push(change);
    }

    fn entry(&mut self, path: &Path, to: Option<usize>) -> io::Result<()> {
        let (dir, name) = split(path);
        let dir = self.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        match to {
            Some(inode) => dir.cached.insert(name.clone(), inode),
            None => dir.cached.remove(&name),
        };
        dir.dirty.push((name, to));
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let (dir, name) = split(path);
        let dir = self.dirs.get(dir).ok_or(io::ErrorKind::NotFound)?;
        Ok(*dir.cached.get(&name).ok_or(io::ErrorKind::NotFound)?)
    }
}

fn split(path: &Path) -> (&Path, String) {
    let name = path.file_name().expect("a file").to_str().expect("UTF-8");
    (path.parent().expect("in a directory"), name.to_owned())
}

/// The simulated disk. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    medium: Arc<Mutex<Medium>>,
}

impl SimDisk {
    pub(crate) fn new() -> SimDisk {
        let disk = SimDisk::default();
        disk.medium()
            .dirs
            .insert(PathBuf::from("/"), Dir::default());
        disk
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().expect("no test panics inside the disk")
    }

    /// Sets what happens at operation number `at`.
    pub(crate) fn fail(&self, at: usize, fault: Fault) {
        self.medium().fault = Some((at, fault));
    }

    /// Sets what happens at the next operation.
    pub(crate) fn fail_next(&self, fault: Fault) {
        let at = self.ops().len();
        self.fail(at, fault);
    }

    /// Ends the fault. After a crash: as if only the process had died, with the page cache as it was.
    pub(crate) fn heal(&self) {
        let mut medium = self.medium();
        medium.fault = None;
        medium.dead = false;
    }

    /// All operations so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.medium().ops.clone()
    }

    /// The disk as the next boot finds it. Directories themselves survive; entries that were not synced may not.
    pub(crate) fn after_crash(&self, seed: u64) -> SimDisk {
        let mut random = Random::new(seed);
        let medium = self.medium();
        let mut next = Medium::default();
        for inode in &medium.inodes {
            let mut bytes = inode.durable.clone();
            for change in &inode.dirty {
                change.apply_torn(&mut bytes, &mut random);
            }
            next.inodes.push(Inode {
                cached: bytes.clone(),
                durable: bytes,
                dirty: Vec::new(),
            });
        }
        for (path, dir) in &medium.dirs {
            let mut entries = dir.durable.clone();
            for (name, to) in &dir.dirty {
                if random.half() {
                    match to {
                        Some(inode) => entries.insert(name.clone(), *inode),
                        None => entries.remove(name),
                    };
                }
            }
            let dir = Dir {
                cached: entries.clone(),
                durable: entries,
                dirty: Vec::new(),
            };
            next.dirs.insert(path.clone(), dir);
        }
        SimDisk {
            medium: Arc::new(Mutex::new(next)),
        }
    }

    /// Changes the stored bytes of a file, in cache and on the medium.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut medium = self.medium();
        let inode = medium.find(path).expect("a file to damage");
        let inode = &mut medium.inodes[inode];
        change(&mut inode.cached);
        inode.durable = inode.cached.clone();
        inode.dirty.clear();
    }

    /// Paths of all files in a directory.
    pub(crate) fn files(&self, dir: &Path) -> Vec<PathBuf> {
        let medium = self.medium();
        let names = medium.dirs.get(dir).map(|d| d.cached.keys());
        names
            .into_iter()
            .flatten()
            .map(|name| dir.join(name))
            .collect()
    }

    /// Bytes of a file.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let medium = self.medium();
        medium.inodes[medium.find(path).expect("a file")]
            .cached
            .clone()
    }
}

impl Storage for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.medium().dirs.entry(path.to_owned()).or_default();
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let medium = self.medium();
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
        let inode = self.medium().find(path)?;
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
        let dir = medium.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        dir.durable = dir.cached.clone();
        dir.dirty.clear();
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(1 << 40)
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
        Ok(self.disk.medium().inodes[self.inode].cached.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let medium = self.disk.medium();
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
        let n = if matches!(fault, Ok(None)) {
            bytes.len()
        } else {
            bytes.len().div_ceil(2)
        };
        medium.change(self.inode, Change::Write(at, bytes[..n].to_vec()));
        fault.map(|_| n)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.set_size(size)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut medium = self.disk.medium();
        medium.op(Op::Size)?;
        let size = usize::try_from(size).expect("small files");
        medium.change(self.inode, Change::Size(size));
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
        if outcome.is_ok() {
            inode.durable = inode.cached.clone();
        } else {
            for change in &inode.dirty {
                change.apply_torn(&mut inode.durable, &mut random);
            }
        }
        inode.dirty.clear();
        medium.random = Some(random);
        outcome.map(drop)
    }
}
