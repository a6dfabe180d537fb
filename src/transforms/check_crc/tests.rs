use crate::pipeline::{Batch, Transform as _};
use crate::record::{Body, Class, Quality};
use crate::transforms::testing::*;

/// `123456789` with the published check value behind it.
const GOOD: &[u8] = b"123456789\x29\xb1";
const CCITT: &str = "algorithm = 'crc16-ccitt'\n";

/// What a configuration makes of one frame: `good`, or `bad`.
fn verdict(config: &str, frame: &[u8]) -> &'static str {
    let config = format!("{config}\non_failure = 'tag'");
    match run("check_crc", &config, vec![framed(0, "f", frame)]).as_str() {
        "f" => "good",
        "f!" => "bad",
        other => panic!("{other}"),
    }
}

fn gaps(batch: &Batch) -> Vec<(u64, u64, Option<u64>, String)> {
    let ms = |ns: u64| ns / 1_000_000;
    let bodies = batch.records.iter().map(|record| &record.body);
    bodies
        .filter_map(|body| match body {
            Body::Gap(gap) => Some((ms(gap.from_ns), ms(gap.to_ns), gap.lost, gap.detail.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn spans_orders_and_algorithms() {
    for (config, frame, wanted) in [
        (CCITT.to_owned(), GOOD, "good"),
        (CCITT.to_owned(), b"123456789\xb1\x29", "bad"),
        (format!("{CCITT}byte_order = 'little'"), b"123456789\xb1\x29", "good"),
        (format!("{CCITT}skip_bytes = 5"), b"head123456789\x29\xb1", "bad"),
        (format!("{CCITT}skip_bytes = 4"), b"head123456789\x29\xb1", "good"),
        (format!("{CCITT}skip_bytes = 3"), b"hea123456789\x29\xb1", "good"),
        (format!("{CCITT}trailer_bytes = 1"), b"123456789\x29\xb1\x03", "good"),
        // Nothing is covered: the register as it begins.
        (format!("{CCITT}skip_bytes = 3"), b"hea\xff\xff", "good"),
        (format!("{CCITT}skip_bytes = 3"), b"hea\xff", "bad"),
        (format!("{CCITT}skip_bytes = 3"), b"he", "bad"),
        (CCITT.to_owned(), b"", "bad"),
        ("algorithm = 'crc32'".to_owned(), b"123456789\xcb\xf4\x39\x26", "good"),
        ("algorithm = 'crc32c'\nbyte_order = 'little'".to_owned(), b"123456789\x83\x92\x06\xe3", "good"),
        (
            "byte_order = 'little'\npolynomial = { width = 16, poly = 0x8005, init = 0xffff, reflect = true, check = 0x4b37 }".to_owned(),
            b"\x01\x03\x00\x00\x00\x0a\xc5\xcd",
            "good",
        ),
        ("polynomial = { width = 8, poly = 0x07 }".to_owned(), b"123456789\xf4", "good"),
        (
            "polynomial = { width = 64, poly = 0x42f0e1eba9ea3693, check = 0x6c40df5f0b497347 }".to_owned(),
            b"123456789\x6c\x40\xdf\x5f\x0b\x49\x73\x47",
            "good",
        ),
    ] {
        assert_eq!(verdict(&config, frame), wanted, "{config} on {frame:02x?}");
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    for bit in 0..GOOD.len() * 8 {
        let mut frame = GOOD.to_vec();
        frame[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verdict(CCITT, &frame), "bad", "bit {bit}");
    }
}

#[test]
fn what_is_dropped_becomes_a_gap_in_its_place_that_counts_it() {
    let mut rig = Rig::new("check_crc", CCITT);
    let wrong = b"123456789\x29\xb0";
    let out = rig.apply(vec![
        framed(1, "a", GOOD),
        sample("temp", 1.0),
        framed(2, "a", wrong),
        framed(3, "a", b"1"),
        framed(4, "b", wrong),
        framed(5, "a", GOOD),
        framed(6, "a", wrong),
    ]);
    assert_eq!(names(&out), "a temp gap gap a gap");
    let computed = "channel a: crc16-ccitt 0x29b0 in the frame, 0x29b1 of its bytes".to_owned();
    assert_eq!(
        gaps(&out[0]),
        [
            (1, 3, Some(2), computed.clone()),
            (4, 4, Some(1), computed.replace("channel a", "channel b")),
            (5, 6, Some(1), computed),
        ]
    );
    let tally = rig.transform.tally().unwrap();
    let counts = ["good", "checksum", "short"].map(|reason| tally.get(reason));
    assert_eq!(counts, [2, 3, 1]);
    drop(out);
    // The next batch knows when the last good frame was.
    let out = rig.apply(vec![framed(9, "a", b"")]);
    assert_eq!(
        gaps(&out[0]),
        [(
            5,
            9,
            Some(1),
            "channel a: a frame of 0 bytes is too short for its crc16-ccitt".to_owned()
        )]
    );
    for batch in out {
        batch.ack.done();
    }
    assert_eq!((rig.ledger.released(), rig.ledger.failed()), (1, 7));
}

#[test]
fn what_is_set_aside_goes_on_as_bad_in_a_stream_of_its_own() {
    let mut rig = Rig::new("check_crc", &format!("{CCITT}on_failure = 'quarantine'"));
    let mut out = rig.apply(vec![framed(1, "a", GOOD), framed(2, "a", b"xy"), gap()]);
    let aside = out.pop().unwrap();
    assert_eq!(names(&out), "a gap gap");
    assert_eq!((&*out[0].stream, out[0].class), ("s", Class::Normal));
    assert_eq!(names(std::slice::from_ref(&aside)), "a!");
    assert_eq!((&*aside.stream, aside.class), ("s.t", Class::Bulk));
    out.pop().unwrap().ack.done();
    assert_eq!(
        rig.ledger.released(),
        0,
        "what is set aside is not durable yet"
    );
    aside.ack.done();
    assert_eq!(rig.ledger.released(), 3);
}

#[test]
fn what_is_not_meant_passes() {
    let config = format!("{CCITT}channels = ['radio*']");
    let mut rig = Rig::new("check_crc", &config);
    let mut tagged = framed(0, "radio", b"?");
    if let Body::Frame { quality, .. } = &mut tagged.body {
        *quality = Quality::Bad;
    }
    let batch = rig.batch(vec![frame("can"), tagged, sample("radio", 1.0), gap()]);
    let records = std::sync::Arc::clone(&batch.records);
    let mut out = Vec::new();
    rig.transform.apply(batch, &mut out);
    assert!(
        std::sync::Arc::ptr_eq(&records, &out[0].records),
        "nothing is copied"
    );
    assert_eq!(names(&out), "can radio! radio gap");
}

#[test]
fn a_shared_batch_is_left_as_it_was_for_the_other_party() {
    let mut rig = Rig::new("check_crc", &format!("{CCITT}on_failure = 'tag'"));
    let batch = rig.batch(vec![framed(1, "a", b"xyz")]);
    let other = batch.share();
    let mut out = Vec::new();
    rig.transform.apply(batch, &mut out);
    assert_eq!(names(&out), "a!");
    assert_eq!(names(&[other]), "a");
}

#[test]
fn problems() {
    for (config, wanted) in [
        ("", "t.algorithm: is missing"),
        (
            "algorithm = 'crc-32'",
            "t.algorithm: is \"crc-32\", which is unknown",
        ),
        (
            "algorithm = 'crc32'\npolynomial = { width = 8, poly = 7 }",
            "t.polynomial: stands beside an algorithm",
        ),
        (
            "polynomial = { poly = 7 }",
            "t.polynomial.width: is missing",
        ),
        (
            "polynomial = { width = 8 }",
            "t.polynomial.poly: is missing",
        ),
        (
            "polynomial = { width = 12, poly = 7 }",
            "t.polynomial.width: is of 12 bits",
        ),
        (
            "polynomial = { width = 8, poly = 0x107 }",
            "t.polynomial.poly: has a value of more than 8 bits",
        ),
        (
            "polynomial = { width = 8, poly = 6 }",
            "t.polynomial.poly: has no term of x^0",
        ),
        (
            "polynomial = { width = 16, poly = 0x8005, check = 0x29b1 }",
            "t.polynomial.check: is 0x29b1, and these parameters give 0xfee8",
        ),
        (
            "algorithm = 'crc32'\nskip_bytes = 65537",
            "t.skip_bytes: is 65537",
        ),
        (
            "algorithm = 'crc32'\non_failure = 'dorp'",
            "(did you mean \"drop\"?)",
        ),
        (
            "algorithm = 'crc32'\nbyte_order = 'middle'",
            "t.byte_order: is \"middle\"",
        ),
    ] {
        refuses("check_crc", config, wanted);
    }
}
