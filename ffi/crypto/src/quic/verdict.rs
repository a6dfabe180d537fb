//! Why a handshake inside QUIC failed. QUIC carries an alert's number and a text; the text is ours where the alert is.

use rustls::{CertificateError, Error};

use crate::error::{HandshakeError, from_alert};

const EXPIRED: &str = "the certificate has expired";
const NOT_YET: &str = "the certificate is not valid yet";
const UNKNOWN_CA: &str = "unknown issuer";
const NAME: &str = "the certificate is for another name";

/// The words that travel with the alert, and by which `HandshakeError::from_quic` knows it again.
pub(super) fn words(error: &Error) -> String {
    let words = match error {
        Error::InvalidCertificate(refusal) => match refusal {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => NOT_YET,
            CertificateError::UnknownIssuer => UNKNOWN_CA,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                NAME
            }
            _ => return error.to_string(),
        },
        _ => return error.to_string(),
    };
    words.to_owned()
}

impl HandshakeError {
    /// What a TLS alert inside QUIC means: `code` is the error of the connection (RFC 9000, section 20.1, where 0x100 to
    /// 0x1ff carry an alert), `ours` whether this side sent it. `None` where the error has nothing to do with TLS.
    pub fn from_quic(
        code: u64,
        reason: &str,
        ours: bool,
        server_name: &str,
    ) -> Option<HandshakeError> {
        let alert = i32::try_from(code.checked_sub(0x100)?)
            .ok()
            .filter(|alert| *alert <= 0xff)?;
        if !ours {
            let other = || HandshakeError::Protocol(format!("the server sent TLS alert {alert}"));
            return Some(match alert {
                // RFC 7301: no protocol in common.
                120 => {
                    HandshakeError::Protocol("the server does not speak mqtt over QUIC".to_owned())
                }
                _ => from_alert(alert).unwrap_or_else(other),
            });
        }
        Some(match reason {
            EXPIRED => HandshakeError::Expired,
            NOT_YET => HandshakeError::NotYetValid,
            UNKNOWN_CA => HandshakeError::UnknownCa(UNKNOWN_CA),
            NAME => HandshakeError::NameMismatch(server_name.to_owned()),
            other => HandshakeError::Protocol(other.to_owned()),
        })
    }
}
