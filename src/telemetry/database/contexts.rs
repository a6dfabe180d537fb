//! Curves that depend on other values of the same packet: the first context that holds says which one is meant.
//!
//! Who reads a packet sees all its values and decides; who calibrates one of them alone, perhaps by a newer database, finds the
//! curve by the text of the context. So a text says all that its context asks for, and has no number of an order in it.

use super::curve::Curve;
use super::extent::Before;
use super::{Condition, Field, Parameter, Range, all_hold};
use std::sync::Arc;

/// Most conditions of all contexts of one parameter.
pub(super) const CONDITIONS_MAX: usize = 64;

/// That no context of a parameter holds, so that its own curve is meant.
pub const NONE_HOLDS: &str = "";

/// A curve, and when it is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// What its conditions are, by the names of their fields: `gain = 1 and 2 <= mode <= 3`.
    pub when: Arc<str>,
    /// The curve.
    pub curve: Arc<Curve>,
}

/// A parameter has contexts, and the one of a value is not among them, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value is in no context that is known")]
pub struct UnknownContext;

/// A value that decides a context is beyond the end of the packet.
pub(super) struct Undecided;

/// The conditions of each context of a field's parameter, in order.
pub type Conditions = Arc<[Vec<Condition>]>;

/// What conditions say, by the names of what they are on.
pub(super) fn text<'a>(conditions: impl IntoIterator<Item = (&'a str, Range)>) -> Arc<str> {
    let each = conditions.into_iter();
    let each: Vec<String> = each.map(|(name, range)| range.of(name)).collect();
    each.join(" and ").into()
}

impl Range {
    /// That a value is in it, in words.
    fn of(self, name: &str) -> String {
        let Range { low, high, outside } = self;
        let is_one = low.total_cmp(&high).is_eq();
        match (outside, is_one) {
            (false, true) => format!("{name} = {low}"),
            (true, true) => format!("{name} != {low}"),
            (false, _) if low == f64::NEG_INFINITY => format!("{name} <= {high}"),
            (false, _) if high == f64::INFINITY => format!("{name} >= {low}"),
            (false, _) => format!("{low} <= {name} <= {high}"),
            (true, _) => format!("not {low} <= {name} <= {high}"),
        }
    }
}

impl Field {
    /// The first context that holds, by its place among those of the parameter; none where none does.
    pub(super) fn context(&self, before: &[Before]) -> Result<Option<usize>, Undecided> {
        for (at, conditions) in self.contexts.iter().enumerate() {
            if all_hold(conditions, before).ok_or(Undecided)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

impl Parameter {
    /// The text of the context of a place; [`NONE_HOLDS`] without one.
    pub fn context(&self, at: Option<usize>) -> &str {
        let found = at.and_then(|at| self.contexts.get(at));
        found.map_or(NONE_HOLDS, |context| &context.when)
    }

    /// Whether it has curves, be it in some contexts alone.
    pub fn is_curved(&self) -> bool {
        self.curve.is_some() || !self.contexts.is_empty()
    }

    /// The curve in a context, none where values stay as they are. A parameter without contexts has one curve in all of them.
    pub fn curve_in(&self, context: Option<&str>) -> Result<Option<&Curve>, UnknownContext> {
        let text = match context {
            _ if self.contexts.is_empty() => NONE_HOLDS,
            Some(text) => text,
            None => return Err(UnknownContext),
        };
        if text == NONE_HOLDS {
            return Ok(self.curve.as_deref());
        }
        let found = self.contexts.iter().find(|known| *known.when == *text);
        found.map(|known| Some(&*known.curve)).ok_or(UnknownContext)
    }
}

#[cfg(test)]
mod tests;
