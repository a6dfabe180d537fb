//! Files as they are read: whole, bounded, and what is secret in memory that is wiped.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::CryptoError;

/// Largest certificate, key or PIN file, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Permissions that a file for everyone must not have: none.
pub(crate) const OPEN: u32 = 0;
/// Those that a secret must not have: all of others than its owner.
pub(crate) const CLOSED: u32 = 0o077;
/// Those that a credential of systemd must not have. It is root's, in a directory that only the unit sees, and an ACL lets
/// the unit's user read it: the bits of the group are then the mask of that ACL.
#[cfg(feature = "identity")]
pub(crate) const CREDENTIAL: u32 = 0o037;

/// Reads a file whole. The permissions are those of the open file, so that it cannot be swapped in between.
///
/// What comes back is wiped when it is dropped. It is read into memory of its final size: a buffer that grows would leave
/// copies behind.
pub(crate) fn read(
    role: &'static str,
    path: &Path,
    closed: u32,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CryptoError::Missing {
            role,
            path: path.to_owned(),
        },
        _ => CryptoError::Unreadable {
            role,
            path: path.to_owned(),
            source,
        },
    };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & closed != 0 {
        return Err(CryptoError::KeyPermissions {
            role,
            path: path.to_owned(),
            mode,
        });
    }
    let too_large = || failed(io::Error::other("larger than 1 MiB"));
    let Some(size) = usize::try_from(metadata.len())
        .ok()
        .filter(|_| metadata.len() <= FILE_MAX_BYTES)
    else {
        return Err(too_large());
    };
    // One more, so that the end of the file is seen.
    let mut content = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    loop {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if filled > size {
        return Err(failed(io::Error::other("it grew while it was read")));
    }
    content.truncate(filled);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::FileExt as _;

    /// Whether the key is at an address of this process. Read as a file, since the memory may be free, and into no memory
    /// that an allocator would take from it.
    fn is_there(at: usize) -> bool {
        let mut now = [0; 5000];
        let memory = File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut now, at as u64).unwrap();
        now.windows(64).any(|piece| piece == [b'k'; 64])
    }

    #[test]
    fn what_was_read_is_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        fs::write(&path, [b'k'; 5000]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let content = read("private key", &path, CLOSED).unwrap();
        let at = content.as_ptr() as usize;
        assert!(is_there(at));
        drop(content);
        assert!(!is_there(at));
    }
}
