//! Our signature in the handshake, made by OpenSSL with the key as it was loaded.

use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer as OpenSslSigner};
use openssl::x509::X509;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::error::CryptoError;
use crate::tls::Why;

/// The agent's private key, with the schemes that it can sign by, the preferred one first.
pub(crate) struct Key {
    private: Arc<PKey<Private>>,
    why: Why,
    algorithm: SignatureAlgorithm,
    schemes: &'static [SignatureScheme],
}

impl Key {
    /// The kind of key is read off the certificate: a key in a token may not tell its curve.
    pub(crate) fn new(
        certificate: &X509,
        key: PKey<Private>,
        why: Why,
    ) -> Result<Key, CryptoError> {
        let openssl = |source| CryptoError::OpenSsl {
            verb: "read the certificate's key",
            source,
        };
        let public = certificate.public_key().map_err(openssl)?;
        let (algorithm, schemes): (_, &'static [SignatureScheme]) = match public.id() {
            Id::ED25519 => (SignatureAlgorithm::ED25519, &[SignatureScheme::ED25519]),
            Id::RSA => (
                SignatureAlgorithm::RSA,
                &[
                    SignatureScheme::RSA_PSS_SHA256,
                    SignatureScheme::RSA_PSS_SHA384,
                    SignatureScheme::RSA_PSS_SHA512,
                ],
            ),
            Id::EC => {
                let curve = public.ec_key().map_err(openssl)?.group().curve_name();
                let scheme: &'static [SignatureScheme] = match curve {
                    Some(Nid::X9_62_PRIME256V1) => &[SignatureScheme::ECDSA_NISTP256_SHA256],
                    Some(Nid::SECP384R1) => &[SignatureScheme::ECDSA_NISTP384_SHA384],
                    Some(Nid::SECP521R1) => &[SignatureScheme::ECDSA_NISTP521_SHA512],
                    _ => &[],
                };
                (SignatureAlgorithm::ECDSA, scheme)
            }
            _ => (SignatureAlgorithm::Unknown(0), &[]),
        };
        if schemes.is_empty() {
            return Err(CryptoError::Quic(
                "the key is none of RSA, Ed25519 and ECDSA on P-256, P-384 and P-521".to_owned(),
            ));
        }
        Ok(Key {
            private: Arc::new(key),
            why,
            algorithm,
            schemes,
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("schemes", &self.schemes)
            .finish_non_exhaustive()
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self
            .schemes
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Chosen {
            key: Arc::clone(&self.private),
            why: self.why.clone(),
            scheme: *scheme,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

struct Chosen {
    key: Arc<PKey<Private>>,
    why: Why,
    scheme: SignatureScheme,
}

impl Chosen {
    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let digest = match self.scheme {
            SignatureScheme::ED25519 => None,
            SignatureScheme::ECDSA_NISTP384_SHA384 | SignatureScheme::RSA_PSS_SHA384 => {
                Some(MessageDigest::sha384())
            }
            SignatureScheme::ECDSA_NISTP521_SHA512 | SignatureScheme::RSA_PSS_SHA512 => {
                Some(MessageDigest::sha512())
            }
            _ => Some(MessageDigest::sha256()),
        };
        let mut signer = match digest {
            Some(digest) => OpenSslSigner::new(digest, &self.key)?,
            None => OpenSslSigner::new_without_digest(&self.key)?,
        };
        if let (
            SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512,
            Some(digest),
        ) = (self.scheme, digest)
        {
            // RFC 8446, section 4.2.3: the digest is also that of MGF1, and the salt is as long.
            signer.set_rsa_padding(Padding::PKCS1_PSS)?;
            signer.set_rsa_mgf1_md(digest)?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        signer.sign_oneshot_to_vec(message)
    }
}

impl Signer for Chosen {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        drop(ErrorStack::get());
        self.signature(message).map_err(|error| {
            let why = self.why.as_ref().and_then(|why| why());
            rustls::Error::General(why.unwrap_or_else(|| format!("sign: {error}")))
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chosen")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
