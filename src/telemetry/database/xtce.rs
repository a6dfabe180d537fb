//! A database from XTCE 1.2 (CCSDS 660.0-B): the subset that docs/telemetry.md names. What is not of it is refused by its
//! name, line and remedy; nothing is dropped that bears on how bits are read or what values mean.

mod calibrators;
mod comparisons;
mod containers;
mod element;
mod names;
mod tree;
mod types;

use super::field::{Coding, Layout};
use super::{Database, Key, Packet, Range, Test};
use crate::config::Problem;
use comparisons::Known;
use containers::{Laid, Layouts};
use element::Element;
use names::{Kind, Names};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;
use tree::Tree;

/// Most kinds of packet of one APID.
const KINDS_MAX: usize = 1024;
/// Most kinds of packet that no APID tells.
const OTHERS_MAX: usize = 256;
/// Longest version, in bytes.
const VERSION_BYTES_MAX: usize = 63;

/// Reads a database; or all its problems, in the order of their lines.
pub(super) fn read(text: &str) -> Result<Database, Vec<Problem>> {
    let tree = Tree::read(text);
    let database = Element::root(&tree).map(|root| database(root, text));
    let problems = tree.problems();
    match database {
        Some(database) if problems.is_empty() => Ok(database),
        _ => Err(problems),
    }
}

fn database(root: Element<'_>, text: &str) -> Database {
    let names = Names::read(root);
    let types: Vec<_> = names
        .types
        .iter()
        .map(|named| types::read(named.element))
        .collect();
    let mut parameters = HashMap::new();
    let mut of_parameters = Vec::new();
    for named in &names.parameters {
        let element = named.element;
        element.allow(
            &["name", "parameterTypeRef", "initialValue"],
            &["ParameterProperties"],
        );
        if let Some(properties) = element.child("ParameterProperties") {
            properties.allow(&["dataSource", "readOnly", "persistence"], &["SystemName"]);
        }
        let at = names.resolve(element, "parameterTypeRef", Kind::Type, named.system);
        let of = at.and_then(|at| types.get(at)?.clone());
        if let Some(of) = &of {
            parameters.insert(named.path.clone(), of.parameter.clone());
        }
        of_parameters.push(of);
    }
    let known = Known {
        names: &names,
        types: &of_parameters,
    };
    let (packets, others) = kinds(&names, Layouts::new(known));
    let passed = names.passed.iter().map(|element| {
        let (name, line) = (element.name(), element.line());
        format!("{name} on line {line} is not read: it says nothing of telemetry")
    });
    let sum = crc32c::crc32c(text.as_bytes());
    Database {
        version: format!("{}-{sum:08x}", version(root)).into(),
        secondary: None,
        packets,
        others,
        parameters,
        passed: passed.collect(),
    }
}

/// What the header calls the file.
fn version(root: Element<'_>) -> String {
    let header = root.child("Header");
    let given = header.and_then(|header| header.attribute("version").or(header.attribute("date")));
    let given = given.unwrap_or("xtce");
    if given.len() > VERSION_BYTES_MAX || given.contains(char::is_control) {
        let remedy = format!("choose one of at most {VERSION_BYTES_MAX} bytes");
        header
            .unwrap_or(root)
            .problem("has a version that cannot be used", remedy);
    }
    given.to_owned()
}

type Kinds = (HashMap<Key, Vec<Packet>>, Vec<Packet>);

/// All containers that are packets, those farthest from the container that they are all based on first.
fn kinds<'t>(names: &Names<'t>, mut layouts: Layouts<'_, 't>) -> Kinds {
    let mut all: Vec<(usize, Rc<Laid>)> = Vec::new();
    for (at, named) in names.containers.iter().enumerate() {
        all.extend(layouts.laid(at, named.element, 0).map(|laid| (at, laid)));
    }
    all.sort_by_key(|(_, laid)| Reverse(laid.bases));
    // Behind a packet are packets, and behind what is only a part are parts.
    let mut is_base = vec![false; names.containers.len()];
    let mut is_part = layouts.parts;
    let mut kinds = Kinds::default();
    for (at, laid) in all {
        let named = &names.containers[at];
        let is_only_part = is_part[at] && !is_base[at];
        if let Some(base) = laid.base {
            let kind = if is_only_part {
                &mut is_part
            } else {
                &mut is_base
            };
            kind[base] = true;
        }
        if !named.element.flag("abstract", false) && !is_only_part {
            let fields = laid.fields.iter().map(|(_, field)| field.clone()).collect();
            add(
                named.element,
                named.path.clone(),
                &laid.tests,
                fields,
                &mut kinds,
            );
        }
    }
    kinds
}

fn add(
    element: Element<'_>,
    name: String,
    tests: &[Test],
    fields: Vec<super::Field>,
    (packets, others): &mut Kinds,
) {
    let mut apids: Vec<u16> = tests.iter().filter_map(apid).collect();
    apids.dedup();
    let (list, most) = match apids[..] {
        [] => (others, OTHERS_MAX),
        [apid] => {
            let key = Key {
                apid,
                service: None,
            };
            (packets.entry(key).or_default(), KINDS_MAX)
        }
        _ => {
            element.problem("asks for two APIDs at once", "keep one of the comparisons");
            return;
        }
    };
    // The key says it already.
    let is_told = |test: &&Test| !(test.layout == APID && apid(test).is_some());
    let mut when: Vec<Test> = tests.iter().filter(is_told).cloned().collect();
    when.sort_by_key(|test| (test.layout.at_bits, test.layout.bits));
    when.dedup();
    if let Some(other) = list.iter().find(|other| other.when == when) {
        let what = format!("is told from {:?} by nothing", other.name);
        let remedy = "give it a RestrictionCriteria of its own, or abstract=\"true\"";
        element.problem(what, remedy);
    }
    if list.len() >= most {
        let what = format!("is one of more than {most} that one APID, or none, tells");
        element.problem(what, "compare the APID");
        return;
    }
    list.push(Packet { name, when, fields });
}

/// The application process identifier of a packet.
const APID: Layout = Layout {
    at_bits: 5,
    bits: 11,
    little_endian: false,
    coding: Coding::Uint,
};

/// The only APID that a test allows: it is of a number with the APID's bits in it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number that is not negative; too great a one saturates, and is no number of 32 bits"
)]
fn apid(test: &Test) -> Option<u16> {
    let Layout {
        at_bits,
        bits,
        little_endian,
        coding,
    } = test.layout;
    let Range { low, high, outside } = test.range;
    let has_it = at_bits <= 5 && at_bits + bits >= 16 && bits <= 32;
    let is_plain = coding == Coding::Uint && !little_endian && !outside;
    if !(has_it && is_plain && low >= 0.0 && (high - low).abs() < 0.5) {
        return None;
    }
    u16::try_from(low as u64 >> (at_bits + bits - 16) & 0x7ff).ok()
}

#[cfg(test)]
mod tests;
