//! Telemetry databases in XTCE: the same packets are read by them as by the same database in TOML, and as by a reader of
//! others' making; xtce/example.rs is for the one of the example, xtce/published.rs for those that others published. In
//! xtce/decode.rs, what the command line makes of a recording by them.
#![cfg(feature = "xtce")]

#[path = "xtce/decode.rs"]
mod decode;
#[path = "xtce/example.rs"]
mod example;
#[path = "xtce/published.rs"]
mod published;
mod support;

use dunlin::telemetry::database::field::{Coding, Raw};
use dunlin::telemetry::database::{Database, Field, Found, read};
use serde_json::Value as Json;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use support::{dunlin, lab};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/xtce")
        .join(name)
}

fn database(name: &str) -> Database {
    let file = file(name);
    let text = fs::read_to_string(&file).unwrap();
    read(&file, &text).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"))
}

/// What a packet has: the bits of a float tell one that is no number from another.
fn found(database: &Database, packet: &[u8]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let kind = database.packet(packet).expect("a packet of the database");
    kind.read(packet, |field, found, _| {
        if let Found::Value(raw) = found {
            all.push((field.name.clone(), said(&raw)));
        }
    });
    all
}

/// The contexts that values of a packet are in.
fn contexts(database: &Database, packet: &[u8]) -> Vec<(String, Option<u128>)> {
    let mut all = Vec::new();
    let kind = database.packet(packet).expect("a packet of the database");
    kind.read(packet, |field, _, context| {
        if let Some(parameter) = database
            .parameter(&field.name)
            .filter(|_| context.is_some())
        {
            all.push((field.name.clone(), parameter.context(context)));
        }
    });
    all
}

fn said(raw: &Raw) -> String {
    match raw {
        Raw::Int(value) => value.to_string(),
        Raw::Bool(value) => u8::from(*value).to_string(),
        Raw::Float(value) if value.is_nan() => "nan".to_owned(),
        Raw::Float(value) => format!("{:016x}", value.to_bits()),
        Raw::Bytes(bytes) => bytes
            .iter()
            .fold(String::new(), |all, byte| all + &format!("{byte:02x}")),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// One packet a line, as `lab/xtce_reader.py` reads them.
fn theirs(name: &str, seed: u64, count: u64) -> Vec<Json> {
    let mut reader = lab("xtce_reader.py");
    let ended = reader
        .arg("packets")
        .arg(file(name))
        .args([seed.to_string(), count.to_string()])
        .output();
    let ended = ended.expect("the lab is installed: scripts/setup.sh test");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let text = String::from_utf8(ended.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether two values are the same but for the last digits, in which the order of operations shows.
fn is_near(ours: f64, theirs: &str) -> bool {
    let theirs = f64::from_bits(u64::from_str_radix(theirs, 16).unwrap());
    (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0)
}

#[test]
fn the_samples_are_valid_by_the_schema_of_the_standard() {
    let mut reader = lab("xtce_reader.py");
    let ended = reader
        .arg("check")
        .args(["craft.xml", "more.xml", "nested.xml", example::XTCE].map(file))
        .output()
        .unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// How many values there were, of curves, in contexts, and with labels.
#[derive(Default)]
struct Met {
    values: usize,
    curved: usize,
    contexts: usize,
    labels: usize,
}

/// Asserts that a database reads from a packet what another reader read: what it is in bits, and what it means.
fn agrees(database: &Database, line: &Json, met: &mut Met) {
    let packet = hex(line["hex"].as_str().unwrap());
    let kind = database.packet(&packet).expect("a packet of the database");
    assert_eq!(kind.name, line["container"].as_str().unwrap(), "{line}");
    let theirs = line["values"].as_object().unwrap();
    // What stands around a text is of their database alone.
    let theirs = |name: &str| theirs.get(name).filter(|_| !name.contains('#'));
    let mut names = HashSet::new();
    kind.read(&packet, |field, found, context| {
        let Found::Value(raw) = found else {
            panic!("{} of {line}: {found:?}", field.name);
        };
        let theirs = theirs(&field.name).unwrap_or_else(|| panic!("{} of {line}", field.name));
        assert!(
            is_same(field, &raw, &theirs["raw"]),
            "{} of {line}: {raw:?}",
            field.name
        );
        assert!(names.insert(field.name.clone()), "{} of {line}", field.name);
        met.values += 1;
        let parameter = database.parameter(&field.name).unwrap();
        let key = parameter.context(context);
        if parameter.curve_in(key).unwrap().is_some() {
            let value = parameter.calibrated(raw.number().unwrap(), key).unwrap();
            assert!(
                is_near(value, theirs["value"].as_str().unwrap()),
                "{} of {line}: {value}",
                field.name
            );
            met.curved += 1;
            met.contexts += usize::from(context.is_some());
        }
        if let (Raw::Int(number), false) = (&raw, parameter.labels.is_empty()) {
            assert_eq!(parameter.label(*number), theirs["value"].as_str(), "{line}");
            met.labels += 1;
        }
    });
    let all = line["values"].as_object().unwrap();
    let all = all.keys().filter(|name| !name.contains('#'));
    assert_eq!(all.count(), names.len(), "{line}");
}

/// Whether a value is what another reader has: a number, the bits of one with a point, or bytes.
fn is_same(field: &Field, raw: &Raw, theirs: &Json) -> bool {
    let Json::String(wanted) = theirs else {
        let whole = theirs.as_u64().filter(|whole| *whole > i64::MAX as u64);
        return match whole {
            Some(whole) => *raw == Raw::Float(whole as f64),
            None => theirs.as_i64().map(|whole| whole.to_string()) == Some(said(raw)),
        };
    };
    match raw {
        Raw::Float(value) if value.is_nan() => {
            f64::from_bits(u64::from_str_radix(wanted, 16).unwrap()).is_nan()
        }
        Raw::Bytes(bytes) if field.layout.coding == Coding::Text => {
            let wanted = hex(wanted);
            wanted.split(|byte| *byte == 0).next() == Some(bytes)
        }
        other => said(other) == *wanted,
    }
}

#[test]
fn space_packet_parser_reads_the_same_from_random_packets() {
    let (xtce, toml) = (database("craft.xml"), database("craft.toml"));
    let mut met = Met::default();
    for seed in 1..=3 {
        for line in theirs("craft.xml", seed, 400) {
            let packet = hex(line["hex"].as_str().unwrap());
            assert_eq!(found(&xtce, &packet), found(&toml, &packet), "{line}");
            let of_toml = contexts(&toml, &packet);
            assert_eq!(contexts(&xtce, &packet), of_toml, "{line}");
            agrees(&xtce, &line, &mut met);
        }
    }
    let Met {
        values,
        curved,
        contexts,
        labels,
    } = met;
    assert!(
        values > 12_000 && curved > 1000 && contexts > 150 && labels > 2000,
        "{values} {curved} {contexts} {labels}"
    );
    eprintln!(
        "1200 packets, {values} values, {curved} of curves, {contexts} in contexts, {labels} with labels"
    );
}

/// It reads them from the same database with all values apart.
#[test]
fn values_of_arrays_and_aggregates_and_of_any_size_are_read_the_same() {
    let nested = database("nested.xml");
    let mut met = Met::default();
    for seed in 1..=2 {
        for line in theirs("nested.xml", seed, 400) {
            agrees(&nested, &line, &mut met);
        }
    }
    assert!(
        met.values > 20_000 && met.curved > 9000 && met.labels > 1500,
        "{} {} {}",
        met.values,
        met.curved,
        met.labels
    );
    for (name, unit, is_limited) in [
        ("Camera.CHANNELS.1.GRID.1.2", Some("K"), true),
        ("Camera.SENT", None, false),
        ("Camera.LASTED", Some("d"), false),
        ("TIME", Some("s"), false),
    ] {
        let parameter = nested.parameter(name).unwrap();
        assert_eq!(parameter.unit.as_deref(), unit, "{name}");
        assert_eq!(parameter.limits.is_some(), is_limited, "{name}");
    }
}

#[test]
fn xtce_and_toml_are_one_database() {
    for (name, size) in [("craft", (3, 42, 21)), ("more", (2, 18, 11))] {
        let (xtce, toml) = (
            database(&format!("{name}.xml")),
            database(&format!("{name}.toml")),
        );
        assert_eq!(xtce.size(), size);
        let (ours, theirs) = (xtce.version.rsplit_once('-'), toml.version.rsplit_once('-'));
        assert_eq!(ours.unwrap().0, theirs.unwrap().0);
        let mut state = 7_u64;
        let mut met = 0;
        for _ in 0..3000 {
            let mut packet = [0; 60];
            for byte in &mut packet {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *byte = state.to_be_bytes()[0];
            }
            packet[1] = 42 + packet[0] % 2;
            packet[0] = 8;
            // Of APID 43, more.xml has none.
            let Some(kind) = toml.packet(&packet) else {
                assert!(xtce.packet(&packet).is_none());
                continue;
            };
            met += 1;
            let wanted = found(&toml, &packet);
            let mut ours = found(&xtce, &packet);
            // Fields that TOML has under its own condition, and XTCE in another kind of packet.
            ours.sort();
            let mut wanted: Vec<_> = wanted
                .into_iter()
                .filter(|(name, _)| {
                    packet[6] < 128 || !["Aocs.CURRENT", "Aocs.FLUX"].contains(&name.as_str())
                })
                .collect();
            wanted.sort();
            assert_eq!(ours, wanted, "{packet:02x?}");
            for field in &kind.fields {
                let (ours, wanted) = (xtce.parameter(&field.name), toml.parameter(&field.name));
                assert_eq!(
                    ours.unwrap(),
                    wanted.unwrap_or(&dunlin::telemetry::database::Parameter::default())
                );
            }
        }
        assert!(met > 1000);
    }
}

#[test]
fn the_command_line_finds_every_mistake_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let right = file("more.xml");
    let ended = dunlin(&["telemetry", "check", right.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended
            .stdout
            .contains(": 2 packets, 18 fields, 11 parameters\n"),
        "{}",
        ended.stdout
    );
    let text = fs::read_to_string(&right).unwrap();
    let wrong = text
        .replace("parameterTypeRef=\"Flux\"", "parameterTypeRef=\"Flax\"")
        .replace("sizeInBits=\"48\"", "sizeInBits=\"47\"")
        .replace("IncludeCondition>", "IncludeConditions>")
        .replace("value=\"science\"", "value=\"sleep\"");
    let wanted: Vec<usize> = wrong
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            ["Flax", "\"47\"", "<xtce:IncludeConditions"]
                .iter()
                .any(|mark| line.contains(mark))
        })
        .map(|(at, _)| at + 1)
        .collect();
    let bad = dir.path().join("bad.xml");
    fs::write(&bad, wrong).unwrap();
    let ended = dunlin(&["telemetry", "check", bad.to_str().unwrap()]);
    assert_eq!(ended.code, 78, "{}", ended.stdout);
    let lines: Vec<usize> = ended
        .stderr
        .lines()
        .filter_map(|line| {
            line.split_once("bad.xml:")?
                .1
                .split(':')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(lines, wanted, "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("Remedy: ").count(),
        lines.len(),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("(did you mean IncludeCondition?)"),
        "{}",
        ended.stderr
    );
}
