//! Comparisons of a parameter with a value, as ranges of what is read for it.

use super::contexts::Contexts;
use super::element::{Element, clipped};
use super::names::Names;
use super::shapes::Shape;
use super::sizes::{Counted, Size};
use super::types::Type;
use crate::telemetry::database::Range;
use crate::telemetry::database::field::{Coding, Layout};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The greatest whole number that no other one becomes as a number with a point, in both directions.
const EXACT_MAX: i64 = (1 << 53) - 1;

/// Most comparisons of which each must hold.
pub(super) const COMPARISONS_MAX: usize = 64;
/// What of the members of a parameter is shown.
const SHOWN_MEMBERS: usize = 8;

/// A value of a parameter: their places among the parameters and among the values of this one.
pub(super) type Value = (usize, usize);

/// One comparison.
#[derive(Debug)]
pub(super) struct Comparison<'t> {
    pub(super) element: Element<'t>,
    pub(super) value: Value,
    pub(super) range: Range,
}

/// What finds types: those of parameters, by the places of both.
pub(super) struct Known<'k, 't> {
    pub(super) names: &'k Names<'t>,
    /// The shape of each parameter, where it has one.
    shapes: &'k [Option<Rc<Shape<'t>>>],
    /// What says sizes, by the places of the elements that name it: a type may be that of many fields.
    sizes: RefCell<HashMap<usize, Option<Value>>>,
    /// Contexts, by the places of their lists: a type may be that of many parameters.
    pub(super) contexts: RefCell<HashMap<usize, Rc<Contexts<'t>>>>,
}

impl<'k, 't> Known<'k, 't> {
    pub(super) fn new(names: &'k Names<'t>, shapes: &'k [Option<Rc<Shape<'t>>>]) -> Self {
        Known {
            names,
            shapes,
            sizes: RefCell::default(),
            contexts: RefCell::default(),
        }
    }

    /// The shape of a parameter.
    pub(super) fn shape(&self, parameter: usize) -> Option<Rc<Shape<'t>>> {
        self.shapes.get(parameter)?.clone()
    }

    /// The value that says a size. Where there is none, that is said once.
    pub(super) fn size(&self, counted: &Counted<'t>) -> Option<Value> {
        let at = counted.reference.at();
        let known = self.sizes.borrow().get(&at).copied();
        known.unwrap_or_else(|| {
            let found = self.counted(counted);
            self.sizes.borrow_mut().insert(at, found);
            found
        })
    }

    fn counted(&self, counted: &Counted<'t>) -> Option<Value> {
        let reference = counted.reference;
        let is_calibrated = reference.flag("useCalibratedValue", true);
        let (value, of) = self.value(reference, counted.system)?;
        let whole = [
            Coding::Uint,
            Coding::Int,
            Coding::SignMagnitude,
            Coding::OnesComplement,
        ];
        if !whole.contains(&of.coded.layout.coding) {
            reference.problem("is no whole number", "name a parameter that is one");
            return None;
        }
        if is_calibrated && of.is_curved() {
            let remedy = "write useCalibratedValue=\"false\", and adjust the value that is sent";
            reference.problem("takes a size from what a calibrator gives", remedy);
            return None;
        }
        Some(value)
    }

    /// The value that a `parameterRef` stands for.
    pub(super) fn value(
        &self,
        element: Element<'t>,
        system: usize,
    ) -> Option<(Value, &'k Type<'t>)> {
        let (parameter, name) = self.names.value(element, system)?;
        let shape = self.shapes.get(parameter)?.as_ref()?;
        let Some(leaf) = shape.leaf(&name) else {
            let path = &self.names.parameters[parameter].path;
            let what = format!(
                "names {:?}, which is no value",
                clipped(&format!("{path}{name}"))
            );
            let known = shape.leaves.iter().take(SHOWN_MEMBERS);
            let known: Vec<&str> = known
                .map(|leaf| leaf.name.trim_start_matches('.'))
                .collect();
            let remedy = match known[..] {
                [""] => "name the parameter alone: it has no members".to_owned(),
                _ => format!("name a member of it, such as {}", known.join(", ")),
            };
            element.problem(what, remedy);
            return None;
        };
        let of = &shape.leaves[leaf].of;
        if matches!(of.coded.size, Size::Nowhere) {
            let remedy =
                "give its type one, such as IntegerDataEncoding, or name another parameter";
            element.problem("names what has no encoding, and so no bits", remedy);
            return None;
        }
        Some(((parameter, leaf), of))
    }
}

/// All comparisons of a `RestrictionCriteria`, an `IncludeCondition` or a `ContextMatch`, of which each must hold.
pub(super) fn read<'t>(
    criteria: Element<'t>,
    known: &Known<'_, 't>,
    system: usize,
) -> Vec<Comparison<'t>> {
    let kinds = ["Comparison", "ComparisonList", "BooleanExpression"];
    criteria.allow(&[], &kinds);
    let mut found = Vec::new();
    for child in criteria.children() {
        match child.name() {
            "Comparison" => found.push(child),
            "ComparisonList" => {
                child.allow(&[], &["Comparison"]);
                found.extend(named(child, "Comparison"));
            }
            "BooleanExpression" => {
                let conditions = ["Condition", "ANDedConditions"];
                child.allow(&[], &conditions);
                match child.only(&conditions, "condition") {
                    Some(all) if all.name() == conditions[1] => {
                        all.allow(&[], &["Condition"]);
                        found.extend(named(all, "Condition"));
                    }
                    one => found.extend(one),
                }
            }
            _ => {}
        }
    }
    if found.is_empty() {
        criteria.problem("compares nothing", "give it a Comparison");
    }
    if found.len() > COMPARISONS_MAX {
        let what = format!("has {} comparisons", found.len());
        criteria.problem(what, format!("keep it to {COMPARISONS_MAX}"));
        return Vec::new();
    }
    let each = found.into_iter();
    each.filter_map(|element| {
        element.said(match element.name() {
            "Comparison" => comparison(element, known, system),
            _ => condition(element, known, system),
        })
    })
    .collect()
}

fn named<'t>(element: Element<'t>, name: &'static str) -> impl Iterator<Item = Element<'t>> {
    element.children().filter(move |child| child.name() == name)
}

const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const COMPARED: [&str; 3] = ["parameterRef", "instance", "useCalibratedValue"];

fn comparison<'t>(
    element: Element<'t>,
    known: &Known<'_, 't>,
    system: usize,
) -> Option<Comparison<'t>> {
    element.allow(
        &[&COMPARED[..], &["comparisonOperator", "value"]].concat(),
        &[],
    );
    let operators = OPERATORS.map(|name| (name, name));
    let operator = element.choice("comparisonOperator", &operators);
    let value = element.required("value");
    compared(element, known, system, operator?, value?)
}

/// The same in three elements.
fn condition<'t>(
    element: Element<'t>,
    known: &Known<'_, 't>,
    system: usize,
) -> Option<Comparison<'t>> {
    let parts = ["ParameterInstanceRef", "ComparisonOperator", "Value"];
    element.allow(&[], &parts);
    let [reference, operator, value] = parts.map(|name| {
        let found = element.only(&[name], name);
        if found.is_none() {
            let remedy = "compare one parameter with a Value";
            element.problem(format!("has no {name}"), remedy);
        }
        found
    });
    let (reference, operator, value) = (reference?, operator?, value?);
    reference.allow(&COMPARED, &[]);
    operator.allow(&[], &[]);
    value.allow(&[], &[]);
    let Some(known_operator) = OPERATORS.iter().find(|name| **name == operator.text()) else {
        let what = format!("is {:?}, which is not supported", clipped(operator.text()));
        operator.problem(what, format!("choose one of {}", OPERATORS.join(", ")));
        return None;
    };
    compared(reference, known, system, known_operator, value.text())
}

fn compared<'t>(
    element: Element<'t>,
    known: &Known<'_, 't>,
    system: usize,
    operator: &str,
    value: &str,
) -> Option<Comparison<'t>> {
    element.choice("instance", &[("0", ())]);
    let is_calibrated = element.flag("useCalibratedValue", true);
    let (parameter, of) = known.value(element, system)?;
    let range = range(element, of, operator, value.trim(), is_calibrated)?;
    Some(Comparison {
        element,
        value: parameter,
        range,
    })
}

fn range(
    element: Element<'_>,
    of: &Type,
    operator: &str,
    value: &str,
    is_calibrated: bool,
) -> Option<Range> {
    let layout = of.coded.layout;
    let coding = layout.coding;
    let refuse = |what: &str, remedy: &str| {
        element.problem(what, remedy);
        None
    };
    if matches!(coding, Coding::Text | Coding::Bytes) {
        return refuse("compares a text", "compare a number");
    }
    let raw = "write useCalibratedValue=\"false\", and the value that is sent";
    if of.is_curved() && is_calibrated {
        return refuse("compares what a calibrator gives", raw);
    }
    if coding == Coding::Bool && layout.bits > 1 && !is_calibrated {
        return refuse(
            "compares the bits of a truth value",
            "compare it with its name",
        );
    }
    let is_whole = !matches!(coding, Coding::Float | Coding::Mil1750a);
    if is_calibrated && !of.words.is_empty() {
        if !matches!(operator, "==" | "!=") {
            return refuse("compares a name by its size", raw);
        }
        let Some(number) = of.words.get(value).copied().flatten() else {
            let what = format!(
                "compares with {:?}, which is no name of one value",
                clipped(value)
            );
            return refuse(
                &what,
                "write one of the names, or useCalibratedValue=\"false\"",
            );
        };
        return held(element, layout, operator, number as f64);
    }
    let number = if is_whole {
        whole(value)
            .filter(|number| (-EXACT_MAX..=EXACT_MAX).contains(number))
            .map(|number| number as f64)
    } else {
        value
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    let Some(number) = number else {
        let what = format!("compares with {:?}", clipped(value));
        return refuse(
            &what,
            "write a number of at most 53 bits, whole where the parameter is",
        );
    };
    held(element, layout, operator, number)
}

/// A whole number, in base 10 or behind the sign of another one.
fn whole(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    for (base, signs) in [(16, ["0x", "0X"]), (8, ["0o", "0O"]), (2, ["0b", "0B"])] {
        if let Some(digits) = signs.iter().find_map(|of| digits.strip_prefix(of)) {
            let is_plain = digits.starts_with(|first: char| first.is_digit(base));
            let number = i64::from_str_radix(digits, base).ok();
            return number.filter(|_| is_plain).map(|number| sign * number);
        }
    }
    text.parse().ok()
}

/// The range of a comparison; none where it never holds, since the bits cannot be of that number.
fn held(element: Element<'_>, layout: Layout, operator: &str, number: f64) -> Option<Range> {
    let Some((low, end)) = layout.bounds() else {
        return Some(ranged(operator, number, false));
    };
    if operator == "==" && !(low..end).contains(&number) {
        let what = format!(
            "compares with {number}, which {} bits never are",
            layout.bits
        );
        let remedy = "write a number that the parameter can have";
        element.problem(what, remedy);
        return None;
    }
    Some(ranged(operator, number, true))
}

fn ranged(operator: &str, number: f64, is_whole: bool) -> Range {
    let (below, above) = if is_whole {
        (number - 1.0, number + 1.0)
    } else {
        (number.next_down(), number.next_up())
    };
    let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
    match operator {
        "==" => Range::only(number),
        "!=" => Range {
            outside: true,
            ..Range::only(number)
        },
        "<" => Range::between(low, below),
        "<=" => Range::between(low, number),
        ">" => Range::between(above, high),
        _ => Range::between(number, high),
    }
}
