//! Parameter types: how the bits of a value are read, and what it means.

use super::calibrators::{curve, limits, unit};
use super::element::{Element, clipped};
use crate::telemetry::database::Parameter;
use crate::telemetry::database::field::{Coding, Layout};
use crate::telemetry::packet::PACKET_BYTES_MAX;
use std::collections::HashMap;
use std::sync::Arc;

/// What a type says.
#[derive(Clone, Debug)]
pub(super) struct Type {
    /// Where it would be at the front of a packet.
    pub(super) layout: Layout,
    pub(super) parameter: Parameter,
    /// Values by their names, for comparisons: those of truth values, too, that are not worth a label. None of several.
    pub(super) words: Arc<HashMap<String, Option<i64>>>,
}

const INTEGER: &[&str] = &["IntegerDataEncoding"];
const NUMBER: &[&str] = &["IntegerDataEncoding", "FloatDataEncoding"];

/// Reads a type. Where there is none, something was said.
pub(super) fn read(element: Element<'_>) -> Option<Type> {
    let numeric = ["name", "signed", "sizeInBits", "initialValue"];
    match element.name() {
        "IntegerParameterType" => number(element, &numeric, INTEGER),
        "FloatParameterType" => number(element, &numeric, NUMBER),
        "EnumeratedParameterType" => {
            let parts = ["UnitSet", "IntegerDataEncoding", "EnumerationList"];
            element.allow(&["name", "initialValue"], &parts);
            let labels = labels(element);
            let mut of = plain(element, INTEGER)?;
            let labels = labels?;
            of.words = words(&labels);
            of.parameter.labels = labels.into();
            Some(of)
        }
        "BooleanParameterType" => {
            let names = ["zeroStringValue", "oneStringValue"];
            element.allow(
                &["name", "initialValue", names[0], names[1]],
                &["UnitSet", "IntegerDataEncoding"],
            );
            let mut of = plain(element, INTEGER)?;
            if of.layout.bits > 63 {
                element.problem("has more than 63 bits", "a truth value has 1 to 63");
                return None;
            }
            of.layout.coding = Coding::Bool;
            let word = |name, default: &str| element.attribute(name).unwrap_or(default).to_owned();
            let labels = [(0, word(names[0], "False")), (1, word(names[1], "True"))];
            of.words = words(&labels);
            if names.iter().any(|name| element.attribute(name).is_some()) {
                of.parameter.labels = labels.into();
            }
            Some(of)
        }
        "StringParameterType" => {
            element.allow(
                &["name", "initialValue"],
                &["UnitSet", "StringDataEncoding"],
            );
            plain(element, &["StringDataEncoding"])
        }
        "BinaryParameterType" => {
            element.allow(
                &["name", "initialValue"],
                &["UnitSet", "BinaryDataEncoding"],
            );
            plain(element, &["BinaryDataEncoding"])
        }
        _ => {
            element.refuse(&[]);
            None
        }
    }
}

/// A type of numbers, with a curve and limits.
fn number(element: Element<'_>, attributes: &[&str], encodings: &[&str]) -> Option<Type> {
    let parts = ["UnitSet", "DefaultAlarm", "ToString"];
    element.allow(attributes, &[&parts[..], encodings].concat());
    let limits = element.child("DefaultAlarm").and_then(limits);
    let encoding = encoding(element, encodings)?;
    let calibrator = encoding.child("DefaultCalibrator");
    let curve = calibrator.and_then(curve).map(Arc::new);
    Some(Type {
        layout: layout(encoding)?,
        parameter: Parameter {
            curve,
            unit: element.child("UnitSet").and_then(unit),
            limits,
            labels: Arc::default(),
        },
        words: Arc::default(),
    })
}

/// A type whose values are as they were read.
fn plain(element: Element<'_>, encodings: &[&str]) -> Option<Type> {
    let encoding = encoding(element, encodings)?;
    if let Some(calibrator) = encoding.child("DefaultCalibrator") {
        calibrator.problem(
            format!("stands in a {}", element.name()),
            "take it out: the names are those of the values that are sent",
        );
    }
    let unit = element.child("UnitSet").and_then(unit);
    if unit.is_some() && encodings != INTEGER {
        element.problem("has a unit", "take it out: texts and bytes have none");
    }
    Some(Type {
        layout: layout(encoding)?,
        parameter: Parameter {
            unit,
            ..Parameter::default()
        },
        words: Arc::default(),
    })
}

fn encoding<'t>(element: Element<'t>, encodings: &[&str]) -> Option<Element<'t>> {
    let first = element.only(encodings, "encoding");
    let other = element
        .children()
        .any(|child| child.name().ends_with("DataEncoding"));
    if first.is_none() && !other {
        let what = "has no encoding, and so no bits";
        element.problem(what, format!("give it {}", encodings.join(" or ")));
    }
    first
}

/// The bits of an encoding.
fn layout(encoding: Element<'_>) -> Option<Layout> {
    let sized = [
        "sizeInBits",
        "encoding",
        "byteOrder",
        "bitOrder",
        "changeThreshold",
    ];
    let (coding, bits) = match encoding.name() {
        "IntegerDataEncoding" => {
            encoding.allow(&sized, &["DefaultCalibrator"]);
            let choices = [("unsigned", Coding::Uint), ("twosComplement", Coding::Int)];
            (
                encoding.choice("encoding", &choices),
                encoding.number("sizeInBits", Some(8)),
            )
        }
        "FloatDataEncoding" => {
            encoding.allow(&sized, &["DefaultCalibrator"]);
            let choices = [
                ("IEEE754_1985", Coding::Float),
                ("MILSTD_1750A", Coding::Mil1750a),
            ];
            (
                encoding.choice("encoding", &choices),
                encoding.number("sizeInBits", Some(32)),
            )
        }
        "StringDataEncoding" => {
            encoding.allow(&sized[1..4], &["SizeInBits"]);
            encoding.choice("encoding", &[("UTF-8", ()), ("US-ASCII", ())]);
            (Some(Coding::Text), text_bits(encoding))
        }
        _ => {
            encoding.allow(&sized[2..4], &["SizeInBits"]);
            let size = encoding.child("SizeInBits");
            let bits = size.and_then(|size| {
                size.allow(&[], &["FixedValue"]);
                size.fixed()
            });
            (Some(Coding::Bytes), sized_bits(encoding, bits))
        }
    };
    encoding.choice("bitOrder", &[("mostSignificantBitFirst", ())]);
    let orders = [
        ("mostSignificantByteFirst", false),
        ("leastSignificantByteFirst", true),
    ];
    let little_endian = encoding.choice("byteOrder", &orders);
    let (coding, bits, little_endian) = (coding?, bits?, little_endian?);
    if bits > 8 * PACKET_BYTES_MAX || !coding.allows(bits) {
        let sizes = match coding {
            Coding::Uint | Coding::Bool => "1 to 63 bits",
            Coding::Int => "1 to 64 bits",
            Coding::Float => "16, 32 or 64 bits",
            Coding::Mil1750a => "32 or 48 bits",
            Coding::Text | Coding::Bytes => "whole bytes, and no more than a packet",
        };
        encoding.problem(
            format!("has {bits} bits"),
            format!("this encoding has {sizes}"),
        );
        return None;
    }
    let is_number = !matches!(coding, Coding::Text | Coding::Bytes);
    if little_endian && !(bits.is_multiple_of(8) && is_number) {
        let remedy = "numbers of whole bytes alone have the least significant byte first";
        encoding.problem("has byteOrder = \"leastSignificantByteFirst\"", remedy);
        return None;
    }
    Some(Layout {
        at_bits: 0,
        bits,
        little_endian,
        coding,
    })
}

fn text_bits(encoding: Element<'_>) -> Option<usize> {
    let bits = encoding.child("SizeInBits").and_then(|size| {
        size.allow(&[], &["Fixed", "TerminationChar"]);
        if let Some(end) = size
            .child("TerminationChar")
            .filter(|end| end.text() != "00")
        {
            let what = format!("is {:?}", clipped(end.text()));
            end.problem(
                what,
                "take it out, or write 00: a text ends with its first NUL",
            );
        }
        let fixed = size.child("Fixed");
        if fixed.is_none() {
            size.problem("has no Fixed", "give it a FixedValue in a Fixed");
        }
        fixed.and_then(|fixed| {
            fixed.allow(&[], &["FixedValue"]);
            fixed.fixed()
        })
    });
    sized_bits(encoding, bits)
}

fn sized_bits(encoding: Element<'_>, bits: Option<usize>) -> Option<usize> {
    if encoding.child("SizeInBits").is_none() && encoding.children().next().is_none() {
        encoding.problem("has no SizeInBits", "give it one with a FixedValue");
    }
    bits
}

fn labels(element: Element<'_>) -> Option<Vec<(i64, String)>> {
    let Some(list) = element.child("EnumerationList") else {
        element.problem("has no EnumerationList", "give it one");
        return None;
    };
    list.allow(&[], &["Enumeration"]);
    let mut labels = Vec::new();
    for entry in list
        .children()
        .filter(|entry| entry.name() == "Enumeration")
    {
        entry.allow(&["value", "label", "maxValue"], &[]);
        let value = entry
            .required("value")
            .and_then(|_| entry.number("value", None));
        let last = entry.number("maxValue", value);
        if last != value {
            let remedy = "write one Enumeration for each value";
            entry.problem("has a maxValue that is not its value", remedy);
        }
        let label = entry.required("label");
        labels.extend(value.zip(label.map(str::to_owned)));
    }
    labels.sort();
    if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        list.problem(format!("has two labels of {}", twice[0].0), "keep one");
    }
    Some(labels)
}

fn words(labels: &[(i64, String)]) -> Arc<HashMap<String, Option<i64>>> {
    let mut words = HashMap::new();
    for (number, word) in labels {
        words
            .entry(word.clone())
            .and_modify(|number| *number = None)
            .or_insert(Some(*number));
    }
    Arc::new(words)
}
