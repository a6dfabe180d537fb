//! One topic that the broker refuses for now, and the others.

use super::*;
use crate::uplink::settings::{Refused, Retained};

/// Answers everything sent as a broker that refuses the topics of `refused`; the payloads it took, with their topics.
fn serve(s: &mut Script, refused: &[(&str, u8)]) -> Vec<(String, u64)> {
    let mut taken = Vec::new();
    loop {
        s.session.pump(s.now_ms);
        let seen = s.seen();
        if seen.is_empty() {
            return taken;
        }
        for p in seen {
            if let Some((_, code)) = refused.iter().find(|(topic, _)| *topic == p.topic) {
                s.ack(p.id, *code);
            } else {
                s.ack(p.id, 0);
                taken.push((p.topic, p.payload.parse().unwrap()));
            }
        }
    }
}

fn of(taken: &[(String, u64)], topic: &str) -> Vec<u64> {
    let of_topic = taken.iter().filter(|(of, _)| of == topic);
    of_topic.map(|(_, token)| *token).collect()
}

/// Lets time pass until something is sent; what the broker takes then.
fn wake(s: &mut Script) -> Vec<(String, u64)> {
    s.now_ms += 10_001;
    s.receive(&[0xD0, 0]).unwrap();
    serve(s, &[])
}

/// With a subscription, for which the session is kept; or without, and the session is given up where it helps.
fn subscribed(subscribed: bool) -> Settings {
    let mut settings = settings();
    if subscribed {
        settings.subscriptions = vec![Subscription {
            filter: "x".into(),
            qos: Qos::AtLeastOnce,
            retained: Retained::EachConnect,
        }];
    }
    settings
}

fn small() -> Settings {
    let mut settings = settings();
    settings.inflight_max = 8;
    settings
}

#[test]
fn one_refused_topic_holds_no_other_and_keeps_its_order() {
    for code in [0x80, 0x83, 0x87, 0x97] {
        let mut s = Script::connected_with(small(), &[]);
        let mut taken = Vec::new();
        for token in 0..3_000 {
            assert!(s.session.room() > 0, "{code:#x}: {token} finds no room");
            s.publish(token, if token % 3 == 0 { "bad" } else { "good" });
            if token % 5 == 0 {
                taken.extend(serve(&mut s, &[("bad", code)]));
            }
        }
        taken.extend(serve(&mut s, &[("bad", code)]));
        let good: Vec<u64> = (0..3_000).filter(|token| token % 3 != 0).collect();
        assert_eq!(of(&taken, "good"), good);
        assert_eq!(
            (s.session.parked(), s.session.outstanding()),
            (1_000, 1_000)
        );
        s.publish(3_000, "bad");
        let taken = wake(&mut s);
        let bad: Vec<u64> = (0..=3_000).filter(|token| token % 3 == 0).collect();
        assert_eq!(of(&taken, "bad"), bad);
        assert!(s.session.is_idle());
        s.publish(3_001, "bad");
        assert_eq!(s.payloads(), ["3001"], "the topic flows again");
    }
}

#[test]
fn each_topic_waits_its_own_time_and_a_refused_probe_makes_only_its_own_longer() {
    let mut s = Script::connected(&[]);
    s.publish(0, "slow");
    s.publish(1, "fast");
    serve(&mut s, &[("slow", 0x87), ("fast", 0x97)]);
    s.now_ms = 101;
    s.publish(2, "fast");
    assert_eq!(
        serve(&mut s, &[]).len(),
        2,
        "base is over for `fast`, max/2 is not for `slow`"
    );
    assert_eq!(s.session.parked(), 1);
    let mut probes = 0;
    for now_ms in (200..60_000).step_by(100) {
        s.now_ms = now_ms;
        s.session.pump(now_ms);
        for p in s.seen() {
            assert_eq!(p.payload, "0");
            probes += 1;
            s.ack(p.id, 0x87);
        }
    }
    assert!(
        (6..=12).contains(&probes),
        "{probes} probes in 60 s of 5 to 10 s"
    );
    let mut told = (0, 0);
    while let Some(event) = s.session.next_event() {
        match event {
            Event::Deferred { topic, .. } if &*topic == "slow" => told.0 += 1,
            Event::Resumed {
                topic,
                still_refused: 1,
            } if &*topic == "fast" => told.1 += 1,
            _ => {}
        }
    }
    assert_eq!(told, (1, 1), "told once");
}

#[test]
fn what_was_in_flight_with_a_refused_one_comes_back_into_its_place() {
    let mut s = Script::connected(&[]);
    for token in 0..4 {
        s.publish(token, "t");
    }
    let ids: Vec<u16> = s.seen().iter().map(|p| p.id).collect();
    s.ack(ids[0], 0x97);
    s.publish(4, "t");
    s.session.pump(0);
    for id in &ids[1..] {
        s.ack(*id, 0x97);
    }
    assert_eq!(of(&wake(&mut s), "t"), [0, 1, 2, 3, 4]);
}

#[test]
fn parked_messages_live_over_connections() {
    for (keeps, present) in [(true, true), (true, false), (false, false)] {
        let mut s = Script::connected_with(subscribed(keeps), &[]);
        for token in 0..3 {
            s.publish(token, "bad");
        }
        s.publish(3, "good");
        let ids: Vec<u16> = s.seen().iter().map(|p| p.id).collect();
        s.ack(ids[0], 0x87);
        // 1, 2 and 3 have no answer.
        s.session.close();
        s.publish(4, "bad");
        let flags = s.open();
        assert_eq!(flags, if keeps { 0 } else { 2 }, "clean start");
        s.connack(present, &[]).unwrap();
        let seen = s.seen();
        let again: Vec<_> = seen.iter().map(|p| (&*p.payload, p.duplicate)).collect();
        if present {
            assert_eq!(
                again,
                [("1", true), ("2", true), ("3", true)],
                "the standard asks for it"
            );
            for p in seen {
                s.ack(p.id, if p.topic == "bad" { 0x87 } else { 0 });
            }
        } else {
            assert_eq!(
                again,
                [("3", false)],
                "a new session need not see what is refused"
            );
            s.ack(seen[0].id, 0);
        }
        assert_eq!(s.session.parked(), 4);
        assert_eq!(of(&wake(&mut s), "bad"), [0, 1, 2, 4]);
        assert!(s.session.is_idle());
    }
}

#[test]
fn a_probe_that_costs_the_connection_is_sent_again_only_where_the_session_is_kept() {
    for (keeps, present) in [(true, true), (true, false), (false, false)] {
        let mut s = Script::connected_with(subscribed(keeps), &[]);
        s.publish(0, "bad");
        s.publish(1, "bad");
        serve(&mut s, &[("bad", 0x87)]);
        s.now_ms += 10_001;
        s.session.pump(s.now_ms);
        assert_eq!(s.payloads(), ["0"], "the probe");
        s.session.close();
        let flags = s.open();
        assert_eq!(flags, if keeps { 0 } else { 2 }, "clean start");
        s.connack(present, &[]).unwrap();
        let seen = s.seen();
        assert_eq!(seen.len(), usize::from(present));
        if present {
            assert!(seen[0].duplicate);
            s.ack(seen[0].id, 0);
            assert_eq!(of(&serve(&mut s, &[]), "bad"), [1]);
        } else {
            assert_eq!(of(&wake(&mut s), "bad"), [0, 1]);
        }
        assert!(s.session.is_idle());
    }
}

#[test]
fn a_session_lost_while_a_topic_catches_up_keeps_its_order() {
    let mut s = Script::connected_with(small(), &[]);
    for token in 0..40 {
        s.publish(token, "t");
        serve(&mut s, &[("t", 0x97)]);
    }
    s.now_ms += 10_001;
    s.session.pump(s.now_ms);
    let probe = s.seen();
    s.ack(probe[0].id, 0);
    s.session.pump(s.now_ms);
    assert_eq!(s.seen().len(), 8);
    s.publish(40, "t");
    s.session.close();
    s.open();
    s.connack(false, &[]).unwrap();
    let seen = s.seen();
    assert_eq!(seen.len(), 8);
    let mut taken: Vec<u64> = seen.iter().map(|p| p.payload.parse().unwrap()).collect();
    for p in &seen {
        s.ack(p.id, 0);
    }
    taken.extend(of(&serve(&mut s, &[]), "t"));
    assert_eq!(taken, (1..=40).collect::<Vec<_>>());
}

#[test]
fn when_parking_is_full_everything_waits_and_goes_on_when_the_topic_is_taken() {
    for (payload, most) in [(8, PARKED_MAX), (32 << 10, PARKED_MAX_BYTES / (32 << 10))] {
        let mut settings = small();
        settings.refused = Refused::Wait;
        let mut s = Script::connected_with(settings, &[]);
        let mut token = 0;
        while s.session.room() > 0 {
            let bytes = format!("{token:0payload$}");
            s.session.publish(token, "bad".into(), bytes.into());
            token += 1;
            serve(&mut s, &[("bad", 0x87)]);
            assert!(token < 10_000, "no bound");
        }
        assert!(
            s.session.parked().abs_diff(most) <= 8,
            "{}",
            s.session.parked()
        );
        let mut full = 0;
        while let Some(event) = s.session.next_event() {
            full += usize::from(matches!(event, Event::ParkingFull { .. }));
        }
        assert_eq!(full, 1, "told once");
        let taken = wake(&mut s);
        assert_eq!(of(&taken, "bad"), (0..token).collect::<Vec<_>>());
        s.publish(token, "good");
        assert_eq!(serve(&mut s, &[]).len(), 1);
        assert!(s.session.is_idle());
    }
}

#[test]
fn when_parking_is_full_the_oldest_are_rejected_in_order_and_everything_else_goes_on() {
    let mut s = Script::connected_with(small(), &[]);
    let mut good = Vec::new();
    let all = PARKED_MAX as u64 + 500;
    for token in 0..all {
        for topic in ["bad", "good"] {
            assert!(s.session.room() > 0, "held up at {token}");
            s.session
                .publish(token, topic.into(), token.to_string().into());
            good.extend(of(&serve(&mut s, &[("bad", 0x87)]), "good"));
        }
    }
    assert!(good.into_iter().eq(0..all));
    let (mut rejected, mut full) = (Vec::new(), 0);
    while let Some(event) = s.session.next_event() {
        match event {
            Event::Rejected { token, reason, .. } => {
                assert_eq!(reason, ReasonCode::NOT_AUTHORIZED);
                rejected.push(token);
            }
            Event::ParkingFull { .. } => full += 1,
            _ => {}
        }
    }
    assert_eq!(full, 1, "told once");
    let set_aside = rejected.len() as u64;
    assert!((490..=500).contains(&set_aside), "{set_aside}");
    // What is left goes in order once the broker takes it.
    let taken = of(&wake(&mut s), "bad");
    let left: Vec<u64> = (0..all).filter(|token| !rejected.contains(token)).collect();
    assert_eq!(taken, left);
    assert!(rejected.is_sorted());
    assert!(s.session.is_idle());
}

#[test]
fn a_parked_message_keeps_no_more_memory_than_itself() {
    let mut s = Script::connected(&[]);
    let chunk = Bytes::from(vec![b'x'; 256 << 10]);
    s.session.publish(0, "t".into(), chunk.slice(..4));
    s.session.pump(0);
    let id = s.seen()[0].id;
    s.ack(id, 0x97);
    assert!(chunk.is_unique(), "what was read at once is held");
}

#[test]
fn every_reason_code_of_a_puback_has_the_effect_that_the_page_states() {
    for code in 0..=u8::MAX {
        let mut s = Script::connected(&[]);
        s.publish(7, "t");
        let id = s.seen()[0].id;
        s.ack(id, code);
        let event = s.session.next_event();
        match code {
            0..0x80 => {
                assert!(matches!(event, Some(Event::Acked { first: 7, last: 7 })));
                assert!(s.session.is_idle());
            }
            0x90 | 0x95 | 0x99 => {
                let Some(Event::Rejected {
                    token: 7, reason, ..
                }) = event
                else {
                    panic!("{code:#x}: {event:?}");
                };
                assert_eq!(reason.0, code);
                assert!(s.session.is_idle());
            }
            _ => {
                let Some(Event::Deferred {
                    token: 7, retry_in, ..
                }) = event
                else {
                    panic!("{code:#x}: {event:?}");
                };
                // Where only an operator can help: half of the longest wait at least.
                assert_eq!(
                    code == 0x87,
                    retry_in >= Duration::from_secs(5),
                    "{code:#x}"
                );
                assert_eq!(s.session.parked(), 1);
            }
        }
    }
}
