//! The inbox without a broker: messages are given by hand, and a crash is the end of the inbox at any place.

use super::*;
use crate::buffer;
use crate::stats::DownlinkStats;
use crate::uplink::{Message, Qos, Receipt, Receipts, Retained};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

fn settings() -> Settings {
    Settings {
        name: "orders".to_owned(),
        uplink: "cloud".to_owned(),
        class: Class::Normal,
        subscriptions: vec![Subscription {
            filter: "$share/g/orders/#".to_owned(),
            qos: Qos::AtLeastOnce,
            retained: Retained::Never,
        }],
        messages_max: 10,
        size_max_bytes: 4 << 20,
        message_bytes_max: 64 << 10,
        receive_max: 8,
    }
}

/// An inbox that runs, and what it confirms.
struct Rig {
    inbox: Arc<Inbox>,
    stats: Arc<DownlinkStats>,
    confirmed: mpsc::Receiver<Receipt>,
    task: JoinHandle<Result<(), buffer::Error>>,
}

impl Rig {
    fn open(dir: &Path) -> Rig {
        Rig::with(dir, settings())
    }

    fn with(dir: &Path, settings: Settings) -> Rig {
        let stats = Arc::new(DownlinkStats::default());
        let inbox = Inbox::open(settings, &dir.join("inbox"), Arc::clone(&stats)).unwrap();
        let inbox = Arc::new(inbox);
        let (receipts, confirmed) = Receipts::channel(64);
        let taker = Arc::clone(&inbox);
        let task = tokio::spawn(async move { taker.take_in(receipts).await });
        Rig {
            inbox,
            stats,
            confirmed,
            task,
        }
    }

    fn offer(&self, packet_id: u16, duplicate: bool, payload: &str) {
        self.inbox.offer(message(packet_id, duplicate, payload));
    }

    async fn confirms(&mut self, packet_id: u16) {
        let confirmed = tokio::time::timeout(Duration::from_secs(10), self.confirmed.recv());
        assert_eq!(confirmed.await.unwrap().unwrap().packet_id(), packet_id);
    }

    /// The process ends here; what was not synced is not there, what was is.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
        let inbox = Arc::try_unwrap(self.inbox).expect("nobody else has it");
        drop(inbox);
    }

    async fn handing(&self) -> Handing {
        Handing::begin(Arc::clone(&self.inbox)).await.unwrap()
    }
}

fn message(packet_id: u16, duplicate: bool, payload: &str) -> Message {
    Message {
        topic: "orders/1".into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: if packet_id == 0 {
            Qos::AtMostOnce
        } else {
            Qos::AtLeastOnce
        },
        retained: false,
        duplicate,
        response_topic: None,
        correlation: None,
        receipt: Receipt::of(1, packet_id),
    }
}

fn payloads(handed: &Handed) -> Vec<&str> {
    let text = |message| std::str::from_utf8(message).unwrap();
    let messages = handed.messages.iter();
    messages.map(|message| text(&message.payload)).collect()
}

async fn next(handing: &mut Handing) -> Handed {
    let read = tokio::time::timeout(Duration::from_secs(10), handing.read());
    let chunk = read.await.unwrap().unwrap();
    handing.take(chunk).await.unwrap()
}

/// The next messages, past marks.
async fn some(handing: &mut Handing) -> Handed {
    loop {
        let handed = next(handing).await;
        if !handed.messages.is_empty() {
            return handed;
        }
    }
}

async fn nothing(handing: &mut Handing) {
    let quiet = async {
        loop {
            let chunk = handing.read().await.unwrap();
            let handed = handing.take(chunk).await.unwrap();
            assert!(handed.messages.is_empty(), "{:?}", handed.messages);
        }
    };
    let ended = tokio::time::timeout(Duration::from_millis(300), quiet).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_crash_between_the_store_and_the_puback_makes_one_message_of_two() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.offer(7, false, "on");
    rig.confirms(7).await;
    // As if that PUBACK had never left.
    rig.crash().await;
    let mut rig = Rig::open(dir.path());
    rig.inbox.connected(true);
    rig.offer(7, true, "on");
    rig.confirms(7).await;
    assert_eq!(
        (rig.stats.duplicates.get(), rig.stats.received.get()),
        (1, 0)
    );
    let mut handing = rig.handing().await;
    assert_eq!(payloads(&some(&mut handing).await), ["on"]);
    nothing(&mut handing).await;
}

#[tokio::test]
async fn a_repeat_is_known_after_it_was_handed_over_and_its_space_was_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.offer(7, false, "on");
    rig.confirms(7).await;
    let mut handing = rig.handing().await;
    let handed = some(&mut handing).await;
    handing.finished(&handed);
    handing.quiet().await.unwrap();
    rig.inbox.store.flush_cursor().await.unwrap();
    drop(handing);
    rig.crash().await;
    let mut rig = Rig::open(dir.path());
    rig.inbox.connected(true);
    rig.offer(7, true, "on");
    rig.confirms(7).await;
    assert_eq!(rig.stats.duplicates.get(), 1);
    let mut handing = rig.handing().await;
    assert_eq!(handing.uncertain(), 0);
    nothing(&mut handing).await;
    // The same id for another message, or the same message as a new one, is no repeat.
    rig.offer(7, true, "off");
    rig.confirms(7).await;
    rig.offer(7, false, "off");
    rig.confirms(7).await;
    assert_eq!(rig.stats.received.get(), 2);
    // Nor is one of a session that the broker has lost.
    rig.inbox.connected(false);
    rig.offer(7, true, "off");
    rig.confirms(7).await;
    assert_eq!(rig.stats.received.get(), 3);
}

#[tokio::test]
async fn a_crash_while_messages_are_handed_over_hands_none_of_them_over_again_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for id in 1..=3 {
        rig.offer(id, false, &id.to_string());
        rig.confirms(id).await;
    }
    let mut handing = rig.handing().await;
    assert_eq!(payloads(&some(&mut handing).await), ["1", "2", "3"]);
    drop(handing);
    rig.crash().await;
    let mut rig = Rig::open(dir.path());
    rig.offer(4, false, "4");
    rig.confirms(4).await;
    let mut handing = rig.handing().await;
    assert_eq!(handing.uncertain(), 3);
    // The end comes before that is with anybody.
    drop(handing);
    rig.crash().await;
    let rig = Rig::open(dir.path());
    let mut handing = rig.handing().await;
    assert_eq!(handing.uncertain(), 3, "it is told again");
    handing.quiet().await.unwrap();
    assert_eq!(payloads(&some(&mut handing).await), ["4"]);
    drop(handing);
    rig.crash().await;
    let rig = Rig::open(dir.path());
    let mut handing = rig.handing().await;
    assert_eq!(handing.uncertain(), 1, "those before were told");
    nothing(&mut handing).await;
}

#[tokio::test]
async fn a_full_inbox_confirms_nothing_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for id in 1..=14 {
        rig.offer(id, false, &id.to_string());
    }
    for id in 1..=10 {
        rig.confirms(id).await;
    }
    let more = tokio::time::timeout(Duration::from_millis(200), rig.confirmed.recv()).await;
    assert!(more.is_err(), "confirmed beyond the bound");
    assert_eq!(rig.stats.waiting.get(), 10);
    // At QoS 0 nothing holds the sender up.
    for _ in 0..20 {
        rig.offer(0, false, "0");
    }
    assert_eq!(rig.stats.dropped.get(), 20 - 4);
    let mut handing = rig.handing().await;
    let handed = some(&mut handing).await;
    assert_eq!(
        rig.stats.waiting.get(),
        10,
        "not before its consumers have it"
    );
    handing.finished(&handed);
    for id in 11..=14 {
        rig.confirms(id).await;
    }
}

#[tokio::test]
async fn bytes_are_bounded_too_and_a_mark_always_finds_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.messages_max = 100_000;
    let mut rig = Rig::with(dir.path(), settings);
    let body = "x".repeat(60 << 10);
    let mut handing = rig.handing().await;
    // Several times what the log may hold.
    let mut given = 0_u16;
    for _ in 0..8 {
        for _ in 0..40 {
            given += 1;
            rig.offer(given, false, &body);
        }
        // Until the bound is reached, and then as long as it takes to pass it.
        while rig.stats.waiting.get() * (60 << 10) < (2 << 20) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let waiting = rig.stats.waiting.get();
        assert!(waiting * (60 << 10) <= (2 << 20) + (64 << 10), "{waiting}");
        while rig.stats.handed.get() < u64::from(given) {
            let handed = next(&mut handing).await;
            handing.finished(&handed);
        }
        for _ in 0..40 {
            rig.confirmed.recv().await.unwrap();
        }
    }
}

#[tokio::test]
async fn topics_that_nobody_asked_for_are_left_alone_and_old_filters_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let mut foreign = message(5, false, "on");
    foreign.topic = "elsewhere".into();
    rig.inbox.offer(foreign);
    rig.confirms(5).await;
    assert_eq!((rig.stats.unasked.get(), rig.stats.received.get()), (1, 0));
    assert!(rig.inbox.forgotten().is_empty());
    rig.crash().await;
    let mut other = settings();
    other.subscriptions[0].filter = "orders/#".to_owned();
    let rig = Rig::with(dir.path(), other.clone());
    rig.inbox.recovered().await.unwrap();
    assert_eq!(rig.inbox.forgotten(), ["$share/g/orders/#"]);
    rig.inbox
        .unsubscribed("$share/g/orders/#", crate::uplink::ReasonCode::SUCCESS);
    rig.inbox.mark(None).await.unwrap();
    rig.crash().await;
    let rig = Rig::with(dir.path(), other);
    rig.inbox.recovered().await.unwrap();
    assert!(rig.inbox.forgotten().is_empty());
}

#[tokio::test]
async fn what_damage_leaves_open_is_not_handed_over_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for (id, text) in [(1, "first"), (2, "second"), (3, "third")] {
        rig.offer(id, false, text);
        rig.confirms(id).await;
    }
    rig.crash().await;
    let log = dir.path().join("inbox/normal");
    let segment = std::fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|six| six == b"second").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let rig = Rig::open(dir.path());
    let mut handing = rig.handing().await;
    // The first, for a mark may have been where the second was; and that one.
    assert_eq!(handing.uncertain(), 2);
    assert_eq!(payloads(&some(&mut handing).await), ["third"]);
}
