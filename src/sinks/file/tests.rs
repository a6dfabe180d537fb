use super::*;
use crate::pipeline::{Batch, Ledger, Outlet, Running};
use crate::record::{Body, Channel, Class, Kind, Quality, Record, Value};
use crate::sinks::testing::started;
use serde_json::Value as Json;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

struct Rig {
    dir: TempDir,
    ledger: Arc<Ledger>,
}

impl Rig {
    fn new() -> Rig {
        Rig {
            dir: TempDir::new().unwrap(),
            ledger: Arc::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("r.jsonl")
    }

    fn start(&self, config: &str) -> (Running, Outlet) {
        let text = format!(
            "[sources.s]\n[sinks.k]\ntype = 'file'\ninputs = ['s']\npath = {:?}\nsync_ms = 1\n{config}",
            self.path()
        );
        started(&text, self.dir.path())
    }

    fn batch(&self, values: &[f64]) -> Batch {
        let channel = Arc::new(Channel {
            name: "c".to_owned(),
            unit: "V".to_owned(),
            kind: Kind::Float,
            calibration: None,
        });
        let record = |value: &f64| Record {
            monotonic_ns: 7,
            wall_ns: 0,
            reply: None,
            body: Body::Sample {
                channel: Arc::clone(&channel),
                value: Value::Float(*value),
                quality: Quality::Good,
            },
        };
        Batch {
            stream: "s".into(),
            class: Class::Normal,
            records: Arc::new(values.iter().map(record).collect()),
            ack: Ack::new(&self.ledger, len(&vec![0; values.len()])),
        }
    }

    fn read(path: &Path) -> Vec<Json> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

const BOUND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn lines_are_whole_numbered_and_acknowledged() {
    let rig = Rig::new();
    let (running, outlet) = rig.start("");
    outlet.send(rig.batch(&[1.5, 2.0])).await;
    outlet.send(rig.batch(&[f64::NAN])).await;
    drop(outlet);
    running.drain(BOUND).await.unwrap();
    assert_eq!(rig.ledger.released(), 3);
    let text = fs::read_to_string(rig.path()).unwrap();
    let first = "{\"stream\":\"s\",\"boot\":\"3-000000ab\",\"seq\":0,\"monotonic_ns\":7,\
                 \"time\":\"1970-01-01T00:00:00.000000000Z\",\"channel\":\"c\",\"value\":1.5,\
                 \"unit\":\"V\",\"quality\":\"good\"}";
    assert_eq!(text.lines().next(), Some(first));
    let lines = Rig::read(&rig.path());
    assert_eq!(lines[2]["value"], Json::Null);
    assert_eq!(lines[2]["seq"], 2);
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_whole_lines_stay() {
    for torn in [
        "{\"stream\":\"s\",\"bo",
        "{\"a\"\n",
        "\0\0\0\0",
        "\0\0\n{}x\n",
    ] {
        let rig = Rig::new();
        fs::write(rig.path(), format!("{{\"old\":1}}\n{torn}")).unwrap();
        let (running, outlet) = rig.start("");
        outlet.send(rig.batch(&[1.0])).await;
        drop(outlet);
        running.drain(BOUND).await.unwrap();
        let lines = Rig::read(&rig.path());
        assert_eq!(
            (lines.len(), &lines[0]["old"]),
            (2, &Json::from(1)),
            "{torn:?}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_holds_the_sources_up_and_loses_nothing() {
    let rig = Rig::new();
    let (running, outlet) = rig.start("");
    outlet.send(rig.batch(&[1.0])).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.ledger.released(), 1);
    // The kernel answers ENOSPC to every write there.
    let aside = rig.dir.path().join("aside");
    fs::rename(rig.path(), &aside).unwrap();
    symlink("/dev/full", rig.path()).unwrap();
    let all = async {
        for number in 0..5000 {
            outlet.send(rig.batch(&[f64::from(number)])).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_millis(700), all)
            .await
            .is_err()
    );
    assert_eq!(
        (rig.ledger.released(), rig.ledger.failed()),
        (1, 1),
        "one was cancelled in the hands of the source"
    );
    fs::remove_file(rig.path()).unwrap();
    drop(outlet);
    running.drain(BOUND).await.unwrap();
    assert_eq!(rig.ledger.failed(), 1);
    let lines = Rig::read(&rig.path());
    assert_eq!(len(&vec![0; lines.len()]), rig.ledger.released() - 1);
    let numbers = lines.iter().map(|line| line["seq"].as_u64().unwrap());
    assert!(numbers.eq(1..=len(&vec![0; lines.len()])));
}

#[test]
fn what_a_failed_commit_left_is_cut_back_and_written_again_once() {
    let rig = Rig::new();
    let mut log = Log {
        path: rig.path(),
        rotate_bytes: 1 << 20,
        keep_files: 1,
        file: None,
        cut_back: None,
    };
    log.append(b"1\n").unwrap();
    // As after a write that was cut short: bytes beyond what is durable, whole lines among them.
    fs::OpenOptions::new()
        .append(true)
        .open(rig.path())
        .unwrap()
        .write_all(b"2\n3")
        .unwrap();
    let (file, durable) = log.file.take().unwrap();
    log.cut_back = Some((identity(&file.metadata().unwrap()), durable));
    log.append(b"2\n3\n").unwrap();
    assert_eq!(fs::read(rig.path()).unwrap(), b"1\n2\n3\n");
}

#[test]
fn rotation_keeps_the_youngest_files() {
    let rig = Rig::new();
    let mut log = Log {
        path: rig.path(),
        rotate_bytes: 6,
        keep_files: 2,
        file: None,
        cut_back: None,
    };
    for number in 10..22 {
        log.append(format!("{number}\n").as_bytes()).unwrap();
    }
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    assert_eq!(read(rig.path()), "20\n21\n");
    assert_eq!(read(log.numbered(1)), "18\n19\n");
    assert_eq!(read(log.numbered(2)), "16\n17\n");
    assert!(!log.numbered(3).exists());
}
