//! What values mean: calibrators, units, alarms.

use super::element::{Element, clipped};
use crate::telemetry::database::curve::{Curve, Outside, POINTS_MAX, Points};
use crate::telemetry::database::limit::Limits;
use crate::telemetry::database::{Range, Valid, units};

/// The curve of a `DefaultCalibrator`, or of a `Calibrator` in a context.
pub(super) fn curve(element: Element<'_>) -> Option<Curve> {
    let kinds = ["PolynomialCalibrator", "SplineCalibrator"];
    element.allow(&["name"], &kinds);
    match element.only(&kinds, "calibrator") {
        Some(polynomial) if polynomial.name() == kinds[0] => terms(polynomial),
        Some(spline) => points(spline),
        None => {
            if element.is_bare() {
                element.problem(
                    "has no calibrator",
                    format!("give it {}", kinds.join(" or ")),
                );
            }
            None
        }
    }
}

fn terms(element: Element<'_>) -> Option<Curve> {
    element.allow(&["name"], &["Term"]);
    let mut coefficients = Vec::new();
    let mut seen = Vec::new();
    for term in element.children().filter(|child| child.name() == "Term") {
        term.allow(&["coefficient", "exponent"], &[]);
        let (_, _) = (term.required("coefficient"), term.required("exponent"));
        let exponent: Option<usize> = term.number("exponent", None);
        let (Some(coefficient), Some(exponent)) = (term.finite("coefficient"), exponent) else {
            continue;
        };
        if exponent >= POINTS_MAX {
            let what = format!("has exponent = {exponent}");
            term.problem(what, format!("choose one below {POINTS_MAX}"));
            continue;
        }
        if coefficients.len() <= exponent {
            coefficients.resize(exponent + 1, 0.0);
            seen.resize(exponent + 1, false);
        }
        if std::mem::replace(&mut seen[exponent], true) {
            term.problem(
                format!("has exponent = {exponent} again"),
                "add the two coefficients",
            );
        }
        coefficients[exponent] = coefficient;
    }
    if coefficients.is_empty() {
        if element.child("Term").is_some() {
            return None;
        }
        element.problem(
            "has no Term",
            "give it one with a coefficient and an exponent",
        );
        return None;
    }
    Some(Curve::Polynomial(coefficients))
}

fn points(element: Element<'_>) -> Option<Curve> {
    element.allow(&["name", "order", "extrapolate"], &["SplinePoint"]);
    let order: Option<u32> = element.number("order", Some(1));
    let outside = if element.flag("extrapolate", false) {
        Outside::Extrapolate
    } else {
        Outside::Bad
    };
    let (mut points, mut count) = (Vec::new(), 0);
    for point in element
        .children()
        .filter(|child| child.name() == "SplinePoint")
    {
        count += 1;
        point.allow(&["raw", "calibrated", "order"], &[]);
        let (_, _) = (point.required("raw"), point.required("calibrated"));
        let own: Option<u32> = point.number("order", order);
        if own != order {
            let remedy = "give the calibrator an order, and all points the same or none";
            point.problem("has another order than its calibrator", remedy);
        }
        points.extend(point.finite("raw").zip(point.finite("calibrated")));
    }
    if points.len() != count {
        return None;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let make = match order? {
        0 => Curve::Steps,
        1 => Curve::Linear,
        other => {
            let what = format!("has order = {other}");
            element.problem(what, "choose 0 for steps or 1 for straight lines");
            return None;
        }
    };
    let made = Points::new(&points, 2, outside).map(make);
    let remedy = "give it two SplinePoints or more, each with another raw value";
    made.map_err(|error| element.problem(error.to_string(), remedy))
        .ok()
}

/// The unit of a `UnitSet`: the product of its units. What is no UCUM code becomes a note.
pub(super) fn unit(set: Element<'_>) -> Option<String> {
    set.allow(&[], &["Unit"]);
    let mut product = String::new();
    for unit in set.children().filter(|child| child.name() == "Unit") {
        unit.allow(&["power", "factor", "description", "form"], &[]);
        unit.choice("form", &[("calibrated", ())]);
        if unit
            .attribute("factor")
            .is_some_and(|factor| factor.trim() != "1")
        {
            unit.problem("has a factor", "put it into the calibrator");
        }
        let power: f64 = unit.number("power", Some(1.0)).unwrap_or(1.0);
        let text = unit.text();
        if text.is_empty() {
            continue;
        }
        let is_one = (power - 1.0).abs() < f64::EPSILON;
        let code = if units::check(text).is_ok() && (is_one || !text.contains(['.', '/', '{'])) {
            text.to_owned()
        } else {
            format!("{{{text}}}")
        };
        let code = if is_one {
            code
        } else {
            format!("{code}{power}")
        };
        if !product.is_empty() {
            product.push('.');
        }
        product.push_str(&code);
        if let Err(error) = units::check(&product) {
            let what = format!("makes {:?}: {error}", clipped(&product));
            unit.problem(
                what,
                "write a UCUM code, such as V, Cel, kPa, m/s2, or a short word",
            );
            return None;
        }
    }
    Some(product).filter(|product| !product.is_empty())
}

/// The limits of a `DefaultAlarm`.
pub(super) fn limits(alarm: Element<'_>) -> Option<Limits> {
    alarm.allow(
        &["name", "minViolations", "minConformance"],
        &["StaticAlarmRanges"],
    );
    let violations: Option<u32> = alarm.number("minViolations", Some(1));
    let violations = violations.filter(|count| {
        let is_right = (1..=1000).contains(count);
        if !is_right {
            alarm.problem(format!("has minViolations = {count}"), "choose 1 to 1000");
        }
        is_right
    });
    if alarm.number("minConformance", violations) != violations {
        let remedy = "take it out: an alarm ends after as many values as it begins after";
        alarm.problem("has a minConformance that is not its minViolations", remedy);
    }
    let ranges = alarm.child("StaticAlarmRanges")?;
    ranges.allow(&["name", "rangeForm"], &["WarningRange", "CriticalRange"]);
    ranges.choice("rangeForm", &[("outside", ())]);
    let yellow = ranges.child("WarningRange").map_or(ALL, range);
    let red = ranges.child("CriticalRange").map_or(ALL, range);
    let rising = [red.0, yellow.0, yellow.1, red.1];
    let known: Vec<f64> = rising
        .into_iter()
        .filter(|limit| limit.is_finite())
        .collect();
    if !known.is_sorted() {
        let remedy =
            "let them rise: critical minimum, warning minimum, warning maximum, critical maximum";
        ranges.problem("has limits that do not rise", remedy);
    }
    Some(Limits {
        yellow,
        red,
        hysteresis: 0.0,
        persistence: violations?,
    })
}

const ALL: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The values that a `ValidRange` allows.
pub(super) fn valid(element: Element<'_>) -> Valid {
    const OF: &str = "validRangeAppliesToCalibrated";
    element.allow(&[&SIDES[..], &[OF]].concat(), &[]);
    let (low, high) = sides(element);
    if low > high {
        element.problem("allows no value", "let its maximum be above its minimum");
    }
    Valid {
        range: Range::between(low, high),
        is_raw: !element.flag(OF, true),
    }
}

/// The least and the greatest value that is no alarm.
fn range(element: Element<'_>) -> (f64, f64) {
    element.allow(&SIDES, &[]);
    sides(element)
}

const SIDES: [&str; 4] = [
    "minInclusive",
    "minExclusive",
    "maxInclusive",
    "maxExclusive",
];

/// The least and the greatest value of a range.
fn sides(element: Element<'_>) -> (f64, f64) {
    let side = |inclusive: &str, exclusive: &str, next: fn(f64) -> f64| {
        let (least, beyond) = (element.finite(inclusive), element.finite(exclusive));
        if least.is_some() && beyond.is_some() {
            let what = format!("has both {inclusive} and {exclusive}");
            element.problem(what, "keep one of them");
        }
        least.or(beyond.map(next))
    };
    let low = side("minInclusive", "minExclusive", f64::next_up);
    let high = side("maxInclusive", "maxExclusive", f64::next_down);
    (low.unwrap_or(ALL.0), high.unwrap_or(ALL.1))
}
