//! TLS 1.3 over TCP.

use dunlin_crypto::{ClientTls, TlsStream};
use tokio::net::TcpStream;

use super::tcp;
use crate::uplink::endpoint::Endpoint;
use crate::uplink::error::Lost;

/// Connects and proves both sides.
pub(super) async fn dial(
    endpoint: &Endpoint,
    tls: &ClientTls,
) -> Result<TlsStream<TcpStream>, Lost> {
    let addresses = tcp::resolve(endpoint).await?;
    let stream = tcp::connect(endpoint, &addresses).await?;
    tls.connect(stream, endpoint.host())
        .await
        .map_err(Lost::Tls)
}
