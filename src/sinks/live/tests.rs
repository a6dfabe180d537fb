use super::*;
use crate::payload::{self, Message};
use crate::pipeline::testing::batch;
use crate::pipeline::{Ledger, Outlet, Running};
use crate::record::{Body, Channel, Kind, Quality, Record, Value};
use crate::sinks::testing::{context, started};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

struct Rig {
    dir: TempDir,
    ledger: Arc<Ledger>,
    running: Running,
    outlet: Outlet,
}

impl Rig {
    fn new(config: &str) -> Rig {
        let dir = TempDir::new().unwrap();
        let text = format!("[sources.s]\n[sinks.k]\ntype = 'live'\ninputs = ['s']\n{config}");
        let (running, outlet) = started(&text, dir.path());
        Rig {
            dir,
            ledger: Arc::default(),
            running,
            outlet,
        }
    }

    fn socket(&self) -> PathBuf {
        socket(self.dir.path(), "k")
    }

    /// A viewer that has its seat: it was sent something, which is read, and is not older than it is.
    async fn viewer(&self) -> Feed {
        let from = self.ledger.produced();
        let mut feed = Feed::connect(&self.socket()).await.unwrap();
        for _ in 0..1000 {
            self.send(vec![sample(0.0)]).await;
            match timeout(Duration::from_millis(10), feed.next()).await {
                Ok(Ok(Some(first))) => {
                    let first = payload::decode(&first).unwrap();
                    assert!(first.seq >= from, "{} before {from}", first.seq);
                    return feed;
                }
                // The seat of another that has left may not be free yet.
                Ok(_) => feed = Feed::connect(&self.socket()).await.unwrap(),
                Err(_) => {}
            }
        }
        panic!("no viewer after ten seconds");
    }

    async fn send(&self, records: Vec<Record>) {
        self.outlet.send(batch(&self.ledger, records)).await;
    }

    /// Ends the pipeline: all records were acknowledged.
    async fn end(self) -> TempDir {
        drop(self.outlet);
        self.running.drain(SOON).await.unwrap();
        assert_eq!(self.ledger.released(), self.ledger.produced());
        self.dir
    }
}

fn record(body: Body) -> Record {
    Record {
        monotonic_ns: 7,
        wall_ns: 0,
        body,
        reply: None,
    }
}

fn sample(value: f64) -> Record {
    let channel = Channel {
        name: "temp".to_owned(),
        unit: "Cel".to_owned(),
        kind: Kind::Float,
        calibration: None,
    };
    record(Body::Sample {
        channel: channel.into(),
        value: Value::Float(value),
        quality: Quality::Good,
    })
}

fn frame(bytes: usize) -> Record {
    let channel = Channel {
        name: "raw".to_owned(),
        unit: "1".to_owned(),
        kind: Kind::Frame,
        calibration: None,
    };
    record(Body::Frame {
        channel: channel.into(),
        bytes: Bytes::from(vec![0x5a; bytes]),
        quality: Quality::Good,
    })
}

async fn next(feed: &mut Feed) -> Option<Message> {
    let message = timeout(SOON, feed.next()).await.expect("in time");
    message
        .unwrap()
        .map(|bytes| payload::decode(&bytes).unwrap())
}

#[tokio::test]
async fn every_viewer_sees_what_flows_from_then_on() {
    let rig = Rig::new("");
    rig.send(vec![sample(1.0), sample(2.0)]).await;
    let mut one = rig.viewer().await;
    let mut other = rig.viewer().await;
    rig.send(vec![sample(20.5), sample(21.5)]).await;
    for feed in [&mut one, &mut other] {
        // What made sure of the second viewer was sent to the first too.
        let message = loop {
            let message = next(feed).await.unwrap();
            if message.records.len() == 2 {
                break message;
            }
        };
        assert_eq!((&*message.agent, &*message.stream), ("gw", "s"));
        assert!(message.seq > 2, "{}", message.seq);
        assert!(matches!(&message.records[1].body,
            payload::ItemBody::Sample { ch, value: Value::Float(21.5), unit, .. } if ch == "temp" && unit == "Cel"));
    }
    rig.end().await;
    assert!(next(&mut one).await.is_none());
}

#[tokio::test]
async fn a_viewer_that_does_not_read_holds_nobody_up_and_sees_how_many_it_missed() {
    let rig = Rig::new("");
    let mut slow = rig.viewer().await;
    let mut first = rig.viewer().await;
    // More than the socket and the ring hold together.
    let mut last = 0;
    for _ in 0..100 {
        rig.send((0..20).map(|_| frame(2000)).collect()).await;
        // The other one reads, and misses nothing.
        loop {
            let message = next(&mut first).await.unwrap();
            assert!(last == 0 || message.seq == last);
            last = message.seq + message.records.len() as u64;
            if message.records.len() == 20 {
                break;
            }
        }
    }
    let (mut seen, mut missed, mut at) = (0, 0, None);
    while at != Some(last) {
        let message = next(&mut slow).await.unwrap();
        missed += at.map_or(0, |at| message.seq - at);
        let records = message.records.len() as u64;
        seen += records;
        at = Some(message.seq + records);
    }
    assert!(missed >= 100, "{missed} missed, {seen} seen");
    assert!(seen >= 200, "half of the ring at least: {seen}");
    rig.end().await;
}

#[tokio::test]
async fn as_many_viewers_as_allowed_and_a_seat_of_one_that_left_is_free() {
    let rig = Rig::new("viewers = 1\n");
    let first = rig.viewer().await;
    let mut second = Feed::connect(&rig.socket()).await.unwrap();
    assert!(next(&mut second).await.is_none(), "sent away");
    // It leaves while nothing flows.
    drop(first);
    let _third = rig.viewer().await;
    rig.end().await;
}

#[tokio::test]
async fn what_fits_in_no_slab_is_halved_and_a_record_that_does_not_is_missing() {
    let rig = Rig::new("");
    let mut feed = rig.viewer().await;
    rig.send(vec![frame(50_000), frame(50_000), frame(65_536), frame(1)])
        .await;
    let first = next(&mut feed).await.unwrap();
    let second = next(&mut feed).await.unwrap();
    let last = next(&mut feed).await.unwrap();
    let lengths = [&first, &second, &last].map(|message| message.records.len());
    assert_eq!(lengths, [1, 1, 1]);
    assert_eq!((second.seq, last.seq), (first.seq + 1, first.seq + 3));
    rig.end().await;
}

/// Sends all that a consumer gets.
fn sent(mut to: impl AsyncWrite + Unpin + Send + 'static, mut seat: Consumer) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(batch) = seat.next().await {
            viewer::send(&mut to, batch).await.unwrap();
        }
    })
}

/// An agent that ends in the middle of a message has not ended the view.
#[tokio::test]
async fn half_a_message_is_no_end() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut feed = Feed::connect(&path).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let whole = [
        &3_u32.to_ne_bytes()[..],
        b"one",
        &3_u32.to_ne_bytes()[..],
        b"tw",
    ]
    .concat();
    stream.write_all(&whole).await.unwrap();
    drop(stream);
    assert_eq!(feed.next().await.unwrap().as_deref(), Some(&b"one"[..]));
    assert!(matches!(feed.next().await, Err(NotAFeed::Broken(_))));
}

/// More messages than are handed over at once, to what takes seven bytes at a time, and so cuts them anywhere, read as
/// docs/pipeline.md says; and through a socket to `Feed`.
#[tokio::test]
async fn messages_come_whole_however_little_is_taken_at_a_time() {
    let policies = [Policy::Block, Policy::Block];
    let (mut producer, mut seats) = dunlin_ring::ring(SLABS, &policies).unwrap();
    // Every 25th is empty.
    let message = |number: usize| vec![number.to_le_bytes()[0]; number % 25 * 60];
    let mut wanted = Vec::new();
    for number in 0..1000 {
        let message = message(number);
        producer.push(&message).unwrap();
        wanted.extend_from_slice(&u32::try_from(message.len()).unwrap().to_ne_bytes());
        wanted.extend_from_slice(&message);
    }
    drop(producer);
    let (to, mut from) = tokio::io::duplex(7);
    let done = sent(to, seats.remove(0));
    let mut came = Vec::new();
    let read = timeout(SOON, from.read_to_end(&mut came)).await;
    read.unwrap().unwrap();
    done.await.unwrap();
    assert!(came == wanted, "{} of {} bytes", came.len(), wanted.len());

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut feed = Feed::connect(&path).await.unwrap();
    let (to, _) = listener.accept().await.unwrap();
    let done = sent(to, seats.remove(0));
    for number in 0..1000 {
        let came = timeout(SOON, feed.next()).await.unwrap().unwrap();
        assert_eq!(came.as_deref(), Some(&message(number)[..]), "{number}");
    }
    done.await.unwrap();
    assert_eq!(feed.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_viewer_that_is_stuck_does_not_hold_up_the_end() {
    let rig = Rig::new("");
    let stuck = rig.viewer().await;
    for _ in 0..20 {
        rig.send(vec![frame(60_000)]).await;
    }
    // As the agent's drain may be shorter than what a viewer gets, so is that.
    drop(rig.outlet);
    let bound = LAST_MESSAGES.mul_f64(0.96);
    rig.running.drain(bound).await.unwrap();
    assert_eq!(rig.ledger.released(), rig.ledger.produced());
    drop(stuck);
}

#[tokio::test]
async fn the_socket_is_for_user_and_group_and_gone_at_the_end() {
    let rig = Rig::new("");
    let mode = std::fs::metadata(rig.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let path = rig.socket();
    let _dir = rig.end().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_crash_left_is_taken_over_and_nothing_else_is() {
    let rig = Rig::new("");
    let open = |dir: &Path| {
        let mut live = Live {
            name: "k".to_owned(),
            viewers: 1,
            opened: None,
        };
        live.open(&context(dir)).map(|()| live)
    };
    let error = open(rig.dir.path()).unwrap_err();
    assert!(error.to_string().contains("k.live"), "{error}");
    let dir = rig.end().await;
    drop(UnixListener::bind(socket(dir.path(), "k")).unwrap());
    assert!(socket(dir.path(), "k").exists());
    open(dir.path()).unwrap();
    // What is no socket is somebody's.
    let path = socket(dir.path(), "k");
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(open(dir.path()), Err(SinkError::Listen { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}
