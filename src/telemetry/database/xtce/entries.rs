//! The fields that one entry of a container makes.

use super::comparisons::{Comparison, Known, Value};
use super::element::{Element, clipped};
use super::places::{Next, Spot};
use super::shapes::Leaf;
use super::sizes::{Counted, Size};
use crate::telemetry::database::contexts::Conditions;
use crate::telemetry::database::extent::{Extent, Place, Room};
use crate::telemetry::database::field::Layout;
use crate::telemetry::database::{Condition, Field};
use std::collections::HashMap;

/// Fields, each with what it is of.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) all: Vec<(Value, Field)>,
    /// The last one of each value, and whether one before is there under other conditions.
    last: HashMap<Value, (usize, bool)>,
}

impl Fields {
    pub(super) fn push(&mut self, value: Value, field: Field) {
        let at = self.all.len();
        let (last, differs) = self.last.get(&value).copied().unwrap_or((at, false));
        let other = self.all.get(last);
        let differs = differs || other.is_some_and(|(_, other)| other.valid_if != field.valid_if);
        self.last.insert(value, (at, differs));
        self.all.push((value, field));
    }

    /// The last field of a value, for a reference where these conditions hold. One that may be missing then, where another one
    /// stands before, is refused: which of them is meant would differ from packet to packet.
    pub(super) fn last(
        &self,
        value: Value,
        under: &[Condition],
        reference: Element<'_>,
    ) -> Option<usize> {
        let (at, _) = *self.last.get(&value)?;
        if !self.is_clear(value, under) {
            let what = format!(
                "is by {:?}, which stands before more than once, at last under a condition",
                self.all[at].1.name
            );
            reference.problem(what, "give each of these entries a parameter of its own");
        }
        Some(at)
    }

    /// Whether the last field of a value is the one that is meant, wherever these conditions hold.
    fn is_clear(&self, value: Value, under: &[Condition]) -> bool {
        let last = self.last.get(&value).filter(|(_, differs)| *differs);
        last.is_none_or(|(at, _)| {
            self.all[*at]
                .1
                .valid_if
                .iter()
                .all(|one| under.contains(one))
        })
    }
}

/// The fields of one entry.
pub(super) struct Made<'l, 't> {
    pub(super) entry: Element<'t>,
    /// Those that stand before, and then those that are made.
    pub(super) laid: &'l mut Fields,
    pub(super) valid_if: Vec<Condition>,
    /// Where the next entry begins where this one is not there.
    pub(super) absent: Next,
}

impl<'t> Made<'_, 't> {
    /// Puts one behind the others.
    pub(super) fn add(
        &mut self,
        known: &Known<'_, 't>,
        value: Value,
        path: &str,
        leaf: &Leaf<'t>,
        spot: Spot,
    ) -> Option<()> {
        let coded = &leaf.of.coded;
        let place = spot.checked(self.entry, coded.layout.bits)?;
        let room = match &coded.size {
            Size::Fixed => Room::Fixed,
            Size::Tag => Room::Tag,
            Size::Of(counted) => self.room(known, counted)?,
            Size::Nowhere => {
                let name = format!("{path}{}", leaf.name);
                let what = format!("is of {name:?}, whose type has no encoding, and so no bits");
                let remedy = "give the type one, such as IntegerDataEncoding";
                self.entry.problem(what, remedy);
                return None;
            }
        };
        let absent = match self.absent {
            Next::At(spot) if !self.valid_if.is_empty() => spot.checked(self.entry, 0)?,
            _ => Place::default(),
        };
        let extent = Extent {
            behind: place.behind,
            absent,
            room,
            tag_bits: coded.tag_bits,
            most_bits: coded.most_bits,
        };
        let is_plain = extent == Extent::plain(None) && self.valid_if.is_empty();
        let field = Field {
            name: format!("{path}{}", leaf.name),
            layout: Layout {
                at_bits: place.at_bits,
                ..coded.layout
            },
            extent: (!is_plain).then(|| Box::new(extent)),
            valid_if: self.valid_if.clone(),
            contexts: self.contexts(known, leaf),
        };
        self.laid.push(value, field);
        Some(())
    }

    /// What the contexts of a value ask of fields before. That one of these is not there, or not clear, is said once of a type.
    fn contexts(&self, known: &Known<'_, 't>, leaf: &Leaf<'t>) -> Conditions {
        let Some(given) = &leaf.of.contexts else {
            return Conditions::default();
        };
        let contexts = known.contexts(given);
        if contexts.is_wrong.get() {
            return Conditions::default();
        }
        let mut all = Vec::with_capacity(contexts.comparisons.len());
        for comparisons in &contexts.comparisons {
            let mut each = Vec::with_capacity(comparisons.len());
            for Comparison { value, range, .. } in comparisons {
                let found = self.laid.last(*value, &self.valid_if, self.entry);
                if found.is_none() {
                    let what = format!(
                        "has a calibrator by {:?}, which does not stand before",
                        clipped(&known.name(*value))
                    );
                    let remedy =
                        "put the parameter of the context in front, in this container or its base";
                    self.entry.problem(what, remedy);
                }
                let clear = found.filter(|_| self.laid.is_clear(*value, &self.valid_if));
                let Some(field) = clear else {
                    contexts.is_wrong.set(true);
                    return Conditions::default();
                };
                let range = *range;
                each.push(Condition { field, range });
            }
            all.push(each);
        }
        all.into()
    }

    /// A size that a field before says.
    fn room(&self, known: &Known<'_, 't>, counted: &Counted<'t>) -> Option<Room> {
        let reference = counted.reference;
        let value = known.size(counted)?;
        let Some(field) = self.laid.last(value, &self.valid_if, self.entry) else {
            let what = format!(
                "has a size of {:?}, which does not stand before",
                clipped(reference.attribute("parameterRef").unwrap_or_default())
            );
            let remedy = "put the parameter of the size in front, in this container or its base";
            self.entry.problem(what, remedy);
            return None;
        };
        Some(Room::Of {
            field,
            slope: counted.slope,
            intercept: counted.intercept,
        })
    }
}
