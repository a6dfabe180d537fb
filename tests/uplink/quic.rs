//! MQTT over QUIC against another's QUIC (aioquic, in front of mosquitto), and the standby.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dunlin::stats::Breaker;
use dunlin::uplink::{Event, Events, Lane, Lost, TlsFiles, Uplink};
use tokio::time::{Instant, timeout};

use crate::broker::{Broker, Certificates, Security};
use crate::lab::{Lab, quic_front};
use crate::ports::free_port;
use crate::{deliver, next, refusal, settings};

/// A running `lab/quic_front.py`.
struct Front {
    _server: Lab,
    port: u16,
}

impl Front {
    fn start(certificates: &Certificates, server: &str, broker: &Broker) -> Front {
        Front::start_at(free_port(), certificates, server, broker)
    }

    fn start_with(certificates: &Certificates, broker: &Broker, more: &[&str]) -> Front {
        Front::spawn(free_port(), certificates, "server", broker, more)
    }

    fn start_at(port: u16, certificates: &Certificates, server: &str, broker: &Broker) -> Front {
        Front::spawn(port, certificates, server, broker, &[])
    }

    fn spawn(
        port: u16,
        certificates: &Certificates,
        server: &str,
        broker: &Broker,
        more: &[&str],
    ) -> Front {
        Front {
            _server: quic_front(port, broker.port(), &certificates.path(""), server, more),
            port,
        }
    }

    fn endpoint(&self) -> String {
        format!("quic://localhost:{}", self.port)
    }
}

/// Why the next connection ended.
async fn disconnected(events: &mut Events) -> String {
    next(events, |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.to_string()),
        _ => None,
    })
    .await
}

fn connected(event: &Event) -> Option<String> {
    match event {
        Event::Connected { endpoint, .. } => Some(endpoint.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn quic_delivers_in_order_with_mutual_certificates() {
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::None);
    let front = Front::start(&certificates, "server", &broker);
    let mut settings = settings(&front.endpoint(), "quic");
    settings.tls = Some(certificates.client("client"));
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    deliver(&uplink, &mut events, 5_000, |_| {}).await;
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
    // DISCONNECT went out before the connection was closed.
    let end = Instant::now() + Duration::from_secs(5);
    while broker.logged("Received DISCONNECT from quic") == 0 {
        assert!(Instant::now() < end, "no DISCONNECT arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_kind_of_key_signs_inside_quic() {
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::None);
    let front = Front::start(&certificates, "server", &broker);
    for (name, kind) in [
        ("rsa", "rsa:2048"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "ed25519"),
    ] {
        certificates.sign(name, kind);
        let mut settings = settings(&front.endpoint(), name);
        settings.tls = Some(certificates.client(name));
        let (uplink, mut events) = Uplink::spawn(settings).unwrap();
        deliver(&uplink, &mut events, 10, |_| {}).await;
        assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
    }
}

#[tokio::test]
async fn quic_refuses_each_with_its_reason() {
    let certificates = Certificates::new();
    let good = certificates.client("client");
    let broker = Broker::start(&Security::None);
    let front = Front::start(&certificates, "server", &broker);
    let other_ca = TlsFiles {
        ca_file: certificates.path("other-ca.pem"),
        ..good.clone()
    };
    for (files, host, wanted) in [
        (
            other_ca,
            "localhost",
            "not signed by an authority in the CA file",
        ),
        (good.clone(), "127.0.0.1", "not for \"127.0.0.1\""),
        (
            certificates.client("stranger"),
            "localhost",
            "refused our certificate: unknown certificate authority",
        ),
        (
            certificates.client("old-client"),
            "localhost",
            "refused our certificate: certificate expired",
        ),
    ] {
        let reason = refusal(&format!("quic://{host}:{}", front.port), files).await;
        assert!(reason.contains(wanted), "{reason}");
    }
    let old = Front::start(&certificates, "old-server", &broker);
    let reason = refusal(&old.endpoint(), good).await;
    assert!(reason.contains("has expired"), "{reason}");
}

#[tokio::test]
async fn blocked_udp_is_told_and_the_standby_delivers_until_the_way_back_opens() {
    let certificates = Certificates::new();
    let mut broker = Broker::start(&Security::None);
    let tls = Broker::start(&Security::Mutual(&certificates, "server"));
    // Takes packets and answers none, as a firewall that drops them.
    let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port();
    let mut settings = settings(&format!("quic://localhost:{port}"), "standby");
    settings
        .endpoints
        .push(format!("mqtts://localhost:{}", tls.port()).parse().unwrap());
    settings.tls = Some(certificates.client("client"));
    settings.standby.calm_ms = 500;
    settings.standby.open_ms = 200;
    settings.backoff.stable = Duration::from_millis(300);
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    let reason = disconnected(&mut events).await;
    assert!(reason.contains("UDP is blocked"), "{reason}");
    // What is blocked is not tried twice.
    let endpoint = next(&mut events, |event| match event {
        Event::Disconnected { reason, .. } => panic!("{reason}"),
        event => connected(event),
    })
    .await;
    assert!(endpoint.starts_with("mqtts://"), "{endpoint}");

    uplink.publish(0, "t/order", "0").await.unwrap();
    next(&mut events, |event| match event {
        Event::Acked { first: 0, .. } => Some(()),
        _ => None,
    })
    .await;
    drop(hole);
    let front = Front::start_at(port, &certificates, "server", &broker);
    let endpoint = next(&mut events, connected).await;
    assert_eq!(endpoint, front.endpoint());
    uplink.publish(1, "t/order", "1").await.unwrap();
    // Half-open until the connection is proven, and that is told while it stands.
    let mut breakers = Vec::new();
    next(&mut events, |event| match event {
        Event::Endpoints(all) if all[0].connected => {
            breakers.push(all[0].breaker);
            (all[0].breaker == Breaker::Closed).then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(breakers, [Breaker::HalfOpen, Breaker::Closed]);

    // And over again when the preferred one goes away, without a message lost.
    drop(front);
    broker.kill_and_restart();
    uplink.publish(2, "t/order", "2").await.unwrap();
    let endpoint = next(&mut events, connected).await;
    assert!(endpoint.starts_with("mqtts://"), "{endpoint}");
    next(&mut events, |event| match event {
        Event::Acked { last: 2, .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
}

#[tokio::test]
async fn a_slow_endpoint_is_left_for_the_standby() {
    let slow = Broker::start(&Security::None);
    let fast = Broker::start(&Security::None);
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = relay.local_addr().unwrap().port();
    let to = slow.port();
    tokio::spawn(async move {
        // Each answer of the broker comes 150 ms late.
        while let Ok((client, _)) = relay.accept().await {
            let broker = tokio::net::TcpStream::connect(("127.0.0.1", to))
                .await
                .unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_broker, mut to_broker) = broker.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_broker).await });
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = from_broker.read(&mut piece).await {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    if to_client.write_all(&piece[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let mut settings = settings(&format!("mqtt://127.0.0.1:{port}"), "slow");
    settings.endpoints.push(fast.endpoint().parse().unwrap());
    settings.standby.ack_ms_max = 50;
    settings.inflight_max = 1;
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    let mut reason = None;
    let (mut given, mut acked) = (0, 0);
    let end = Instant::now() + Duration::from_secs(20);
    let mut last = String::new();
    while acked < 50 {
        tokio::select! {
            permit = uplink.reserve(), if given < 50 => {
                permit.unwrap().publish(given, "t/order", given.to_string());
                given += 1;
            }
            event = events.recv() => match event.unwrap() {
                Event::Acked { last, .. } => acked = last + 1,
                Event::Disconnected { reason: lost, .. } => reason = Some(lost),
                Event::Connected { endpoint, .. } => last = endpoint.to_string(),
                _ => {}
            },
            () = tokio::time::sleep_until(end) => panic!("{acked} of 50 after 20 s"),
        }
    }
    assert!(
        matches!(reason, Some(Lost::Slow { mean_ms }) if mean_ms > 50),
        "{reason:?}"
    );
    assert_eq!(last, fast.endpoint());
}

/// Publishes bulk that stands still and critical messages behind it; how many critical ones were acknowledged.
async fn critical_beside_stalled_bulk(streams: bool) -> u64 {
    const CRITICAL: u64 = 3_000;
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::None);
    let front = Front::start_with(&certificates, &broker, &["--stall", "t/bulk"]);
    let mut settings = settings(&front.endpoint(), "streams");
    settings.tls = Some(certificates.client("client"));
    settings.streams = streams;
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    // More than the 16 KiB of credit that the stalled stream has, fewer than mosquitto takes unanswered.
    for token in 0..10 {
        let permit = uplink.reserve().await.unwrap();
        permit.publish_on(Lane::Bulk, token, "t/bulk", vec![b'b'; 10_000], None);
    }
    let (mut given, mut acked) = (0, 0);
    let end = Instant::now() + Duration::from_secs(if streams { 30 } else { 4 });
    while acked < CRITICAL {
        tokio::select! {
            permit = uplink.reserve(), if given < CRITICAL => {
                permit.unwrap().publish_on(Lane::Critical, 1_000 + given, "t/order", given.to_string(), None);
                given += 1;
            }
            event = events.recv() => match event.unwrap() {
                Event::Acked { first, last } if first >= 1_000 => {
                    assert_eq!(first, 1_000 + acked, "in order");
                    acked = last + 1 - 1_000;
                }
                Event::Acked { .. } => panic!("the stalled stream was answered"),
                Event::Disconnected { reason, .. } => panic!("{reason}"),
                _ => {}
            },
            () = tokio::time::sleep_until(end) => break,
        }
    }
    acked
}

#[tokio::test]
async fn a_stalled_bulk_stream_does_not_hold_critical_messages() {
    assert_eq!(critical_beside_stalled_bulk(true).await, 3_000);
    // What it is for: with one stream they wait behind it.
    assert_eq!(critical_beside_stalled_bulk(false).await, 0);
}

/// Messages of two topics reach the broker, each topic in its order, whatever becomes of data streams.
#[tokio::test]
async fn refused_closed_and_unanswered_data_streams_fall_back_to_one() {
    for (how, lost) in [
        ("accept", ""),
        ("refuse", ""),
        ("close", "data stream"),
        ("ignore", "no PUBACK"),
    ] {
        let certificates = Certificates::new();
        let broker = Broker::start(&Security::None);
        let front = Front::start_with(&certificates, &broker, &["--streams", how]);
        let mut settings = settings(&front.endpoint(), "streams");
        settings.tls = Some(certificates.client("client"));
        settings.streams = true;
        settings.ack_timeout = Duration::from_secs(2);
        let (uplink, mut events) = Uplink::spawn(settings).unwrap();
        let (mut given, mut acked) = (0, std::collections::BTreeSet::new());
        let mut reasons = Vec::new();
        let end = Instant::now() + Duration::from_secs(20);
        while acked.len() < 500 {
            tokio::select! {
                permit = uplink.reserve(), if given < 500 => {
                    let (lane, topic) = if given % 5 == 0 { (Lane::Critical, "t/c") } else { (Lane::Bulk, "t/b") };
                    permit.unwrap().publish_on(lane, given, topic, given.to_string(), None);
                    given += 1;
                }
                event = events.recv() => match event.unwrap() {
                    Event::Acked { first, last } => acked.extend(first..=last),
                    Event::Disconnected { reason, .. } => reasons.push(reason.to_string()),
                    _ => {}
                },
                () = tokio::time::sleep_until(end) => panic!("{how}: {} acknowledged, {reasons:?}", acked.len()),
            }
        }
        assert!(reasons.len() <= 1, "{how}: {reasons:?}");
        assert!(
            reasons.concat().contains(lost) && reasons.is_empty() == lost.is_empty(),
            "{how}: {reasons:?}"
        );
        assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
        // PUBLISH lines of the broker's log name the topic and the size: the order is that of packet ids in a topic.
        assert!(
            broker.logged("Received PUBLISH from streams") >= 500,
            "{how}"
        );
    }
}

/// Connects, loses the connection, and connects again; the stream frames that came as early data, whether there were
/// packets of it, how often the broker saw CONNECT, and why connections ended.
async fn early_data(forget: bool) -> (Vec<Vec<u8>>, bool, usize, Vec<String>) {
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::None);
    let told = broker.dir().join("early");
    let mut more = vec!["--early", told.to_str().unwrap()];
    if forget {
        more.push("--forget");
    }
    let front = Front::start_with(&certificates, &broker, &more);
    let mut settings = settings(&front.endpoint(), "early");
    settings.tls = Some(certificates.client("client"));
    settings.early_connect = true;
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    next(&mut events, connected).await;
    // Somebody else with our client id: the broker ends our connection and keeps the session.
    let publish = |token: u64| uplink.publish(token, "t/order", vec![b'x'; 500]);
    for token in 0..100 {
        publish(token).await.unwrap();
    }
    acked(&mut events, 99).await;
    let other = Command::new("mosquitto_pub")
        .args([
            "-V", "5", "-i", "early", "-c", "-x", "60", "-t", "t/other", "-m", "x", "-p",
        ])
        .arg(broker.port().to_string())
        .status();
    assert!(other.unwrap().success());
    // In flight while the next connection is made: what may not go early.
    for token in 100..200 {
        publish(token).await.unwrap();
    }
    let mut lost = Vec::new();
    next(&mut events, |event| match event {
        Event::Disconnected { reason, .. } => {
            lost.push(reason.to_string());
            None
        }
        Event::Acked { last: 199, .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
    let told = std::fs::read_to_string(told).unwrap_or_default();
    let frames = told
        .lines()
        .filter_map(|line| line.strip_prefix("stream "))
        .map(|hex| {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect()
        })
        .collect();
    let connects = broker.logged("New client connected from 127.0.0.1");
    let packets = told.lines().any(|line| line == "packet");
    (frames, packets, connects, lost)
}

async fn acked(events: &mut Events, wanted: u64) {
    next(events, |event| match event {
        Event::Acked { last, .. } if *last == wanted => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn nothing_but_connect_goes_before_the_handshake_is_done() {
    let (frames, packets, ..) = early_data(false).await;
    assert!(packets, "no early data was sent");
    // The bytes on the stream behind its id, and its length where it is not the last of the packet: one CONNECT, whole.
    let [frame] = &frames[..] else {
        panic!("{frames:x?}");
    };
    let start = frame
        .windows(6)
        .position(|bytes| bytes == b"\x00\x04MQTT")
        .unwrap()
        - 2;
    assert_eq!(frame[start], 0x10, "CONNECT");
    assert_eq!(
        frame.len() - start,
        2 + usize::from(frame[start + 1]),
        "and nothing behind it"
    );
    assert_eq!(frame[start + 9] & 2, 0, "no clean start");
}

#[tokio::test]
async fn a_broker_that_takes_no_early_data_gets_connect_again() {
    let (frames, packets, connects, lost) = early_data(true).await;
    assert!(packets, "no early data was sent");
    assert!(frames.is_empty(), "{frames:x?}");
    // Ours, the other's, and ours again.
    assert_eq!(connects, 3);
    assert_eq!(lost.len(), 1, "only the one that was taken over: {lost:?}");
}

/// Relays datagrams, and counts those of the client.
struct Relay {
    port: u16,
    sent: Arc<AtomicU64>,
    /// Lets nothing through any more, in either direction.
    cut: Arc<AtomicBool>,
}

impl Relay {
    async fn to(port: u16) -> Relay {
        let front = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        back.connect(("127.0.0.1", port)).await.unwrap();
        let relay = Relay {
            port: front.local_addr().unwrap().port(),
            sent: Arc::default(),
            cut: Arc::default(),
        };
        let (sent, cut) = (Arc::clone(&relay.sent), Arc::clone(&relay.cut));
        tokio::spawn(async move {
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = front.recv_from(&mut up) => {
                        client = Some(from);
                        sent.fetch_add(1, Relaxed);
                        if !cut.load(Relaxed) {
                            back.send(&up[..length]).await.ok();
                        }
                    }
                    Ok(length) = back.recv(&mut down) => if let Some(client) = client.filter(|_| !cut.load(Relaxed)) {
                        front.send_to(&down[..length], client).await.ok();
                    },
                }
            }
        });
        relay
    }
}

/// An uplink that is connected through a relay, and to which MQTT itself says nothing for ten minutes.
async fn silent(
    front: &Front,
    certificates: &Certificates,
    silence: Duration,
) -> (Relay, Uplink, Events) {
    let relay = Relay::to(front.port).await;
    let mut settings = settings(&format!("quic://localhost:{}", relay.port), "silent");
    settings.tls = Some(certificates.client("client"));
    settings.keep_alive_s = 600;
    settings.quic_silence = silence;
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    next(&mut events, connected).await;
    (relay, uplink, events)
}

/// Address translations forget: a probe goes out earlier, although MQTT has nothing to say.
#[tokio::test]
async fn a_silent_connection_is_kept_alive() {
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::None);
    let front = Front::start(&certificates, "server", &broker);
    let silence = Duration::from_secs(2);
    let (relay, uplink, mut events) = silent(&front, &certificates, silence).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = relay.sent.load(Relaxed);
    // Longer than the idle timeout.
    let lost = timeout(4 * silence, disconnected(&mut events)).await;
    assert!(lost.is_err(), "{lost:?}");
    assert!(relay.sent.load(Relaxed) > before, "nothing was sent");
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
}

/// Nothing is in flight and nobody says that the path is gone: only the idle timeout can tell.
#[tokio::test]
async fn a_path_that_dies_in_silence_is_given_up() {
    let certificates = Certificates::new();
    let broker = Broker::start(&Security::None);
    let front = Front::start(&certificates, "server", &broker);
    let silence = Duration::from_millis(500);
    let (relay, _uplink, mut events) = silent(&front, &certificates, silence).await;
    relay.cut.store(true, Relaxed);
    // Within 30 s; the front itself would give up after 60 s.
    let reason = disconnected(&mut events).await;
    assert!(reason.contains("timed out"), "{reason}");
}
