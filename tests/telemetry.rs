//! Streams that an independent implementation wrote, through `decode_ccsds` as a configuration makes it.
#![cfg(feature = "telemetry")]

mod support;

use dunlin::config::parse;
use dunlin::pipeline::{Ack, Batch, Ledger, Transform as _};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record, Value};
use dunlin::telemetry::packet::{Header, Part};
use dunlin::telemetry::time::Code;
use dunlin::transforms::{self, Transform};
use serde_json::Value as Json;
use spacepackets::time::CcsdsTimeProvider as _;
use spacepackets::time::cds::{CdsTime, SubmillisPrecision};
use spacepackets::time::cuc::{CucTime, convert_fractional_part_to_ns};
use spacepackets::{CcsdsPacket as _, SequenceFlags, SpHeader};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::{ccsds, dunlin};

/// What was sent: the stream, and one object a packet.
fn sent(seed: u64, randomised: bool) -> (Vec<u8>, Vec<Json>) {
    let dir = tempfile::tempdir().unwrap();
    let more: &[&str] = if randomised { &["--randomised"] } else { &[] };
    ccsds(dir.path(), seed, more)
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
        calibration: None,
    });
    let ledger = Arc::new(Ledger::default());
    let mut out = Vec::new();
    for bytes in stream.chunks(piece) {
        let record = Record {
            monotonic_ns: 0,
            wall_ns: 0,
            body: Body::Frame {
                channel: Arc::clone(&channel),
                bytes: bytes::Bytes::copy_from_slice(bytes),
                quality: Quality::Good,
            },
            reply: None,
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
            for byte in bytes {
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

/// The spacepackets crate, in Rust and by others: what it writes is read, and what is written is read by it.
#[test]
fn headers_and_times_go_both_ways() {
    let mut state = 1_u64;
    let mut chance = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 24
    };
    for _ in 0..20_000 {
        let mut six = [0; 6];
        six.copy_from_slice(&chance().to_le_bytes()[..6]);
        six[0] &= 0x1f;
        let (ours, (theirs, _)) = (
            Header::read(&six).unwrap(),
            SpHeader::from_be_bytes(&six).unwrap(),
        );
        assert_eq!(ours.apid, theirs.apid().value());
        assert_eq!(ours.count, theirs.seq_count().value());
        assert_eq!(ours.telecommand, theirs.is_tc());
        assert_eq!(ours.secondary, theirs.sec_header_flag());
        assert_eq!(ours.total_bytes, theirs.packet_len());
        let part = match theirs.sequence_flags() {
            SequenceFlags::ContinuationSegment => Part::Middle,
            SequenceFlags::FirstSegment => Part::First,
            SequenceFlags::LastSegment => Part::Last,
            SequenceFlags::Unsegmented => Part::Whole,
        };
        assert_eq!(ours.part, part);
        assert_eq!(SpHeader::from_be_bytes(&ours.write()).unwrap().0, theirs);
        let mut written = [0; 6];
        theirs.write_to_slice(&mut written).unwrap();
        assert_eq!(Header::read(&written), Some(ours));

        let read = |bytes: &[u8]| {
            let (code, rest) = Code::preamble(bytes, 0).unwrap();
            code.read(rest).unwrap()
        };
        let mut bytes = [0; 16];
        // Days after 1970, before which that crate counts the time of day backwards, and microseconds of a millisecond.
        let (days, ms) = (
            u16::try_from(4383 + chance() % 61_000).unwrap(),
            u32::try_from(chance() % 86_400_000).unwrap(),
        );
        let mut cds = CdsTime::new_with_u16_days(days, ms);
        cds.set_submillis(
            SubmillisPrecision::Microseconds,
            u32::try_from(chance() % 1000).unwrap(),
        );
        let length = cds.write_to_slice(&mut bytes).unwrap();
        let wanted = cds.unix_secs() * 1_000_000_000 + i64::from(cds.subsec_nanos());
        assert_eq!(read(&bytes[..length]), wanted);
        // After 2016 TAI is 37 s ahead. A fraction of all ones is a whole second to that crate, and 2^-16 s less to
        // CCSDS 301.0-B.
        let coarse = 1_900_000_000 + u32::try_from(chance() & 0xffff_ffff).unwrap() / 2;
        let fine = u16::try_from(chance() % 0xffff).unwrap();
        let cuc = CucTime::new_with_medium_fractions(coarse, fine);
        let length = cuc.write_to_slice(&mut bytes).unwrap();
        let wanted = cuc.unix_secs(37) * 1_000_000_000
            + convert_fractional_part_to_ns(cuc.fractions()).cast_signed();
        assert!((read(&bytes[..length]) - wanted).abs() <= 1_000_000_000 / 65_536 + 1);
    }
}
