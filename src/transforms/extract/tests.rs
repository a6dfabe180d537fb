use crate::pipeline::{Batch, Transform as _};
use crate::record::{Body, Record, Value};
use crate::transforms::testing::{Rig, frame, framed, refuses};
use std::fs;
use std::path::Path;
use std::time::Duration;

const DATABASE: &str = "version = '1'\n[packets.p]\napid = 5\nfields = [\n{ name = 'a', type = 'uint', bits = 8 },\n\
    { name = 'b', type = 'float', bits = 32 },\n{ name = 'c', type = 'text', bits = 16 },\n{ name = 'd', type = 'bool', bits = 1 },\n]\n";

fn packet(apid: u8, data: &[u8]) -> Record {
    let length = u8::try_from(data.len() - 1).unwrap();
    let bytes = [&[0, apid, 0xc0, 0, 0, length], data].concat();
    framed(3, "tm", &bytes)
}

fn rig(dir: &Path, more: &str) -> Rig {
    Rig::with_database("extract", dir, DATABASE, more)
}

fn said(batch: &Batch) -> Vec<String> {
    let each = batch.records.iter().map(|record| match &record.body {
        Body::Sample { channel, value, .. } => format!("{} {value}", channel.name),
        Body::Frame { channel, bytes, .. } => format!("{} {:?}", channel.name, &bytes[..]),
        Body::Gap(gap) => format!("{gap:?}"),
    });
    each.collect()
}

#[test]
fn fields_become_samples_of_one_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "");
    let value = 1.5_f32.to_be_bytes();
    let good = packet(5, &[&[7], &value[..], b"ok", &[0x80]].concat());
    let out = rig.apply(vec![good.clone(), packet(6, &[1]), frame("x")]);
    assert_eq!(out.len(), 2);
    assert_eq!((&*out[0].stream, &*out[1].stream), ("s.t", "s"));
    assert_eq!(said(&out[0]), ["a 7", "b 1.5", "c [111, 107]", "d true"]);
    assert_eq!(out[1].records.len(), 3, "packets pass");
    for record in out[0].records.iter() {
        assert_eq!(record.monotonic_ns, 3_000_000);
        let (Body::Sample { channel, .. } | Body::Frame { channel, .. }) = &record.body else {
            panic!("{record:?}");
        };
        assert!(channel.version().unwrap().starts_with("1-"));
    }
    let tally = rig.transform.tally().unwrap();
    assert_eq!((tally.get("packets"), tally.get("unknown_packets")), (1, 2));
    for batch in out {
        batch.ack.done();
    }
    assert_eq!((rig.ledger.pending(), rig.ledger.failed()), (0, 0));
}

#[test]
fn packets_that_were_read_may_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "packets = 'drop'");
    let out = rig.apply(vec![packet(5, &[7]), packet(6, &[1])]);
    assert_eq!(said(&out[0]), ["a 7"], "what the packet has");
    assert_eq!(out[1].records.len(), 1);
    assert_eq!(rig.transform.tally().unwrap().get("short_fields"), 3);
    let out = rig.apply(vec![packet(5, &[7])]);
    assert_eq!(out.len(), 1);
}

/// A value whose curve the packet does not say is none, and counted; those that need its bits have them.
#[test]
fn a_field_without_what_decides_its_context_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let database = "version = '1'\n[curves.c]\ntype = 'polynomial'\ncoefficients = [1]\n[packets.p]\napid = 5\nfields = [\n\
        { name = 'far', type = 'uint', bits = 8, at_bytes = 9 },\n{ name = 'n', type = 'uint', bits = 8, at_bytes = 6 },\n\
        { name = 'y', type = 'uint', bits = 8, at_bytes = 7, valid_if = { field = 'n', is = 1 } },\n]\n\
        [parameters.n]\ncontexts = [{ curve = 'c', when = [{ field = 'far', is = 1 }] }]\n";
    let mut rig = Rig::with_database("extract", dir.path(), database, "packets = 'drop'");
    let out = rig.apply(vec![packet(5, &[1, 10])]);
    assert_eq!(said(&out[0]), ["y 10"]);
    let tally = rig.transform.tally().unwrap();
    assert_eq!(
        (tally.get("short_fields"), tally.get("invalid_fields")),
        (2, 0)
    );
    let out = rig.apply(vec![packet(5, &[1, 10, 0, 1])]);
    assert_eq!(said(&out[0]), ["far 1", "n 1", "y 10"]);
}

/// A file that changes is taken whole between batches; one that is wrong changes nothing and is counted.
#[test]
fn a_database_changes_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "reload_ms = 5");
    let file = dir.path().join("db.toml");
    let tally = rig.transform.tally().unwrap();
    let one = |rig: &mut Rig| said(&rig.apply(vec![packet(5, &[7, 0, 0, 0, 0])])[0])[0].clone();
    assert_eq!(one(&mut rig), "a 7");
    let wait = |reason: &str, count| {
        for _ in 0..2000 {
            if tally.get(reason) == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{reason} is not {count}");
    };
    fs::write(
        &file,
        "version = '2'\n[packets.p]\napid = 5\nfields = [{ name = 'a', type = 'wat', bits = 8 }]\n",
    )
    .unwrap();
    wait("databases_refused", 1);
    assert_eq!(one(&mut rig), "a 7", "the old one is in force");
    // Replaced by a rename, as editors do.
    let new = dir.path().join("new");
    fs::write(&new, DATABASE.replace("'a'", "'z'").replace("'1'", "'3'")).unwrap();
    fs::rename(&new, &file).unwrap();
    wait("databases", 1);
    assert_eq!(one(&mut rig), "z 7");
    #[cfg(feature = "xtce")]
    {
        let xtce = include_str!("../../../tests/xtce/more.xml").replace("\"2090\"", "\"5\"");
        fs::write(&new, xtce).unwrap();
        fs::rename(&new, &file).unwrap();
        wait("databases", 2);
        let out = rig.apply(vec![packet(5, &[127, 0x20, 0, 1])]);
        assert_eq!(
            said(&out[0])[3..],
            ["KIND 127", "STATE 2", "Aocs.SPEED.0 1"]
        );
    }
}

#[test]
fn what_is_wrong_with_the_file_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db.toml");
    let config = format!("database = '{}'", file.display());
    refuses("extract", &config, "db.toml cannot be read");
    fs::write(&file, DATABASE.replace("bits = 32", "bits = 31")).unwrap();
    refuses(
        "extract",
        &config,
        "db.toml:6: packets.p.fields[1].bits: is 31",
    );
    refuses("extract", "", "t.database: is missing");
}

#[test]
fn a_value_is_what_its_kind_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "");
    let out = rig.apply(vec![packet(5, &[7, 0x7f, 0x80, 0, 0, b'a', 0, 0])]);
    let values: Vec<Value> = out[0]
        .records
        .iter()
        .filter_map(|record| match record.body {
            Body::Sample { value, .. } => Some(value),
            _ => None,
        })
        .collect();
    assert_eq!(
        values,
        [
            Value::Int(7),
            Value::Float(f64::INFINITY),
            Value::Bool(false)
        ]
    );
}
