//! Comparisons of a parameter with a value, as ranges of what is read for it.

use super::element::{Element, clipped};
use super::names::{Kind, Names};
use super::types::Type;
use crate::telemetry::database::Range;
use crate::telemetry::database::field::{Coding, Layout};

/// The greatest whole number that is exact as a number with a point, in both directions.
const EXACT_MAX: i64 = 1 << 53;

/// Most comparisons of which each must hold.
const COMPARISONS_MAX: usize = 64;

/// One comparison.
#[derive(Debug)]
pub(super) struct Comparison<'t> {
    pub(super) element: Element<'t>,
    /// Its place among the parameters.
    pub(super) parameter: usize,
    pub(super) range: Range,
}

/// What finds types: those of parameters, by the places of both.
pub(super) struct Known<'k, 't> {
    pub(super) names: &'k Names<'t>,
    /// The type of each parameter, where it has one.
    pub(super) types: &'k [Option<Type>],
}

/// All comparisons of a `RestrictionCriteria` or an `IncludeCondition`, of which each must hold.
pub(super) fn read<'t>(
    criteria: Element<'t>,
    known: &Known<'_, 't>,
    system: usize,
) -> Vec<Comparison<'t>> {
    criteria.allow(&[], &["Comparison", "ComparisonList"]);
    let mut found = Vec::new();
    for child in criteria.children() {
        match child.name() {
            "Comparison" => found.push(child),
            "ComparisonList" => {
                child.allow(&[], &["Comparison"]);
                found.extend(
                    child
                        .children()
                        .filter(|child| child.name() == "Comparison"),
                );
            }
            _ => {}
        }
    }
    if criteria.children().next().is_none() {
        criteria.problem("compares nothing", "give it a Comparison");
    }
    if found.len() > COMPARISONS_MAX {
        let what = format!("has {} comparisons", found.len());
        criteria.problem(what, format!("keep it to {COMPARISONS_MAX}"));
        return Vec::new();
    }
    let each = found.into_iter();
    each.filter_map(|element| comparison(element, known, system))
        .collect()
}

fn comparison<'t>(
    element: Element<'t>,
    known: &Known<'_, 't>,
    system: usize,
) -> Option<Comparison<'t>> {
    let attributes = [
        "parameterRef",
        "instance",
        "useCalibratedValue",
        "comparisonOperator",
        "value",
    ];
    element.allow(&attributes, &[]);
    element.choice("instance", &[("0", ())]);
    let operators = ["==", "!=", "<", "<=", ">", ">="].map(|name| (name, name));
    let operator = element.choice("comparisonOperator", &operators);
    let is_calibrated = element.flag("useCalibratedValue", true);
    let value = element.required("value");
    let parameter = known
        .names
        .resolve(element, "parameterRef", Kind::Parameter, system)?;
    let of = known.types.get(parameter)?.as_ref()?;
    let range = range(element, of, operator?, value?.trim(), is_calibrated)?;
    Some(Comparison {
        element,
        parameter,
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
    let coding = of.layout.coding;
    let refuse = |what: &str, remedy: &str| {
        element.problem(what, remedy);
        None
    };
    if matches!(coding, Coding::Text | Coding::Bytes) {
        return refuse("compares a text", "compare a number");
    }
    let raw = "write useCalibratedValue=\"false\", and the value that is sent";
    if of.parameter.curve.is_some() && is_calibrated {
        return refuse("compares what a calibrator gives", raw);
    }
    if coding == Coding::Bool && of.layout.bits > 1 && !is_calibrated {
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
        return held(element, of.layout, operator, number as f64);
    }
    let number = if is_whole {
        let number = value.parse::<i64>().ok();
        number
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
    held(element, of.layout, operator, number)
}

/// The range of a comparison; none where it never holds, since the bits cannot be of that number.
fn held(element: Element<'_>, layout: Layout, operator: &str, number: f64) -> Option<Range> {
    let power = |bits: usize| 2_f64.powi(i32::try_from(bits).unwrap_or(i32::MAX));
    let (low, end) = match layout.coding {
        Coding::Uint => (0.0, power(layout.bits)),
        Coding::Int => (-power(layout.bits - 1), power(layout.bits - 1)),
        Coding::Bool => (0.0, 2.0),
        _ => return Some(ranged(operator, number, false)),
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
