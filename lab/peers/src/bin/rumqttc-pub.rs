//! Publishes with the crate `rumqttc`, MQTT 5, `QoS` 1: rumqttc-pub HOST:PORT COUNT INFLIGHT BYTES [CERTS]. Prints the seconds
//! from CONNECT to the last PUBACK.

use std::fs;
use std::time::Instant;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [at, count, inflight, bytes, certs @ ..] = &arguments[..] else {
        anyhow::bail!("HOST:PORT COUNT INFLIGHT BYTES [CERTS]");
    };
    let (count, inflight): (u64, u16) = (count.parse()?, inflight.parse()?);
    let payload = vec![b'x'; bytes.parse()?];
    let (host, port) = at.split_once(':').unwrap_or(("localhost", at));
    let mut options = MqttOptions::new("rumqttc", host, port.parse()?);
    options.set_outgoing_inflight_upper_limit(inflight);
    options.set_request_channel_capacity(usize::from(inflight));
    if let [certs] = certs {
        rustls::crypto::ring::default_provider()
            .install_default()
            .map_err(|_| anyhow::anyhow!("another provider is installed"))?;
        let read = |name: &str| fs::read(format!("{certs}/{name}"));
        options.set_transport(Transport::Tls(TlsConfiguration::Simple {
            ca: read("ca.pem")?,
            alpn: None,
            client_auth: Some((read("agent.pem")?, read("agent.key")?)),
        }));
    }
    let (client, mut events) = AsyncClient::new(options, usize::from(inflight));
    let start = Instant::now();
    let publisher = tokio::spawn(async move {
        for _ in 0..count {
            client
                .publish("bench/stream", QoS::AtLeastOnce, false, payload.clone())
                .await?;
        }
        // The event loop ends with its last client.
        Ok::<_, anyhow::Error>(client)
    });
    let mut acked = 0;
    while acked < count {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
            acked += 1;
        }
    }
    drop(publisher.await??);
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}
