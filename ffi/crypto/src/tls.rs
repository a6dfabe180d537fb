//! TLS 1.3 as a client: pinned authorities, our certificate, the server's name verified.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
#[cfg(feature = "quic")]
use openssl::pkey::Private;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509CheckFlags;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{CryptoError, HandshakeError};

/// A TLS connection over any byte stream.
pub type TlsStream<S> = tokio_openssl::SslStream<S>;

/// Largest certificate or key file, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// What a client needs for mutual TLS 1.3; read and checked once, used for every connection.
pub struct ClientTls {
    context: SslContext,
    warnings: Vec<String>,
    #[cfg(feature = "quic")]
    pub(crate) parts: Parts,
}

/// What the context was made of, for QUIC's TLS, which is not OpenSSL's.
#[cfg(feature = "quic")]
pub(crate) struct Parts {
    pub(crate) authorities: Vec<X509>,
    /// Our own certificate first.
    pub(crate) chain: Vec<X509>,
    pub(crate) key: PKey<Private>,
}

impl ClientTls {
    /// Reads the authorities, the certificate chain and the private key, all PEM.
    pub fn new(
        ca_file: &Path,
        cert_file: &Path,
        key_file: &Path,
    ) -> Result<ClientTls, CryptoError> {
        drop(ErrorStack::get());
        let authorities = certificates("CA file", ca_file)?;
        let chain = certificates("certificate", cert_file)?;
        let key_pem = read("private key", key_file, true)?;
        // The callback gives no passphrase: without it OpenSSL would ask for one on the terminal.
        let key = PKey::private_key_from_pem_callback(&key_pem, |_| Ok(0)).map_err(|_| {
            CryptoError::NotPem {
                role: "private key",
                path: key_file.to_owned(),
                expected: "private key without passphrase",
            }
        })?;
        let (own, intermediates) = chain
            .split_first()
            .expect("certificates() returns at least one");
        let openssl = |verb| move |source| CryptoError::OpenSsl { verb, source };
        if !own
            .public_key()
            .map_err(openssl("read the certificate's key"))?
            .public_eq(&key)
        {
            return Err(CryptoError::KeyMismatch {
                key: key_file.to_owned(),
                cert: cert_file.to_owned(),
            });
        }
        let mut warnings = Vec::new();
        let now = Asn1Time::days_from_now(0).map_err(openssl("read the clock"))?;
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

        let mut store = X509StoreBuilder::new().map_err(openssl("make a trust store"))?;
        for authority in &authorities {
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
            builder.set_verify(SslVerifyMode::PEER);
            builder.set_cert_store(store.build());
            builder.set_certificate(own)?;
            for intermediate in intermediates {
                builder.add_extra_chain_cert(intermediate.clone())?;
            }
            builder.set_private_key(&key)?;
            builder.check_private_key()?;
            Ok(builder.build())
        };
        let context = build().map_err(openssl("prepare TLS with these certificates"))?;
        Ok(ClientTls {
            context,
            warnings,
            #[cfg(feature = "quic")]
            parts: Parts {
                authorities,
                chain,
                key,
            },
        })
    }

    /// What an operator should know about the certificates: those expired or not valid yet, with the date. No error,
    /// because the clock may be what is wrong.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Does the handshake and verifies that the server is `server_name`, a DNS name or an address.
    pub async fn connect<S>(
        &self,
        stream: S,
        server_name: &str,
    ) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        drop(ErrorStack::get());
        let prepare = || -> Result<Ssl, ErrorStack> {
            let mut ssl = Ssl::new(&self.context)?;
            let expected = ssl.param_mut();
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
        let mut stream = TlsStream::new(ssl, stream).map_err(HandshakeError::Setup)?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(stream),
            Err(error) => {
                let verified = stream.ssl().verify_result();
                Err(HandshakeError::from_ssl(error, verified, server_name))
            }
        }
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

fn certificates(role: &'static str, path: &Path) -> Result<Vec<X509>, CryptoError> {
    let pem = read(role, path, false)?;
    match X509::stack_from_pem(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CryptoError::NotPem {
            role,
            path: path.to_owned(),
            expected: "certificate",
        }),
    }
}

/// Reads a file whole. The permissions are those of the open file, so that it cannot be swapped in between.
fn read(role: &'static str, path: &Path, secret: bool) -> Result<Vec<u8>, CryptoError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CryptoError::Missing {
            role,
            path: path.to_owned(),
        },
        _ => CryptoError::Unreadable {
            role,
            path: path.to_owned(),
            source,
        },
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if secret && mode & 0o077 != 0 {
        return Err(CryptoError::KeyPermissions {
            path: path.to_owned(),
            mode,
        });
    }
    let mut content = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > FILE_MAX_BYTES {
        return Err(failed(io::Error::other("larger than 1 MiB")));
    }
    Ok(content)
}
