//! Why a handshake inside QUIC failed. QUIC carries an alert's number and a text; the text is ours where the alert is.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::error::{HandshakeError, from_alert};
use crate::time::trusted_time;

const EXPIRED: &str = "the certificate has expired";
const NOT_YET: &str = "the certificate is not valid yet";
const UNKNOWN_CA: &str = "unknown issuer";
const NAME: &str = "the certificate is for another name";

/// rustls's verifier, held to the time that OpenSSL is held to.
#[derive(Debug)]
pub(super) struct Verifier(Arc<WebPkiServerVerifier>);

impl Verifier {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>) -> Verifier {
        Verifier(verifier)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        _wall: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        /// Longest chain, and so most certificates that can each be early.
        const CHAIN_MAX: usize = 8;
        let time = trusted_time();
        let since = Duration::from_secs(u64::try_from(time.now_s).unwrap_or(0));
        let mut now = UnixTime::since_unix_epoch(since);
        for _ in 0..CHAIN_MAX {
            match self
                .0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
            {
                // As in `tls::early_or_good`.
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if time.behind_s > 0 => now = not_before,
                verdict => return verdict,
            }
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

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
