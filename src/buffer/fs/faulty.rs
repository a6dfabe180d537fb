//! A simulated disk: a page cache over a medium, that forgets, tears and reorders what was not synced.
//!
//! Every change is counted as an operation. One can be told to fail with an errno, once or for ever, or to be the last
//! before the power goes: from then on everything fails, and [`SimDisk::after_crash`] gives the disk as the next boot
//! finds it, damaged as a seed says. A failed sync marks the pages clean without writing them all, as ext4, XFS
//! and Btrfs do: a second sync then succeeds and proves nothing. Directories are metadata, which those file systems
//! journal: after a failed directory sync the entries are as they were before it.
//!
//! Reads are counted on their own, since a power cut at a read is a power cut at the next change.

mod storage;

use super::Moment;
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
    /// The drive confirms a write and stores it this many bytes further on, over what is there.
    Misdirected(usize),
    /// The drive confirms a write and stores nothing.
    Lost,
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
    CreateDir,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Arc<Vec<u8>>) {
        let bytes = Arc::make_mut(bytes);
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
    fn apply_torn(&self, bytes: &mut Arc<Vec<u8>>, random: &mut Random) {
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
    /// Shared with the disks that came of this one, until one of them changes it.
    cached: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Changes on their way to the medium, as the drive will make them.
    dirty: Vec<Change>,
}

#[derive(Clone, Default)]
struct Dir {
    cached: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Names whose entry changed, with what it was changed to.
    dirty: Vec<(String, Option<usize>)>,
    /// Whether the directory itself is on the medium: its parent was synced after it was created.
    entered: bool,
}

#[derive(Default)]
struct Medium {
    inodes: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Dir>,
    /// Operations so far.
    ops: Vec<Op>,
    fault: Option<(usize, Fault)>,
    /// Reads so far, and the one from which on, or at which alone, reads fail.
    reads: usize,
    read_fault: Option<(usize, Fault)>,
    dead: bool,
    /// Free bytes, where a test says so.
    free: Option<u64>,
    random: Option<Random>,
    moment: Moment,
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
            Some((at, fault)) if number == at => Ok(Some(fault)),
            _ => Ok(None),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let number = self.reads;
        self.reads += 1;
        match self.read_fault {
            Some((at, Fault::Once(errno))) if number == at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Some((at, Fault::Forever(errno))) if number >= at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }

    /// Changes a file: at once for those who read it through the page cache, on the medium as the drive will have it.
    fn change(&mut self, inode: usize, change: Change, fault: Option<Fault>) {
        let inode = &mut self.inodes[inode];
        change.apply(&mut inode.cached);
        match (change, fault) {
            (Change::Write(..), Some(Fault::Lost)) => {}
            (Change::Write(at, data), Some(Fault::Misdirected(by))) => {
                inode.dirty.push(Change::Write(at + by, data));
            }
            (change, _) => inode.dirty.push(change),
        }
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
        let root = Dir {
            entered: true,
            ..Dir::default()
        };
        disk.medium().dirs.insert(PathBuf::from("/"), root);
        disk
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().expect("no test panics inside the disk")
    }

    /// Sets what happens at operation number `at`.
    pub(crate) fn fail(&self, at: usize, fault: Fault) {
        self.medium().fault = Some((at, fault));
    }

    /// Sets that reads fail, counted from the next one.
    pub(crate) fn fail_reads(&self, after: usize, fault: Fault) {
        let mut medium = self.medium();
        medium.read_fault = Some((medium.reads + after, fault));
    }

    /// Sets the free space of the file system, in bytes.
    pub(crate) fn set_free(&self, bytes: u64) {
        self.medium().free = Some(bytes);
    }

    /// Sets the time.
    pub(crate) fn set_moment(&self, boot: u32, uptime_ms: u64) {
        self.medium().moment = Moment { boot, uptime_ms };
    }

    /// Reads so far.
    pub(crate) fn reads(&self) -> usize {
        self.medium().reads
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
        medium.read_fault = None;
        medium.dead = false;
    }

    /// All operations so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.medium().ops.clone()
    }

    /// The disk as the next boot finds it. A directory whose parent was not synced may be gone with all that is in it.
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
            let parent = path.parent().unwrap_or(path);
            let lost = !dir.entered && random.half();
            if lost || !next.dirs.contains_key(parent) && parent != path {
                continue;
            }
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
                entered: true,
            };
            next.dirs.insert(path.clone(), dir);
        }
        next.moment = medium.moment;
        SimDisk {
            medium: Arc::new(Mutex::new(next)),
        }
    }

    /// Changes the stored bytes of a file, in cache and on the medium.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut medium = self.medium();
        let inode = medium.find(path).expect("a file to damage");
        let inode = &mut medium.inodes[inode];
        change(Arc::make_mut(&mut inode.cached));
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
            .to_vec()
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.medium().find(path).is_ok()
    }

    /// The page cache is written back and given up: from now on reads see what the medium holds.
    pub(crate) fn evict(&self) {
        for inode in &mut self.medium().inodes {
            for change in std::mem::take(&mut inode.dirty) {
                change.apply(&mut inode.durable);
            }
            inode.cached = inode.durable.clone();
        }
    }

    /// Writes every file below `dir` to a directory of the real disk.
    pub(crate) fn copy_to(&self, dir: &Path, to: &Path) -> io::Result<()> {
        let medium = self.medium();
        for (path, entries) in &medium.dirs {
            let Ok(inner) = path.strip_prefix(dir) else {
                continue;
            };
            std::fs::create_dir_all(to.join(inner))?;
            for (name, inode) in &entries.cached {
                let bytes = medium.inodes[*inode].cached.as_slice();
                std::fs::write(to.join(inner).join(name), bytes)?;
            }
        }
        Ok(())
    }
}
