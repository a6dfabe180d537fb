//! Messages from the broker: what they carry, and when they are confirmed.

use super::*;
use crate::uplink::settings::Retained;

#[test]
fn a_message_is_confirmed_by_its_receipt_and_only_on_its_connection() {
    let mut settings = settings();
    settings.confirm_messages = true;
    let mut s = Script::new(settings);
    assert_eq!(s.open(), 0, "an earlier process left its session");
    s.connack(true, &[]).unwrap();
    s.session.next_event();
    // Response topic `r`, correlation data `7`.
    let publish = [
        0x32, 15, 0, 1, b't', 0, 9, 8, 8, 0, 1, b'r', 9, 0, 1, b'7', b'x',
    ];
    s.receive(&publish).unwrap();
    let Some(Event::Message(message)) = s.session.next_event() else {
        panic!("no message");
    };
    assert_eq!(message.response_topic.as_deref(), Some("r"));
    assert_eq!(message.correlation.as_deref(), Some(&b"7"[..]));
    assert!(s.written().is_empty(), "a PUBACK before the caller has it");
    s.session.confirm(message.receipt);
    assert_eq!(s.written(), [0x40, 2, 0, 9]);
    s.session.close();
    s.open();
    s.connack(true, &[]).unwrap();
    s.session.confirm(message.receipt);
    assert!(
        s.written().is_empty(),
        "on a connection that did not bring it"
    );
}

#[test]
fn a_subscription_is_asked_for_at_each_connect_and_its_refusal_is_told() {
    let mut settings = settings();
    settings.subscriptions = ["a", "b"]
        .map(|filter| Subscription {
            filter: filter.into(),
            qos: Qos::AtLeastOnce,
            retained: Retained::Never,
        })
        .to_vec();
    settings.forgotten = vec!["old/#".into()];
    settings.confirm_messages = true;
    let mut s = Script::new(settings);
    for present in [false, true] {
        s.open();
        s.connack(present, &[]).unwrap();
        s.session.next_event();
        // QoS 1, and no message that was kept from before.
        let mut asked = vec![
            0x82, 7, 0xFD, 0xE9, 0, 0, 1, b'a', 0x21, 0x82, 7, 0xFD, 0xEA, 0, 0, 1, b'b', 0x21,
        ];
        if present {
            // A session that is new has nothing to forget.
            asked.extend(b"\xA2\x0A\xFF\xDD\0\0\x05old/#");
        }
        assert_eq!(s.written(), asked);
        s.receive(&[0x90, 4, 0xFD, 0xEA, 0, 0x87]).unwrap();
        s.receive(&[0x90, 4, 0xFD, 0xE9, 0, 1]).unwrap();
        for (asked, answer) in [
            ("b", Err(ReasonCode::NOT_AUTHORIZED)),
            ("a", Ok(Qos::AtLeastOnce)),
        ] {
            let Some(Event::Subscribed { filter, result }) = s.session.next_event() else {
                panic!("no answer for {asked}");
            };
            assert_eq!((&*filter, result), (asked, answer));
        }
    }
    s.receive(&[0xB0, 4, 0xFF, 0xDD, 0, 0x11]).unwrap();
    let Some(Event::Unsubscribed { filter, reason }) = s.session.next_event() else {
        panic!("no answer");
    };
    assert_eq!((&*filter, reason), ("old/#", ReasonCode(0x11)));
    for nothing in [
        [0x90, 4, 0xFD, 0xEB, 0, 0],
        [0xB0, 4, 0xFF, 0xDE, 0, 0],
        [0x90, 4, 0, 1, 0, 0],
    ] {
        assert!(
            s.receive(&nothing).is_err(),
            "an answer to nothing that was asked"
        );
    }
}

#[test]
fn an_answer_carries_the_correlation_data_of_its_request_also_when_it_goes_again() {
    let mut s = Script::connected(&[0x22, 0, 9]);
    let correlation = Some(Bytes::from_static(b"id"));
    s.session
        .publish_reply(1, "r".into(), "x".into(), correlation);
    s.session.pump(0);
    // Alias 1, then the correlation data.
    let properties = b"\x08\x23\0\x01\x09\0\x02id";
    let first = [&b"\x32\x0F\0\x01r\0\x01"[..], properties, b"x"].concat();
    assert_eq!(s.written(), first);
    s.session.close();
    s.open();
    s.connack(true, &[]).unwrap();
    let again = b"\x3A\x0C\0\x01r\0\x01\x05\x09\0\x02idx";
    assert_eq!(s.written(), again);
}

#[test]
fn messages_that_nobody_takes_are_counted_in_bytes() {
    let mut s = Script::connected(&[]);
    for _ in 0..3 {
        s.receive(&[0x30, 7, 0, 1, b't', 0, b'x', b'y', b'z'])
            .unwrap();
    }
    assert_eq!(s.session.held_bytes(), 3 * 4);
    while s.session.next_event().is_some() {}
    assert_eq!(s.session.held_bytes(), 0);
}

#[test]
fn a_broker_that_sends_more_than_it_may_is_noticed_until_enough_is_confirmed() {
    let mut settings = settings();
    settings.confirm_messages = true;
    settings.receive_max = 2;
    let mut s = Script::new(settings);
    s.open();
    s.connack(true, &[]).unwrap();
    for id in 1..=3 {
        assert!(!s.session.is_overrun(), "at {id}");
        s.receive(&[0x32, 6, 0, 1, b't', 0, id, 0]).unwrap();
    }
    assert!(s.session.is_overrun());
    s.session.next_event();
    let Some(Event::Message(message)) = s.session.next_event() else {
        panic!("no message");
    };
    assert!(s.session.is_overrun(), "taken is not confirmed");
    s.session.confirm(message.receipt);
    assert!(!s.session.is_overrun());
    s.receive(&[0x32, 6, 0, 1, b't', 0, 4, 0]).unwrap();
    s.session.close();
    assert!(!s.session.is_overrun(), "they are of no connection");
}
