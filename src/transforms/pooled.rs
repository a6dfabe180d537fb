//! Which transforms may have threads of their own, and what comes of them then.

use super::testing::framed;
use super::{POOLED, TYPES, Transform, configure};
use crate::config::parse;
use crate::pipeline::{Ack, Batch, Ledger, Node, Transform as _};
use crate::record::{Body, Class, Record};
use crate::stats::Tally;
use std::path::Path;
use std::sync::Arc;

fn read(kind: &str, keys: &str) -> Result<(Node, Option<Transform>), String> {
    let text = format!("[transforms.t]\ntype = '{kind}'\ninputs = ['a']\n{keys}\n");
    parse(Path::new("x"), &text, |root, _| {
        let (name, section) = root.sections("transforms").remove(0);
        configure(&name, section)
    })
    .map_err(|found| found.to_string())
}

/// What makes each type sound.
fn keys(kind: &str, database: &Path) -> String {
    match kind {
        "filter" => "min = 0".to_owned(),
        "scale" => "factor = 2".to_owned(),
        "deadband" => "absolute = 1".to_owned(),
        "window" => "length_ms = 1000\nfunctions = ['mean']".to_owned(),
        "rename" => "prefix = 'p.'".to_owned(),
        "check_crc" => "algorithm = 'crc16-ccitt'".to_owned(),
        "inflate" => "codec = 'lz4'".to_owned(),
        "decode_ccsds" => "frame_bytes = 223".to_owned(),
        _ => format!("database = '{}'", database.display()),
    }
}

fn database(dir: &tempfile::TempDir, version: &str) -> std::path::PathBuf {
    let path = dir.path().join("db.toml");
    let text = format!(
        "version = '{version}'\n[packets.p]\napid = 1\nfields = [{{ name = 'x', type = 'uint', bits = 8 }}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn those_that_can_have_another_may_have_workers_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let database = database(&dir, "1");
    for kind in TYPES {
        let keys = keys(kind, &database);
        let (node, made) = read(kind, &keys).unwrap();
        assert_eq!(node.workers, None);
        let can = made.expect("a sound transform").another().is_some();
        assert_eq!(can, POOLED.contains(kind), "{kind}");
        let with = read(kind, &format!("{keys}\nworkers = 3"));
        if can {
            assert_eq!(with.unwrap().0.workers, Some(3));
            let problem = read(kind, &format!("{keys}\nworkers = 17")).unwrap_err();
            assert!(problem.contains("transforms.t.workers"), "{problem}");
        } else {
            let problem = with.unwrap_err();
            assert!(problem.contains("workers"), "{kind}: {problem}");
        }
    }
}

/// A packet of APID 1 with one byte.
fn packet(value: u8) -> Record {
    framed(0, "apid-1", &[0x00, 0x01, 0xc0, 0x00, 0x00, 0x00, value])
}

/// What the first sample says that comes of a packet: the version of its database.
fn version(transform: &mut Transform) -> String {
    let ledger = Arc::new(Ledger::default());
    let batch = Batch {
        stream: "s".into(),
        class: Class::Normal,
        records: Arc::new(vec![packet(5)]),
        ack: Ack::new(&ledger, 1),
    };
    let mut out = Vec::new();
    transform.apply(batch, &mut out);
    let Body::Sample { channel, .. } = &out[0].records[0].body else {
        panic!("a sample comes first");
    };
    channel.version().unwrap().to_owned()
}

#[test]
fn another_has_the_same_database_and_counts_into_the_same_tally() {
    let dir = tempfile::tempdir().unwrap();
    let path = database(&dir, "1");
    let keys = format!("database = '{}'\nreload_ms = 5", path.display());
    let mut one = read("extract", &keys).unwrap().1.unwrap();
    let mut two = one.another().unwrap();
    assert_eq!(version(&mut one), version(&mut two));
    let tally: Arc<Tally> = one.tally().unwrap();
    assert_eq!(tally.get("packets"), 2);
    database(&dir, "2");
    let old = version(&mut one);
    let changed = || tally.get("databases") == 1;
    for _ in 0..2000 {
        if changed() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(changed(), "one watcher for both");
    assert_eq!(version(&mut one), version(&mut two));
    assert_ne!(version(&mut one), old);
}
