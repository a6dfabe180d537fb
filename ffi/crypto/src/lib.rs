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
use openssl::pkey::{Id, PKey};
use openssl::sign::Verifier;
use sha2::{Digest, Sha256};

pub use error::{CryptoError, HandshakeError};
#[cfg(feature = "identity")]
pub use identity::{
    Facts, Subject, facts, issued, new_key, read_credential, read_secret, request, time_text,
};
#[cfg(feature = "quic")]
pub use quic::{QUIC_VERSION, ResetKey};
pub use selftest::{SelfTestError, self_test, self_test_with};
pub use time::{Trusted, raise_time_floor, set_signed_time, trusted_time};
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

/// Whether `signature` is that of `message` under an Ed25519 public key (RFC 8032). A key that is no point of the curve has
/// signed nothing.
pub fn ed25519_verifies(
    key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<bool, CryptoError> {
    begin();
    let openssl = |source| CryptoError::OpenSsl {
        verb: "check a signature",
        source,
    };
    let Ok(key) = PKey::public_key_from_raw_bytes(key, Id::ED25519) else {
        drop(ErrorStack::get());
        return Ok(false);
    };
    let mut verifier = Verifier::new_without_digest(&key).map_err(openssl)?;
    let verdict = verifier.verify_oneshot(signature, message);
    // OpenSSL leaves words on its queue for a signature that is merely wrong, and calls a malformed one an error.
    drop(ErrorStack::get());
    Ok(verdict.unwrap_or(false))
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

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn a_known_signature_verifies_and_no_other() {
        let bytes = |hex: &str| -> Vec<u8> {
            let digits = hex.as_bytes().chunks(2);
            digits
                .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
                .collect()
        };
        let key = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let key: [u8; 32] = key.try_into().unwrap();
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let signature: [u8; 64] = signature.try_into().unwrap();
        assert!(ed25519_verifies(&key, &[0x72], &signature).unwrap());
        assert!(!ed25519_verifies(&key, &[0x73], &signature).unwrap());
        assert!(!ed25519_verifies(&key, &[0x72], &[0xff; 64]).unwrap());
        assert!(!ed25519_verifies(&[0xff; 32], &[0x72], &signature).unwrap());
        assert!(ErrorStack::get().errors().is_empty());
    }

    #[test]
    fn random_numbers_differ() {
        let drawn: std::collections::HashSet<u32> =
            (0..64).map(|_| random_u32().unwrap()).collect();
        assert!(drawn.len() > 60);
    }
}
