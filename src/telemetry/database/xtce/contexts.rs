//! Calibrators that are used where comparisons with other parameters hold.

use super::calibrators::curve;
use super::comparisons::{Comparison, Known, Value, read};
use super::element::Element;
use crate::telemetry::database::contexts::{CONDITIONS_MAX, Context, keyed, text};
use crate::telemetry::database::curve::Curve;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A `ContextCalibratorList` as it is written.
#[derive(Clone, Debug)]
pub(super) struct Given<'t> {
    /// Its place among the elements of its file.
    at: usize,
    /// The space system of the type.
    system: usize,
    /// Each `ContextMatch`, and its curve.
    all: Rc<[(Element<'t>, Arc<Curve>)]>,
}

/// The same, with what its comparisons are with.
#[derive(Debug)]
pub(super) struct Contexts<'t> {
    /// As a parameter has them.
    pub(super) of_parameter: Arc<[Context]>,
    /// The comparisons of each.
    pub(super) comparisons: Vec<Vec<Comparison<'t>>>,
    /// Whether it was said that one of these does not stand before a field, or which is not clear: it is not said again.
    pub(super) is_wrong: Cell<bool>,
}

/// Reads a `ContextCalibratorList`.
pub(super) fn given(list: Element<'_>, system: usize) -> Option<Given<'_>> {
    list.allow(&[], &["ContextCalibrator"]);
    let mut all = Vec::new();
    let each = list.children();
    for context in each.filter(|child| child.name() == "ContextCalibrator") {
        let parts = ["ContextMatch", "Calibrator"];
        context.allow(&[], &parts);
        let [criteria, calibrator] = parts.map(|name| {
            let found = context.child(name);
            if found.is_none() {
                context.problem(format!("has no {name}"), "give it both parts");
            }
            found
        });
        let curve = calibrator.and_then(curve);
        all.extend(criteria.zip(curve.map(Arc::new)));
    }
    if all.is_empty() && list.is_bare() {
        list.problem("has no ContextCalibrator", "give it one, or take it out");
    }
    (!all.is_empty()).then(|| Given {
        at: list.at(),
        system,
        all: all.into(),
    })
}

impl<'t> Known<'_, 't> {
    /// The contexts of a type. What is wrong with one is said once.
    pub(super) fn contexts(&self, given: &Given<'t>) -> Rc<Contexts<'t>> {
        let known = self.contexts.borrow().get(&given.at).cloned();
        known.unwrap_or_else(|| {
            let made = Rc::new(self.compared(given));
            self.contexts
                .borrow_mut()
                .insert(given.at, Rc::clone(&made));
            made
        })
    }

    fn compared(&self, given: &Given<'t>) -> Contexts<'t> {
        let (mut of_parameter, mut comparisons, mut count) = (Vec::new(), Vec::new(), 0);
        for (criteria, curve) in &*given.all {
            let found = read(*criteria, self, given.system);
            count += found.len();
            if count > CONDITIONS_MAX {
                let what =
                    format!("is one of contexts with more than {CONDITIONS_MAX} comparisons");
                criteria.problem(what, "compare less");
                break;
            }
            let named = found.iter().map(|one| (self.name(one.value), one.range));
            let named: Vec<_> = named.collect();
            let when = text(named.iter().map(|(name, range)| (name.as_str(), *range)));
            of_parameter.push((when, Arc::clone(curve)));
            comparisons.push(found);
        }
        Contexts {
            of_parameter: keyed(of_parameter),
            comparisons,
            is_wrong: Cell::new(false),
        }
    }

    /// The name of a value.
    pub(super) fn name(&self, (parameter, leaf): Value) -> String {
        let path = &self.names.parameters[parameter].path;
        let shape = self.shape(parameter);
        let leaf = shape.as_ref().and_then(|shape| shape.leaves.get(leaf));
        format!("{path}{}", leaf.map_or("", |leaf| &leaf.name))
    }
}
