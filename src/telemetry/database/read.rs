//! A database from TOML. All that is wrong with it is found at once, and then there is none.

mod conditions;
mod contexts;

use super::curve::{Curve, Outside, POINTS_MAX, Points};
use super::field::{Coding, Layout};
use super::limit::Limits;
use super::{
    Condition, Database, ENTRIES_MAX, FIELDS_MAX, Field, Key, NAME_BYTES_MAX, Packet, Parameter,
    units,
};
use crate::config::{Problem, Section, nearest, parse_all};
use crate::telemetry::packet::{HEADER_BYTES, IDLE_APID, PACKET_BYTES_MAX};
use crate::telemetry::pus::Issue;
use conditions::{compared, place};
use contexts::Asked;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Longest packet, in bits.
const PACKET_BITS_MAX: u64 = 8 * PACKET_BYTES_MAX as u64;

type Curves = BTreeMap<String, Arc<Curve>>;

/// Reads a database; or all its problems, in the order of their lines.
pub(super) fn read(text: &str) -> Result<Database, Vec<Problem>> {
    let (made, problems) = parse_all(text, |root, _| database(root, text));
    match made.flatten() {
        Some(database) if problems.is_empty() => Ok(database),
        _ => Err(problems),
    }
}

fn database(root: &mut Section<'_>, text: &str) -> Option<Database> {
    let remedy = "write what these values are to be known by, such as version = \"1\"";
    let version = root.required_text("version", remedy);
    let issues = [
        ("none", None),
        ("pus-a", Some(Issue::A)),
        ("pus-c", Some(Issue::C)),
    ];
    let secondary = root.choice("secondary", &issues, None);
    let mut curves = Curves::new();
    for (name, section) in root.sections("curves") {
        if let Some(curve) = curve(section) {
            curves.insert(name, Arc::new(curve));
        }
    }
    let (mut parameters, mut asked) = (HashMap::new(), Asked::default());
    for (name, section) in bounded(root, "parameters") {
        let parameter = parameter(&name, section, &curves, &mut asked);
        parameters.insert(name, parameter);
    }
    let mut packets = HashMap::new();
    let tables = bounded(root, "packets");
    for (name, mut section) in tables {
        let key = key(&mut section, secondary);
        let fields = fields(&name, &mut section, &asked);
        let Some(key) = key else { continue };
        let packet = Packet {
            name,
            when: Vec::new(),
            fields,
        };
        let kinds: &mut Vec<Packet> = packets.entry(key).or_default();
        if let Some(other) = kinds.first() {
            let what = format_args!("is that of packets.{}, too", other.name);
            section.problem("apid", what, "tell them apart by service and subtype");
        }
        kinds.push(packet);
    }
    asked.finish();
    let sum = crc32c::crc32c(text.as_bytes());
    Some(Database {
        version: format!("{}-{sum:08x}", version?).into(),
        secondary,
        packets,
        others: Vec::new(),
        parameters,
        arrays: HashMap::new(),
        passed: Vec::new(),
    })
}

fn bounded<'a>(root: &mut Section<'a>, key: &'static str) -> Vec<(String, Section<'a>)> {
    let tables = root.sections(key);
    if tables.len() > ENTRIES_MAX {
        let what = format_args!("has {} tables", tables.len());
        root.problem(key, what, format_args!("keep it to {ENTRIES_MAX}"));
    }
    for (name, section) in &tables {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            let remedy = format_args!("choose a name of 1 to {NAME_BYTES_MAX} bytes");
            section.problem("", "has a name that cannot be used", remedy);
        }
    }
    tables
}

fn curve(mut section: Section<'_>) -> Option<Curve> {
    let kind = section.kind(&["polynomial", "linear", "steps", "spline", "table"]);
    let (key, made) = match kind {
        None => {
            section.ignore();
            return None;
        }
        Some("polynomial") => {
            let coefficients = section.numbers("coefficients");
            if !(1..=POINTS_MAX).contains(&coefficients.len()) {
                let what = format_args!("has {} numbers", coefficients.len());
                let remedy = format_args!("write 1 to {POINTS_MAX}, that of x^0 first");
                section.problem("coefficients", what, remedy);
            }
            return Some(Curve::Polynomial(coefficients));
        }
        Some("table") => {
            let mut points = Vec::new();
            if let Some(values) = section.section("values") {
                for (x, y) in values.entries() {
                    match (x.parse::<f64>(), y.parse::<f64>()) {
                        (Ok(x), Ok(y)) if x.is_finite() && y.is_finite() => points.push((x, y)),
                        _ => {
                            let what = format_args!("has {x:?} = {y}");
                            let remedy = "write numbers: values = { \"0\" = 1.5, \"1\" = 3 }";
                            section.problem("values", what, remedy);
                        }
                    }
                }
            }
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let points = Points::new(&points, 1, Outside::Bad);
            ("values", points.map(Curve::Table))
        }
        Some(kind) => {
            let points = section.pairs("points");
            let choices = [
                ("bad", Outside::Bad),
                ("clamp", Outside::Clamp),
                ("extrapolate", Outside::Extrapolate),
            ];
            let outside = section.choice("outside", &choices, Outside::Bad);
            let points = Points::new(&points, 2, outside);
            let made = match kind {
                "spline" => points.and_then(Curve::spline),
                "steps" => points.map(Curve::Steps),
                _ => points.map(Curve::Linear),
            };
            ("points", made)
        }
    };
    let remedy = "write at least two, such as [[0, -40.0], [255, 85.0]], in the order of their first numbers";
    made.map_err(|error| section.problem(key, error, remedy))
        .ok()
}

fn key(section: &mut Section<'_>, secondary: Option<Issue>) -> Option<Key> {
    if !section.has("apid") {
        section.problem(
            "apid",
            "is missing",
            "write 0 to 2046, as in the primary header",
        );
    }
    let apid = section.optional_integer("apid", 0..=u64::from(IDLE_APID) - 1);
    let byte = |value: Option<u64>| value.and_then(|value| u8::try_from(value).ok());
    let service = byte(section.optional_integer("service", 0..=255));
    let subtype = byte(section.optional_integer("subtype", 0..=255));
    if service.is_some() != subtype.is_some() {
        let remedy = "give both service and subtype, or neither";
        section.problem("service", "stands without the other one", remedy);
    }
    if service.is_some() && secondary.is_none() {
        let remedy = "write secondary = \"pus-c\" or \"pus-a\" at the top";
        section.problem("service", "needs secondary headers", remedy);
    }
    Some(Key {
        apid: u16::try_from(apid?).ok()?,
        service: service.zip(subtype),
    })
}

fn fields(packet_name: &str, packet: &mut Section<'_>, asked: &Asked<'_>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut names = HashSet::new();
    let mut next_bits = 8 * HEADER_BYTES as u64;
    for mut section in packet.tables("fields") {
        let name = section.required_text("name", "write the name of its parameter");
        let laid = field(&mut section, &mut next_bits);
        let Some((name, (first, count, stride))) = name.clone().zip(laid) else {
            let _ = section.section("valid_if").map(Section::ignore);
            asked.unread(name);
            continue;
        };
        let valid_if: Vec<Condition> = section
            .section("valid_if")
            .and_then(compared)
            .and_then(|one| {
                Some(Condition {
                    field: place(&one, &fields, None, asked)?,
                    range: one.range,
                })
            })
            .into_iter()
            .collect();
        if !names.insert(name.clone()) {
            section.problem("name", format_args!("is {name:?} again"), "choose another");
        }
        if fields.len() + count.unwrap_or(1) > FIELDS_MAX {
            let what = format_args!("makes more than {FIELDS_MAX} fields of one packet");
            section.problem("count", what, "leave fields out");
            asked.unread(Some(name));
            continue;
        }
        let names: Vec<String> = match count {
            Some(count) => (0..count).map(|at| format!("{name}.{at}")).collect(),
            None => vec![name],
        };
        let contexts = asked.fields(packet_name, &names, &fields);
        for (at, (name, contexts)) in names.into_iter().zip(contexts).enumerate() {
            let layout = Layout {
                at_bits: first.at_bits + at * stride,
                ..first
            };
            fields.push(Field {
                name,
                layout,
                extent: None,
                valid_if: valid_if.clone(),
                contexts,
            });
        }
    }
    fields
}

/// Layout, number of elements where it is an array, and their distance in bits.
fn field(section: &mut Section<'_>, next_bits: &mut u64) -> Option<(Layout, Option<usize>, usize)> {
    let codings = Coding::NAMES.map(|(name, _)| name);
    let coding = section.kind(&codings);
    let coding = Coding::NAMES.iter().find(|(name, _)| Some(*name) == coding);
    if !section.has("bits") {
        section.problem("bits", "is missing", "write the width of the field");
    }
    let bits = section.optional_integer("bits", 1..=PACKET_BITS_MAX);
    let at_bytes = section.optional_integer("at_bytes", 0..=PACKET_BITS_MAX / 8);
    let at_bits = section.optional_integer("at_bits", 0..=PACKET_BITS_MAX);
    let at = match (at_bytes, at_bits) {
        (None, None) => *next_bits,
        (bytes, bits) => 8 * bytes.unwrap_or(0) + bits.unwrap_or(0),
    };
    let little_endian = section.choice("byte_order", &[("big", false), ("little", true)], false);
    let count = section.optional_integer("count", 1..=FIELDS_MAX as u64);
    let stride = section.optional_integer("stride_bits", 1..=PACKET_BITS_MAX);
    let ((_, coding), bits) = (coding?, bits?);
    let stride = stride.unwrap_or(bits);
    let end = at + stride * (count.unwrap_or(1) - 1) + bits;
    *next_bits = end;
    if end > PACKET_BITS_MAX {
        let what = format_args!("leads to bit {end}");
        let remedy = format_args!("a packet has {PACKET_BITS_MAX} bits at most");
        section.problem("bits", what, remedy);
        return None;
    }
    let size = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
    if !coding.allows(size(bits)) {
        let what = format_args!("is {bits}, which this type cannot have");
        let remedy = "uint, int and bool have 1 to 64 bits, sign_magnitude and ones_complement 2 to 64, float 16, 32 or 64, mil1750a 32 or 48, text and bytes whole bytes";
        section.problem("bits", what, remedy);
        return None;
    }
    if little_endian && !bits.is_multiple_of(8) {
        let remedy = "little-endian fields have whole bytes";
        section.problem("byte_order", "is little", remedy);
        return None;
    }
    let layout = Layout {
        at_bits: size(at),
        bits: size(bits),
        little_endian,
        coding: *coding,
    };
    Some((layout, count.map(size), size(stride)))
}

/// The curve that a table names.
fn named_curve(section: &mut Section<'_>, curves: &Curves) -> Option<Arc<Curve>> {
    let name = section.text("curve")?;
    let found = curves.get(&name).cloned();
    if found.is_none() {
        let hint = nearest(&name, curves.keys().map(String::as_str))
            .map_or_else(String::new, |known| format!(" (did you mean {known:?}?)"));
        let what = format_args!("is {name:?}, and there is no right [curves.{name}]{hint}");
        section.problem("curve", what, "name a table of [curves]");
    }
    found
}

fn parameter<'a>(
    name: &str,
    mut section: Section<'a>,
    curves: &Curves,
    asked: &mut Asked<'a>,
) -> Parameter {
    let curve = named_curve(&mut section, curves);
    let unit = section.text("unit");
    if let Some(unit) = &unit
        && let Err(error) = units::check(unit)
    {
        let remedy = "write a UCUM code, such as V, Cel, kPa, m/s2, 1";
        section.problem("unit", format_args!("is {unit:?}: {error}"), remedy);
    }
    let mut labels = Vec::new();
    if let Some(table) = section.section("labels") {
        for (value, label) in table.entries() {
            if let Ok(value) = value.parse::<i64>() {
                labels.push((value, label));
            } else {
                let what = format_args!("has {value:?} = {label:?}");
                section.problem(
                    "labels",
                    what,
                    "write labels = { \"0\" = \"off\", \"1\" = \"on\" }",
                );
            }
        }
    }
    labels.sort();
    let limits = limits(&mut section);
    Parameter {
        curve,
        contexts: asked.read(name, section, curves),
        unit,
        limits,
        labels: labels.into(),
        ranges: Arc::default(),
        valid: None,
    }
}

fn limits(section: &mut Section<'_>) -> Option<Limits> {
    let keys = ["red_low", "yellow_low", "yellow_high", "red_high"];
    let given = keys.map(|key| section.number(key));
    let hysteresis = section.number("hysteresis");
    let persistence = section.optional_integer("persistence", 1..=1000);
    if given.iter().all(Option::is_none) {
        for (key, is_there) in [
            ("hysteresis", hysteresis.is_some()),
            ("persistence", persistence.is_some()),
        ] {
            if is_there {
                section.problem(
                    key,
                    "has no limit",
                    format_args!("give some of {}", keys.join(", ")),
                );
            }
        }
        return None;
    }
    let mut before: Option<(f64, &str)> = None;
    for (key, value) in keys.into_iter().zip(given) {
        let Some(value) = value else { continue };
        if let Some((lower, name)) = before.filter(|(lower, _)| *lower > value) {
            let what = format_args!("is {value}, below {name} = {lower}");
            section.problem(
                key,
                what,
                format_args!("let them rise: {}", keys.join(", ")),
            );
        }
        before = Some((value, key));
    }
    if hysteresis.is_some_and(|width| width < 0.0) {
        section.problem(
            "hysteresis",
            "is below 0",
            "write how far within a limit an alarm ends",
        );
    }
    let [red_low, yellow_low, yellow_high, red_high] = given;
    let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
    Some(Limits {
        yellow: (yellow_low.unwrap_or(low), yellow_high.unwrap_or(high)),
        red: (red_low.unwrap_or(low), red_high.unwrap_or(high)),
        hysteresis: hysteresis.unwrap_or(0.0),
        persistence: persistence.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
    })
}
