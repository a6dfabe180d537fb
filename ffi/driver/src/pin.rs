//! A library whose bytes are pinned: what is hashed is what is loaded.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest as _, Sha256};

/// Largest library in bytes that is copied.
const LIBRARY_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Copies the library into memory that nobody can change any more, and compares its SHA-256. Whoever replaces or
/// rewrites the file later changes nothing, because the copy is what is loaded.
pub(crate) fn sealed_copy(path: &Path, pin: &[u8; 32]) -> Result<OwnedFd, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let source = std::fs::File::open(path).map_err(|e| failed(&e))?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = memfd_create(c"dunlin-driver", flags).map_err(|e| failed(&e))?;
    let mut copy = std::fs::File::from(copy);
    let mut limited = source.take(LIBRARY_MAX_BYTES + 1);
    let bytes = std::io::copy(&mut limited, &mut copy).map_err(|e| failed(&e))?;
    if bytes > LIBRARY_MAX_BYTES {
        return Err(failed(&format!("longer than {LIBRARY_MAX_BYTES} bytes")));
    }
    copy.flush().map_err(|e| failed(&e))?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).map_err(|e| failed(&e))?;
    // Hashed after it is sealed: these are the bytes that the loader maps.
    copy.rewind().map_err(|e| failed(&e))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match copy.read(&mut chunk).map_err(|e| failed(&e))? {
            0 => break,
            count => hash.update(&chunk[..count]),
        }
    }
    let found: [u8; 32] = hash.finalize().into();
    if found != *pin {
        let hex = |bytes: &[u8; 32]| {
            use std::fmt::Write as _;
            bytes.iter().fold(String::new(), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        return Err(format!(
            "{}: its SHA-256 is {}, pinned is {}",
            path.display(),
            hex(&found),
            hex(pin)
        ));
    }
    Ok(copy.into())
}
