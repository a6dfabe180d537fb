//! The session against a scripted broker: bytes in, bytes out, times chosen.

mod downlink;
mod parked;

use super::*;
use crate::uplink::reason::Pace;
use crate::uplink::settings::BackoffSettings;
use std::time::Duration;

fn settings() -> Settings {
    let mut settings = Settings::new(vec!["mqtt://127.0.0.1".parse().unwrap()], "c");
    settings.backoff = BackoffSettings {
        base: Duration::from_millis(100),
        max: Duration::from_secs(10),
        stable: Duration::from_secs(1),
    };
    settings
}

struct Script {
    session: Session,
    now_ms: u64,
}

/// A PUBLISH as the broker saw it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    id: u16,
    duplicate: bool,
    topic: String,
    alias: Option<u16>,
    payload: String,
}

impl Script {
    fn new(settings: Settings) -> Script {
        Script {
            session: Session::new(settings, 7),
            now_ms: 0,
        }
    }

    /// Opens and returns the flags byte of CONNECT.
    fn open(&mut self) -> u8 {
        self.session
            .open("mqtt://127.0.0.1".parse().unwrap(), self.now_ms);
        let connect = self.written();
        assert_eq!(&connect[2..9], b"\0\x04MQTT\x05");
        connect[9]
    }

    fn connack(&mut self, present: bool, properties: &[u8]) -> Result<(), Lost> {
        let len = u8::try_from(properties.len()).unwrap();
        let mut packet = vec![0x20, 3 + len, u8::from(present), 0, len];
        packet.extend_from_slice(properties);
        self.receive(&packet)
    }

    fn connected(properties: &[u8]) -> Script {
        Script::connected_with(settings(), properties)
    }

    fn connected_with(settings: Settings, properties: &[u8]) -> Script {
        let mut script = Script::new(settings);
        assert_eq!(
            script.open(),
            2,
            "the first connection of a process starts clean"
        );
        script.connack(false, properties).unwrap();
        assert!(matches!(
            script.session.next_event(),
            Some(Event::Connected { .. })
        ));
        script
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.session.receive(bytes, self.now_ms)
    }

    fn publish(&mut self, token: u64, topic: &str) {
        self.session
            .publish(token, topic.into(), token.to_string().into());
        self.session.pump(self.now_ms);
    }

    fn ack(&mut self, id: u16, reason: u8) {
        let [high, low] = id.to_be_bytes();
        self.receive(&[0x40, 3, high, low, reason]).unwrap();
    }

    fn written(&mut self) -> Vec<u8> {
        let bytes = self.session.output().to_vec();
        self.session.wrote(bytes.len());
        bytes
    }

    /// The PUBLISH packets written since the last call; our parser for the broker's side takes the same format.
    fn seen(&mut self) -> Vec<Seen> {
        let bytes = self.written();
        let (mut rest, mut seen) = (&bytes[..], Vec::new());
        while let Some((header, whole)) = codec::frame(rest, u32::MAX).unwrap() {
            // SUBSCRIBE is for brokers only.
            if rest[0] == 0x82 {
                rest = &rest[whole..];
                continue;
            }
            if let Packet::Publish(p) = codec::decode(rest[0], &rest[header..whole]).unwrap() {
                seen.push(Seen {
                    id: p.packet_id,
                    duplicate: p.duplicate,
                    topic: p.topic.into(),
                    alias: p.alias,
                    payload: String::from_utf8(p.payload.to_vec()).unwrap(),
                });
            }
            rest = &rest[whole..];
        }
        assert!(rest.is_empty());
        seen
    }

    fn payloads(&mut self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.payload).collect()
    }

    fn acked(&mut self) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        while let Some(event) = self.session.next_event() {
            if let Event::Acked { first, last } = event {
                ranges.push((first, last));
            }
        }
        ranges
    }
}

#[test]
fn acks_come_in_ranges_and_doubled_late_and_wrong_ones_count_for_nothing() {
    let mut s = Script::connected(&[]);
    for token in 0..5 {
        s.publish(token, "t");
    }
    assert_eq!(
        s.seen().iter().map(|p| p.id).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    s.ack(1, 0);
    s.ack(2, 0x10);
    s.ack(3, 0);
    s.ack(3, 0);
    s.ack(1, 0);
    s.ack(999, 0);
    s.ack(65_500, 0);
    assert_eq!(s.acked(), [(0, 2)]);
    assert_eq!((s.session.stray_acks(), s.session.outstanding()), (4, 2));
    s.publish(5, "t");
    assert_eq!(
        s.seen()[0].id,
        6,
        "an id is not used again while a late PUBACK for it may come"
    );
    s.ack(5, 0);
    assert_eq!(s.acked(), [(4, 4)]);
    s.ack(5, 0);
    assert_eq!(
        (s.session.stray_acks(), s.acked()),
        (5, vec![]),
        "done, and behind one that is not"
    );
    s.ack(4, 0);
    s.ack(6, 0);
    assert_eq!(s.acked(), [(3, 3), (5, 5)]);
    assert!(s.session.is_idle());
}

#[test]
fn a_kept_session_gets_the_same_ids_with_dup_and_a_lost_one_gets_new_messages() {
    let mut s = Script::connected(&[]);
    for token in 0..4 {
        s.publish(token, "t");
    }
    s.written();
    s.ack(2, 0);
    s.session.close();
    assert_eq!(s.session.outstanding(), 3);
    s.publish(9, "t");
    assert_eq!(s.open(), 0, "a later connection asks for the session");
    s.connack(true, &[]).unwrap();
    let seen: Vec<_> = s
        .seen()
        .into_iter()
        .map(|p| (p.id, p.duplicate, p.payload))
        .collect();
    let expected = [
        (1, true, "0"),
        (3, true, "2"),
        (4, true, "3"),
        (5, false, "9"),
    ];
    assert_eq!(
        seen,
        expected.map(|(id, dup, text)| (id, dup, text.to_owned()))
    );

    s.session.close();
    s.open();
    s.connack(false, &[]).unwrap();
    let seen = s.seen();
    assert_eq!(seen.len(), 4);
    assert!(
        seen.iter().all(|p| !p.duplicate),
        "DUP in a session that never saw it"
    );
    assert_eq!(
        seen.iter().map(|p| &*p.payload).collect::<Vec<_>>(),
        ["0", "2", "3", "9"]
    );
}

#[test]
fn a_session_after_a_clean_start_is_a_fault_of_the_broker() {
    let mut s = Script::new(settings());
    s.open();
    assert!(matches!(s.connack(true, &[]), Err(Lost::Protocol(_))));
}

#[test]
fn receive_maximum_one_sends_one_at_a_time() {
    let mut s = Script::connected(&[0x21, 0, 1]);
    for token in 0..3 {
        s.publish(token, "t");
    }
    s.ack(2, 0);
    assert_eq!(s.session.stray_acks(), 1, "a PUBACK for what was not sent");
    for token in 0..3 {
        assert_eq!(s.payloads(), [token.to_string()]);
        s.ack(u16::try_from(token).unwrap() + 1, 0);
        s.session.pump(0);
    }
    assert_eq!(s.acked(), [(0, 2)]);
}

#[test]
fn topic_aliases_are_used_up_to_the_maximum() {
    let mut s = Script::connected(&[]);
    s.publish(0, "a");
    s.publish(1, "a");
    assert!(s.seen().iter().all(|p| p.alias.is_none() && p.topic == "a"));

    let mut s = Script::connected(&[0x22, 0, 5]);
    for round in 0..2 {
        for token in 0..7_u64 {
            s.publish(token, &format!("t{token}"));
        }
        for (index, seen) in s.seen().into_iter().enumerate() {
            let alias = u16::try_from(index + 1).ok().filter(|alias| *alias <= 5);
            assert_eq!(seen.alias, alias);
            assert_eq!(seen.topic.is_empty(), round == 1 && alias.is_some());
        }
    }
    s.session.close();
    s.open();
    s.connack(true, &[0x22, 0, 5]).unwrap();
    assert!(
        s.seen().iter().take(5).all(|p| !p.topic.is_empty()),
        "aliases end with the connection"
    );
}

#[test]
fn the_servers_keep_alive_replaces_ours_and_silence_is_found() {
    let mut s = Script::connected(&[0x13, 0, 5]);
    assert_eq!(s.session.deadline_ms(), Some(5_000));
    s.session.tick(4_999).unwrap();
    assert!(s.written().is_empty());
    s.session.tick(5_000).unwrap();
    assert_eq!(s.written(), [0xC0, 0]);
    assert_eq!(s.session.deadline_ms(), Some(10_000));
    s.now_ms = 6_000;
    s.receive(&[0xD0, 0]).unwrap();
    assert_eq!(s.session.deadline_ms(), Some(10_000));
    s.session.tick(10_000).unwrap();
    assert_eq!(s.written(), [0xC0, 0]);
    assert!(matches!(
        s.session.tick(15_000),
        Err(Lost::PingTimeout { timeout_ms: 5_000 })
    ));
}

#[test]
fn writing_does_not_hide_a_half_open_connection() {
    let mut s = Script::connected(&[0x13, 0, 5]);
    for second in 1..10_u64 {
        s.now_ms = second * 1_000;
        s.publish(second, "t");
        s.session.tick(s.now_ms).unwrap();
    }
    assert!(
        s.written().windows(2).any(|w| w == [0xC0, 0]),
        "no ping was sent"
    );
    assert!(matches!(
        s.session.tick(10_000),
        Err(Lost::PingTimeout { .. })
    ));
}

#[test]
fn a_broker_that_pings_and_acknowledges_nothing_is_left() {
    let mut s = Script::connected(&[]);
    s.publish(0, "t");
    s.now_ms = 29_999;
    s.receive(&[0xD0, 0]).unwrap();
    s.session.tick(29_999).unwrap();
    assert!(matches!(
        s.session.tick(30_000),
        Err(Lost::AckTimeout { .. })
    ));
    let mut s = Script::new(settings());
    s.open();
    assert!(matches!(
        s.session.tick(10_000),
        Err(Lost::ConnectTimeout { .. })
    ));
}

#[test]
fn a_refused_message_is_sent_again_in_its_place_after_a_wait() {
    for (reason, slow) in [(0x97, false), (0x83, false), (0x80, false), (0x87, true)] {
        let mut s = Script::connected(&[]);
        for token in 0..3 {
            s.publish(token, "t");
        }
        s.written();
        s.ack(1, 0);
        s.ack(2, reason);
        s.ack(3, reason);
        assert_eq!(s.session.events_waiting(), 2);
        s.session.next_event();
        let Some(Event::Deferred {
            token: 1,
            reason: said,
            retry_in,
            ..
        }) = s.session.next_event()
        else {
            panic!("not deferred");
        };
        assert_eq!(said.0, reason);
        assert_eq!(retry_in >= Duration::from_secs(5), slow);
        s.publish(3, "t");
        let wait_ms = u64::try_from(retry_in.as_millis()).unwrap();
        if wait_ms > 0 {
            s.session.tick(wait_ms - 1).unwrap();
            let kept = s.payloads();
            assert!(kept.is_empty(), "{kept:?} went before the wait was over");
        }
        s.session.tick(wait_ms).unwrap();
        let probe = s.seen();
        assert_eq!((probe.len(), &*probe[0].payload), (1, "1"), "one probe");
        assert!(!probe[0].duplicate);
        s.ack(probe[0].id, 0);
        s.session.pump(wait_ms);
        let rest = s.seen();
        assert!(rest.iter().all(|p| !p.duplicate));
        assert_eq!(
            rest.iter().map(|p| &*p.payload).collect::<Vec<_>>(),
            ["2", "3"]
        );
        for seen in rest {
            s.ack(seen.id, 0);
        }
        assert_eq!(s.acked(), [(1, 1), (2, 3)]);
        assert!(s.session.is_idle());
    }
}

#[test]
fn a_quota_is_not_got_round_by_a_new_connection() {
    let mut s = Script::connected(&[]);
    s.publish(0, "t");
    s.written();
    s.ack(1, 0x87);
    s.session.close();
    s.open();
    s.connack(true, &[]).unwrap();
    assert!(s.seen().is_empty());
    s.session.tick(10_000).unwrap();
    assert_eq!(s.payloads(), ["0"]);
}

#[test]
fn what_can_never_be_taken_is_rejected_and_the_rest_goes_on() {
    for reason in [0x90, 0x95, 0x99] {
        let mut s = Script::connected(&[]);
        s.publish(0, "t");
        s.publish(1, "t");
        s.ack(1, reason);
        s.ack(2, 0);
        let Some(Event::Rejected {
            token: 0,
            reason: said,
            ..
        }) = s.session.next_event()
        else {
            panic!("not rejected");
        };
        assert_eq!(said.0, reason);
        assert_eq!(s.acked(), [(1, 1)]);
        assert!(s.session.is_idle());
    }
    // Maximum Packet Size 64.
    let mut s = Script::connected(&[0x27, 0, 0, 0, 64]);
    s.session.publish(0, "t".into(), vec![b'x'; 57].into());
    s.session.publish(1, "t".into(), vec![b'x'; 56].into());
    s.session.publish(2, "a/#".into(), "x".into());
    s.session.pump(0);
    assert_eq!(s.seen().len(), 1, "64 bytes fit, 65 do not");
    let mut rejected = Vec::new();
    while let Some(event) = s.session.next_event() {
        if let Event::Rejected { token, .. } = event {
            rejected.push(token);
        }
    }
    assert_eq!(rejected, [2, 0]);
}

#[test]
fn refusals_and_kicks_are_typed() {
    let mut s = Script::new(settings());
    s.open();
    let lost = s.receive(&[0x20, 3, 0, 0x87, 0]).unwrap_err();
    assert!(
        matches!(
            &lost,
            Lost::Refused {
                reason: ReasonCode::NOT_AUTHORIZED,
                ..
            }
        ),
        "{lost}"
    );
    assert_eq!(lost.pace(), Pace::Slow);
    for (code, pace) in [
        (0x8E, Pace::Slow),
        (0x89, Pace::Spare),
        (0x97, Pace::Spare),
        (0x9C, Pace::Spread),
        (0x8B, Pace::Spread),
        (0x00, Pace::Spread),
    ] {
        let mut s = Script::connected(&[]);
        let lost = s.receive(&[0xE0, 5, code, 3, 0x1C, 0, 0]).unwrap_err();
        assert!(
            matches!(&lost, Lost::Kicked { reason, .. } if reason.0 == code),
            "{lost}"
        );
        assert!(lost.to_string().contains(ReasonCode(code).name()));
        assert_eq!(lost.pace(), pace);
    }
    let mut s = Script::new(settings());
    s.open();
    assert!(matches!(s.connack(false, &[0x24, 0]), Err(Lost::NoQos1)));
}

#[test]
fn an_assigned_client_id_is_kept_for_the_next_connection() {
    let mut s = Script::new(settings());
    s.open();
    s.connack(false, &[0x12, 0, 2, b'x', b'y']).unwrap();
    s.session.close();
    s.session.open("mqtt://127.0.0.1".parse().unwrap(), 0);
    assert!(s.written().ends_with(b"\0\x02xy"));
}

#[test]
fn a_message_is_acknowledged_when_it_is_taken_and_only_on_its_connection() {
    let mut s = Script::connected(&[]);
    let publish = [0x32, 7, 0, 1, b't', 0, 9, 0, b'x'];
    s.receive(&publish).unwrap();
    assert!(s.written().is_empty());
    assert!(matches!(s.session.next_event(), Some(Event::Message(_))));
    assert_eq!(s.written(), [0x40, 2, 0, 9]);
    s.receive(&publish).unwrap();
    s.session.close();
    s.open();
    s.connack(true, &[]).unwrap();
    assert!(matches!(s.session.next_event(), Some(Event::Message(_))));
    assert!(
        s.written().is_empty(),
        "a PUBACK on a connection that did not bring the message"
    );
}

#[test]
fn packets_may_come_byte_by_byte() {
    let mut s = Script::connected(&[]);
    s.publish(0, "t");
    s.publish(1, "t");
    for byte in [0x40, 2, 0, 1, 0x40, 4, 0, 2, 0, 0] {
        s.receive(&[byte]).unwrap();
    }
    assert_eq!(s.acked(), [(0, 1)]);
}

#[test]
fn malformed_packets_end_the_connection_and_never_panic() {
    for bytes in [
        &[0x20, 3, 0, 0, 0][..],               // a second CONNACK
        &[0x40, 2, 0, 0],                      // packet id 0
        &[0x40, 1, 0],                         // short
        &[0x42, 2, 0, 1],                      // reserved flags
        &[0x10, 0],                            // CONNECT from a broker
        &[0x34, 4, 0, 1, b't', 0],             // QoS 2
        &[0x30, 3, 0, 0, 0],                   // neither topic nor alias
        &[0x30, 7, 0, 1, b't', 3, 0x23, 0, 1], // alias although none is allowed
        &[0x30, 4, 0, 1, 0xff, 0],             // not UTF-8
        &[0x30, 0xff, 0xff, 0xff, 0xff, 1],    // length of five bytes
        &[0x30, 0xff, 0xff, 0xff, 0x7f],       // larger than announced
        &[0x90, 4, 0, 1, 0, 0],                // SUBACK not asked for
        &[0xE0, 3, 0x8E, 9, 0],                // properties reach beyond
    ] {
        let mut s = Script::connected(&[]);
        let lost = s.receive(bytes).unwrap_err();
        assert!(matches!(lost, Lost::Protocol(_)), "{bytes:02x?}: {lost}");
        assert!(lost.disconnect_code().is_some());
    }
    let mut seed = 3_u64;
    let mut random = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u8::try_from((seed >> 33) % below).unwrap()
    };
    let mut broken = 0;
    for _ in 0..30_000 {
        let mut s = Script::connected(&[]);
        s.publish(0, "t");
        let kind = [0x20, 0x30, 0x32, 0x40, 0x90, 0xD0, 0xE0, 0][usize::from(random(8))];
        let len = random(24);
        let mut bytes = vec![kind, len];
        bytes.extend((0..len).map(|index| {
            if index % 3 == 0 {
                random(256)
            } else {
                random(4)
            }
        }));
        if s.receive(&bytes).is_err() {
            broken += 1;
            s.session.close();
            s.open();
            s.connack(false, &[]).unwrap();
        }
    }
    assert!(broken > 10_000, "{broken}");
}

#[test]
fn the_window_bounds_messages_and_bytes_over_the_whole_ring_of_ids() {
    let mut settings = settings();
    settings.inflight_max = 3;
    settings.inflight_max_bytes = 1_000;
    let mut s = Script::connected_with(settings, &[]);
    for token in 0..140_000_u64 {
        assert_eq!(s.session.room(), 3);
        s.publish(token, "t");
        let id = s.seen()[0].id;
        assert_eq!(u64::from(id), token % 65_000 + 1);
        s.ack(id, 0);
        assert_eq!(s.acked(), [(token, token)]);
    }
    for token in 0..3 {
        s.publish(token, "t");
    }
    assert_eq!(s.session.room(), 0);
    s.written();
    s.session.close();
    s.open();
    s.connack(true, &[]).unwrap();
    assert_eq!(s.seen().len(), 3);
    for id in [10_003, 10_001, 10_002] {
        s.ack(id, 0);
    }
    assert_eq!(s.acked().len(), 2);
    s.session.publish(0, "t".into(), vec![0; 2_000].into());
    assert_eq!(s.session.room(), 0, "the bound of bytes is passed");
}
