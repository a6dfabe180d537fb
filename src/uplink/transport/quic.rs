//! MQTT on one bidirectional stream of a QUIC connection (ALPN `mqtt`), as EMQX and `NanoMQ` speak it.

mod split;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dunlin_crypto::{ClientTls, CryptoError, HandshakeError, QUIC_VERSION, ResetKey};
use quinn::{
    ClientConfig, Connecting, Connection, ConnectionError, EndpointConfig, RecvStream, SendStream,
    TokioRuntime, TransportConfig, VarInt,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::tcp;
use crate::uplink::endpoint::Endpoint;
use crate::uplink::error::Lost;
use crate::uplink::lane::Lanes;
use crate::uplink::settings::Settings;
use split::Split;

/// The protocol by which the server knows what the connection is for.
const ALPN: &[u8] = b"mqtt";
/// Longest time for the handshake with one address. UDP that is dropped on the way looks like a slow server: this is how
/// long it may look so. It covers two losses on a path of 1 s (RFC 9002, section 6.2.2: probes after 1, 2, ... s).
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Time between the starts of attempts at the addresses of one name.
const STAGGER: Duration = Duration::from_millis(250);
/// The connection is given up after so many times the silence that a probe ends: two probes may be lost. The session
/// gives up earlier where it waits for an answer.
const SILENCES: u32 = 3;
/// Bytes that the broker may send ahead of our reading.
const RECEIVE_WINDOW_BYTES: u32 = 1 << 20;

/// What every connection starts from. Keeps the sessions that brokers offer to resume.
#[derive(Clone, Debug)]
pub(in crate::uplink) struct Quic {
    client: ClientConfig,
    endpoint: EndpointConfig,
}

impl Quic {
    /// Prepares connections with these certificates.
    pub(in crate::uplink) fn new(
        tls: &ClientTls,
        settings: &Settings,
    ) -> Result<Quic, CryptoError> {
        let silence = settings.quic_silence;
        let idle = (SILENCES * silence).try_into();
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle.expect("a few minutes fit into a QUIC timeout")))
            .keep_alive_interval(Some(silence))
            // The server opens no stream of its own in MQTT over QUIC, and datagrams are not used.
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES));
        let mut client = ClientConfig::new(tls.quic(ALPN, settings.early_connect)?);
        client
            .version(QUIC_VERSION)
            .transport_config(Arc::new(transport));
        let mut endpoint = EndpointConfig::new(Arc::new(ResetKey::new()?));
        endpoint.supported_versions(vec![QUIC_VERSION]);
        Ok(Quic { client, endpoint })
    }

    /// Connects to the first address that answers, proves both sides, and opens the stream. The addresses of a name are
    /// tried beside each other, each a little after the one before (RFC 8305, section 5), so that one that is dead
    /// costs no time of its own. Only the first of them is said `hello` early, so that it is not said twice at once.
    pub(super) async fn dial(&self, endpoint: &Endpoint, hello: &[u8]) -> Result<QuicStream, Lost> {
        let mut attempts = JoinSet::new();
        for (number, address) in (0..).zip(tcp::resolve(endpoint).await?) {
            let (quic, endpoint) = (self.clone(), endpoint.clone());
            let hello = if number == 0 {
                hello.to_vec()
            } else {
                Vec::new()
            };
            attempts.spawn(async move {
                tokio::time::sleep(STAGGER * number).await;
                quic.try_one(&endpoint, address, &hello).await
            });
        }
        let mut first = None;
        while let Some(attempt) = attempts.join_next().await {
            match attempt.expect("an attempt does not panic, and nobody else aborts it") {
                Ok(stream) => return Ok(stream),
                // The server answered, and would say the same at its other addresses.
                Err(lost @ Lost::Tls(_)) => return Err(lost),
                Err(lost) => first = first.or(Some(lost)),
            }
        }
        Err(first.expect("resolve() gives at least one address"))
    }

    async fn try_one(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
        hello: &[u8],
    ) -> Result<QuicStream, Lost> {
        let failed = |why: String| Lost::Quic {
            endpoint: endpoint.clone(),
            why,
        };
        let broken = |error: ConnectionError| match verdict(&error, endpoint) {
            Some(refused) => Lost::Tls(refused),
            None => failed(error.to_string()),
        };
        let io = |source| Lost::Connect {
            endpoint: endpoint.clone(),
            source,
        };
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // Not connected to the address: the kernel then takes the route anew for each packet, and a gateway that
        // roams keeps its connection (RFC 9000, section 9).
        let socket = UdpSocket::bind(any).map_err(io)?;
        let local =
            quinn::Endpoint::new(self.endpoint.clone(), None, socket, Arc::new(TokioRuntime))
                .map_err(io)?;
        let connecting = local
            .connect_with(self.client.clone(), address, endpoint.host())
            .map_err(|error| failed(error.to_string()))?;
        let (connection, early) = match timeout(HANDSHAKE, stand(connecting, hello)).await {
            Ok(Ok(stands)) => stands,
            Ok(Err(ConnectionError::TimedOut)) | Err(_) => {
                return Err(Lost::NoUdp {
                    endpoint: endpoint.clone(),
                    timeout_ms: 1000 * HANDSHAKE.as_secs(),
                });
            }
            Ok(Err(error)) => return Err(broken(error)),
        };
        let said = early.is_some();
        let (send, receive) = match early {
            Some(streams) => streams,
            None => connection.open_bi().await.map_err(broken)?,
        };
        Ok(QuicStream {
            send,
            receive,
            connection,
            local,
            split: None,
            said,
        })
    }
}

type Streams = (SendStream, RecvStream);

/// Waits until the handshake is done. Where the broker offered early data with a session that can be resumed, `hello` goes
/// with the first packets, and nothing else before the handshake is done; its stream is returned where the broker took
/// it. Otherwise the broker has not seen it, and it is to be said again.
async fn stand(
    connecting: Connecting,
    hello: &[u8],
) -> Result<(Connection, Option<Streams>), ConnectionError> {
    if hello.is_empty() {
        return Ok((connecting.await?, None));
    }
    let (connection, accepted) = match connecting.into_0rtt() {
        Ok(early) => early,
        Err(connecting) => return Ok((connecting.await?, None)),
    };
    let (mut send, receive) = connection.open_bi().await?;
    // An error shows below: as a connection that is closed, or as data that was not accepted.
    let sent = send.write_all(hello).await.is_ok();
    let taken = accepted.await && sent;
    if let Some(error) = connection.close_reason() {
        return Err(error);
    }
    tracing::debug!(taken, "CONNECT went before the handshake was done");
    Ok((connection, taken.then_some((send, receive))))
}

/// The stream, and the connection that it needs.
#[derive(Debug)]
pub(in crate::uplink) struct QuicStream {
    send: SendStream,
    receive: RecvStream,
    connection: Connection,
    local: quinn::Endpoint,
    /// Where messages have streams of their own.
    split: Option<Box<Split>>,
    said: bool,
}

impl QuicStream {
    /// Messages go on streams of their own from now on.
    pub(super) fn split(&mut self, lanes: Lanes) {
        self.split = Some(Box::new(Split::new(lanes, &self.send)));
    }

    /// Whether the hello was said, and heard, while the connection was made.
    pub(super) fn said(&self) -> bool {
        self.said
    }

    /// Whether messages had streams of their own, and whether the other side ended one.
    pub(super) fn split_state(&self) -> (bool, bool) {
        self.split
            .as_ref()
            .map_or((false, false), |split| (split.is_used(), split.failed))
    }

    /// Waits until the server has all that was written, then closes.
    pub(super) async fn finish(&mut self) {
        // What waits on data streams is not waited for: it is in the caller's buffer still.
        if let Some(split) = &mut self.split
            && split.flush_control(&mut self.send).await.is_err()
        {
            return;
        }
        if self.send.finish().is_ok() {
            // An error says that the server is gone, and that nobody hears the end.
            let _ = self.send.stopped().await;
        }
        self.connection.close(VarInt::from_u32(0), b"");
        self.local.wait_idle().await;
    }
}

/// What an error of the stream says about the handshake, where it does.
pub(super) fn refusal(error: &io::Error, endpoint: &Endpoint) -> Option<HandshakeError> {
    let inner = error.get_ref()?;
    if let Some(quinn::ReadError::ConnectionLost(lost)) = inner.downcast_ref() {
        return verdict(lost, endpoint);
    }
    let Some(quinn::WriteError::ConnectionLost(lost)) = inner.downcast_ref() else {
        return None;
    };
    verdict(lost, endpoint)
}

fn verdict(error: &ConnectionError, endpoint: &Endpoint) -> Option<HandshakeError> {
    match error {
        ConnectionError::TransportError(ours) => {
            HandshakeError::from_quic(ours.code.into(), &ours.reason, true, endpoint.host())
        }
        ConnectionError::ConnectionClosed(theirs) => {
            HandshakeError::from_quic(theirs.error_code.into(), "", false, endpoint.host())
        }
        _ => None,
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.split {
            Some(split) => split.read(cx, &mut this.send, &mut this.receive, buf),
            None => AsyncRead::poll_read(Pin::new(&mut this.receive), cx, buf),
        }
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match &mut this.split {
            Some(split) => Poll::Ready(
                split
                    .write(cx, &this.connection, &mut this.send, buf)
                    .map(|()| buf.len()),
            ),
            None => AsyncWrite::poll_write(Pin::new(&mut this.send), cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().send), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().send), cx)
    }
}
