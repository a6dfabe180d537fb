//! Byte streams to an endpoint. The session knows none of them: another transport is another variant here.

#[cfg(feature = "quic")]
mod quic;
mod tcp;
mod tls;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dunlin_crypto::{ClientTls, CryptoError, HandshakeError, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::endpoint::{Endpoint, Scheme};
use super::error::Lost;
use super::lane::Lanes;
use super::settings::{Settings, TlsFiles};
use crate::clock;
#[cfg(feature = "quic")]
pub(super) use quic::Quic;

/// What secure transports need; made once, so that sessions can be resumed.
#[derive(Clone, Debug)]
pub(super) struct Security {
    tls: Arc<ClientTls>,
    #[cfg(feature = "quic")]
    quic: Option<Quic>,
}

impl Security {
    /// Reads the certificates. QUIC is prepared only where an endpoint asks for it.
    pub(super) fn new(files: &TlsFiles, settings: &Settings) -> Result<Security, CryptoError> {
        let tls = ClientTls::new(&files.ca_file, &files.cert_file, &files.key)?;
        for warning in tls.warnings() {
            tracing::warn!("{warning}");
        }
        #[cfg(feature = "quic")]
        let mut schemes = settings.endpoints.iter().map(Endpoint::scheme);
        #[cfg(feature = "quic")]
        let quic = if schemes.any(|scheme| scheme == Scheme::Quic) {
            Some(Quic::new(&tls, settings)?)
        } else {
            None
        };
        #[cfg(not(feature = "quic"))]
        let _ = settings;
        Ok(Security {
            tls: Arc::new(tls),
            #[cfg(feature = "quic")]
            quic,
        })
    }
}

/// A connected byte stream.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(feature = "quic")]
    Quic(Box<quic::QuicStream>),
}

/// Connects. The caller bounds the time. `hello` is what may be said before the handshake is done; `Stream::said` tells
/// whether it was.
pub(super) async fn dial(
    endpoint: &Endpoint,
    security: Option<&Security>,
    hello: &[u8],
) -> Result<Stream, Lost> {
    let security =
        || security.expect("Settings::check refuses mqtts:// and quic:// without certificates");
    if endpoint.scheme().is_secure() && clock::is_waited_for() {
        return Err(Lost::Clock);
    }
    let stream = match endpoint.scheme() {
        Scheme::Tcp => return tcp::dial(endpoint).await.map(Stream::Tcp),
        Scheme::Tls => tls::dial(endpoint, &security().tls)
            .await
            .map(|stream| Stream::Tls(Box::new(stream))),
        #[cfg(feature = "quic")]
        Scheme::Quic => {
            let quic = security().quic.as_ref();
            quic.expect("made where an endpoint is quic://")
                .dial(endpoint, hello)
                .await
                .map(|stream| Stream::Quic(Box::new(stream)))
        }
        #[cfg(not(feature = "quic"))]
        Scheme::Quic => unreachable!("Endpoint refuses quic:// in this build"),
    };
    #[cfg(not(feature = "quic"))]
    let _ = hello;
    if stream.is_ok() {
        clock::confirm();
    }
    stream
}

/// What an error of a stream says about the handshake: in TLS 1.3 the server judges our certificate only after our side
/// of it has ended, so its refusal comes with the first read.
pub(super) fn refusal(error: &io::Error, endpoint: &Endpoint) -> Option<HandshakeError> {
    #[cfg(feature = "quic")]
    if endpoint.scheme() == Scheme::Quic {
        return quic::refusal(error, endpoint);
    }
    let _ = endpoint;
    HandshakeError::from_read(error)
}

impl Stream {
    /// Gives each lane a stream of its own, where the transport has several.
    pub(super) fn split(&mut self, lanes: &Lanes) {
        match self {
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => stream.split(lanes.clone()),
            Stream::Tcp(_) | Stream::Tls(_) => {
                let _ = lanes;
            }
        }
    }

    /// Whether lanes had streams of their own, and whether the other side ended one.
    pub(super) fn split_state(&self) -> (bool, bool) {
        match self {
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => stream.split_state(),
            Stream::Tcp(_) | Stream::Tls(_) => (false, false),
        }
    }

    /// Whether the hello of `dial` was said already, and heard.
    pub(super) fn said(&self) -> bool {
        match self {
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => stream.said(),
            Stream::Tcp(_) | Stream::Tls(_) => false,
        }
    }

    /// Ends the stream so that what was written still arrives. The caller bounds the time.
    pub(super) async fn finish(&mut self) {
        match self {
            // The broker may be gone by now: nothing depends on the end of the stream being heard.
            Stream::Tcp(stream) => AsyncWriteExt::shutdown(stream).await.unwrap_or(()),
            Stream::Tls(stream) => AsyncWriteExt::shutdown(stream).await.unwrap_or(()),
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => stream.finish().await,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            #[cfg(feature = "quic")]
            Stream::Quic(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// What one visit to a stream did.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) wrote: usize,
    /// `Some(0)` is the end of the stream.
    pub(super) read: Option<usize>,
    pub(super) failed: Option<(&'static str, io::Error)>,
}

/// Writes from `output` and reads into `input` in one visit, as far as either goes; ready when anything happened.
/// Nothing is lost when the future is dropped while it waits.
pub(super) async fn visit(
    stream: &mut Stream,
    output: &[u8],
    input: Option<&mut [u8]>,
) -> Progress {
    let mut input = input;
    std::future::poll_fn(|cx| {
        let mut progress = Progress::default();
        while progress.failed.is_none() && progress.wrote < output.len() {
            match Pin::new(&mut *stream).poll_write(cx, &output[progress.wrote..]) {
                Poll::Ready(Ok(0)) => {
                    progress.failed = Some(("write", io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(count)) => progress.wrote += count,
                Poll::Ready(Err(error)) => progress.failed = Some(("write", error)),
                Poll::Pending => break,
            }
        }
        // Read also after a failed write: the broker's last word, such as a TLS alert, says why. Read on while there is
        // more: a broker sends each PUBACK as a TLS record of its own, and a read gives one record.
        if let Some(input) = input.as_deref_mut() {
            let mut buffer = ReadBuf::new(input);
            while buffer.remaining() > 0 {
                let before = buffer.filled().len();
                match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                        progress.read = Some(buffer.filled().len());
                    }
                    // The end. It shows again at the next visit, after what was read before it.
                    Poll::Ready(Ok(())) => {
                        if progress.failed.is_none() {
                            progress.read.get_or_insert(0);
                        }
                        break;
                    }
                    Poll::Ready(Err(error)) => {
                        progress.failed = Some(("read", error));
                        break;
                    }
                    Poll::Pending => break,
                }
            }
        }
        if progress.wrote > 0 || progress.read.is_some() || progress.failed.is_some() {
            Poll::Ready(progress)
        } else {
            Poll::Pending
        }
    })
    .await
}
