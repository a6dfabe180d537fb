//! The state directory: who may use it, which version it has, how often the agent started on it.
//!
//! ```text
//! state_dir/format      "dunlin-state 1": the version of the layout; a newer one is refused, nothing is touched
//! state_dir/lock        held with flock while an agent runs; its pid inside
//! state_dir/boot        number of the last start, decimal; fsynced before the start makes its first record
//! state_dir/clock       a time that is past, in seconds since 1970, decimal; missing until a broker's certificate was good
//! state_dir/sinks/S/    what sink S keeps: an uplink its `buffer/` and the messages `rejected/` for ever
//! state_dir/sources/S/  what source S keeps: a downlink its `inbox/`
//! ```

use crate::buffer::{self, fs::Disk};
#[cfg(feature = "identity")]
use crate::clock;
use crate::clock::BootId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Version of the layout that this agent reads and writes.
pub(super) const FORMAT: u32 = 1;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused.
    #[error("cannot {verb} {path}: {source}.\n  Remedy: {remedy}.", path = path.display())]
    Os {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Another agent has it.
    #[error(
        "agent.state_dir {path} is in use by process {pid}.\n  Remedy: stop that agent, or give this one a state_dir of its own.",
        path = path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other agent's pid as it wrote it.
        pid: String,
    },
    /// Written by a later dunlin.
    #[error(
        "{path} says {found:?}, this dunlin reads versions up to {FORMAT}.\n  Remedy: run the version that wrote it, or point agent.state_dir elsewhere; nothing was changed.",
        path = path.display()
    )]
    Newer {
        /// The format file.
        path: PathBuf,
        /// Its content.
        found: String,
    },
    /// A store in it was written by a later dunlin.
    #[error(
        "{source}.\n  Remedy: run the version that wrote it, or point agent.state_dir elsewhere."
    )]
    Store {
        /// Which version, and where.
        source: buffer::Error,
    },
    /// The boot file holds no number.
    #[error(
        "{path} holds {found:?}, not the number of a start.\n  Remedy: write the largest number seen in record ids (the part of `boot` before the dash) into it, or remove it where consumers may see old ids again.",
        path = path.display()
    )]
    Boot {
        /// The boot file.
        path: PathBuf,
        /// Its content.
        found: String,
    },
}

/// A state directory that this process holds.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    // Held for its flock, which the kernel releases with the process.
    _lock: File,
}

const REMEDY: &str =
    "make agent.state_dir a directory on writable flash that the agent's user owns";

fn os<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StateError + 'a {
    move |source| StateError::Os {
        verb,
        path: path.to_owned(),
        remedy: REMEDY,
        source,
    }
}

impl StateDir {
    /// Takes the directory, making it where it does not exist.
    pub(super) fn open(path: &Path) -> Result<StateDir, StateError> {
        check_format(path)?;
        fs::create_dir_all(path).map_err(os("create directory", path))?;
        let lock = take_lock(path)?;
        let format = path.join("format");
        if !format.exists() {
            write_durably(&format, format!("dunlin-state {FORMAT}\n").as_bytes())?;
        }
        Ok(StateDir {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Counts this start, durably, and names it.
    pub(super) fn next_boot(&self, nonce: u32) -> Result<BootId, StateError> {
        let path = self.path.join("boot");
        let last = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse::<u32>()
                .ok()
                .filter(|number| *number < u32::MAX)
                .ok_or(StateError::Boot {
                    path: path.clone(),
                    found: text,
                })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(os("read", &path)(error)),
        };
        let number = last + 1;
        write_durably(&path, format!("{number}\n").as_bytes())?;
        Ok(BootId { number, nonce })
    }

    /// The clock's file.
    pub(super) fn clock(&self) -> ClockFile {
        let path = self.path.join("clock");
        let text = fs::read_to_string(&path).unwrap_or_default();
        ClockFile {
            // One that holds no number, or is gone, only leaves the floor lower.
            stored_s: text.trim().parse().unwrap_or(0),
            path,
        }
    }

    /// Where a sink keeps its state; made where it does not exist.
    pub(super) fn sink(&self, name: &str) -> Result<PathBuf, StateError> {
        self.of("sinks", name)
    }

    /// Where a source keeps its state; made where it does not exist.
    #[cfg(feature = "downlink")]
    pub(super) fn source(&self, name: &str) -> Result<PathBuf, StateError> {
        self.of("sources", name)
    }

    fn of(&self, role: &str, name: &str) -> Result<PathBuf, StateError> {
        let path = self.path.join(role).join(name);
        fs::create_dir_all(&path).map_err(os("create directory", &path))?;
        Ok(path)
    }
}

/// A time that is past, over restarts.
#[derive(Debug)]
pub(super) struct ClockFile {
    path: PathBuf,
    stored_s: i64,
}

impl ClockFile {
    /// Seconds between two writes: 24 a day are no wear.
    const EVERY_S: i64 = 3600;

    /// The time that was stored last; 0 for never.
    pub(super) fn stored_s(&self) -> i64 {
        self.stored_s
    }

    /// Stores a later time, at most once an hour. Blocking.
    pub(super) fn store(&mut self, seen_s: i64) -> Result<(), StateError> {
        if seen_s < self.stored_s.saturating_add(ClockFile::EVERY_S) {
            return Ok(());
        }
        // Also where it fails: not again before the next hour.
        self.stored_s = seen_s;
        write_durably(&self.path, format!("{seen_s}\n").as_bytes())
    }
}

/// Sets the floor of time for a command beside the agent.
#[cfg(feature = "identity")]
pub fn start_clock(settings: &super::Settings) {
    let stored = fs::read_to_string(settings.state_dir.join("clock")).unwrap_or_default();
    clock::start(settings.clock, stored.trim().parse().unwrap_or(0));
}

/// Looks at a state directory, and at the stores of these sinks in it, without changing anything: refuses what a later
/// dunlin wrote, and a path that can never be a directory.
pub fn check<'a>(
    state_dir: &Path,
    sinks: impl Iterator<Item = &'a String>,
    downlinks: impl Iterator<Item = &'a String>,
) -> Result<(), StateError> {
    let existing = state_dir.ancestors().find(|path| path.exists());
    if let Some(path) = existing.filter(|path| !path.is_dir()) {
        let source = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(os("create directory", path)(source));
    }
    check_format(state_dir)?;
    let buffers = sinks.map(|sink| state_dir.join("sinks").join(sink).join("buffer"));
    let inboxes = downlinks.map(|source| state_dir.join("sources").join(source).join("inbox"));
    for store in buffers.chain(inboxes) {
        // What else is wrong with a store its sink reports, or mends, when it opens it.
        if let Err(source @ buffer::Error::Version { .. }) = buffer::inspect(&Disk, &store) {
            return Err(StateError::Store { source });
        }
    }
    Ok(())
}

/// Refuses a directory that a later dunlin wrote. Changes nothing.
fn check_format(state_dir: &Path) -> Result<(), StateError> {
    let path = state_dir.join("format");
    let found = match fs::read_to_string(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(os("read", &path)(error)),
    };
    let version = found
        .trim()
        .strip_prefix("dunlin-state ")
        .and_then(|v| v.parse::<u32>().ok());
    match version {
        Some(version) if version <= FORMAT => Ok(()),
        _ => Err(StateError::Newer {
            path,
            found: found.trim().to_owned(),
        }),
    }
}

fn take_lock(state_dir: &Path) -> Result<File, StateError> {
    let path = state_dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(os("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Only for the message; an unreadable pid does not change the verdict.
            let _ = file.read_to_string(&mut pid);
            return Err(StateError::InUse {
                path: state_dir.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(os("lock", &path)(error)),
    }
    file.set_len(0).map_err(os("write", &path))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
        .map_err(os("write", &path))?;
    Ok(file)
}

/// Replaces a file so that a crash leaves the old content or the new, never a mixture: temporary file, fsync, rename,
/// fsync of the directory.
fn write_durably(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(os("create", &temporary))?;
    file.write_all(content).map_err(os("write", &temporary))?;
    file.sync_all().map_err(os("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(os("rename", &temporary))?;
    let parent = path
        .parent()
        .expect("files of a state directory have a parent");
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(os("sync directory", parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_count_up() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.next_boot(0xAB).unwrap().to_string(), "1-000000ab");
        assert_eq!(state.next_boot(1).unwrap().number, 2);
    }

    #[test]
    fn one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let refused = StateDir::open(dir.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn newer_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), "dunlin-state 2\n").unwrap();
        assert!(matches!(
            StateDir::open(dir.path()),
            Err(StateError::Newer { .. })
        ));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn the_clock_file_keeps_a_time_and_is_written_once_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let mut file = state.clock();
        assert_eq!(file.stored_s(), 0);
        for (seen_s, kept) in [
            (5_000, "5000\n"),
            (8_599, "5000\n"),
            (8_600, "8600\n"),
            (10, "8600\n"),
        ] {
            file.store(seen_s).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("clock")).unwrap(), kept);
        }
        assert_eq!(state.clock().stored_s(), 8_600);
        fs::write(dir.path().join("clock"), "x").unwrap();
        assert_eq!(state.clock().stored_s(), 0);
    }

    #[test]
    fn a_damaged_boot_number_is_not_reset() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(dir.path().join("boot"), "x").unwrap();
        assert!(matches!(state.next_boot(0), Err(StateError::Boot { .. })));
    }
}
