//! The file operations that the buffer needs, behind a trait so that tests can make them fail.

#[cfg(test)]
pub(crate) mod faulty;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// A directory tree on some disk. Nothing is durable before it is synced.
pub trait Storage: Send + Sync + 'static {
    /// Creates a directory; no error where it is already one.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names of the entries of a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a file that must not exist, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Opens a file that exists.
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn StorageFile>>;
    /// Removes a file's directory entry.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Moves a file over another name of the same directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a directory's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Free bytes of the file system for this process.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Bytes written to the block device below a directory, or its parent, since the boot; `None` where no statistics are.
    fn device_bytes_written(&self, dir: &Path) -> Option<u64>;
    /// The time.
    fn moment(&self) -> Moment;
    /// Locks a file, created if need be, until the returned guard is dropped; `WouldBlock` where another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// A time since some boot of the kernel. The wall clock has no part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Checksum of the kernel's boot id, 0 where it cannot be read.
    pub boot: u32,
    /// Milliseconds since that boot, time asleep included.
    pub uptime_ms: u64,
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads at an offset; fewer bytes than asked for at the end of the file, or any time.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; may write fewer bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reserves blocks up to a length, and extends the file to it.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes the file's bytes, and the metadata needed to read them, durable.
    fn sync(&self) -> io::Result<()>;
}

/// Times in a row that an interrupted call is repeated. Signals come singly; a file system that answers nothing else is
/// broken, and waiting for it would hide that.
const INTERRUPTED_MAX: u32 = 1000;

/// Counts an interrupted call, and passes on any other error, and the last of too many.
fn interrupted(e: io::Error, times: &mut u32) -> io::Result<()> {
    *times += 1;
    if e.kind() == io::ErrorKind::Interrupted && *times <= INTERRUPTED_MAX {
        return Ok(());
    }
    Err(e)
}

/// Writes all bytes: short writes are continued, interrupted ones repeated.
pub(super) fn write_all(
    file: &dyn StorageFile,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    let mut times = 0;
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
                times = 0;
            }
            Err(e) => interrupted(e, &mut times)?,
        }
    }
    Ok(())
}

/// Fills the slice as far as the file reaches, and returns how far.
pub(super) fn read_full(
    file: &dyn StorageFile,
    bytes: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let (mut done, mut times) = (0, 0);
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => {
                done += n;
                times = 0;
            }
            Err(e) => interrupted(e, &mut times)?,
        }
    }
    Ok(done)
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is not ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(DiskFile(options.open(path)?)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn device_bytes_written(&self, dir: &Path) -> Option<u64> {
        let at = |dir: &Path| fs::metadata(dir).ok().map(|found| found.dev());
        let device = at(dir).or_else(|| at(dir.parent()?))?;
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
        // Sectors of 512 bytes, whatever the device has.
        let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
        Some(512 * sectors)
    }

    fn moment(&self) -> Moment {
        let boot = fs::read("/proc/sys/kernel/random/boot_id").map(|id| crc32c::crc32c(&id));
        let uptime = fs::read_to_string("/proc/uptime").ok();
        let seconds = uptime.as_deref().and_then(|text| text.split(' ').next());
        // "12345.67": as whole hundredths, so that nothing is rounded.
        let hundredths = seconds.and_then(|text| text.replace('.', "").parse::<u64>().ok());
        match (boot, hundredths) {
            (Ok(boot), Some(hundredths)) => Moment {
                boot,
                uptime_ms: hundredths * 10,
            },
            _ => Moment::default(),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                Ok(Box::new(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The pid is for the message only; a holder that is just starting has not written it yet.
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.is_empty() { "?".to_owned() } else { pid };
                Err(io::Error::new(io::ErrorKind::WouldBlock, pid))
            }
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

struct DiskFile(File);

impl StorageFile for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, bytes, offset)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let size = i64::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        match nix::fcntl::fallocate(&self.0, nix::fcntl::FallocateFlags::empty(), 0, size) {
            // A file system without it still works, only slower.
            Err(nix::errno::Errno::EOPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
