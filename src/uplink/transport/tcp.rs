//! TCP, in clear text: loopback only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::uplink::endpoint::Endpoint;
use crate::uplink::error::Lost;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects in clear text, after checking what the name resolved to.
pub(super) async fn dial(endpoint: &Endpoint) -> Result<TcpStream, Lost> {
    let addresses = resolve(endpoint).await?;
    if !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(Lost::NotLoopback(endpoint.clone()));
    }
    connect(endpoint, &addresses).await
}

/// The addresses of an endpoint's host, [`ADDRESSES_MAX`] at most.
///
/// `localhost` is loopback by definition (RFC 6761, section 6.3) and asks no resolver: a small image may have no
/// `/etc/hosts`, and a name server must not decide where clear text goes.
pub(super) async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Lost> {
    if endpoint.host().eq_ignore_ascii_case("localhost") {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(loopback
            .map(|address| SocketAddr::new(address, endpoint.port()))
            .to_vec());
    }
    let failed = |source| Lost::Resolve {
        host: endpoint.host().to_owned(),
        source,
    };
    let found = tokio::net::lookup_host((endpoint.host(), endpoint.port()))
        .await
        .map_err(failed)?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if found.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

/// Tries the addresses in turn.
pub(super) async fn connect(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
) -> Result<TcpStream, Lost> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Writes are whole batches already: waiting for more would only delay them.
                if let Err(source) = stream.set_nodelay(true) {
                    return Err(Lost::Connect {
                        endpoint: endpoint.clone(),
                        source,
                    });
                }
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(Lost::Connect {
        endpoint: endpoint.clone(),
        source: last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_loopback_without_a_resolver() {
        for spelling in ["mqtt://localhost:7", "mqtts://LOCALHOST:7"] {
            let endpoint: Endpoint = spelling.parse().unwrap();
            let found = resolve(&endpoint).await.unwrap();
            let expected: Vec<SocketAddr> =
                vec!["127.0.0.1:7".parse().unwrap(), "[::1]:7".parse().unwrap()];
            assert_eq!(found, expected, "{spelling}");
        }
    }
}
