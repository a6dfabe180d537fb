//! Containers, each with those it is made of, as the fields of a packet.

use super::FIELDS_ALL_MAX;
use super::comparisons::{Known, read};
use super::element::Element;
use super::entries::{Fields, Made};
use super::names::{Kind, Named};
use super::once::{Line, Once, Words};
use super::places::{Next, Spot, repeat, start};
use crate::telemetry::database::extent::{Extent, Room};
use crate::telemetry::database::{CONDITIONS_ALL_MAX, Condition, FIELDS_MAX, Test};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

const WORDS: Words = Words {
    one: "container",
    no_circle: "let no container be in itself",
    no_line: "base fewer of them on each other",
};

/// A container with all that it has from others.
#[derive(Clone, Debug, Default)]
pub(super) struct Laid {
    pub(super) fields: Fields,
    /// What tells it from what it is based on.
    pub(super) tests: Vec<Test>,
    /// The container it is based on.
    pub(super) base: Option<usize>,
    /// How many it is based on, each on the next one.
    pub(super) bases: usize,
    /// The longest line of containers behind it.
    depth: usize,
    /// Where the next entry begins.
    next: Next,
    /// Whether there were more fields than a packet may have.
    is_full: bool,
}

impl Line for Laid {
    fn depth(&self) -> usize {
        self.depth
    }
}

/// Lays all containers out.
pub(super) struct Layouts<'k, 't> {
    known: Known<'k, 't>,
    made: Once<Laid>,
    all_fields: usize,
    all_comparisons: usize,
    /// Whether a container is part of another one.
    pub(super) parts: Vec<bool>,
}

impl<'k, 't> Layouts<'k, 't> {
    pub(super) fn new(known: Known<'k, 't>) -> Layouts<'k, 't> {
        let count = known.names.containers.len();
        Layouts {
            known,
            made: Once::new(count, WORDS),
            all_fields: 0,
            all_comparisons: 0,
            parts: vec![false; count],
        }
    }

    /// The container of a place. Where there is none, something was said.
    pub(super) fn laid(&mut self, at: usize, from: Element<'t>, line: usize) -> Option<Rc<Laid>> {
        if let ControlFlow::Break(done) = self.made.begin(at, from, line) {
            return done;
        }
        let made = self.lay(at, line).map(Rc::new);
        let laid = self.known.names.containers[at].element.said(made);
        self.made.done(at, laid)
    }

    fn lay(&mut self, at: usize, line: usize) -> Option<Laid> {
        if self.all_fields > FIELDS_ALL_MAX || self.all_comparisons > CONDITIONS_ALL_MAX {
            return None;
        }
        let named: &'k Named<'t> = &self.known.names.containers[at];
        let (element, system) = (named.element, named.system);
        let parts = [
            "EntryList",
            "BaseContainer",
            "DefaultRateInStream",
            "RateInStreamSet",
        ];
        element.allow(&["name", "abstract"], &parts);
        let mut laid = match element.child("BaseContainer") {
            Some(base) => self.base(base, system, line)?,
            None => Laid::default(),
        };
        let Some(list) = element.child("EntryList") else {
            element.problem("has no EntryList", "give it one, which may be empty");
            return None;
        };
        let entries = [
            "ParameterRefEntry",
            "ArrayParameterRefEntry",
            "ContainerRefEntry",
        ];
        list.allow(&[], &entries);
        for entry in list.children() {
            let next = match entry.name() {
                "ParameterRefEntry" | "ArrayParameterRefEntry" => {
                    self.parameter(entry, system, &mut laid)
                }
                "ContainerRefEntry" => self.part(entry, system, &mut laid, line),
                _ => continue,
            };
            if self.all_fields > FIELDS_ALL_MAX {
                break;
            }
            laid.next = entry.said(next).unwrap_or(Next::Unknown);
            if laid.is_full {
                return None;
            }
        }
        if self.all_fields > FIELDS_ALL_MAX {
            let what =
                format!("is one of containers with more than {FIELDS_ALL_MAX} fields together");
            element.problem(what, "split the database by what is needed");
            return None;
        }
        let conditions = laid.fields.all.iter().map(|(_, field)| {
            let of_contexts = field.contexts.iter().map(Vec::len);
            field.valid_if.len() + of_contexts.sum::<usize>()
        });
        self.all_comparisons += laid.tests.len() + conditions.sum::<usize>();
        if self.all_comparisons > CONDITIONS_ALL_MAX {
            let what = format!(
                "is one of containers with more than {CONDITIONS_ALL_MAX} comparisons together"
            );
            element.problem(what, "compare fewer parameters, or split the database");
            return None;
        }
        Some(laid)
    }

    /// What a container has from the one it is based on.
    fn base(&mut self, element: Element<'t>, system: usize, line: usize) -> Option<Laid> {
        element.allow(&["containerRef"], &["RestrictionCriteria"]);
        let names = self.known.names;
        let base = names.resolve(element, "containerRef", Kind::Container, system)?;
        let mut laid = Laid::clone(&*self.laid(base, element, line + 1)?);
        self.all_fields += laid.fields.all.len();
        laid.base = Some(base);
        laid.bases += 1;
        laid.depth += 1;
        let criteria = element.child("RestrictionCriteria");
        let comparisons = criteria.map(|criteria| read(criteria, &self.known, system));
        for comparison in comparisons.into_iter().flatten() {
            let Some(at) = laid.fields.last(comparison.value, &[], comparison.element) else {
                let remedy = "compare a parameter of the containers that this one is based on";
                comparison
                    .element
                    .problem("compares what is not in the base container", remedy);
                continue;
            };
            let (_, field) = &laid.fields.all[at];
            if field.extent.is_some() {
                let (what, remedy) = if field.valid_if.is_empty() {
                    let remedy =
                        "compare a parameter in front of those that may be missing or of any size";
                    ("compares what has no fixed place", remedy)
                } else {
                    let remedy = "compare a parameter that is in every packet";
                    ("compares what may not be there", remedy)
                };
                comparison.element.problem(what, remedy);
            }
            laid.tests.push(Test {
                layout: field.layout,
                range: comparison.range,
            });
        }
        Some(laid)
    }

    /// The fields of a parameter, and where the next entry begins.
    fn parameter(&mut self, entry: Element<'t>, system: usize, laid: &mut Laid) -> Option<Next> {
        let parts = [
            "LocationInContainerInBits",
            "RepeatEntry",
            "IncludeCondition",
        ];
        entry.allow(&["parameterRef"], &parts);
        let start = start(entry, laid.next);
        let valid_if = self.conditions(entry, system, &laid.fields);
        let repeat = entry.child("RepeatEntry").map(repeat);
        let names = self.known.names;
        let parameter = names.resolve(entry, "parameterRef", Kind::Parameter, system)?;
        let shape = self.known.shape(parameter)?;
        let (count, gap) = match repeat {
            Some(repeat) => (Some(repeat?.0), repeat?.1),
            None => (None, 0),
        };
        if count.is_some() && shape.leaves.len() > 1 {
            let remedy = "name an ArrayParameterType of it instead";
            entry.problem("repeats what is several values", remedy);
            return None;
        }
        let (mut next, absent) = (start?, laid.next);
        let mut made = Made {
            entry,
            laid: &mut laid.fields,
            valid_if,
            absent,
        };
        for at in 0..count.unwrap_or(1) {
            next.at += if at > 0 { gap } else { 0 };
            let path = &names.parameters[parameter].path;
            let path = match count {
                Some(_) => &format!("{path}.{at}"),
                None => path,
            };
            let before = made.laid.all.len();
            if before + shape.leaves.len() > FIELDS_MAX {
                laid.is_full = true;
                return full(entry);
            }
            self.all_fields += shape.leaves.len();
            for (index, leaf) in shape.leaves.iter().enumerate() {
                let spot = leaf.spot.within(next, before);
                made.add(&self.known, (parameter, index), path, leaf, spot)?;
            }
            next = shape.end.within(next, before);
        }
        if !made.valid_if.is_empty() {
            next = Spot::behind(made.laid.all.len() - 1);
        }
        Some(Next::At(next))
    }

    /// The fields of a container within another one.
    fn part(
        &mut self,
        entry: Element<'t>,
        system: usize,
        laid: &mut Laid,
        line: usize,
    ) -> Option<Next> {
        entry.allow(&["containerRef"], &["LocationInContainerInBits"]);
        let start = start(entry, laid.next);
        let names = self.known.names;
        let at = names.resolve(entry, "containerRef", Kind::Container, system)?;
        self.parts[at] = true;
        let part = self.laid(at, entry, line + 1)?;
        laid.depth = laid.depth.max(part.depth + 1);
        if !part.tests.is_empty() {
            let remedy = "name a container without a RestrictionCriteria";
            entry.problem("names a container that is told from its base", remedy);
        }
        let (start, before) = (start?, laid.fields.all.len());
        self.all_fields += part.fields.all.len();
        if before + part.fields.all.len() > FIELDS_MAX {
            laid.is_full = true;
            return full(entry);
        }
        for (value, field) in &part.fields.all {
            let mut field = field.clone();
            let own = Spot {
                behind: field.extent.as_ref().and_then(|extent| extent.behind),
                at: i64::try_from(field.layout.at_bits).ok()?,
            };
            let place = own
                .within(start, before)
                .checked(entry, field.layout.bits)?;
            field.layout.at_bits = place.at_bits;
            for condition in &mut field.valid_if {
                condition.field += before;
            }
            if !field.contexts.is_empty() {
                let contexts = Arc::make_mut(&mut field.contexts);
                for condition in contexts.iter_mut().flatten() {
                    condition.field += before;
                }
            }
            let is_moved = place.behind.is_some();
            if is_moved && field.extent.is_none() {
                field.extent = Some(Box::new(Extent::plain(place.behind)));
            }
            if let Some(extent) = &mut field.extent {
                extent.behind = place.behind;
                if !field.valid_if.is_empty() {
                    let absent = Spot {
                        behind: extent.absent.behind,
                        at: i64::try_from(extent.absent.at_bits).ok()?,
                    };
                    extent.absent = absent.within(start, before).checked(entry, 0)?;
                }
                if let Room::Of { field, .. } = &mut extent.room {
                    *field += before;
                }
            }
            laid.fields.push(*value, field);
        }
        Some(match part.next {
            Next::At(end) => Next::At(end.within(start, before).bounded(entry)?),
            Next::Unknown => Next::Unknown,
        })
    }

    fn conditions(&self, entry: Element<'t>, system: usize, before: &Fields) -> Vec<Condition> {
        let criteria = entry.child("IncludeCondition");
        let comparisons = criteria.map(|criteria| read(criteria, &self.known, system));
        let each = comparisons.into_iter().flatten();
        let each = each.filter_map(|comparison| {
            let field = before.last(comparison.value, &[], comparison.element);
            if field.is_none() {
                let remedy =
                    "compare a parameter that stands before, in this container or its base";
                comparison
                    .element
                    .problem("compares what does not stand before", remedy);
            }
            Some(Condition {
                field: field?,
                range: comparison.range,
            })
        });
        each.collect()
    }
}

/// Refuses an entry with which there are too many.
fn full<T>(entry: Element<'_>) -> Option<T> {
    let what = format!("makes more than {FIELDS_MAX} fields of one packet");
    entry.problem(what, "leave entries out");
    None
}
