//! `contexts` of parameters: curves, each with conditions on fields that stand before.

use super::conditions::{Compared, compared, place};
use super::{Curves, named_curve};
use crate::config::Section;
use crate::telemetry::database::contexts::{CONDITIONS_MAX, Conditions, Context, keyed, text};
use crate::telemetry::database::{CONDITIONS_ALL_MAX, Condition, Field, array};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The contexts of each parameter, which fields of packets are to have.
#[derive(Default)]
pub(super) struct Asked<'a> {
    of: HashMap<String, Parameter<'a>>,
    /// Conditions on fields so far.
    all: Cell<usize>,
    /// Names of fields that something was said of and that are not there.
    unread: RefCell<HashSet<String>>,
}

struct Parameter<'a> {
    section: Section<'a>,
    contexts: Vec<Vec<Compared<'a>>>,
    /// Whether some field has them.
    is_used: Cell<bool>,
    /// Whether something was said of them that would be said again in each packet.
    is_wrong: Cell<bool>,
}

impl<'a> Asked<'a> {
    /// Reads the contexts in the table of a parameter.
    pub(super) fn read(
        &mut self,
        name: &str,
        mut section: Section<'a>,
        curves: &Curves,
    ) -> Arc<[Context]> {
        let (mut made, mut contexts) = (Vec::new(), Vec::new());
        for mut table in section.tables("contexts") {
            if !table.has("curve") {
                table.problem("curve", "is missing", "name a table of [curves]");
            }
            let curve = named_curve(&mut table, curves);
            let when: Option<Vec<_>> = table.tables("when").into_iter().map(compared).collect();
            if when.as_ref().is_some_and(Vec::is_empty) {
                let remedy = "write when = [{ field = \"gain\", is = 1 }]";
                table.problem("when", "has no condition", remedy);
            }
            if let (Some(curve), Some(when)) = (curve, when) {
                let each = when.iter().map(|one| (one.name.as_str(), one.range));
                made.push((text(each), curve));
                contexts.push(when);
            }
        }
        let count: usize = contexts.iter().map(Vec::len).sum();
        if count > CONDITIONS_MAX {
            let what = format_args!("have {count} conditions");
            section.problem(
                "contexts",
                what,
                format_args!("keep them to {CONDITIONS_MAX}"),
            );
            contexts.clear();
        }
        // One without any is of the elements of an array, too, whatever the array has.
        let parameter = Parameter {
            is_used: Cell::new(contexts.is_empty()),
            section,
            contexts,
            is_wrong: Cell::new(false),
        };
        self.of.insert(name.to_owned(), parameter);
        keyed(made)
    }

    /// A field is not there, since something was said of it.
    pub(super) fn unread(&self, name: Option<String>) {
        self.unread.borrow_mut().extend(name);
    }

    /// Whether that is so of a field, or of the array that it is an element of.
    pub(super) fn is_unread(&self, name: &str) -> bool {
        let unread = self.unread.borrow();
        unread.contains(name) || array(name).is_some_and(|array| unread.contains(array))
    }

    /// What they ask of the fields before one of these names, which are a field or the elements of an array.
    pub(super) fn fields(
        &self,
        packet: &str,
        names: &[String],
        before: &[Field],
    ) -> Vec<Conditions> {
        let mut made: HashMap<&str, Conditions> = HashMap::new();
        let each = names.iter().map(|name| {
            let known = |name| self.of.get_key_value(name);
            let found = known(name.as_str()).or_else(|| known(array(name)?));
            let Some((of, parameter)) = found.filter(|(_, of)| !of.contexts.is_empty()) else {
                return Conditions::default();
            };
            parameter.is_used.set(true);
            if parameter.is_wrong.get() || !self.has_room(parameter) {
                return Conditions::default();
            }
            let conditions = made
                .entry(of)
                .or_insert_with(|| parameter.conditions((packet, name), before, self));
            Arc::clone(conditions)
        });
        each.collect()
    }

    /// Counts the conditions of a field, which are about to be made. All of them together have a bound.
    fn has_room(&self, parameter: &Parameter<'_>) -> bool {
        let before = self.all.get();
        if before > CONDITIONS_ALL_MAX {
            return false;
        }
        let count: usize = parameter.contexts.iter().map(Vec::len).sum();
        self.all.set(before + count);
        let has_room = self.all.get() <= CONDITIONS_ALL_MAX;
        if !has_room {
            let what = format_args!(
                "are of those with more than {CONDITIONS_ALL_MAX} conditions on all fields together"
            );
            let remedy = "ask for less, or split the database";
            parameter.section.problem("contexts", what, remedy);
        }
        has_room
    }

    /// No packet comes any more.
    pub(super) fn finish(self) {
        for (name, parameter) in &self.of {
            if !parameter.is_used.get() && !self.is_unread(name) {
                let remedy = "give extract and calibrate one file, which has the packets of the parameter, too";
                let what = "are of a parameter that is no field of a packet";
                parameter.section.problem("contexts", what, remedy);
            }
        }
    }
}

impl Parameter<'_> {
    fn conditions(&self, field: (&str, &str), before: &[Field], asked: &Asked<'_>) -> Conditions {
        let each = self.contexts.iter().map(|context| {
            let each = context.iter().filter_map(|one| {
                let found = place(one, before, Some(field), asked);
                self.is_wrong.set(self.is_wrong.get() || found.is_none());
                Some(Condition {
                    field: found?,
                    range: one.range,
                })
            });
            each.collect()
        });
        each.collect()
    }
}
