//! The telemetry database: which fields a packet has, and what the values of a parameter mean. Read whole from TOML or
//! XTCE (docs/telemetry.md), or not at all; it never changes afterwards.

pub mod contexts;
pub mod curve;
pub mod extent;
pub mod field;
pub mod limit;
mod read;
mod units;
#[cfg(feature = "xtce")]
pub mod xtce;

use super::packet::{HEADER_BYTES, Header};
use super::pus::Issue;
use crate::config::Problem;
use contexts::{Conditions, Context};
use curve::Curve;
use extent::{Before, Extent, Place};
use field::{Layout, Raw};
use limit::Limits;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// Most fields of one packet, those of arrays counted each.
pub const FIELDS_MAX: usize = 4096;
/// Most packets, and most parameters.
pub const ENTRIES_MAX: usize = 65_536;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 127;

/// All of it.
#[derive(Debug, PartialEq)]
pub struct Database {
    /// What each value carries: the file's own `version`, and the CRC-32C of its text, so that no two files share one.
    pub version: Arc<str>,
    /// How secondary headers are read, for packets that are told by service and subtype.
    pub secondary: Option<Issue>,
    packets: HashMap<Key, Vec<Packet>>,
    /// Packets that no APID tells, for those that no other one takes.
    others: Vec<Packet>,
    parameters: HashMap<String, Parameter>,
    arrays: Arrays,
    /// What of the file is not of telemetry and was not read, for people.
    pub passed: Vec<String>,
}

/// How many indices the names of elements have behind those of arrays, where that may be more than one.
type Arrays = HashMap<String, usize>;

/// What tells packets apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Application process.
    pub apid: u16,
    /// PUS service and subtype.
    pub service: Option<(u8, u8)>,
}

/// One kind of packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// For people. No two packets share one.
    pub name: String,
    /// What holds of such a packet, beside its key. The first one of a key whose tests hold takes it.
    pub when: Vec<Test>,
    /// In the order of the file.
    pub fields: Vec<Field>,
}

/// One field, or each of an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name of the parameter.
    pub name: String,
    /// Where it is.
    pub layout: Layout,
    /// What the packet says of its place and size; none where that is all in the layout.
    pub extent: Option<Box<Extent>>,
    /// Unless each of these holds it has no value.
    pub valid_if: Vec<Condition>,
    /// What the contexts of its parameter ask of the fields before; none where it has none.
    pub contexts: Conditions,
}

/// A condition on a field that stands before.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Its place among the fields.
    pub field: usize,
    /// What its value is.
    pub range: Range,
}

/// A condition on bits of a packet, wherever they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Where they are.
    pub layout: Layout,
    /// What their value is.
    pub range: Range,
}

/// Values that a condition allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// Whether it is all others that are allowed.
    pub outside: bool,
}

/// What values of one name mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameter {
    /// The curve where no context holds; values stay as they are without one.
    pub curve: Option<Arc<Curve>>,
    /// Other curves, the first one whose context holds.
    pub contexts: Arc<[Context]>,
    /// UCUM code of what the curve gives; that of the sample without one.
    pub unit: Option<String>,
    /// Limits of what the curve gives.
    pub limits: Option<Limits>,
    /// Names of values before the curve, in order.
    pub labels: Arc<[(i64, String)]>,
    /// Names of several values each, from the first to the last one, in order.
    pub ranges: Arc<[(i64, i64, String)]>,
    /// Which values are right; all without one.
    pub valid: Option<Valid>,
}

/// Values that a parameter may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Valid {
    /// The values.
    pub range: Range,
    /// Whether they are those before the curve.
    pub is_raw: bool,
}

/// What became of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Its value.
    Value(Raw),
    /// Its condition does not hold.
    Invalid,
    /// The packet ends before it does, or before a value that its condition or its context is on, or says a size for it that
    /// cannot be; or texts and bytes before it have all the room that they may have.
    Short,
}

/// Most conditions of a database beside those of `valid_if` in TOML, each counted wherever it is on a field.
const CONDITIONS_ALL_MAX: usize = 8 * ENTRIES_MAX;

/// Most bytes of all texts and bytes of one packet: fields may overlap.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Largest text of a database, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Reads a database, as XTCE where the file's name ends in `.xml` or its text begins as XML does, else as TOML. Gives all
/// its problems, in the order of their lines, where there is one.
pub fn read(file: &Path, text: &str) -> Result<Database, Vec<Problem>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(vec![Problem {
            line: 0,
            key: String::new(),
            what: format!("has {} bytes, more than {TEXT_BYTES_MAX}", text.len()),
            remedy: "split the database by what is needed".to_owned(),
        }]);
    }
    let named = file.extension().and_then(OsStr::to_str);
    let is_xml = named.is_some_and(|ending| ending.eq_ignore_ascii_case("xml"))
        || text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .starts_with('<');
    if is_xml {
        read_xml(text)
    } else {
        read::read(text)
    }
}

#[cfg(feature = "xtce")]
fn read_xml(text: &str) -> Result<Database, Vec<Problem>> {
    xtce::read(text)
}

#[cfg(not(feature = "xtce"))]
fn read_xml(_: &str) -> Result<Database, Vec<Problem>> {
    Err(vec![Problem {
        line: 1,
        key: String::new(),
        what: "is XML, which this build does not read".to_owned(),
        remedy: "install the full build, or write the database in TOML".to_owned(),
    }])
}

impl Database {
    /// The kind of a packet; that of its APID alone where its service is not in the database.
    pub fn packet(&self, bytes: &[u8]) -> Option<&Packet> {
        let header = Header::read(bytes)?;
        let apid = header.apid;
        let issue = self.secondary.filter(|_| header.secondary);
        let read = issue.and_then(|issue| issue.read(bytes.get(HEADER_BYTES..)?));
        let service = read.map(|secondary| (secondary.service, secondary.subtype));
        let takes = |kind: &&Packet| kind.when.iter().all(|test| test.holds(bytes));
        let of = |service| {
            let kinds = self.packets.get(&Key { apid, service })?;
            kinds.iter().find(takes)
        };
        let known = service.and_then(|service| of(Some(service)));
        known
            .or_else(|| of(None))
            .or_else(|| self.others.iter().find(takes))
    }

    /// What is known of a name. An array's elements, `NAME.0`, or `NAME.0.0` of one that has two dimensions and so on, share
    /// what is known of `NAME`.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        let arrays = std::iter::successors(Some(name), |name| array(name));
        let mut known = arrays
            .enumerate()
            .filter_map(|(indices, name)| Some((indices, name, self.parameters.get(name)?)));
        let (indices, name, parameter) = known.next()?;
        let most = || self.arrays.get(name).copied().unwrap_or(1);
        (indices <= 1 || indices <= most()).then_some(parameter)
    }

    /// Packets, fields, parameters.
    pub fn size(&self) -> (usize, usize, usize) {
        let kinds = || self.packets.values().flatten().chain(&self.others);
        let fields = kinds().map(|packet| packet.fields.len()).sum();
        (kinds().count(), fields, self.parameters.len())
    }
}

/// The array that a name is of an element of.
fn array(name: &str) -> Option<&str> {
    let (array, index) = name.rsplit_once('.')?;
    is_index(index).then_some(array)
}

/// Whether a part of a name is the index of an element.
fn is_index(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit())
}

impl Packet {
    /// Reads all fields of a packet, in order; each with the context of its value, by its place among those of the parameter.
    pub fn read<'a>(&'a self, bytes: &[u8], mut out: impl FnMut(&'a Field, Found, Option<usize>)) {
        // What was before is noted where a field looks back; most packets have none, and need no list.
        let looks_back = |field: &Field| {
            field.extent.is_some() || !field.valid_if.is_empty() || !field.contexts.is_empty()
        };
        let is_kept = self.fields.iter().any(looks_back);
        let mut before: Vec<Before> = Vec::new();
        if is_kept {
            before.reserve_exact(self.fields.len());
        }
        let mut left = VALUE_BYTES_MAX;
        for field in &self.fields {
            let (mut found, end_bits) = match all_hold(&field.valid_if, &before) {
                Some(true) => {
                    let read = field.read(bytes, &before).filter(|(raw, _)| match raw {
                        Raw::Bytes(value) => {
                            let rest = left.checked_sub(value.len());
                            left = rest.unwrap_or(0);
                            rest.is_some()
                        }
                        _ => true,
                    });
                    read.map_or((Found::Short, None), |(raw, end)| {
                        (Found::Value(raw), Some(end))
                    })
                }
                Some(false) => {
                    let absent = field.extent.as_ref().map(|extent| extent.absent);
                    let end = absent.and_then(|absent: Place| absent.absolute(&before));
                    (Found::Invalid, end)
                }
                None => (Found::Short, None),
            };
            let is_short = found == Found::Short;
            let number = match &found {
                Found::Value(raw) => raw.number(),
                _ => None,
            };
            let context = field.context(&before);
            if is_kept {
                before.push(Before {
                    number,
                    end_bits,
                    is_short,
                });
            }
            // Others need its bits alone, which are there.
            if context.is_err() && found != Found::Invalid {
                found = Found::Short;
            }
            out(field, found, context.unwrap_or(None));
        }
    }
}

/// Whether conditions hold; none where a value that they are on is beyond the end of the packet.
fn all_hold(conditions: &[Condition], before: &[Before]) -> Option<bool> {
    let mut holds = Some(true);
    for condition in conditions {
        let of = before[condition.field];
        if of.is_short {
            holds = None;
        } else if !of.number.is_some_and(|number| condition.range.has(number)) {
            return Some(false);
        }
    }
    holds
}

impl Field {
    /// Its value and the bit behind it.
    fn read(&self, packet: &[u8], before: &[Before]) -> Option<(Raw, usize)> {
        match &self.extent {
            None => Some((
                self.layout.read(packet)?,
                self.layout.at_bits + self.layout.bits,
            )),
            Some(extent) => extent.read(self.layout, packet, before),
        }
    }
}

impl Test {
    /// Whether it holds of a packet.
    fn holds(&self, packet: &[u8]) -> bool {
        let number = self.layout.read(packet).and_then(|raw| raw.number());
        number.is_some_and(|number| self.range.has(number))
    }
}

impl Range {
    /// This value and no other.
    pub fn only(value: f64) -> Range {
        Range::between(value, value)
    }

    /// From one value to another one.
    pub fn between(low: f64, high: f64) -> Range {
        Range {
            low,
            high,
            outside: false,
        }
    }

    /// Whether a value is in it. What is no number is in none.
    pub fn has(&self, value: f64) -> bool {
        !value.is_nan() && (self.low..=self.high).contains(&value) != self.outside
    }
}

impl Parameter {
    /// The value of the curve in a context, none where it has none, or one that is not right; the value itself without a curve.
    pub fn calibrated(&self, value: f64, context: Option<u128>) -> Option<f64> {
        let found = self.curved(value, context)?;
        self.is_right(value, found).then_some(found)
    }

    /// The value of the curve, whether or not it is right. This is what limits are of.
    pub fn curved(&self, value: f64, context: Option<u128>) -> Option<f64> {
        match self.curve_in(context).ok()? {
            Some(curve) => curve.at(value),
            None => Some(value).filter(|value| value.is_finite()),
        }
    }

    /// Whether a value is right, of which the curve makes another one.
    pub fn is_right(&self, value: f64, curved: f64) -> bool {
        let valid = self.valid.as_ref();
        valid.is_none_or(|valid| valid.range.has(if valid.is_raw { value } else { curved }))
    }

    /// The name of a value.
    pub fn label(&self, value: i64) -> Option<&str> {
        let at = self
            .labels
            .binary_search_by_key(&value, |(known, _)| *known);
        let one = at.ok().map(|at| self.labels[at].1.as_str());
        one.or_else(|| {
            let behind = self.ranges.partition_point(|(first, ..)| *first <= value);
            let (_, last, label) = self.ranges.get(behind.checked_sub(1)?)?;
            (value <= *last).then_some(label)
        })
    }
}

#[cfg(test)]
mod tests;
