//! Conditions on the values of fields that stand before, in `valid_if` and in contexts.

use super::contexts::Asked;
use crate::config::{Section, nearest};
use crate::telemetry::database::field::Coding;
use crate::telemetry::database::{Field, Range};

/// A condition as it is written.
pub(super) struct Compared<'a> {
    pub(super) section: Section<'a>,
    /// Of the field.
    pub(super) name: String,
    pub(super) range: Range,
}

/// Reads a condition; none where something was said.
pub(super) fn compared(mut section: Section<'_>) -> Option<Compared<'_>> {
    let name = section.required_text("field", "write the name of a field that stands before");
    let is = section.number("is");
    let (min, max) = (section.number("min"), section.number("max"));
    let range = match (is, min, max) {
        (Some(is), None, None) => Range::only(is),
        (None, min, max) if min.or(max).is_some() => Range::between(
            min.unwrap_or(f64::NEG_INFINITY),
            max.unwrap_or(f64::INFINITY),
        ),
        _ => {
            let remedy = "give `is`, or `min` or `max` or both";
            section.problem("", "is no condition", remedy);
            return None;
        }
    };
    Some(Compared {
        section,
        name: name?,
        range,
    })
}

/// The place of the field of a condition among those that stand before; in a context, before the field of a packet, and the
/// condition is to be one that may hold. Where there is none, something was said, of the condition or of the field.
pub(super) fn place(
    one: &Compared<'_>,
    before: &[Field],
    of: Option<(&str, &str)>,
    asked: &Asked<'_>,
) -> Option<usize> {
    let Compared {
        section,
        name,
        range,
    } = one;
    let found = before.iter().rposition(|field| field.name == *name);
    let Some(found) = found else {
        if asked.is_unread(name) {
            return None;
        }
        let known = before.iter().map(|field| field.name.as_str());
        let hint = nearest(name, known)
            .map_or_else(String::new, |known| format!(" (did you mean {known:?}?)"));
        let this = match of {
            Some((packet, field)) => format!("{field:?} in packets.{packet}"),
            None => "this one".to_owned(),
        };
        let what = format_args!("is {name:?}, which is no field before {this}{hint}");
        section.problem(
            "field",
            what,
            "name a field of the same packet that stands before",
        );
        return None;
    };
    // Databases have `valid_if` of any field and number, and are read as before.
    if of.is_none() {
        return Some(found);
    }
    let layout = before[found].layout;
    if matches!(layout.coding, Coding::Text | Coding::Bytes) {
        let what = format_args!("is {name:?}, which is no number");
        section.problem("field", what, "name a field of a number or a truth value");
        return None;
    }
    let is_never = layout.bounds().is_some_and(|(low, end)| {
        let is_between = range.low.ceil() > range.high.floor();
        is_between || range.high < low || range.low >= end
    });
    if is_never || range.low > range.high {
        let remedy = "ask for a number that its bits can be";
        section.problem("", format_args!("never holds of {name:?}"), remedy);
        return None;
    }
    Some(found)
}
