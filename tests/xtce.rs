//! Telemetry databases in XTCE: the same packets are read by them as by the same database in TOML, and as by a reader of
//! others' making; xtce/example.rs is for the one of the example. In xtce/decode.rs, what the command line makes of a recording by them.
#![cfg(feature = "xtce")]

#[path = "xtce/decode.rs"]
mod decode;
#[path = "xtce/example.rs"]
mod example;
mod support;

use dunlin::telemetry::database::field::Raw;
use dunlin::telemetry::database::{Database, Found, read};
use serde_json::Value as Json;
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
    kind.read(packet, |field, found| {
        if let Found::Value(raw) = found {
            all.push((field.name.clone(), said(&raw)));
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
        .args(["craft.xml", "more.xml", example::XTCE].map(file))
        .output()
        .unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
fn space_packet_parser_reads_the_same_from_random_packets() {
    let (xtce, toml) = (database("craft.xml"), database("craft.toml"));
    let (mut packets, mut values, mut curved, mut labels) = (0, 0, 0, 0);
    for seed in 1..=3 {
        for line in theirs("craft.xml", seed, 400) {
            let packet = hex(line["hex"].as_str().unwrap());
            assert_eq!(
                xtce.packet(&packet).unwrap().name,
                line["container"].as_str().unwrap()
            );
            let ours = found(&xtce, &packet);
            assert_eq!(ours, found(&toml, &packet), "{line}");
            let theirs = line["values"].as_object().unwrap();
            assert_eq!(ours.len(), theirs.len(), "{line}");
            let kind = xtce.packet(&packet).unwrap();
            kind.read(&packet, |field, found| {
                let Found::Value(raw) = found else {
                    panic!("{} of {line}: {found:?}", field.name);
                };
                let theirs = &theirs[&field.name];
                let wanted = match &theirs["raw"] {
                    Json::String(text) => text.clone(),
                    number => number.to_string(),
                };
                let is_nan = said(&raw) == "nan"
                    && f64::from_bits(u64::from_str_radix(&wanted, 16).unwrap()).is_nan();
                assert!(
                    is_nan || said(&raw) == wanted,
                    "{} of {line}: {raw:?}",
                    field.name
                );
                values += 1;
                let parameter = xtce.parameter(&field.name).unwrap();
                if parameter.curve.is_some() {
                    let value = parameter.calibrated(raw.number().unwrap()).unwrap();
                    assert!(
                        is_near(value, theirs["value"].as_str().unwrap()),
                        "{} of {line}: {value}",
                        field.name
                    );
                    curved += 1;
                }
                if let (Raw::Int(number), false) = (&raw, parameter.labels.is_empty()) {
                    assert_eq!(parameter.label(*number), theirs["value"].as_str(), "{line}");
                    labels += 1;
                }
            });
            packets += 1;
        }
    }
    assert_eq!(packets, 1200);
    assert!(
        values > 12_000 && curved > 1000 && labels > 2000,
        "{values} {curved} {labels}"
    );
    eprintln!("{packets} packets, {values} values, {curved} of curves, {labels} with labels");
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
