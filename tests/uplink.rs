//! The uplink against a real mosquitto on loopback: delivery over restarts of the broker, and TLS refusals.

#[path = "uplink/broker.rs"]
mod broker;
#[cfg(feature = "quic")]
#[path = "support/lab.rs"]
mod lab;
#[path = "uplink/model.rs"]
mod model;
#[path = "support/ports.rs"]
mod ports;
#[cfg(feature = "quic")]
#[path = "uplink/quic.rs"]
mod quic;
#[path = "uplink/reference.rs"]
mod reference;
#[path = "uplink/refused.rs"]
mod refused;
#[path = "uplink/storm.rs"]
mod storm;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Certificates, Security};
use dunlin::uplink::{
    BackoffSettings, Event, Events, Lost, Qos, Retained, Settings, Subscription, TlsFiles, Uplink,
};
use tokio::time::{Instant, timeout};

fn settings(endpoint: &str, client_id: &str) -> Settings {
    let mut settings = Settings::new(vec![endpoint.parse().unwrap()], client_id);
    settings.backoff = BackoffSettings {
        base: Duration::from_millis(50),
        max: Duration::from_millis(400),
        stable: Duration::from_secs(1),
    };
    settings
}

/// Publishes `count` messages with tokens from 0, calling `at` with each acknowledged count.
async fn deliver(uplink: &Uplink, events: &mut Events, count: u64, mut at: impl FnMut(u64)) {
    let topic: Arc<str> = "t/order".into();
    let (mut next, mut acked) = (0, 0);
    let end = Instant::now() + Duration::from_mins(1);
    while acked < count {
        tokio::select! {
            permit = uplink.reserve(), if next < count => {
                permit.unwrap().publish(next, Arc::clone(&topic), next.to_string());
                next += 1;
            }
            event = events.recv() => if let Event::Acked { first, last } = event.unwrap() {
                assert_eq!(first, acked, "acknowledged out of order");
                acked = last + 1;
                at(acked);
            },
            () = tokio::time::sleep_until(end) => panic!("{acked} of {count} after 60 s"),
        }
    }
}

/// What `mosquitto_sub` got, with repeats that `QoS` 1 allows taken away; fails on a loss or a change of order.
fn in_order(received: &str, count: u64) -> usize {
    let mut expected = 0;
    let mut repeats = 0;
    for line in received.lines() {
        let value: u64 = line.parse().unwrap();
        if value == expected {
            expected += 1;
        } else {
            assert!(value < expected, "{value} came where {expected} was due");
            repeats += 1;
        }
    }
    assert_eq!(expected, count, "the subscriber missed the end");
    repeats
}

#[tokio::test]
async fn every_message_arrives_in_order_over_restarts_of_the_broker() {
    const COUNT: u64 = 20_000;
    let mut broker = Broker::start(&Security::None);
    let out = broker.dir().join("received");
    let subscriber = |broker: &Broker| {
        Command::new("mosquitto_sub")
            .args([
                "-V", "5", "-q", "1", "-t", "t/order", "-i", "observer", "-c", "-x", "3600",
            ])
            .args(["-h", "127.0.0.1", "-p"])
            .arg(broker.port().to_string())
            .stdout(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&out)
                    .unwrap(),
            )
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut sub = subscriber(&broker);
    broker.wait_for_subscription("observer");

    let mut settings = settings(&broker.endpoint(), "restarts");
    settings.inflight_max = 200;
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    let mut restarts = 0;
    deliver(&uplink, &mut events, COUNT, |acked| {
        if acked > (restarts + 1) * 6_000 {
            restarts += 1;
            // SIGTERM lets mosquitto write its sessions; its subscriber reconnects by itself.
            broker.restart();
        }
    })
    .await;
    assert_eq!(restarts, 3);
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
    let end = Instant::now() + Duration::from_secs(20);
    let last = format!("{}\n", COUNT - 1);
    while !std::fs::read_to_string(&out).unwrap().ends_with(&last) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sub.kill().unwrap();
    sub.wait().unwrap();
    in_order(&std::fs::read_to_string(&out).unwrap(), COUNT);
}

#[tokio::test]
async fn a_killed_broker_costs_no_message() {
    const COUNT: u64 = 3_000;
    let mut broker = Broker::start(&Security::None);
    let (uplink, mut events) = Uplink::spawn(settings(&broker.endpoint(), "killed")).unwrap();
    let mut killed = false;
    deliver(&uplink, &mut events, COUNT, |acked| {
        if acked > 500 && !killed {
            killed = true;
            broker.kill_and_restart();
        }
    })
    .await;
    assert!(killed);
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
}

#[tokio::test]
async fn subscriptions_receive_and_a_drain_without_a_broker_is_bounded() {
    let broker = Broker::start(&Security::None);
    let mut settings = settings(&broker.endpoint(), "echo");
    settings.subscriptions = vec![Subscription {
        filter: "e/#".into(),
        qos: Qos::AtLeastOnce,
        retained: Retained::EachConnect,
    }];
    let (uplink, mut events) = Uplink::spawn(settings.clone()).unwrap();
    let mut got = Vec::new();
    let mut asked = false;
    while got.len() < 500 {
        match timeout(Duration::from_secs(10), events.recv())
            .await
            .unwrap()
            .unwrap()
        {
            Event::Subscribed { result, .. } => {
                assert_eq!(result, Ok(Qos::AtLeastOnce));
                asked = true;
                for token in 0..200 {
                    uplink
                        .publish(token, "e/1", token.to_string())
                        .await
                        .unwrap();
                }
                for token in 200..500 {
                    // More than the broker's Receive Maximum towards us: it must see our PUBACKs to go on.
                    let event = async {
                        loop {
                            if let Some(Event::Message(m)) = events.recv().await {
                                return m;
                            }
                        }
                    };
                    got.push(timeout(Duration::from_secs(5), event).await.unwrap());
                    uplink
                        .publish(token, "e/1", token.to_string())
                        .await
                        .unwrap();
                }
            }
            Event::Message(message) => got.push(message),
            _ => {}
        }
    }
    assert!(asked);
    for (index, message) in got.iter().enumerate() {
        assert_eq!(message.payload, index.to_string().as_bytes());
        assert_eq!((&*message.topic, message.qos), ("e/1", Qos::AtLeastOnce));
    }
    drop(broker);
    uplink.publish(1_000, "e/1", "late").await.unwrap();
    let start = Instant::now();
    let drained = uplink.drain(Duration::from_millis(600)).await;
    assert_eq!(drained.unacked, 1);
    assert!(
        start.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        start.elapsed()
    );
}

/// What is wanted of the first event that has it.
async fn next<T>(events: &mut Events, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = events.recv().await.unwrap();
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(30), search).await.unwrap()
}

/// The reason of the first failed attempt.
async fn refusal(endpoint: &str, files: TlsFiles) -> String {
    let mut settings = settings(endpoint, "refused");
    settings.tls = Some(files);
    let (_uplink, mut events) = Uplink::spawn(settings).unwrap();
    next(&mut events, |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.to_string()),
        Event::Endpoints(_) => None,
        other => panic!("{other:?}"),
    })
    .await
}

#[tokio::test]
async fn tls_delivers_with_mutual_certificates() {
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::Mutual(&certificates, "server"));
    let mut settings = settings(&format!("mqtts://localhost:{}", broker.port()), "tls");
    settings.tls = Some(certificates.client("client"));
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    deliver(&uplink, &mut events, 5_000, |_| {}).await;
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
}

#[tokio::test]
async fn tls_refuses_each_with_its_reason() {
    let certificates = Certificates::new();
    let good = certificates.client("client");
    let at = |broker: &Broker, host| format!("mqtts://{host}:{}", broker.port());
    let broker = Broker::start(&Security::Mutual(&certificates, "server"));
    let other_ca = TlsFiles {
        ca_file: certificates.path("other-ca.pem"),
        ..good.clone()
    };
    let reason = refusal(&at(&broker, "localhost"), other_ca).await;
    assert!(
        reason.contains("not signed by an authority in the CA file"),
        "{reason}"
    );
    let reason = refusal(&at(&broker, "127.0.0.1"), good.clone()).await;
    assert!(reason.contains("not for \"127.0.0.1\""), "{reason}");
    let reason = refusal(&at(&broker, "localhost"), certificates.client("stranger")).await;
    assert!(
        reason.contains("refused our certificate: unknown certificate authority"),
        "{reason}"
    );
    let reason = refusal(&at(&broker, "localhost"), certificates.client("old-client")).await;
    assert!(
        reason.contains("refused our certificate: certificate expired"),
        "{reason}"
    );

    let broker = Broker::start(&Security::Mutual(&certificates, "old-server"));
    let reason = refusal(&at(&broker, "localhost"), good.clone()).await;
    assert!(reason.contains("has expired"), "{reason}");

    let broker = Broker::start(&Security::Tls12(&certificates));
    let reason = refusal(&at(&broker, "localhost"), good).await;
    assert!(reason.contains("does not speak TLS 1.3"), "{reason}");
}

#[test]
fn certificate_files_that_cannot_be_used_are_named() {
    use dunlin_crypto::{ClientTls, CryptoError, PrivateKey};
    use std::os::unix::fs::PermissionsExt;

    let certificates = Certificates::new();
    let good = certificates.client("client");
    let new = |files: &TlsFiles| ClientTls::new(&files.ca_file, &files.cert_file, &files.key);
    assert!(new(&good).unwrap().warnings().is_empty());

    let absent = TlsFiles {
        ca_file: certificates.path("absent.pem"),
        ..good.clone()
    };
    assert!(matches!(
        new(&absent),
        Err(CryptoError::Missing {
            role: "CA file",
            ..
        })
    ));
    let folder = TlsFiles {
        cert_file: certificates.path(""),
        ..good.clone()
    };
    assert!(matches!(new(&folder), Err(CryptoError::Unreadable { .. })));
    std::fs::write(certificates.path("text.pem"), "hello").unwrap();
    let text = TlsFiles {
        cert_file: certificates.path("text.pem"),
        ..good.clone()
    };
    let error = new(&text).unwrap_err().to_string();
    assert!(
        error.contains("text.pem") && error.contains("not PEM"),
        "{error}"
    );
    let other = TlsFiles {
        key: PrivateKey::File(certificates.path("server.key")),
        ..good.clone()
    };
    assert!(matches!(new(&other), Err(CryptoError::KeyMismatch { .. })));

    let warnings = new(&certificates.client("old-client"))
        .unwrap()
        .warnings()
        .to_vec();
    assert!(
        warnings.len() == 1 && warnings[0].contains("expired on"),
        "{warnings:?}"
    );

    std::fs::set_permissions(
        certificates.path("client.key"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let error = new(&good).unwrap_err().to_string();
    assert!(
        error.contains("chmod 600") && error.contains("640"),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_that_accepts_and_closes_is_met_with_growing_waits() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut accepted = 0_u32;
        let end = Instant::now() + Duration::from_secs(3);
        while let Ok(Ok((mut stream, _))) = tokio::time::timeout_at(end, listener.accept()).await {
            accepted += 1;
            let mut connect = [0; 256];
            assert!(stream.read(&mut connect).await.unwrap() > 0);
            // CONNACK success, then DISCONNECT 0x8B, server shutting down.
            stream
                .write_all(&[0x20, 3, 0, 0, 0, 0xE0, 1, 0x8B])
                .await
                .unwrap();
        }
        accepted
    });
    let mut settings = settings(&format!("mqtt://127.0.0.1:{port}"), "kicked");
    settings.backoff.max = Duration::from_secs(5);
    let (_uplink, mut events) = Uplink::spawn(settings).unwrap();
    let accepted = tokio::select! {
        accepted = broker => accepted.unwrap(),
        () = async {
            while let Some(event) = events.recv().await {
                if let Event::Disconnected { reason, .. } = event {
                    assert!(matches!(&reason, Lost::Kicked { .. }), "{reason}");
                    assert!(reason.to_string().contains("server shutting down"));
                }
            }
        } => unreachable!("the uplink lives"),
    };
    // The waits double: about 8 attempts. A backoff that CONNACK resets would make about 120.
    assert!(
        (3..=30).contains(&accepted),
        "{accepted} connections in 3 s"
    );
}
