//! A database from XTCE 1.2 (CCSDS 660.0-B): the subset that docs/telemetry.md names. What is not of it is refused by its
//! name, line and remedy; nothing is dropped that bears on how bits are read or what values mean.

mod calibrators;
mod comparisons;
mod containers;
mod contexts;
mod element;
mod encodings;
mod entries;
mod names;
mod once;
mod places;
mod shapes;
mod sizes;
mod tree;
mod types;

use super::field::{Coding, Layout};
use super::{
    Arrays, Database, ENTRIES_MAX, Key, NAME_BYTES_MAX, Packet, Parameter, Range, Test, array,
};
use crate::config::Problem;
use comparisons::Known;
use containers::{Laid, Layouts};
use element::Element;
use names::{Kind, Named, Names};
use shapes::{Shape, Shapes};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter::successors;
use std::rc::Rc;
use std::sync::Arc;
use tree::Tree;

/// Longest line of containers or types, each based on, or part of, the next one.
const LINE_MAX: usize = 64;
/// Most fields of all containers, most values of all types, and of all parameters.
const FIELDS_ALL_MAX: usize = 4 * ENTRIES_MAX;
/// Most kinds of packet of one APID.
const KINDS_MAX: usize = 1024;
/// Most kinds of packet that no APID tells.
const OTHERS_MAX: usize = 256;
/// What of a version is kept, in bytes.
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
    let mut shapes = Shapes::new(&names);
    let types = names.types.iter().enumerate();
    let of_types: Vec<_> = types
        .filter_map(|(at, named)| shapes.shape(at, named.element, 0))
        .collect();
    let of_parameters: Vec<_> = names
        .parameters
        .iter()
        .map(|named| shape(named, &names, &mut shapes))
        .collect();
    let known = Known::new(&names, &of_parameters);
    // What is wrong is said of types that no parameter is of, too.
    for leaf in of_types.iter().flat_map(|shape| &shape.leaves) {
        if let Some(given) = &leaf.of.contexts {
            known.contexts(given);
        }
    }
    let (parameters, arrays) = parameters(&known, &of_parameters);
    let (packets, others) = kinds(&names, Layouts::new(known));
    let passed = names.passed.iter().map(|element| {
        let (name, line) = (element.name(), element.line());
        format!("{name} on line {line} is not read: no field of a packet is by it")
    });
    let sum = crc32c::crc32c(text.as_bytes());
    Database {
        version: format!("{}-{sum:08x}", version(root)).into(),
        secondary: None,
        packets,
        others,
        parameters,
        arrays,
        passed: passed.collect(),
    }
}

/// The shape of a parameter.
fn shape<'t>(
    named: &Named<'t>,
    names: &Names<'t>,
    shapes: &mut Shapes<'_, 't>,
) -> Option<Rc<Shape<'t>>> {
    let element = named.element;
    element.allow(
        &["name", "parameterTypeRef", "initialValue"],
        &["ParameterProperties"],
    );
    if let Some(properties) = element.child("ParameterProperties") {
        properties.allow(
            &["dataSource", "readOnly", "persistence"],
            &["SystemName", "PhysicalAddressSet"],
        );
    }
    let at = names.resolve(element, "parameterTypeRef", Kind::Type, named.system)?;
    shapes.shape(at, element, 0)
}

/// What is known of each value, by its name; the elements of an array have one together.
fn parameters<'t>(
    known: &Known<'_, 't>,
    shapes: &[Option<Rc<Shape<'t>>>],
) -> (HashMap<String, Parameter>, Arrays) {
    let names = known.names;
    let (mut parameters, mut arrays, mut all) = (HashMap::new(), Arrays::new(), 0);
    for (at, (named, shape)) in names.parameters.iter().zip(shapes).enumerate() {
        let Some(shape) = shape else { continue };
        all += shape.leaves.len();
        if all > FIELDS_ALL_MAX {
            let what =
                format!("is one of parameters with more than {FIELDS_ALL_MAX} values together");
            let remedy = "split the database by what is needed";
            named.element.problem(what, remedy);
            break;
        }
        for leaf in &shape.leaves {
            let line = successors(Some(leaf.name.as_str()), |name| array(name));
            let (indices, whole) = line.enumerate().last().unwrap_or_default();
            let name = format!("{}{whole}", named.path);
            // An entry may repeat an array of one element.
            let indices = indices + usize::from(shape.leaves.len() == 1);
            if indices > 1 {
                arrays.insert(name.clone(), indices);
            }
            if named.path.len() + leaf.name.len() > NAME_BYTES_MAX {
                let what = format!("makes the name {name:?}");
                let remedy = format!("keep it to {NAME_BYTES_MAX} bytes");
                named.element.problem(what, remedy);
                break;
            }
            match parameters.entry(name) {
                Entry::Vacant(free) => {
                    let mut parameter = leaf.of.parameter.clone();
                    if let Some(given) = &leaf.of.contexts {
                        parameter.contexts = Arc::clone(&known.contexts(given).of_parameter);
                    }
                    free.insert((at, parameter));
                }
                Entry::Occupied(other) if other.get().0 != at => {
                    let what = format!("makes the name {:?}, which another value has", other.key());
                    named
                        .element
                        .problem(what, "choose another name for one of them");
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    for named in &names.parameters {
        let mut arrays = successors(array(&named.path), |name| array(name));
        if let Some(whole) = arrays.find(|name| parameters.contains_key(*name)) {
            let what = format!("has the name of an element of {whole:?}");
            named.element.problem(what, "choose a name with a letter");
        }
    }
    let each = parameters.into_iter();
    let known = each.map(|(name, (_, known))| (name, known)).collect();
    (known, arrays)
}

/// What the header calls the file.
fn version(root: Element<'_>) -> String {
    let header = root.child("Header");
    let given = header.and_then(|header| header.attribute("version").or(header.attribute("date")));
    let given = given.unwrap_or("xtce");
    if given.contains(char::is_control) {
        let remedy = "write one line without tabs";
        header
            .unwrap_or(root)
            .problem("has a version that cannot be used", remedy);
    }
    given[..given.floor_char_boundary(VERSION_BYTES_MAX)].to_owned()
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
            let fields = laid.fields.all.iter().map(|(_, field)| field.clone());
            add(
                named.element,
                named.path.clone(),
                &laid.tests,
                fields.collect(),
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
