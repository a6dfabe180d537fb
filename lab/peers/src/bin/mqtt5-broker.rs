//! The broker of the crate `mqtt5`: mqtt5-broker TCP_PORT TLS_PORT QUIC_PORT CERTS, all on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mqtt5::broker::MqttBroker;
use mqtt5::broker::config::{
    BrokerConfig, QuicConfig, ServerDeliveryStrategy, StorageBackend, StorageConfig, TlsConfig,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The tree has two providers for rustls; the crate asks for the one of the process.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another provider is installed"))?;
    let mut arguments = std::env::args().skip(1);
    let mut port = || -> anyhow::Result<SocketAddr> {
        let text = arguments
            .next()
            .ok_or_else(|| anyhow::anyhow!("TCP TLS QUIC CERTS"))?;
        Ok((Ipv4Addr::LOCALHOST, text.parse()?).into())
    };
    let (tcp, tls, quic) = (port()?, port()?, port()?);
    let certs = PathBuf::from(
        arguments
            .next()
            .ok_or_else(|| anyhow::anyhow!("no CERTS"))?,
    );
    let file = |name: &str| certs.join(name);
    let config = BrokerConfig::default()
        .with_bind_address(tcp)
        .with_client_channel_capacity(1 << 16)
        // By default it answers subscribers on streams that it opens itself, which is its own convention.
        .with_server_delivery_strategy(ServerDeliveryStrategy::ControlOnly)
        .with_storage(StorageConfig {
            backend: StorageBackend::Memory,
            ..StorageConfig::default()
        })
        .with_tls(
            TlsConfig::new(file("server.pem"), file("server.key"))
                .with_ca_file(file("ca.pem"))
                .with_require_client_cert(true)
                .with_bind_address(tls),
        )
        .with_quic(
            QuicConfig::new(file("server.pem"), file("server.key"))
                .with_ca_file(file("ca.pem"))
                .with_require_client_cert(true)
                .with_early_data(true)
                .with_bind_address(quic),
        );
    MqttBroker::with_config(config).await?.run().await?;
    Ok(())
}
