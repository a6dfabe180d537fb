use super::ROOM_RECORDS_MAX;
use crate::pipeline::{Batch, Transform as _};
use crate::record::{Body, Class, Record};
use crate::telemetry::packet::Part;
use crate::telemetry::testing::{Bits, Sender, packet};
use crate::transforms::Transform;
use crate::transforms::testing::*;

const FRAMES: &str = "layer = 'frames'\n";
const STREAM: &str = "frame_bytes = 64\n";

/// Frames of one virtual channel with these packets in them.
fn frames(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sender = Sender::new(64);
    for packet in packets {
        sender.packet(packet.clone());
    }
    let mut frames = Vec::new();
    while sender.waits() {
        frames.push(sender.frame(1));
    }
    frames
}

fn numbered(count: u16) -> Vec<Vec<u8>> {
    let each = 0..count;
    each.map(|n| packet(9, n, Part::Whole, &[0xab; 30]))
        .collect()
}

fn payloads(batch: &Batch) -> Vec<Vec<u8>> {
    let bodies = batch.records.iter().map(|record| &record.body);
    bodies
        .filter_map(|body| match body {
            Body::Frame { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        })
        .collect()
}

#[test]
fn packets_go_on_in_a_stream_of_their_own_and_the_rest_passes() {
    let sent = numbered(6);
    let mut rig = Rig::new("decode_ccsds", &format!("{FRAMES}channels = ['radio']"));
    let mut records = vec![sample("temp", 1.0), frame("can")];
    records.extend(frames(&sent).iter().map(|frame| framed(1, "radio", frame)));
    records.push(gap());
    let out = rig.apply(records);
    let streams: Vec<&str> = out.iter().map(|batch| &*batch.stream).collect();
    assert_eq!(streams, ["s", "s.t"]);
    assert_eq!(names(&out[..1]), "temp can gap");
    assert_eq!(names(&out[1..]), ["apid-9"; 6].join(" "));
    assert_eq!(payloads(&out[1]), sent);
    let tally = rig.transform.tally().unwrap();
    assert_eq!((tally.get("packets"), tally.get("lost_packets")), (6, 0));
}

#[test]
fn what_is_missing_becomes_gaps_before_what_follows() {
    let sent = numbered(8);
    let frames = frames(&sent);
    let mut rig = Rig::new("decode_ccsds", FRAMES);
    let mut made = Vec::new();
    for (at, frame) in (0..).zip(&frames) {
        if at != 2 {
            made.extend(rig.apply(vec![framed(at * 10, "radio", frame)]));
        }
    }
    let gaps: Vec<String> = made
        .iter()
        .flat_map(|batch| batch.records.iter())
        .filter_map(|record| match &record.body {
            Body::Gap(gap) => {
                let ms = |ns: u64| ns / 1_000_000;
                let (from, to, lost) = (ms(gap.from_ns), ms(gap.to_ns), gap.lost.unwrap());
                let cause = gap.cause.name();
                Some(format!("{from} to {to}: {cause} {lost} {}", gap.detail))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        gaps,
        [
            "10 to 30: sequence 1 spacecraft 341 virtual channel 1 frames from count 2 on",
            "10 to 30: sequence 2 spacecraft 341 apid 9 packets from count 3 on",
        ]
    );
}

#[test]
fn refused_frames_are_counted_and_set_aside_on_request() {
    let mut frames = frames(&numbered(4));
    frames[1][20] ^= 1;
    for (config, wanted) in [("", 1), ("on_failure = 'quarantine'", 2)] {
        let mut rig = Rig::new("decode_ccsds", &format!("{FRAMES}{config}"));
        let out = rig.apply(
            frames
                .iter()
                .map(|frame| framed(0, "radio", frame))
                .collect(),
        );
        assert_eq!(out.len(), wanted, "{config}");
        assert_eq!(rig.transform.tally().unwrap().get("bad_checksum"), 1);
        if let Some(aside) = out.get(1) {
            assert_eq!((&*aside.stream, aside.class), ("s.t.refused", Class::Bulk));
            assert_eq!(names(std::slice::from_ref(aside)), "radio!");
            assert_eq!(payloads(aside), [frames[1].clone()]);
        }
    }
}

/// What one large batch took is not taken for each small one after it, neither in what goes on nor here.
#[test]
fn lists_are_as_long_as_what_they_hold() {
    let mut rig = Rig::new("decode_ccsds", FRAMES);
    let mut records: Vec<Record> = frames(&numbered(3000))
        .iter()
        .map(|frame| framed(1, "radio", frame))
        .collect();
    let last = records.split_off(records.len() - 2);
    for (records, least) in [(records, 2900), (last, 1)] {
        let out = rig.apply(records);
        let made = &out[0].records;
        assert!(made.len() >= least, "{} packets", made.len());
        assert_eq!(made.capacity(), made.len());
        let Transform::DecodeCcsds(inner) = &rig.transform else {
            panic!("of another type");
        };
        assert!(inner.made.records.capacity() <= ROOM_RECORDS_MAX);
    }
}

/// A frame that has come in half is not released before the packets that come of it are durable.
#[test]
fn acks_wait_for_what_is_held() {
    let mut bits = Bits::default();
    for frame in frames(&numbered(3)) {
        bits.marked(&frame);
    }
    let all = bits.bytes();
    let mut rig = Rig::new("decode_ccsds", STREAM);
    let (first, second) = all.split_at(30);
    assert!(rig.apply(vec![framed(0, "radio", first)]).is_empty());
    assert_eq!((rig.ledger.released(), rig.ledger.pending()), (0, 1));
    let out = rig.apply(vec![framed(1, "radio", second)]);
    assert_eq!((rig.ledger.released(), rig.ledger.pending()), (0, 2));
    assert_eq!(payloads(&out[0]).len(), 3);
    let mut rest = Vec::new();
    rig.transform.flush(&mut rest);
    for batch in out.into_iter().chain(rest) {
        batch.ack.done();
    }
    assert_eq!((rig.ledger.released(), rig.ledger.failed()), (2, 0));
}

#[test]
fn a_batch_that_fails_fails_what_it_was_made_of() {
    let mut bits = Bits::default();
    for frame in frames(&numbered(3)) {
        bits.marked(&frame);
    }
    let all = bits.bytes();
    let mut rig = Rig::new("decode_ccsds", STREAM);
    rig.apply(vec![framed(0, "radio", &all[..30])]);
    drop(rig.apply(vec![framed(1, "radio", &all[30..])]));
    rig.transform.flush(&mut Vec::new());
    assert_eq!((rig.ledger.released(), rig.ledger.failed()), (0, 2));
}

#[test]
fn what_is_held_at_the_end_is_decided() {
    let frames = frames(&numbered(2));
    let mut bits = Bits::default();
    bits.marked(&frames[0]);
    let mut rig = Rig::new("decode_ccsds", STREAM);
    // One frame alone: no marker follows that would speak for it.
    assert!(
        rig.apply(vec![framed(0, "radio", &bits.bytes())])
            .is_empty()
    );
    let mut out = Vec::new();
    rig.transform.flush(&mut out);
    assert_eq!(names(&out), "apid-9");
    out.pop().unwrap().ack.done();
    assert_eq!(rig.ledger.released(), 1);
}

#[test]
fn services_and_times_are_read() {
    let mut telemetry = packet(
        9,
        0,
        Part::Whole,
        &[
            0x20, 3, 25, 0, 7, 0, 0, 0x40, 0x3b, 0xec, 0x02, 0x93, 0x2e, 0, 1,
        ],
    );
    telemetry[0] |= 0x08;
    let config = "layer = 'packets'\nsecondary = 'pus-c'\ntime = { code = 'preamble' }";
    let mut rig = Rig::new("decode_ccsds", config);
    let out = rig.apply(vec![framed(0, "radio", &telemetry)]);
    assert_eq!(
        values(&out),
        format!("apid-9.time=946728000000000000 ns int, apid-9.3.25={telemetry:?}")
    );
    // A header of another issue, and a time that is none: the packets go on.
    let (mut other, mut timeless) = (telemetry.clone(), telemetry);
    (other[3], other[6]) = (1, 0x10);
    (timeless[3], timeless[13]) = (2, 0x7f);
    let out = rig.apply(vec![
        framed(0, "radio", &other),
        framed(0, "radio", &timeless),
    ]);
    assert_eq!(names(&out), "apid-9 apid-9.3.25");
    let tally = rig.transform.tally().unwrap();
    assert_eq!((tally.get("bad_secondary"), tally.get("bad_time")), (1, 1));
}

#[test]
fn channels_beyond_the_bound_pass() {
    let frame = &frames(&numbered(1))[0];
    let mut rig = Rig::new("decode_ccsds", FRAMES);
    let records = (0..20).map(|n| framed(0, &format!("radio{n}"), frame));
    let out = rig.apply(records.collect());
    assert_eq!(names(&out[..1]), "radio16 radio17 radio18 radio19");
    assert_eq!(rig.transform.tally().unwrap().get("undecoded"), 4);
}

#[test]
fn problems() {
    for (config, wanted) in [
        ("", "t.frame_bytes: is missing"),
        (
            "frame_bytes = 1115",
            "t.frame_bytes: is 1115, above frame_bytes_max = 1024",
        ),
        ("frame_bytes = 8", "t.frame_bytes: is 8"),
        ("layer = 'bits'", "t.layer: is \"bits\""),
        (
            "frame_bytes = 64\nmarker = '1acf1'",
            "t.marker: is \"1acf1\"",
        ),
        ("frame_bytes = 64\nmarker = 'spam'", "t.marker: is \"spam\""),
        (
            "frame_bytes = 64\nmarker_errors_max = 5",
            "t.marker_errors_max: is 5",
        ),
        (
            "layer = 'frames'\nprotocol = 'uslp'",
            "t.protocol: is \"uslp\"",
        ),
        ("layer = 'frames'\nocf = true", "t.ocf: is an unknown key"),
        (
            "layer = 'packets'\nframe_bytes = 64",
            "t.frame_bytes: is an unknown key",
        ),
        (
            "layer = 'packets'\npacket_bytes_max = 6",
            "t.packet_bytes_max: is 6",
        ),
        (
            "layer = 'packets'\nsecondary = 'pus-b'",
            "t.secondary: is \"pus-b\"",
        ),
        ("layer = 'packets'\ntime = {}", "t.time.code: is missing"),
        (
            "layer = 'packets'\ntime = { code = 'cds', part_bytes = 3 }",
            "t.time.part_bytes: is 3",
        ),
        (
            "layer = 'packets'\non_failure = 'tag'",
            "t.on_failure: is \"tag\"",
        ),
    ] {
        refuses("decode_ccsds", config, wanted);
    }
}
