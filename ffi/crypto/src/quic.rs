//! TLS 1.3 inside QUIC (RFC 9001), for quinn: rustls does the handshake, OpenSSL every computation.
//!
//! quinn brings sessions of its own only together with a second crypto library (ring or aws-lc). Its interface is small,
//! so the session is here, and the binary has one: OpenSSL, through `rustls-openssl` for the handshake and the packets,
//! and directly for our signature, so that a key in a token signs as one in a file does.

mod keys;
mod session;
pub(crate) mod signer;
mod verdict;

use std::sync::Arc;

use openssl::x509::X509;
use quinn_proto::crypto::ClientConfig;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::error::CryptoError;
use crate::tls::ClientTls;

pub use keys::ResetKey;
pub use session::QUIC_VERSION;

impl ClientTls {
    /// The same authorities, certificate and key for QUIC connections that speak `alpn`. Sessions that brokers offer to
    /// resume are kept in it, so it is made once. With `early`, data may be sent before the handshake is done (0-RTT)
    /// where the broker offered that with such a session.
    ///
    /// # Errors
    /// Certificates that webpki does not take, such as authorities that are not X.509 version 3.
    pub fn quic(&self, alpn: &[u8], early: bool) -> Result<Arc<dyn ClientConfig>, CryptoError> {
        let refused = |error: &dyn std::fmt::Display| CryptoError::Quic(error.to_string());
        let Some(parts) = &self.parts else {
            return Err(refused(&"there is no certificate of our own"));
        };
        let provider = Arc::new(rustls_openssl::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in &parts.authorities {
            roots
                .add(der(authority)?)
                .map_err(|error| refused(&error))?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| refused(&error))?;
        let chain: Result<Vec<_>, _> = parts.chain.iter().map(der).collect();
        let (private, why) = (parts.key.clone(), parts.why.clone());
        let key = signer::Key::new(&parts.chain[0], private, why)?;
        let own = CertifiedKey::new(chain?, Arc::new(key));
        let initial = session::initial_suite(&provider)
            .ok_or_else(|| CryptoError::Quic("OpenSSL has no AES-128-GCM".to_owned()))?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| refused(&error))?
            .dangerous()
            // The verifier of rustls itself with another clock: `dangerous` is the name of the door to give it.
            .with_custom_certificate_verifier(Arc::new(verdict::Verifier::new(verifier)))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_early_data = early;
        Ok(Arc::new(session::Config::new(config, initial)))
    }
}

fn der(certificate: &X509) -> Result<CertificateDer<'static>, CryptoError> {
    certificate
        .to_der()
        .map(CertificateDer::from)
        .map_err(|source| CryptoError::OpenSsl {
            verb: "encode a certificate",
            source,
        })
}
