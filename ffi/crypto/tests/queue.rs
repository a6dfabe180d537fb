//! OpenSSL's error queue: what one call leaves in it never shows in the next.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use dunlin_crypto::{ClientTls, CryptoError, PrivateKey, random_bytes, self_test};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;

/// Leaves an error, as other code in the process might.
fn leave_an_error() {
    // The crate takes its error; put it back, where nobody takes it.
    let error = PKey::private_key_from_der(b"no key").unwrap_err();
    error.put();
    assert!(!is_empty());
}

/// Takes the queue, looks, and puts it back.
fn is_empty() -> bool {
    let stack = ErrorStack::get();
    stack.put();
    stack.errors().is_empty()
}

#[test]
fn an_error_that_others_left_is_never_ours() {
    leave_an_error();
    random_bytes(&mut [0; 8]).unwrap();
    assert!(is_empty());

    leave_an_error();
    assert!(self_test().is_ok());
    assert!(is_empty());

    // A file that OpenSSL never sees: what is told is of the file alone, and the queue is empty when we return.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    leave_an_error();
    let tls = |path| ClientTls::new(path, path, &PrivateKey::File(path.to_owned()));
    assert!(matches!(tls(&path), Err(CryptoError::Missing { .. })));
    assert!(is_empty());

    // A file that OpenSSL refuses: its error is taken, not left for the next.
    fs::write(
        &path,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(tls(&path), Err(CryptoError::NotPem { .. })));
    assert!(is_empty());
}
