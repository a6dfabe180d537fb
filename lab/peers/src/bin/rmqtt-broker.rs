//! The broker of the crate `rmqtt`: rmqtt-broker TCP_PORT TLS_PORT QUIC_PORT CERTS, all on 127.0.0.1.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tcp, tls, quic, certs] = &arguments[..] else {
        anyhow::bail!("TCP TLS QUIC CERTS");
    };
    let on = |name: &str, port: &str| -> anyhow::Result<Builder> {
        Ok(Builder::new()
            .name(name)
            .laddr((Ipv4Addr::LOCALHOST, port.parse()?).into())
            .max_inflight(NonZeroU16::new(1000).expect("not 0"))
            .max_mqueue_len(1 << 20)
            .tls_cross_certificate(true)
            .tls_cert(Some(format!("{certs}/server.pem")))
            .tls_key(Some(format!("{certs}/server.key")))
            .tls_client_ca_certs(Some(format!("{certs}/ca.pem"))))
    };
    // The tree has two providers for rustls; the crate asks for the one of the process.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another provider is installed"))?;
    let context = ServerContext::new().build().await;
    MqttServer::new(context)
        .listener(on("tcp", tcp)?.bind()?.tcp()?)
        .listener(on("tls", tls)?.bind()?.tls()?)
        .listener(on("quic", quic)?.bind_quic()?)
        .build()
        .run()
        .await?;
    Ok(())
}
