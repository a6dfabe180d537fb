//! The part of OpenSSL that dunlin uses: TLS 1.3 as a client with mutual certificates, random numbers, a self-test; and
//! SHA-256.
//!
//! The safe interface of the `openssl` crate is used, but for what it lacks: a provider whose keys sign elsewhere, in
//! `token/`. Whatever reads an error takes it off OpenSSL's per-thread error queue, and each entry point empties the queue
//! first, so that an error left by other code in the process is never reported as ours.

#![deny(unsafe_code)]

mod error;
#[cfg(feature = "identity")]
mod identity;
#[cfg(feature = "quic")]
mod quic;
mod secret;
mod selftest;
mod time;
mod tls;
#[cfg(feature = "tokens")]
mod token;
mod vectors;
#[expect(unsafe_code, reason = "an allocator")]
mod wipe;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use openssl::error::ErrorStack;
use sha2::{Digest, Sha256};

pub use error::{CryptoError, HandshakeError};
#[cfg(feature = "identity")]
pub use identity::{
    Facts, Subject, facts, issued, new_key, read_credential, read_secret, request, time_text,
};
#[cfg(feature = "quic")]
pub use quic::{QUIC_VERSION, ResetKey};
pub use selftest::{SelfTestError, self_test, self_test_with};
pub use time::{Trusted, raise_time_floor, trusted_time};
pub use tls::{ClientTls, PrivateKey, TlsStream};
#[cfg(feature = "tokens")]
pub use token::{TokenUri, TokenUriError, key_host_main, rewritten_answer};

/// What each call begins with: OpenSSL's memory is ours to wipe, and its error queue is empty.
fn begin() {
    wipe::on_free();
    drop(ErrorStack::get());
}

/// The OpenSSL that this program runs with.
pub fn openssl_version() -> &'static str {
    openssl::version::version()
}

/// Fills `out` with cryptographically secure random bytes.
pub fn random_bytes(out: &mut [u8]) -> Result<(), CryptoError> {
    begin();
    openssl::rand::rand_bytes(out).map_err(|source| CryptoError::OpenSsl {
        verb: "draw random bytes",
        source,
    })
}

/// A random number, for nonces and jitter.
pub fn random_u32() -> Result<u32, CryptoError> {
    let mut bytes = [0; 4];
    random_bytes(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// SHA-256 of a file's content, read in pieces of 64 KiB.
pub fn sha256_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(n) => hash.update(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_a_known_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected: [u32; 8] = [
            0xba78_16bf,
            0x8f01_cfea,
            0x4141_40de,
            0x5dae_2223,
            0xb003_61a3,
            0x9617_7a9c,
            0xb410_ff61,
            0xf200_15ad,
        ];
        let expected: Vec<u8> = expected
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        assert_eq!(sha256_file(&path).unwrap()[..], expected);
        assert!(sha256_file(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn random_numbers_differ() {
        let drawn: std::collections::HashSet<u32> =
            (0..64).map(|_| random_u32().unwrap()).collect();
        assert!(drawn.len() > 60);
    }
}
