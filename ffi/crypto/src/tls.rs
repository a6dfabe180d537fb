//! TLS 1.3 as a client: pinned authorities, our certificate, the server's name verified.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
#[cfg(any(feature = "quic", feature = "tokens"))]
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509StoreContextRef, X509VerifyResult};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{CryptoError, HandshakeError};
use crate::secret;
use crate::time::trusted_time;
#[cfg(feature = "tokens")]
use crate::token::{TokenKey, TokenUri};

/// A TLS connection over any byte stream.
pub type TlsStream<S> = tokio_openssl::SslStream<S>;

/// Where the private key is.
#[derive(Clone, Debug)]
pub enum PrivateKey {
    /// In a PEM file that its owner alone can read.
    File(PathBuf),
    /// In a token, which it does not leave.
    #[cfg(feature = "tokens")]
    Token(TokenUri),
}

/// What a client needs for mutual TLS 1.3; read and checked once, used for every connection.
pub struct ClientTls {
    context: SslContext,
    warnings: Vec<String>,
    /// `None` without a certificate of our own.
    #[cfg(feature = "quic")]
    pub(crate) parts: Option<Parts>,
    #[cfg(feature = "tokens")]
    token: Option<Arc<TokenKey>>,
}

/// What the context was made of, for QUIC's TLS, which is not OpenSSL's.
#[cfg(feature = "quic")]
pub(crate) struct Parts {
    pub(crate) authorities: Vec<X509>,
    /// Our own certificate first.
    pub(crate) chain: Vec<X509>,
    pub(crate) key: PKey<Private>,
    /// Asked where a signature was not made.
    pub(crate) why: Why,
}

/// What knows why the key did not sign, where OpenSSL knows only that it did not: a token.
#[cfg(feature = "quic")]
pub(crate) type Why = Option<Arc<dyn Fn() -> Option<String> + Send + Sync>>;

impl ClientTls {
    /// Reads the authorities and the certificate chain, PEM, and the private key or, of a token, its public half.
    pub fn new(
        ca_file: &Path,
        cert_file: &Path,
        private: &PrivateKey,
    ) -> Result<ClientTls, CryptoError> {
        crate::begin();
        let authorities = certificates("CA file", ca_file)?;
        let chain = certificates("certificate", cert_file)?;
        let openssl = |verb| move |source| CryptoError::OpenSsl { verb, source };
        #[cfg(feature = "tokens")]
        let mut token = None;
        let key = match private {
            PrivateKey::File(path) => key_of_file(path)?,
            #[cfg(feature = "tokens")]
            PrivateKey::Token(uri) => token
                .insert(TokenKey::open(uri)?)
                .pkey()
                .map_err(openssl("take a token's key"))?,
        };
        if !chain[0]
            .public_key()
            .map_err(openssl("read the certificate's key"))?
            .public_eq(&key)
        {
            return Err(CryptoError::KeyMismatch {
                key: match private {
                    PrivateKey::File(path) => path.display().to_string(),
                    #[cfg(feature = "tokens")]
                    PrivateKey::Token(uri) => uri.to_string(),
                },
                cert: cert_file.to_owned(),
            });
        }
        let mut warnings = Vec::new();
        let now = Asn1Time::from_unix(trusted_time().now_s).map_err(openssl("read the clock"))?;
        for (path, found) in [(ca_file, &authorities), (cert_file, &chain)] {
            for certificate in found {
                let (from, to) = (certificate.not_before(), certificate.not_after());
                if to < now {
                    warnings.push(format!("{}: a certificate expired on {to}", path.display()));
                } else if from > now {
                    warnings.push(format!(
                        "{}: a certificate is valid only from {from}",
                        path.display()
                    ));
                }
            }
        }

        let context = context(&authorities, Some((&chain, &key)))?;
        Ok(ClientTls {
            context,
            warnings,
            #[cfg(feature = "quic")]
            parts: Some(Parts {
                authorities,
                chain,
                key,
                #[cfg(feature = "tokens")]
                why: token.clone().map(|token: Arc<TokenKey>| {
                    let why: Arc<dyn Fn() -> Option<String> + Send + Sync> =
                        Arc::new(move || token.take_failure());
                    why
                }),
                #[cfg(not(feature = "tokens"))]
                why: None,
            }),
            #[cfg(feature = "tokens")]
            token,
        })
    }

    /// A client without a certificate, for a server that knows it by a secret.
    #[cfg(feature = "identity")]
    pub fn anonymous(ca_file: &Path) -> Result<ClientTls, CryptoError> {
        crate::begin();
        let authorities = certificates("CA file", ca_file)?;
        Ok(ClientTls {
            context: context(&authorities, None)?,
            warnings: Vec::new(),
            #[cfg(feature = "quic")]
            parts: None,
            #[cfg(feature = "tokens")]
            token: None,
        })
    }

    /// What an operator should know about the certificates: those expired or not valid yet, with the date. No error,
    /// because the clock may be what is wrong.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Does the handshake and verifies that the server is `server_name`, a DNS name or an address.
    ///
    /// A token signs in its own time, so that a handshake with one is done on a thread that may block.
    pub async fn connect<S>(
        &self,
        stream: S,
        server_name: &str,
    ) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        crate::begin();
        let prepare = || -> Result<Ssl, ErrorStack> {
            let mut ssl = Ssl::new(&self.context)?;
            let expected = ssl.param_mut();
            expected.set_time(trusted_time().now_s);
            expected.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
            if let Ok(address) = server_name.parse::<IpAddr>() {
                expected.set_ip(address)?;
            } else {
                expected.set_host(server_name)?;
                ssl.set_hostname(server_name)?;
            }
            Ok(ssl)
        };
        let ssl = prepare().map_err(HandshakeError::Setup)?;
        let stream = TlsStream::new(ssl, stream).map_err(HandshakeError::Setup)?;
        #[cfg(feature = "tokens")]
        if let Some(token) = &self.token {
            return shake_elsewhere(stream, server_name, token).await;
        }
        shake(stream, server_name).await
    }
}

/// Takes a certificate that is not valid yet where our clock is known to be behind: that the authority has signed it says
/// that its time has come. Nothing else that is wrong with a certificate passes.
fn early_or_good(good: bool, chain: &mut X509StoreContextRef) -> bool {
    /// `X509_V_ERR_CERT_NOT_YET_VALID` of `openssl/x509_vfy.h`.
    const NOT_YET_VALID: i32 = 9;
    if good || chain.error().as_raw() != NOT_YET_VALID || trusted_time().behind_s == 0 {
        return good;
    }
    chain.set_error(X509VerifyResult::OK);
    true
}

/// What connections start from: trusts these authorities, and shows a chain, our own certificate first, and its key.
fn context(
    authorities: &[X509],
    own: Option<(&[X509], &PKey<Private>)>,
) -> Result<SslContext, CryptoError> {
    let openssl = |verb| move |source| CryptoError::OpenSsl { verb, source };
    let mut store = X509StoreBuilder::new().map_err(openssl("make a trust store"))?;
    for authority in authorities {
        store
            .add_cert(authority.clone())
            .map_err(openssl("trust a CA certificate"))?;
    }
    let build = || -> Result<SslContext, ErrorStack> {
        let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
        builder.set_options(SslOptions::NO_COMPRESSION);
        // The write buffer of the caller grows and moves between attempts, and may be taken in parts.
        builder.set_mode(
            SslMode::AUTO_RETRY
                | SslMode::ACCEPT_MOVING_WRITE_BUFFER
                | SslMode::ENABLE_PARTIAL_WRITE
                | SslMode::RELEASE_BUFFERS,
        );
        // One read takes many records, not each its header and then its body.
        builder.set_read_ahead(true);
        builder.set_verify_callback(SslVerifyMode::PEER, early_or_good);
        builder.set_cert_store(store.build());
        if let Some((chain, key)) = own {
            builder.set_certificate(&chain[0])?;
            for intermediate in &chain[1..] {
                builder.add_extra_chain_cert(intermediate.clone())?;
            }
            builder.set_private_key(key)?;
            builder.check_private_key()?;
        }
        Ok(builder.build())
    };
    build().map_err(openssl("prepare TLS with these certificates"))
}

/// On a thread that may block.
#[cfg(feature = "tokens")]
async fn shake_elsewhere<S>(
    stream: TlsStream<S>,
    server_name: &str,
    token: &TokenKey,
) -> Result<TlsStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (runtime, name) = (tokio::runtime::Handle::current(), server_name.to_owned());
    let shaking = move || runtime.block_on(shake(stream, &name));
    match tokio::task::spawn_blocking(shaking).await {
        Ok(Ok(stream)) => Ok(stream),
        // OpenSSL knows only that it has no signature.
        Ok(Err(error)) => Err(token.take_failure().map_or(error, HandshakeError::Protocol)),
        Err(ended) => Err(HandshakeError::Io(std::io::Error::other(ended))),
    }
}

async fn shake<S>(
    mut stream: TlsStream<S>,
    server_name: &str,
) -> Result<TlsStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => {
            let verified = stream.ssl().verify_result();
            Err(HandshakeError::from_ssl(error, verified, server_name))
        }
    }
}

/// The text that was read is wiped; OpenSSL wipes what it makes of it.
pub(crate) fn key_of_file(path: &Path) -> Result<PKey<Private>, CryptoError> {
    let pem = secret::read("private key", path, secret::CLOSED)?;
    // The callback gives no passphrase: without it OpenSSL would ask for one on the terminal.
    PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| CryptoError::NotPem {
        role: "private key",
        path: path.to_owned(),
        expected: "private key without passphrase",
    })
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

pub(crate) fn certificates(role: &'static str, path: &Path) -> Result<Vec<X509>, CryptoError> {
    let pem = secret::read(role, path, secret::OPEN)?;
    match X509::stack_from_pem(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CryptoError::NotPem {
            role,
            path: path.to_owned(),
            expected: "certificate",
        }),
    }
}
