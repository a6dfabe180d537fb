//! Errors: of the files, before any connection, and of the handshake.

use std::io;
use std::path::PathBuf;

use openssl::error::ErrorStack;
use openssl::x509::X509VerifyResult;

/// A certificate or key file cannot be used, or OpenSSL failed.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// No such file.
    #[error("{role} {path}: no such file", path = .path.display())]
    Missing {
        /// What the file is for.
        role: &'static str,
        /// Path.
        path: PathBuf,
    },
    /// It exists and cannot be read.
    #[error("read {role} {path}: {source}", path = .path.display())]
    Unreadable {
        /// What the file is for.
        role: &'static str,
        /// Path.
        path: PathBuf,
        /// Source.
        source: io::Error,
    },
    /// It does not hold what it should, in PEM.
    #[error("{role} {path}: not PEM, or no {expected} in it", path = .path.display())]
    NotPem {
        /// What the file is for.
        role: &'static str,
        /// Path.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// The private key belongs to another certificate.
    #[error("private key {key} does not match certificate {cert}", cert = .cert.display())]
    KeyMismatch {
        /// Key file, or URI of a token's key.
        key: String,
        /// Certificate file.
        cert: PathBuf,
    },
    /// Others than the owner may use the private key, the PIN or the secret.
    #[error("{role} {path} has mode {mode:03o}: others may use it; run chmod 600 on it", path = .path.display())]
    KeyPermissions {
        /// What the file is for.
        role: &'static str,
        /// Path.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// The key in a token cannot be used.
    #[cfg(feature = "tokens")]
    #[error("the key {uri}: {why}")]
    Token {
        /// Its URI.
        uri: String,
        /// Why.
        why: String,
    },
    /// What came back for a request is no certificate for it.
    #[cfg(feature = "identity")]
    #[error("{0}")]
    Issued(&'static str),
    /// OpenSSL failed for no fault of the files.
    #[error("{verb}: {source}")]
    OpenSsl {
        /// What was tried.
        verb: &'static str,
        /// Source.
        source: ErrorStack,
    },
    /// The certificates do for TLS over TCP and not for QUIC, whose verifier is stricter.
    #[error("prepare QUIC with these certificates: {0}")]
    Quic(String),
}

/// Why a TLS connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The server's certificate is past its time.
    #[error("the server's certificate has expired, or our clock is wrong")]
    Expired,
    /// The server's certificate is before its time.
    #[error("the server's certificate is not valid yet, or our clock is wrong")]
    NotYetValid,
    /// Nobody in the CA file signed it.
    #[error("the server's certificate is not signed by an authority in the CA file ({0})")]
    UnknownCa(&'static str),
    /// It is for another name.
    #[error("the server's certificate is not for {0:?}")]
    NameMismatch(String),
    /// The server's certificate failed for another reason.
    #[error("the server's certificate was refused: {0}")]
    Certificate(&'static str),
    /// The server has no TLS 1.3.
    #[error("the server does not speak TLS 1.3")]
    Version,
    /// The server sent an alert about our certificate.
    #[error("the server refused our certificate: {0}")]
    PeerRefused(&'static str),
    /// The server sent another alert, or spoke something other than TLS.
    #[error("{0}")]
    Protocol(String),
    /// The connection broke.
    #[error("the connection broke during the handshake: {0}")]
    Io(io::Error),
    /// OpenSSL could not start.
    #[error("prepare the handshake: {0}")]
    Setup(ErrorStack),
}

impl HandshakeError {
    /// Whether trying again soon may help. A certificate or a trust that is wrong stays wrong.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            HandshakeError::Io(_) | HandshakeError::Protocol(_) | HandshakeError::Setup(_)
        )
    }

    /// Reads the reason from the result of the verification, then from the alerts.
    pub(crate) fn from_ssl(
        error: openssl::ssl::Error,
        verified: X509VerifyResult,
        server_name: &str,
    ) -> HandshakeError {
        // Numbers from openssl/x509_vfy.h, X509_V_ERR_*.
        match verified.as_raw() {
            0 => {}
            9 => return HandshakeError::NotYetValid,
            10 => return HandshakeError::Expired,
            62 | 64 => return HandshakeError::NameMismatch(server_name.to_owned()),
            2 | 18..=21 => return HandshakeError::UnknownCa(verified.error_string()),
            _ => return HandshakeError::Certificate(verified.error_string()),
        }
        if let Some(reason) = error.ssl_error().and_then(from_stack) {
            return reason;
        }
        match error.into_io_error() {
            Ok(source) => HandshakeError::Io(source),
            Err(error) if error.ssl_error().is_none() => {
                HandshakeError::Io(io::ErrorKind::UnexpectedEof.into())
            }
            Err(error) => HandshakeError::Protocol(error.to_string()),
        }
    }

    /// The reason in an error that reading a stream gave. In TLS 1.3 the server judges our certificate only after the
    /// client's side of the handshake has ended, so its refusal comes with the first read.
    pub fn from_read(error: &io::Error) -> Option<HandshakeError> {
        let error = error.get_ref()?.downcast_ref::<openssl::ssl::Error>()?;
        error.ssl_error().and_then(from_stack)
    }
}

/// The meaning of the first entry that has one. Alerts are 1000 + their number.
fn from_stack(stack: &ErrorStack) -> Option<HandshakeError> {
    stack
        .errors()
        .iter()
        .find_map(|entry| match entry.reason_code() {
            // SSL_R_UNSUPPORTED_PROTOCOL from openssl/sslerr.h.
            258 => Some(HandshakeError::Version),
            code => from_alert(code.checked_sub(1000)?),
        })
}

/// The meaning of an alert that the server sent, by its number in RFC 8446, section 6.
pub(crate) fn from_alert(number: i32) -> Option<HandshakeError> {
    let refused = match number {
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate unknown",
        48 => "unknown certificate authority",
        49 => "access denied",
        116 => "a certificate is required",
        70 => return Some(HandshakeError::Version),
        _ => return None,
    };
    Some(HandshakeError::PeerRefused(refused))
}
