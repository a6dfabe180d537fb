//! Streams that an independent implementation wrote, through `decode_ccsds` as a configuration makes it.
#![cfg(feature = "telemetry")]

mod support;

use dunlin::config::parse;
use dunlin::pipeline::{Ack, Batch, Ledger, Transform as _};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record, Value};
use dunlin::transforms::{self, Transform};
use serde_json::Value as Json;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::dunlin;

/// What was sent: the stream, and one object a packet.
fn sent(seed: u64, randomised: bool) -> (Vec<u8>, Vec<Json>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let (stream, packets) = (dir.path().join("stream"), dir.path().join("packets"));
    let mut sender = Command::new(root.join("target/lab/venv/bin/python"));
    sender
        .arg(root.join("lab/ccsds_sender.py"))
        .arg(seed.to_string())
        .args([&stream, &packets]);
    if randomised {
        sender.arg("--randomised");
    }
    let ended = sender.status();
    assert!(
        ended.is_ok_and(|status| status.success()),
        "the lab is installed: scripts/setup.sh test"
    );
    let text = fs::read_to_string(packets).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (fs::read(stream).unwrap(), lines.collect())
}

fn transform(randomised: bool) -> Transform {
    let text = format!(
        "[t]\ntype = 'decode_ccsds'\ninputs = ['s']\nframe_bytes = 223\nspacecraft = 0x2a5\nsecondary = 'pus-c'\n\
         time = {{ code = 'preamble' }}\nrandomised = {randomised}\n"
    );
    let made = parse(Path::new("x"), &text, |root, _| {
        transforms::configure("t", root.section("t").unwrap()).1
    });
    made.unwrap().unwrap()
}

/// The records that come of a stream in pieces of so many bytes.
fn decoded(transform: &mut Transform, stream: &[u8], piece: usize) -> Vec<Record> {
    let channel = Arc::new(Channel {
        name: "radio".to_owned(),
        unit: "1".to_owned(),
        kind: Kind::Frame,
    });
    let ledger = Arc::new(Ledger::default());
    let mut out = Vec::new();
    for bytes in stream.chunks(piece) {
        let record = Record {
            monotonic_ns: 0,
            wall_ns: 0,
            body: Body::Frame {
                channel: Arc::clone(&channel),
                bytes: bytes.into(),
                quality: Quality::Good,
            },
        };
        let batch = Batch {
            stream: "s".into(),
            class: Class::Normal,
            records: Arc::new(vec![record]),
            ack: Ack::new(&ledger, 1),
        };
        transform.apply(batch, &mut out);
    }
    transform.flush(&mut out);
    let records = out.iter().flat_map(|batch| batch.records.iter().cloned());
    let records = records.collect();
    for batch in out {
        batch.ack.done();
    }
    assert_eq!((ledger.pending(), ledger.failed()), (0, 0));
    records
}

#[test]
fn what_spacepackets_sends_comes_out_bit_for_bit() {
    for (seed, randomised, piece) in [
        (1, false, 1),
        (2, true, 100),
        (3, false, 4096),
        (4, true, 1021),
    ] {
        let (stream, packets) = sent(seed, randomised);
        let mut transform = transform(randomised);
        let mut records = decoded(&mut transform, &stream, piece).into_iter();
        for (at, packet) in packets.iter().enumerate() {
            if let Some(ns) = packet.get("time_ns") {
                let Some(Body::Sample { channel, value, .. }) = records.next().map(|r| r.body)
                else {
                    panic!("packet {at} of seed {seed} has no time");
                };
                assert_eq!(
                    (channel.name.as_str(), channel.unit.as_str()),
                    ("apid-42.time", "ns")
                );
                assert_eq!(value, Value::Int(ns.as_i64().unwrap()), "packet {at}");
            }
            let Some(Body::Frame { channel, bytes, .. }) = records.next().map(|r| r.body) else {
                panic!("packet {at} of seed {seed} is missing");
            };
            let mut hex = String::new();
            for byte in bytes.iter() {
                write!(hex, "{byte:02x}").unwrap();
            }
            assert_eq!(
                channel.name, packet["channel"],
                "packet {at} of seed {seed}"
            );
            assert_eq!(hex, packet["hex"], "packet {at} of seed {seed}");
        }
        assert_eq!(records.next(), None, "seed {seed}");
        let tally = transform.tally().unwrap();
        assert_eq!(tally.get("packets"), packets.len() as u64);
        for wrong in [
            "bad_checksum",
            "lost_frames",
            "lost_packets",
            "cut_packets",
            "bad_time",
        ] {
            assert_eq!(tally.get(wrong), 0, "{wrong} of seed {seed}");
        }
    }
}

#[test]
fn the_command_line_shows_what_is_in_a_recording() {
    let (stream, packets) = sent(5, true);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pass.bin");
    fs::write(&file, &stream).unwrap();
    let file = file.to_str().unwrap();
    let options = [
        "-o",
        "frame_bytes=223",
        "-o",
        "randomised=true",
        "-o",
        "secondary=pus-c",
        "-o",
        "time={code=\"preamble\"}",
    ];
    let with = |more: &[&'static str]| -> support::Ended {
        let mut args = vec!["telemetry", "decode", file];
        args.extend(options);
        args.extend(more);
        dunlin(&args)
    };
    let ended = with(&["--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<Json> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<(&Json, &Json)> = lines
        .iter()
        .filter_map(|line| Some((line.get("channel")?, line.get("packet")?)))
        .collect();
    let wanted: Vec<(&Json, &Json)> = packets
        .iter()
        .map(|packet| (&packet["channel"], &packet["hex"]))
        .collect();
    assert_eq!(found, wanted);
    assert_eq!(lines.last().unwrap()["counts"]["packets"], packets.len());
    let table = with(&[]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    let rows = table
        .stdout
        .lines()
        .filter(|line| line.starts_with("apid-"))
        .count();
    let times = packets
        .iter()
        .filter(|packet| packet.get("time_ns").is_some())
        .count();
    assert_eq!(rows, packets.len() + times);
    assert!(
        table.stdout.contains(&format!("packets {}", packets.len())),
        "{}",
        table.stdout
    );
    // The packets alone, as a file without frames.
    let bytes: Vec<u8> = packets
        .iter()
        .flat_map(|packet| {
            let hex = packet["hex"].as_str().unwrap();
            let pairs = (0..hex.len()).step_by(2);
            pairs
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    let alone = dir.path().join("packets.bin");
    fs::write(&alone, bytes).unwrap();
    let ended = dunlin(&[
        "telemetry",
        "decode",
        alone.to_str().unwrap(),
        "--packets",
        "--json",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("\"packet\":").count(), packets.len());
    // What is wrong is said: a key, a file, a recording of something else.
    let wrong = dunlin(&["telemetry", "decode", file, "-o", "frame_byts=223"]);
    assert_eq!(wrong.code, 64, "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("did you mean frame_bytes?"),
        "{}",
        wrong.stderr
    );
    let none = dunlin(&["telemetry", "decode", "/no/such", "-o", "frame_bytes=223"]);
    assert_eq!(none.code, 69, "{}", none.stderr);
    let other = dunlin(&["telemetry", "decode", file, "-o", "frame_bytes=100"]);
    assert_eq!(other.code, 65, "{}", other.stderr);
    assert!(other.stderr.contains("Remedy: "), "{}", other.stderr);
}
