//! One topic that the broker refuses for now, against a real mosquitto and against one that hangs up after it.

use std::time::Duration;

use dunlin::uplink::{Event, Events, ReasonCode, Uplink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Broker, Security};
use crate::settings;

const BAD: u64 = 300;
const GOOD: u64 = 600;

/// Takes events until `enough` messages of each kind are acknowledged; tokens below `BAD` are of the refused topic.
async fn acked(events: &mut Events, enough: (usize, usize), seen: &mut Vec<u64>) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let bad = seen.iter().filter(|token| **token < BAD).count();
        let good = seen.len() - bad;
        if bad >= enough.0 && good >= enough.1 {
            return;
        }
        let event = timeout_at(end, events.recv()).await;
        match event.unwrap_or_else(|_| panic!("{bad} and {good} of {enough:?} after 10 s")) {
            Some(Event::Acked { first, last }) => seen.extend(first..=last),
            Some(Event::Deferred { topic, reason, .. }) => {
                assert_eq!((&*topic, reason), ("t/bad", ReasonCode::NOT_AUTHORIZED));
            }
            Some(Event::Disconnected { reason, .. }) => panic!("mosquitto hung up: {reason}"),
            Some(_) => {}
            None => panic!("the uplink ended"),
        }
    }
}

#[tokio::test]
async fn a_topic_that_the_acl_denies_holds_no_other_and_comes_in_order_once_it_is_allowed() {
    let broker = Broker::start(&Security::Rules("topic readwrite #\ntopic deny t/bad\n"));
    let mut settings = settings(&broker.endpoint(), "denied");
    settings.inflight_max = 32;
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    let give = async {
        for token in 0..BAD {
            uplink.publish(token, "t/bad", token.to_string()).await?;
            for good in [BAD + 2 * token, BAD + 2 * token + 1] {
                uplink.publish(good, "t/good", good.to_string()).await?;
            }
        }
        Ok::<_, dunlin::uplink::UplinkError>(())
    };
    let mut seen = Vec::new();
    let good = usize::try_from(GOOD).unwrap();
    let (given, ()) = tokio::join!(give, acked(&mut events, (0, good), &mut seen));
    given.unwrap();
    assert!(
        seen.iter().all(|token| *token >= BAD),
        "a denied one was acknowledged"
    );
    assert_eq!(
        broker.logged("New client connected"),
        1,
        "mosquitto keeps the connection after refusals"
    );
    broker.set_rules("topic readwrite #\n");
    let bad = usize::try_from(BAD).unwrap();
    acked(&mut events, (bad, good), &mut seen).await;
    let bad: Vec<u64> = seen.into_iter().filter(|token| *token < BAD).collect();
    assert_eq!(bad, (0..BAD).collect::<Vec<_>>());
    let refused = broker.logged("Denied PUBLISH from denied");
    assert!((1..200).contains(&refused), "{refused} refusals");
    assert_eq!(uplink.drain(Duration::from_secs(5)).await.unacked, 0);
}

/// Packet ids and topics of the PUBLISH packets in `bytes`, which are small; and how much of it they are.
fn publishes(bytes: &[u8]) -> (Vec<(u16, String)>, usize) {
    let (mut found, mut used) = (Vec::new(), 0);
    while let [kind, len, rest @ ..] = &bytes[used..] {
        let len = usize::from(*len);
        assert!(len < 128);
        if rest.len() < len {
            break;
        }
        if kind & 0xF0 == 0x30 {
            let topic = usize::from(rest[1]);
            let id = u16::from_be_bytes([rest[2 + topic], rest[3 + topic]]);
            found.push((id, String::from_utf8(rest[2..2 + topic].to_vec()).unwrap()));
        }
        used += 2 + len;
    }
    (found, used)
}

#[tokio::test]
async fn a_broker_that_hangs_up_after_each_refusal_is_not_stormed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = tokio::spawn(async move {
        let mut accepted = 0_u32;
        let end = Instant::now() + Duration::from_secs(3);
        'connections: while let Ok(Ok((mut stream, _))) = timeout_at(end, listener.accept()).await {
            accepted += 1;
            let (mut input, mut read) = (Vec::new(), [0; 4096]);
            let count = stream.read(&mut read).await.unwrap();
            assert!(count > 0 && read[0] == 0x10);
            // CONNACK; the session is kept unless a clean start is asked for.
            let present = u8::from(read[9] & 2 == 0);
            stream.write_all(&[0x20, 3, present, 0, 0]).await.unwrap();
            while let Ok(Ok(count @ 1..)) = timeout_at(end, stream.read(&mut read)).await {
                input.extend_from_slice(&read[..count]);
                let (found, used) = publishes(&input);
                input.drain(..used);
                for (id, topic) in found {
                    let [high, low] = id.to_be_bytes();
                    let refuse = topic == "t/bad";
                    let code = if refuse { 0x87 } else { 0 };
                    stream.write_all(&[0x40, 3, high, low, code]).await.ok();
                    if refuse {
                        stream.shutdown().await.ok();
                        // Unread bytes would make a reset of it, which may overtake the PUBACK.
                        while let Ok(Ok(1..)) = timeout_at(end, stream.read(&mut read)).await {}
                        continue 'connections;
                    }
                }
            }
        }
        accepted
    });
    let mut settings = settings(&format!("mqtt://127.0.0.1:{port}"), "hung-up");
    settings.backoff.max = Duration::from_secs(2);
    let (uplink, mut events) = Uplink::spawn(settings).unwrap();
    for token in 0..200 {
        let topic = if token % 2 == 0 { "t/bad" } else { "t/good" };
        uplink.publish(token, topic, "x").await.unwrap();
    }
    let mut good = 0;
    let watch = async {
        while let Some(event) = events.recv().await {
            if let Event::Acked { first, last } = event {
                assert!((first..=last).all(|token| token % 2 == 1));
                good += last - first + 1;
            }
        }
    };
    let accepted = tokio::select! {
        accepted = broker => accepted.unwrap(),
        () = watch => unreachable!("the uplink lives"),
    };
    // One hang-up for the first refusal, then one a probe, of which each waits 1 to 2 s.
    assert!((2..=6).contains(&accepted), "{accepted} connections in 3 s");
    assert_eq!(good, 100, "the other topic waits");
}
