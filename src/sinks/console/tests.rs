use super::*;
use crate::config::Report;
use crate::pipeline::testing::node;
use crate::pipeline::{Ack, Graph, Ledger, Role, Sink, start};
use crate::record::{Channel, Class, Kind, Quality, Value};
use crate::sinks::testing::NoTransform;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    gone: bool,
    slow: Duration,
}

impl io::Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(self.slow);
        if self.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Shown(Reader);

impl Sink for Shown {
    type Error = SinkError;

    async fn run(self, inlet: Inlet) -> Result<(), SinkError> {
        show("k".to_owned(), inlet, self.0).await
    }
}

/// Shows `count` batches of one record; gives back how many were released, and the text.
async fn shown(reader: Reader, count: u64) -> (u64, String) {
    let nodes = vec![node("s", Role::Source, &[]), node("k", Role::Sink, &["s"])];
    let graph = Graph::check(nodes, &Report::default()).unwrap();
    let sinks = BTreeMap::from([("k".to_owned(), Shown(reader.clone()))]);
    let transforms = BTreeMap::<String, NoTransform>::new();
    let mut running = start(&graph, transforms, sinks, 4);
    let outlet = running.outlet("s").unwrap();
    let ledger: Arc<Ledger> = Arc::default();
    let channel = Arc::new(Channel {
        name: "temp".to_owned(),
        unit: "Cel".to_owned(),
        kind: Kind::Float,
        calibration: None,
    });
    for _ in 0..count {
        let body = Body::Sample {
            channel: Arc::clone(&channel),
            value: Value::Float(20.5),
            quality: Quality::Good,
        };
        let record = Record {
            monotonic_ns: 0,
            wall_ns: 1_500_000_000,
            reply: None,
            body,
        };
        let batch = Batch {
            stream: "s".into(),
            class: Class::Normal,
            records: Arc::new(vec![record]),
            ack: Ack::new(&ledger, 1),
        };
        outlet.send(batch).await;
    }
    drop(outlet);
    running.drain(Duration::from_secs(10)).await.unwrap();
    let text = reader.text.lock().unwrap().clone();
    (ledger.released(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_row() {
    let wanted = "00:00:01.500  s                    temp                                 20.5 Cel      good\n";
    assert_eq!(shown(Reader::default(), 1).await, (1, wanted.to_owned()));
}

#[tokio::test]
async fn a_reader_that_has_gone_holds_nothing_up() {
    let reader = Reader {
        gone: true,
        ..Reader::default()
    };
    assert_eq!(shown(reader, 1000).await, (1000, String::new()));
}

#[tokio::test]
async fn a_slow_reader_misses_lines_and_holds_nothing_up() {
    let reader = Reader {
        slow: Duration::from_mins(1),
        ..Reader::default()
    };
    let started = std::time::Instant::now();
    assert_eq!(shown(reader, 1000).await.0, 1000);
    assert!(started.elapsed() < Duration::from_secs(5));
}
