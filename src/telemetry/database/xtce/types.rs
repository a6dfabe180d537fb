//! Parameter types of one value: how its bits are read, and what it means.

use super::calibrators::{curve, limits, unit, valid};
use super::contexts::{Given, given};
use super::element::Element;
use super::encodings::{CALIBRATORS, Coded, coded};
use crate::telemetry::database::Parameter;
use crate::telemetry::database::curve::Curve;
use crate::telemetry::database::field::Coding;
use std::collections::HashMap;
use std::sync::Arc;

/// What a type of one value says.
#[derive(Clone, Debug)]
pub(super) struct Type<'t> {
    pub(super) coded: Coded<'t>,
    /// Without the curves of its contexts, whose conditions are not known before all types are.
    pub(super) parameter: Parameter,
    pub(super) contexts: Option<Given<'t>>,
    /// Values by their names, for comparisons: those of truth values, too, that are not worth a label. None of several.
    pub(super) words: Arc<HashMap<String, Option<i64>>>,
}

impl Type<'_> {
    /// Whether its values are not those that are sent.
    pub(super) fn is_curved(&self) -> bool {
        self.parameter.curve.is_some() || self.contexts.is_some()
    }
}

/// A type is read with the one it extends, which says what it does not.
pub(super) struct Origin<'b, 't> {
    pub(super) base: Option<&'b Type<'t>>,
    /// The space system of the type.
    pub(super) system: usize,
}

const INTEGER: &[&str] = &["IntegerDataEncoding"];
const NUMBER: &[&str] = &["IntegerDataEncoding", "FloatDataEncoding"];

/// Reads a type of one value. Where there is none, something was said.
pub(super) fn read<'t>(element: Element<'t>, origin: &Origin<'_, 't>) -> Option<Type<'t>> {
    let numeric = ["signed", "sizeInBits"];
    match element.name() {
        "IntegerParameterType" => number(element, &numeric, INTEGER, origin),
        "FloatParameterType" => number(element, &numeric, NUMBER, origin),
        "EnumeratedParameterType" => {
            allow(
                element,
                &[],
                &["UnitSet", "IntegerDataEncoding", "EnumerationList"],
            );
            let given = element.child("EnumerationList");
            let labels = match (given, origin.base) {
                (None, Some(_)) => None,
                _ => Some(labels(element)),
            };
            let mut of = plain(element, INTEGER, origin)?;
            if let Some(labels) = labels {
                let (labels, ranges) = labels?;
                of.words = words(&labels, &ranges);
                of.parameter.labels = labels.into();
                of.parameter.ranges = ranges.into();
            }
            Some(of)
        }
        "BooleanParameterType" => {
            let names = ["zeroStringValue", "oneStringValue"];
            allow(element, &names, &["UnitSet", "IntegerDataEncoding"]);
            let mut of = plain(element, INTEGER, origin)?;
            of.coded.layout.coding = Coding::Bool;
            let is_named = names.iter().any(|name| element.attribute(name).is_some());
            if is_named || origin.base.is_none() {
                let extended = &of.parameter.labels;
                let labels = [(0, "False"), (1, "True")].map(|(at, default)| {
                    let base = extended.get(at).map_or(default, |(_, word)| word);
                    let own = element.attribute(names[at]).unwrap_or(base);
                    (i64::from(at == 1), own.to_owned())
                });
                of.words = words(&labels, &[]);
                if is_named {
                    of.parameter.labels = labels.into();
                }
            }
            Some(of)
        }
        "StringParameterType" => {
            allow(element, &[], &["UnitSet", "StringDataEncoding"]);
            plain(element, &["StringDataEncoding"], origin)
        }
        "BinaryParameterType" => {
            allow(element, &[], &["UnitSet", "BinaryDataEncoding"]);
            plain(element, &["BinaryDataEncoding"], origin)
        }
        "AbsoluteTimeParameterType" | "RelativeTimeParameterType" => time(element, origin),
        _ => {
            element.refuse(&[]);
            None
        }
    }
}

fn allow(element: Element<'_>, attributes: &[&str], parts: &[&str]) {
    let every = ["name", "baseType", "initialValue"];
    element.allow(&[&every[..], attributes].concat(), parts);
}

/// A type of numbers, with a curve and limits.
fn number<'t>(
    element: Element<'t>,
    attributes: &[&str],
    encodings: &[&str],
    origin: &Origin<'_, 't>,
) -> Option<Type<'t>> {
    let parts = ["UnitSet", "ValidRange", "DefaultAlarm", "ToString"];
    allow(element, attributes, &[&parts[..], encodings].concat());
    let limits = match element.child("DefaultAlarm") {
        Some(alarm) => limits(alarm),
        None => origin.base.and_then(|base| base.parameter.limits),
    };
    let mut of = encoded(element, encodings, origin)?;
    of.parameter.limits = limits;
    if let Some(range) = element.only(&["ValidRange"], "range") {
        of.parameter.valid = Some(valid(range));
    }
    if let Some(set) = element.child("UnitSet") {
        of.parameter.unit = unit(set);
    }
    Some(of)
}

/// A type whose values are as they were read.
fn plain<'t>(
    element: Element<'t>,
    encodings: &[&str],
    origin: &Origin<'_, 't>,
) -> Option<Type<'t>> {
    let mut of = encoded(element, encodings, origin)?;
    let inner = encodings.iter().find_map(|name| element.child(name));
    let parts = inner.into_iter().flat_map(|inner| inner.children());
    for calibrator in parts.filter(|part| CALIBRATORS.contains(&part.name())) {
        calibrator.problem(
            format!("stands in a {}", element.name()),
            "take it out: the names are those of the values that are sent",
        );
    }
    if let Some(set) = element.child("UnitSet") {
        of.parameter.unit = unit(set);
        if of.parameter.unit.is_some() && encodings != INTEGER {
            element.problem("has a unit", "take it out: texts and bytes have none");
        }
    }
    Some(of)
}

/// A time, as the number that is sent, scaled to its unit; what it counts from is not added.
fn time<'t>(element: Element<'t>, origin: &Origin<'_, 't>) -> Option<Type<'t>> {
    allow(element, &[], &["Encoding", "ReferenceTime"]);
    if let Some(reference) = element.child("ReferenceTime") {
        reference.allow(&[], &["Epoch"]);
    }
    let Some(around) = element.only(&["Encoding"], "encoding") else {
        return encoded(element, &[], origin);
    };
    around.allow(&["units", "scale", "offset"], NUMBER);
    let units = [("seconds", "s"), ("picoSeconds", "ps"), ("days", "d")];
    let unit = around.choice("units", &units);
    let [scale, offset] = ["scale", "offset"].map(|name| around.finite(name));
    let mut of = encoded(
        around,
        NUMBER,
        &Origin {
            base: None,
            system: origin.system,
        },
    )?;
    of.parameter.unit = unit.map(str::to_owned);
    if scale.or(offset).is_some() {
        if of.is_curved() {
            around.problem(
                "has a scale or an offset, and a calibrator",
                "keep one of them",
            );
        }
        let terms = vec![offset.unwrap_or(0.0), scale.unwrap_or(1.0)];
        of.parameter.curve = Some(Arc::new(Curve::Polynomial(terms)));
    }
    Some(of)
}

/// A type of which the encoding and its curve are read, and the rest is that of the one it extends.
fn encoded<'t>(
    element: Element<'t>,
    encodings: &[&str],
    origin: &Origin<'_, 't>,
) -> Option<Type<'t>> {
    let Some(encoding) = element.only(encodings, "encoding") else {
        let is_other = element
            .children()
            .any(|child| child.name().ends_with("DataEncoding"));
        // What is no other encoding is that of a parameter of no packet, unless it extends a type.
        let nowhere = (!is_other).then(|| Type {
            coded: Coded::NOWHERE,
            parameter: Parameter::default(),
            contexts: None,
            words: Arc::default(),
        });
        return origin.base.cloned().or(nowhere);
    };
    let calibrator = encoding.child("DefaultCalibrator");
    let curve = match calibrator {
        Some(calibrator) => Some(Arc::new(calibrator.said(curve(calibrator))?)),
        None => None,
    };
    let contexts = match encoding.child("ContextCalibratorList") {
        Some(list) => Some(list.said(given(list, origin.system))?),
        None => None,
    };
    let coded = coded(encoding, origin.system)?;
    let mut of = origin.base.cloned().unwrap_or_else(|| Type {
        coded,
        parameter: Parameter::default(),
        contexts: None,
        words: Arc::default(),
    });
    of.coded = coded;
    of.parameter.curve = curve;
    of.contexts = contexts;
    Some(of)
}

/// Names of one value, and those of several.
type Labels = (Vec<(i64, String)>, Vec<(i64, i64, String)>);

fn labels(element: Element<'_>) -> Option<Labels> {
    let Some(list) = element.child("EnumerationList") else {
        element.problem("has no EnumerationList", "give it one");
        return None;
    };
    list.allow(&[], &["Enumeration"]);
    let mut all = Vec::new();
    for entry in list
        .children()
        .filter(|entry| entry.name() == "Enumeration")
    {
        entry.allow(&["value", "label", "maxValue"], &[]);
        let first: Option<i64> = entry
            .required("value")
            .and_then(|_| entry.number("value", None));
        let last = entry.number("maxValue", first);
        let (Some((first, last)), Some(label)) = (first.zip(last), entry.required("label")) else {
            continue;
        };
        if last < first {
            entry.problem("has a maxValue below its value", "turn them round");
            continue;
        }
        all.push((first, last, label.to_owned()));
    }
    all.sort();
    if let Some(twice) = all.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
        list.problem(format!("has two labels of {}", twice[1].0), "keep one");
    }
    let (one, several): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(first, last, _)| first == last);
    let one = one.into_iter().map(|(value, _, label)| (value, label));
    Some((one.collect(), several))
}

fn words(
    labels: &[(i64, String)],
    ranges: &[(i64, i64, String)],
) -> Arc<HashMap<String, Option<i64>>> {
    let several = ranges.iter().map(|(_, _, word)| (word.clone(), None));
    let mut words: HashMap<_, _> = several.collect();
    for (number, word) in labels {
        words
            .entry(word.clone())
            .and_modify(|number| *number = None)
            .or_insert(Some(*number));
    }
    Arc::new(words)
}
