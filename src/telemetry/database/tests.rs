use super::field::Coding;
use super::*;
use crate::telemetry::testing::Chance;
use std::fmt::Write as _;

pub(super) fn read(text: &str) -> Result<Database, Vec<Problem>> {
    super::read(Path::new("db.toml"), text)
}

fn good(text: &str) -> Database {
    read(text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

/// What is wrong with a database, without the file's name.
pub(super) fn wrong(text: &str) -> String {
    let problems = read(text).unwrap_err();
    let lines = problems
        .iter()
        .map(|p| format!("{}: {}: {}; {}\n", p.line, p.key, p.what, p.remedy));
    lines.collect()
}

/// Asserts of each change of a database that this is said of it.
pub(super) fn each_change_says<'a>(
    database: &str,
    cases: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) {
    for (from, to, said) in cases {
        assert!(database.contains(from), "{from}");
        let said_of_it = wrong(&database.replacen(from, to, 1));
        assert!(said_of_it.contains(said), "{said}:\n{said_of_it}");
    }
}

fn packet(apid: u16, data: &[u8]) -> Vec<u8> {
    crate::telemetry::testing::packet(apid, 0, crate::telemetry::packet::Part::Whole, data)
}

fn found<'a>(database: &'a Database, bytes: &[u8]) -> Vec<(&'a str, Found)> {
    let mut all = Vec::new();
    let packet = database.packet(bytes).expect("a packet of the database");
    packet.read(bytes, |field, found, _| {
        all.push((field.name.as_str(), found));
    });
    all
}

const BATTERY: &str = r#"
version = "7"

[curves.volts]
type = "polynomial"
coefficients = [0, 0.01]

[packets.power]
apid = 42
fields = [
    { name = "mode", type = "uint", bits = 4 },
    { name = "battery", type = "uint", bits = 12 },
    { name = "cells", type = "int", bits = 8, count = 3 },
    { name = "heater", type = "bool", bits = 1, valid_if = { field = "mode", min = 2 } },
    { name = "serial", type = "text", at_bytes = 14, bits = 32 },
]

[parameters.battery]
curve = "volts"
unit = "V"
yellow_low = 7.0
red_low = 6.5
hysteresis = 0.1
persistence = 2

[parameters.mode]
labels = { "0" = "off", "1" = "safe", "2" = "science" }
"#;

#[test]
fn fields_of_a_packet() {
    let database = good(BATTERY);
    assert_eq!(database.size(), (1, 7, 2));
    let mut bytes = packet(
        42,
        &[0x22, 0xbc, 5, 0xff, 0x80, 0x80, 0, 0, b'A', b'1', 0, b'x'],
    );
    let int = |value| Found::Value(Raw::Int(value));
    let wanted = [
        ("mode", int(2)),
        ("battery", int(700)),
        ("cells.0", int(5)),
        ("cells.1", int(-1)),
        ("cells.2", int(-128)),
        ("heater", Found::Value(Raw::Bool(true))),
        ("serial", Found::Value(Raw::Bytes(b"A1".to_vec()))),
    ];
    assert_eq!(found(&database, &bytes), wanted);
    bytes[6] = 0x12;
    assert_eq!(found(&database, &bytes)[5], ("heater", Found::Invalid));
    bytes.truncate(17);
    assert_eq!(found(&database, &bytes)[6], ("serial", Found::Short));
    assert!(database.packet(&packet(43, &[0; 20])).is_none());
    let battery = database.parameter("battery").unwrap();
    assert_eq!(battery.calibrated(700.0, None), Some(7.0));
    assert_eq!(database.parameter("mode").unwrap().label(1), Some("safe"));
    assert!(database.parameter("battery.x").is_none() && database.parameter("battery.3").is_some());
    assert!(database.parameter("battery.3.1").is_none());
}

#[test]
fn packets_are_told_apart_by_service() {
    let text = "version = '1'\nsecondary = 'pus-c'\n[packets.a]\napid = 5\nservice = 3\nsubtype = 25\n[packets.b]\napid = 5\n";
    let database = good(text);
    let mut bytes = packet(5, &[0x20, 3, 25, 0, 0, 0, 0, 1]);
    bytes[0] |= 8;
    assert_eq!(database.packet(&bytes).unwrap().name, "a");
    bytes[8] = 26;
    assert_eq!(database.packet(&bytes).unwrap().name, "b");
}

#[test]
fn versions_are_of_the_text() {
    let other = BATTERY.replace("0.01", "0.02");
    assert!(good(BATTERY).version.starts_with("7-"));
    assert_ne!(good(BATTERY).version, good(&other).version);
    assert_eq!(good(BATTERY), good(BATTERY));
}

#[test]
fn every_mistake_is_found_at_once_and_named() {
    let cases = [
        ("version = \"7\"\n", "", "version: is missing"),
        (
            "\"volts\"",
            "\"vlots\"",
            "parameters.battery.curve: is \"vlots\", and there is no right [curves.vlots] (did you mean \"volts\"?)",
        ),
        (
            "[0, 0.01]",
            "[]",
            "curves.volts.coefficients: has 0 numbers",
        ),
        ("[0, 0.01]", "[0, \"x\"]", "has something else than numbers"),
        ("polynomial", "polynom", "curves.volts.type: is \"polynom\""),
        (
            "apid = 42",
            "apid = 2047",
            "packets.power.apid: is 2047, out of bounds",
        ),
        (
            "bits = 12",
            "bits = 65",
            "packets.power.fields[1].bits: is 65, which this type cannot have",
        ),
        (
            "bits = 12",
            "bitz = 12",
            "packets.power.fields[1].bitz: is an unknown key",
        ),
        (
            "bits = 12",
            "bits = 12, byte_order = \"little\"",
            "byte_order: is little",
        ),
        ("count = 3", "count = 4096", "makes more than 4096 fields"),
        ("at_bytes = 14", "at_bytes = 65542", "leads to bit 524368"),
        (
            "field = \"mode\"",
            "field = \"mod\"",
            "is \"mod\", which is no field before this one (did you mean \"mode\"?)",
        ),
        (", min = 2", "", "is no condition"),
        ("name = \"battery\"", "name = \"mode\"", "is \"mode\" again"),
        (
            "unit = \"V\"",
            "unit = \"volt\"",
            "parameters.battery.unit: is \"volt\"",
        ),
        (
            "red_low = 6.5",
            "red_low = 7.5",
            "parameters.battery.yellow_low: is 7, below red_low = 7.5",
        ),
        (
            "hysteresis = 0.1",
            "hysteresis = -0.1",
            "hysteresis: is below 0",
        ),
        (
            "\"1\" = \"safe\"",
            "one = \"safe\"",
            "parameters.mode.labels: has \"one\"",
        ),
        (
            "[parameters.mode]",
            "[packets.more]\napid = 42\n[parameters.mode]",
            "is that of packets.power, too",
        ),
        (
            "apid = 42",
            "apid = 42\nservice = 3\nsubtype = 1",
            "service: needs secondary headers",
        ),
        (
            "apid = 42",
            "apid = 42\nservice = 3",
            "service: stands without the other one",
        ),
    ];
    each_change_says(BATTERY, cases);
    let twice = BATTERY.replace("0.01", "x").replace('V', "volt");
    assert!(wrong(&twice).contains("is not valid TOML"));
    let twice = BATTERY
        .replace("polynomial", "line")
        .replace("\"V\"", "\"volt\"");
    assert_eq!(wrong(&twice).lines().count(), 3, "{}", wrong(&twice));
}

/// Every field that can be written is read back, whatever stands around it.
#[test]
fn fields_of_any_width_at_any_bit() {
    let mut chance = Chance::new(11);
    for round in 0..20_000 {
        let bits = 1 + chance.below(64);
        let at_bits = 48 + chance.below(90);
        let coding = if round % 2 == 0 {
            Coding::Uint
        } else {
            Coding::Int
        };
        let little_endian = bits.is_multiple_of(8) && chance.below(2) == 0;
        let word = chance.next() & (u64::MAX >> (64 - bits));
        let mut bytes = packet(1, &chance.bytes(30));
        let stored = if little_endian {
            word.swap_bytes() >> (64 - bits)
        } else {
            word
        };
        for bit in 0..bits {
            let (at, value) = (at_bits + bit, stored >> (bits - 1 - bit) & 1 == 1);
            let mask = 0x80 >> (at % 8);
            bytes[at / 8] = if value {
                bytes[at / 8] | mask
            } else {
                bytes[at / 8] & !mask
            };
        }
        let layout = Layout {
            at_bits,
            bits,
            little_endian,
            coding,
        };
        let wanted = match i64::try_from(word) {
            _ if coding == Coding::Int => {
                Raw::Int((word << (64 - bits)).cast_signed() >> (64 - bits))
            }
            Ok(word) => Raw::Int(word),
            Err(_) => Raw::Float(word as f64),
        };
        assert_eq!(layout.read(&bytes), Some(wanted), "{layout:?}");
        assert_eq!(
            layout.read(&bytes[..(at_bits + bits).div_ceil(8) - 1]),
            None,
            "{layout:?}"
        );
    }
}

/// IEEE 754 as Rust has it; half precision and MIL-STD-1750A by their published examples.
#[test]
fn floats() {
    let float = |coding, bits, word: u64| {
        let layout = Layout {
            at_bits: 0,
            bits,
            little_endian: false,
            coding,
        };
        match layout.read(&(word << (64 - bits)).to_be_bytes()) {
            Some(Raw::Float(value)) => value,
            other => panic!("{other:?}"),
        }
    };
    let same = |found: f64, wanted: f64| found.to_bits() == wanted.to_bits();
    for value in [0.0, -0.0, 1.5, -1e30, f32::MIN_POSITIVE, f32::INFINITY] {
        assert!(same(
            float(Coding::Float, 32, value.to_bits().into()),
            value.into()
        ));
    }
    assert!(same(
        float(Coding::Float, 64, (-1e-300_f64).to_bits()),
        -1e-300
    ));
    for (word, wanted) in [
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0400, 2_f64.powi(-14)),
        (0x0001, 2_f64.powi(-24)),
        (0x7c00, f64::INFINITY),
        (0x3555, 0.333_251_953_125),
    ] {
        assert!(same(float(Coding::Float, 16, word), wanted), "{word:x}");
    }
    assert!(float(Coding::Float, 16, 0x7e00).is_nan());
    // The table of the standard, paragraph 4.1.6.
    for (word, wanted) in [
        (0x7fff_ff7f, (1.0 - 2_f64.powi(-23)) * 2_f64.powi(127)),
        (0x4000_007f, 0.5 * 2_f64.powi(127)),
        (0x5000_0004, 0.625 * 2_f64.powi(4)),
        (0x4000_0001, 1.0),
        (0x4000_0000, 0.5),
        (0x4000_00ff, 0.25),
        (0x4000_0080, 0.5 * 2_f64.powi(-128)),
        (0x0000_0000, 0.0),
        (0x8000_0000, -1.0),
        (0xbfff_ff80, (-0.5 - 2_f64.powi(-23)) * 2_f64.powi(-128)),
        (0x9fff_ff04, (-0.75 - 2_f64.powi(-23)) * 2_f64.powi(4)),
    ] {
        assert!(
            same(float(Coding::Mil1750a, 32, word), wanted),
            "{word:x}: {wanted}"
        );
    }
    for (word, wanted) in [
        (0x4000_007f_0000, 0.5 * 2_f64.powi(127)),
        (0x4000_0000_0000, 0.5),
        (0x8000_007f_0000, -(2_f64.powi(127))),
        (0xa000_00ff_0000, -0.75 * 0.5),
        (0x0000_0000_0001, 2_f64.powi(-39)),
    ] {
        assert!(
            same(float(Coding::Mil1750a, 48, word), wanted),
            "{word:x}: {wanted}"
        );
    }
}

#[test]
fn hostile_packets_and_databases_never_stop_it() {
    let database = good(BATTERY);
    let mut chance = Chance::new(4);
    for _ in 0..2000 {
        let length = chance.below(30);
        let mut bytes = chance.bytes(length);
        if let Some(first) = bytes.first_chunk_mut::<2>() {
            *first = [8, 42];
        }
        if let Some(packet) = database.packet(&bytes) {
            packet.read(&bytes, |_, _, _| {});
        }
        // A database with a few other bytes.
        let mut text = BATTERY.as_bytes().to_vec();
        for _ in 0..=chance.below(3) {
            let at = chance.below(text.len());
            text[at] = chance.bytes(1)[0] & 0x7f;
        }
        if let Ok(text) = String::from_utf8(text) {
            let mut said = String::new();
            match read(&text) {
                Ok(database) => write!(said, "{}", database.version).unwrap(),
                Err(problems) => assert!(!problems.is_empty()),
            }
        }
    }
}
