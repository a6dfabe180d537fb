//! Acknowledges every PUBLISH and does nothing else, so that a publisher is measured and not a broker:
//! sink ADDRESS TCP_PORT TLS_PORT QUIC_PORT CERTS INFLIGHT
//!
//! MQTT 5 with a Receive Maximum of INFLIGHT, one session that is never there before. TLS and QUIC want a certificate of the
//! CA and offer to resume. A message to the topic `bench/end` ends its connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, tcp, tls, quic, certs, inflight] = &arguments[..] else {
        anyhow::bail!("ADDRESS TCP_PORT TLS_PORT QUIC_PORT CERTS INFLIGHT");
    };
    let ip: IpAddr = address.parse()?;
    let at = |port: &str| -> anyhow::Result<SocketAddr> { Ok((ip, port.parse()?).into()) };
    let inflight: u16 = inflight.parse()?;
    let plain = TcpListener::bind(at(tcp)?).await?;
    let secure = TcpListener::bind(at(tls)?).await?;
    let mut config = server(certs)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.clone()));
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config.max_early_data_size = u32::MAX;
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config)?;
    let endpoint = quinn::Endpoint::server(
        quinn::ServerConfig::with_crypto(Arc::new(crypto)),
        at(quic)?,
    )?;
    println!("ready");
    loop {
        tokio::select! {
            Ok((stream, _)) = plain.accept() => {
                stream.set_nodelay(true)?;
                let (read, write) = stream.into_split();
                tokio::spawn(serve(read, write, inflight));
            }
            Ok((stream, _)) = secure.accept() => {
                stream.set_nodelay(true)?;
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (read, write) = tokio::io::split(acceptor.accept(stream).await?);
                    serve(read, write, inflight).await
                });
            }
            Some(incoming) = endpoint.accept() => {
                tokio::spawn(async move {
                    let connection = incoming.await?;
                    let (write, read) = connection.accept_bi().await?;
                    serve(read, write, inflight).await?;
                    // The client closes when it has read the end.
                    connection.closed().await;
                    anyhow::Ok(())
                });
            }
        }
    }
}

fn server(certs: &str) -> anyhow::Result<rustls::ServerConfig> {
    let file = |name: &str| format!("{certs}/{name}");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let chain = CertificateDer::pem_file_iter(file("server.pem"))?.collect::<Result<_, _>>()?;
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(file("server.key"))?)
        .context("the server's certificate")
}

/// Header and length of the first packet, once it is whole.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut body = 0;
    for (index, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        body |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let header = 2 + index;
            return (bytes.len() >= header + body).then_some((header, header + body));
        }
    }
    None
}

async fn serve(
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    inflight: u16,
) -> anyhow::Result<()> {
    let (mut input, mut output, mut filled) = (vec![0; 256 << 10], Vec::new(), 0);
    loop {
        let count = read.read(&mut input[filled..]).await?;
        anyhow::ensure!(count > 0, "the end");
        filled += count;
        let mut at = 0;
        while let Some((header, length)) = whole(&input[at..filled]) {
            let (first, body) = (input[at], &input[at + header..at + length]);
            at += length;
            match first >> 4 {
                1 => {
                    let [high, low] = inflight.to_be_bytes();
                    output.extend_from_slice(&[0x20, 6, 0, 0, 3, 0x21, high, low]);
                }
                3 => {
                    let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    output.extend_from_slice(&[0x40, 2, body[topic], body[topic + 1]]);
                    if &body[2..topic] == b"bench/end" {
                        write.write_all(&output).await?;
                        write.shutdown().await?;
                        return Ok(());
                    }
                }
                12 => output.extend_from_slice(&[0xD0, 0]),
                14 => return Ok(()),
                _ => anyhow::bail!("packet {first:#x}"),
            }
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        write.write_all(&output).await?;
        write.flush().await?;
        output.clear();
    }
}
