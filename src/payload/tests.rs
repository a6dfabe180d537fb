use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value as Json;

use super::*;
use crate::record::{Body, Calibration, Cause, Channel, Gap, Kind};

const DOCS: &str = include_str!("../../docs/payload.md");
const SCHEMA: &str = include_str!("../../docs/payload.schema.json");

fn channel(name: &str, unit: &str, kind: Kind) -> Arc<Channel> {
    Arc::new(Channel {
        name: name.into(),
        unit: unit.into(),
        kind,
        calibration: None,
    })
}

fn at(offset: u8, body: Body) -> Record {
    Record {
        monotonic_ns: 5_000_000_000 + u64::from(offset),
        wall_ns: 1_790_000_000_000_000_000 + i64::from(offset),
        reply: None,
        body,
    }
}

fn sample(offset: u8, value: Value, quality: Quality) -> Record {
    let channel = channel("temp", "Cel", Kind::Float);
    at(
        offset,
        Body::Sample {
            channel,
            value,
            quality,
        },
    )
}

/// A sample of a telemetry database.
fn calibrated() -> Record {
    let channel = Channel {
        calibration: Some(Calibration {
            version: "2026-11-0badcafe".into(),
            context: None,
        }),
        ..(*channel("bus", "V", Kind::Float)).clone()
    };
    let body = Body::Sample {
        channel: channel.into(),
        value: Value::Float(28.5),
        quality: Quality::Good,
    };
    at(4, body)
}

fn envelope(class: Class) -> Envelope<'static> {
    let boot = BootId {
        number: 17,
        nonce: 0x3fa9_c2d1,
    };
    Envelope {
        agent: "gw-7",
        boot,
        stream: "boiler",
        class,
        seq: 41,
    }
}

fn frame(quality: Quality) -> Record {
    at(
        2,
        Body::Frame {
            channel: channel("can", "1", Kind::Frame),
            bytes: bytes::Bytes::from_static(&[0, 255, 16]),
            quality,
        },
    )
}

pub(super) fn documented() -> Vec<Record> {
    vec![
        sample(0, Value::Float(21.5), Quality::Good),
        sample(1, Value::Float(f64::NAN), Quality::Bad),
        frame(Quality::Good),
        at(
            3,
            Body::Gap(Gap {
                from_ns: 1,
                to_ns: 2,
                cause: Cause::Crash,
                lost: Some(3),
                detail: "SIGSEGV".into(),
            }),
        ),
    ]
}

pub(super) fn encoded(encoding: Encoding, class: Class, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    encoding.encode(&envelope(class), records, &mut out);
    out
}

fn block(language: &str) -> &'static str {
    let start = DOCS.split_once(&format!("```{language}\n")).unwrap().1;
    start.split_once("\n```").unwrap().0
}

#[test]
fn the_documented_examples_are_what_is_written() {
    let json = encoded(Encoding::Json, Class::Critical, &documented());
    assert_eq!(std::str::from_utf8(&json).unwrap(), block("json"));
    let one = [sample(0, Value::Int(-3), Quality::Good)];
    let mut hex = String::new();
    for byte in encoded(Encoding::Cbor, Class::Normal, &one) {
        write!(hex, "{byte:02x}").unwrap();
    }
    assert_eq!(hex, block("cbor").replace('\n', ""));
}

#[test]
fn both_encodings_read_back_the_same() {
    let mut records = documented();
    records.push(calibrated());
    for value in [
        Value::Float(0.0),
        Value::Float(3.0),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NEG_INFINITY),
        Value::Float(f64::MIN_POSITIVE),
        Value::Float(0.1 + 0.2),
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Int(3),
        Value::Bool(true),
    ] {
        records.push(sample(9, value, Quality::Uncertain));
    }
    for quality in [Quality::Uncertain, Quality::Bad] {
        records.push(frame(quality));
    }
    let json = decode(&encoded(Encoding::Json, Class::Bulk, &records)).unwrap();
    let cbor = decode(&encoded(Encoding::Cbor, Class::Bulk, &records)).unwrap();
    assert_eq!(format!("{json:?}"), format!("{cbor:?}"));
    assert_eq!(
        (json.class, json.seq_of(2), json.boot.as_str()),
        (Class::Bulk, 43, "17-3fa9c2d1")
    );
    for (item, record) in json.records.iter().zip(&records) {
        assert_eq!(
            (item.mono_ns, item.wall_ns),
            (record.monotonic_ns, record.wall_ns)
        );
        match (&item.body, &record.body) {
            (
                ItemBody::Sample {
                    ch,
                    value,
                    unit,
                    cal,
                    quality,
                },
                Body::Sample {
                    channel,
                    value: given,
                    quality: trust,
                },
            ) => {
                assert_eq!((ch, unit, quality), (&channel.name, &channel.unit, trust));
                assert_eq!(cal.as_deref(), channel.version());
                assert_eq!(format!("{value:?}"), format!("{given:?}"));
            }
            (
                ItemBody::Frame { ch, bytes, quality },
                Body::Frame {
                    channel,
                    bytes: given,
                    quality: trust,
                },
            ) => {
                assert_eq!(
                    (ch.as_str(), &bytes[..], quality),
                    (channel.name.as_str(), &given[..], trust)
                );
            }
            (
                ItemBody::Gap {
                    from_ns,
                    to_ns,
                    cause,
                    lost,
                    detail,
                },
                Body::Gap(gap),
            ) => {
                assert_eq!(
                    (*from_ns, *to_ns, *lost),
                    (gap.from_ns, gap.to_ns, gap.lost)
                );
                assert_eq!((cause.as_str(), detail), (gap.cause.name(), &gap.detail));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn unknown_fields_and_kinds_are_skipped_and_other_versions_refused() {
    let text = r#"{"v":1,"new":{"a":[1]},"agent":"a","boot":"1-00000000","stream":"s","seq":1,
        "records":[{"mono_ns":1,"wall_ns":-2,"novel":{"x":1}}]}"#;
    assert_eq!(
        decode(text.as_bytes()).unwrap().records[0].body,
        ItemBody::Unknown
    );
    let newer = text.replace("\"v\":1", "\"v\":2");
    assert_eq!(
        decode(newer.as_bytes()),
        Err(PayloadError::Version { found: 2 })
    );
    assert_eq!(decode(b""), Err(PayloadError::NeitherJsonNorCbor));
    let long = vec![b'{'; MESSAGE_MAX_BYTES + 1];
    assert!(matches!(decode(&long), Err(PayloadError::TooLong { .. })));
}

#[test]
fn truncated_and_damaged_messages_are_errors_and_never_panics() {
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let whole = encoded(encoding, Class::Critical, &documented());
        for len in 0..whole.len() {
            assert!(
                decode(&whole[..len]).is_err(),
                "{} cut at {len} was read",
                encoding.name()
            );
        }
        for _ in 0..20_000 {
            let mut damaged = whole.clone();
            for _ in 0..=random() % 4 {
                let place = random() % damaged.len();
                damaged[place] = u8::try_from(random() % 256).unwrap();
            }
            // Damage within a text reads as another text: all that is asked is an end.
            drop(decode(&damaged));
        }
    }
    // Lengths and depths that lie.
    assert!(decode(&[0xbb, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
    let mut deep = b"\xa1\x63new".to_vec();
    deep.extend(std::iter::repeat_n(0x81, 100_000));
    assert!(decode(&deep).is_err());
    let mut deep = b"{\"new\":".to_vec();
    deep.extend(std::iter::repeat_n(b'[', 100_000));
    assert!(decode(&deep).is_err());
}

/// The part of JSON Schema that the schema uses, checked with unknown properties as errors: what is written and not
/// described fails.
fn conforms(root: &Json, schema: &Json, value: &Json, path: &str) {
    if let Some(reference) = schema.get("$ref") {
        let name = reference
            .as_str()
            .unwrap()
            .strip_prefix("#/$defs/")
            .unwrap();
        return conforms(root, &root["$defs"][name], value, path);
    }
    let keys = schema.as_object().unwrap();
    if let Some(constant) = keys.get("const") {
        assert_eq!(value, constant, "{path}");
    }
    if let Some(allowed) = keys.get("enum") {
        assert!(
            allowed.as_array().unwrap().contains(value),
            "{path}: {value} is not in {allowed}"
        );
    }
    for required in keys
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        assert!(
            value.get(required.as_str().unwrap()).is_some(),
            "{path}: {required} is missing"
        );
    }
    match keys.get("type").and_then(Json::as_str) {
        Some("object") => {
            for (key, inner) in value.as_object().expect(path) {
                let place = format!("{path}.{key}");
                let described = keys["properties"]
                    .get(key)
                    .unwrap_or_else(|| panic!("{place}"));
                conforms(root, described, inner, &place);
            }
        }
        Some("array") => {
            for inner in value.as_array().expect(path) {
                conforms(root, &keys["items"], inner, path);
            }
        }
        Some("string") => assert!(value.is_string(), "{path}"),
        Some("integer") => assert!(value.is_i64() || value.is_u64(), "{path}"),
        _ => {}
    }
    if let Some(kinds) = keys.get("oneOf").and_then(Json::as_array) {
        let present = kinds
            .iter()
            .filter(|kind| value.get(kind["required"][0].as_str().unwrap()).is_some())
            .count();
        assert_eq!(present, 1, "{path}: one kind");
    }
}

#[test]
fn every_field_that_is_written_is_in_the_schema() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    for class in Class::ALL {
        let mut records = documented();
        records.push(sample(4, Value::Bool(true), Quality::Uncertain));
        records.push(frame(Quality::Bad));
        records.push(calibrated());
        let json = encoded(Encoding::Json, class, &records);
        conforms(
            &schema,
            &schema,
            &serde_json::from_slice(&json).unwrap(),
            "message",
        );
    }
}
