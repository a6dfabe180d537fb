//! The telemetry database: which fields a packet has, and what the values of a parameter mean. Read whole from TOML
//! (docs/telemetry.md), or not at all; it never changes afterwards.

pub mod curve;
pub mod field;
pub mod limit;
mod read;
mod units;

pub use read::read;

use super::packet::{HEADER_BYTES, Header};
use super::pus::Issue;
use curve::Curve;
use field::{Layout, Raw};
use limit::Limits;
use std::collections::HashMap;
use std::sync::Arc;

/// Most fields of one packet, those of arrays counted each.
pub const FIELDS_MAX: usize = 4096;
/// Most packets, and most parameters.
pub const ENTRIES_MAX: usize = 65_536;

/// All of it.
#[derive(Debug, PartialEq)]
pub struct Database {
    /// What each value carries: the file's own `version`, and the CRC-32C of its text, so that no two files share one.
    pub version: Arc<str>,
    /// How secondary headers are read, for packets that are told by service and subtype.
    pub secondary: Option<Issue>,
    packets: HashMap<Key, Packet>,
    parameters: HashMap<String, Parameter>,
}

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
    /// For people.
    pub name: String,
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
    /// Without this it has no value.
    pub valid_if: Option<Condition>,
}

/// A condition on a field that stands before.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Its place among the fields.
    pub field: usize,
    /// Least and greatest value.
    pub range: (f64, f64),
}

/// What values of one name mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameter {
    /// The curve; values stay as they are without one.
    pub curve: Option<Arc<Curve>>,
    /// UCUM code of what the curve gives; that of the sample without one.
    pub unit: Option<String>,
    /// Limits of what the curve gives.
    pub limits: Option<Limits>,
    /// Names of values before the curve, in order.
    pub labels: Vec<(i64, String)>,
}

/// What became of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Its value.
    Value(Raw),
    /// Its condition does not hold.
    Invalid,
    /// The packet ends before it does.
    Short,
}

impl Database {
    /// The kind of a packet; that of its APID alone where its service is not in the database.
    pub fn packet(&self, bytes: &[u8]) -> Option<&Packet> {
        let header = Header::read(bytes)?;
        let apid = header.apid;
        let issue = self.secondary.filter(|_| header.secondary);
        let read = issue.and_then(|issue| issue.read(bytes.get(HEADER_BYTES..)?));
        let service = read.map(|secondary| (secondary.service, secondary.subtype));
        let known = service.and_then(|_| self.packets.get(&Key { apid, service }));
        let service = None;
        known.or_else(|| self.packets.get(&Key { apid, service }))
    }

    /// What is known of a name. An array's elements, `NAME.0` and so on, share what is known of `NAME`.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        let element = || {
            let (array, index) = name.rsplit_once('.')?;
            let is_index = !index.is_empty() && index.bytes().all(|digit| digit.is_ascii_digit());
            self.parameters.get(array).filter(|_| is_index)
        };
        self.parameters.get(name).or_else(element)
    }

    /// Packets, fields, parameters.
    pub fn size(&self) -> (usize, usize, usize) {
        let fields = self
            .packets
            .values()
            .map(|packet| packet.fields.len())
            .sum();
        (self.packets.len(), fields, self.parameters.len())
    }
}

impl Packet {
    /// Reads all fields of a packet, in order.
    pub fn read<'a>(&'a self, bytes: &[u8], mut out: impl FnMut(&'a Field, Found)) {
        // Numbers of the fields before, for conditions.
        let mut numbers = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let holds = field.valid_if.as_ref().is_none_or(|condition| {
                let number: &Option<f64> = &numbers[condition.field];
                let (low, high) = condition.range;
                number.is_some_and(|number| (low..=high).contains(&number))
            });
            let found = if holds {
                field.layout.read(bytes).map_or(Found::Short, Found::Value)
            } else {
                Found::Invalid
            };
            numbers.push(match &found {
                Found::Value(raw) => raw.number(),
                _ => None,
            });
            out(field, found);
        }
    }
}

impl Parameter {
    /// The value of the curve, none where it has none; the value itself without a curve.
    pub fn calibrated(&self, value: f64) -> Option<f64> {
        match &self.curve {
            Some(curve) => curve.at(value),
            None => Some(value).filter(|value| value.is_finite()),
        }
    }

    /// The name of a value.
    pub fn label(&self, value: i64) -> Option<&str> {
        let at = self
            .labels
            .binary_search_by_key(&value, |(known, _)| *known);
        at.ok().map(|at| self.labels[at].1.as_str())
    }
}

#[cfg(test)]
mod tests;
