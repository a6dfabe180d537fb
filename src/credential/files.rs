//! The operations by which the files of an identity change, each alone, so that a test can cut the power between any two.
//!
//! Nothing but the content of a file that was created is durable before `sync_dir`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

#[cfg(test)]
pub(crate) mod journal;

/// A new file for nobody but its owner, its content synced. One that lies there is removed: it may be open to others.
pub(crate) fn create(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    #[cfg(test)]
    journal::note(journal::Step::Create(path.to_owned(), parts.concat()));
    Ok(())
}

/// Moves a file over another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    journal::note(journal::Step::Rename(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Removes a name.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    journal::note(journal::Step::Remove(path.to_owned()));
    Ok(())
}

/// Makes the names of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    #[cfg(test)]
    journal::note(journal::Step::SyncDir);
    Ok(())
}
