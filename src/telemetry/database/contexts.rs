//! Curves that depend on other values of the same packet: the first context that holds says which one is meant.
//!
//! Who reads a packet sees all its values and decides; who calibrates one of them alone, perhaps by a newer database, finds the
//! curve by a key. It is of all that was decided: that the contexts in front do not hold, and that this one does.

use super::curve::Curve;
use super::extent::Before;
use super::{Condition, Field, Parameter, Range, all_hold};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Most conditions of all contexts of one parameter.
pub(super) const CONDITIONS_MAX: usize = 64;

/// A curve, and when it is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// What its conditions are, by the names of their fields: `"gain" = 1 and 2 <= "mode" <= 3`.
    pub when: String,
    /// Digest of what its conditions are, and those of the contexts in front.
    pub key: u128,
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
pub(super) fn text<'a>(conditions: impl IntoIterator<Item = (&'a str, Range)>) -> String {
    let each = conditions.into_iter();
    let each: Vec<String> = each.map(|(name, range)| range.of(name)).collect();
    each.join(" and ")
}

/// Contexts of one parameter in order, each of what [`text`] says of it and its curve.
pub(super) fn keyed(each: impl IntoIterator<Item = (String, Arc<Curve>)>) -> Arc<[Context]> {
    let mut so_far = Sha256::new();
    let all = each.into_iter().map(|(when, curve)| {
        so_far.update(&when);
        so_far.update("\n");
        let digest = so_far.clone().finalize();
        let first = digest.iter().take(16);
        Context {
            when,
            key: first.fold(0, |key, byte| key << 8 | u128::from(*byte)),
            curve,
        }
    });
    all.collect()
}

impl Range {
    /// That a value is in it, in words. A name is in quotes, since it may be of any letters, ` and ` among them.
    fn of(self, name: &str) -> String {
        let Range { low, high, outside } = self;
        let not = if outside { "not " } else { "" };
        if low.total_cmp(&high).is_eq() {
            format!("{not}{name:?} = {low}")
        } else if low == f64::NEG_INFINITY {
            format!("{not}{name:?} <= {high}")
        } else if high == f64::INFINITY {
            format!("{not}{name:?} >= {low}")
        } else {
            format!("{not}{low} <= {name:?} <= {high}")
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
    /// The key of the context of a place; without one, that none holds. None of a parameter without contexts.
    pub fn context(&self, at: Option<usize>) -> Option<u128> {
        match at {
            Some(at) => self.contexts.get(at).map(|context| context.key),
            // All of them decided it, as they do where the last one holds.
            None => self.contexts.last().map(|context| !context.key),
        }
    }

    /// Whether it has curves, be it in some contexts alone.
    pub fn is_curved(&self) -> bool {
        self.curve.is_some() || !self.contexts.is_empty()
    }

    /// The curve in the context of a key, none where values stay as they are. A parameter without contexts has one curve in all
    /// of them.
    pub fn curve_in(&self, context: Option<u128>) -> Result<Option<&Curve>, UnknownContext> {
        if self.contexts.is_empty() || context == self.context(None) {
            return Ok(self.curve.as_deref());
        }
        let found = self
            .contexts
            .iter()
            .find(|known| context == Some(known.key));
        found.map(|known| Some(&*known.curve)).ok_or(UnknownContext)
    }
}

#[cfg(test)]
mod tests;
