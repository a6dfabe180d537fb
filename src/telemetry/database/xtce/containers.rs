//! Containers, each with those it is made of, as the fields of a packet.

use super::comparisons::{Comparison, Known, read};
use super::element::Element;
use super::names::{Kind, Named};
use crate::telemetry::database::field::Layout;
use crate::telemetry::database::{Condition, ENTRIES_MAX, FIELDS_MAX, Field, Test};
use crate::telemetry::packet::PACKET_BYTES_MAX;
use std::rc::Rc;

/// Longest line of containers, each based on, or part of, the next one.
const LINE_MAX: usize = 64;
/// Most fields of all containers.
const ALL_FIELDS_MAX: usize = 4 * ENTRIES_MAX;
/// Most comparisons of all containers and their fields, each counted wherever it holds.
const ALL_COMPARISONS_MAX: usize = 8 * ENTRIES_MAX;
/// Longest packet, in bits.
#[expect(clippy::cast_possible_wrap, reason = "half a million")]
const BITS_MAX: i64 = 8 * PACKET_BYTES_MAX as i64;

/// A container with all that it has from others.
#[derive(Clone, Debug, Default)]
pub(super) struct Laid {
    /// Each with its parameter.
    pub(super) fields: Vec<(usize, Field)>,
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
}

#[derive(Clone, Copy, Debug)]
enum Next {
    At(i64),
    /// It depends on whether the entry of this line is there.
    Open(usize),
    /// Something is wrong before.
    Unknown,
}

impl Default for Next {
    fn default() -> Next {
        Next::At(0)
    }
}

#[derive(Clone, Debug)]
enum State {
    New,
    Busy,
    Done(Option<Rc<Laid>>),
}

/// Lays all containers out.
pub(super) struct Layouts<'k, 't> {
    known: Known<'k, 't>,
    states: Vec<State>,
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
            states: vec![State::New; count],
            all_fields: 0,
            all_comparisons: 0,
            parts: vec![false; count],
        }
    }

    /// The container of a place. Where there is none, something was said.
    pub(super) fn laid(&mut self, at: usize, from: Element<'t>, line: usize) -> Option<Rc<Laid>> {
        let done = match self.states.get(at)?.clone() {
            State::Done(laid) => Some(laid),
            State::Busy => {
                from.problem(
                    "leads back to its own container",
                    "let no container be in itself",
                );
                return None;
            }
            State::New => None,
        };
        let behind = done.iter().flatten().map(|laid| laid.depth);
        if line + behind.sum::<usize>() > LINE_MAX {
            let what = format!("is the end of a line of more than {LINE_MAX} containers");
            from.problem(what, "base fewer of them on each other");
            return None;
        }
        if let Some(done) = done {
            return done;
        }
        self.states[at] = State::Busy;
        let laid = self.lay(at, line).map(Rc::new);
        self.states[at] = State::Done(laid.clone());
        laid
    }

    fn lay(&mut self, at: usize, line: usize) -> Option<Laid> {
        if self.all_fields > ALL_FIELDS_MAX || self.all_comparisons > ALL_COMPARISONS_MAX {
            return None;
        }
        let named: &'k Named<'t> = &self.known.names.containers[at];
        let (element, system) = (named.element, named.system);
        element.allow(&["name", "abstract"], &["EntryList", "BaseContainer"]);
        let mut laid = match element.child("BaseContainer") {
            Some(base) => self.base(base, system, line)?,
            None => Laid::default(),
        };
        let Some(list) = element.child("EntryList") else {
            element.problem("has no EntryList", "give it one, which may be empty");
            return None;
        };
        list.allow(&[], &["ParameterRefEntry", "ContainerRefEntry"]);
        for entry in list.children() {
            let place = match entry.name() {
                "ParameterRefEntry" => self.parameter(entry, system, &laid),
                "ContainerRefEntry" => self.part(entry, system, &mut laid, line),
                _ => continue,
            };
            let Some((fields, next)) = place else {
                laid.next = Next::Unknown;
                continue;
            };
            laid.next = next;
            self.all_fields += fields.len();
            if laid.fields.len() + fields.len() > FIELDS_MAX {
                let what = format!("makes more than {FIELDS_MAX} fields of one packet");
                entry.problem(what, "leave entries out");
                return None;
            }
            laid.fields.extend(fields);
        }
        if self.all_fields > ALL_FIELDS_MAX {
            let what =
                format!("is one of containers with more than {ALL_FIELDS_MAX} fields together");
            element.problem(what, "split the database by what is needed");
            return None;
        }
        let conditions = laid.fields.iter().map(|(_, field)| field.valid_if.len());
        self.all_comparisons += laid.tests.len() + conditions.sum::<usize>();
        if self.all_comparisons > ALL_COMPARISONS_MAX {
            let what = format!(
                "is one of containers with more than {ALL_COMPARISONS_MAX} comparisons together"
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
        self.all_fields += laid.fields.len();
        laid.base = Some(base);
        laid.bases += 1;
        laid.depth += 1;
        let criteria = element.child("RestrictionCriteria");
        let comparisons = criteria.map(|criteria| read(criteria, &self.known, system));
        for comparison in comparisons.into_iter().flatten() {
            let Some(at) = field(&comparison, &laid.fields) else {
                let remedy = "compare a parameter of the containers that this one is based on";
                comparison
                    .element
                    .problem("compares what is not in the base container", remedy);
                continue;
            };
            let (_, field) = &laid.fields[at];
            if !field.valid_if.is_empty() {
                let remedy = "compare a parameter that is in every packet";
                comparison
                    .element
                    .problem("compares what may not be there", remedy);
            }
            laid.tests.push(Test {
                layout: field.layout,
                range: comparison.range,
            });
        }
        Some(laid)
    }

    /// The fields of a parameter, and where the next entry begins.
    fn parameter(
        &self,
        entry: Element<'t>,
        system: usize,
        laid: &Laid,
    ) -> Option<(Vec<(usize, Field)>, Next)> {
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
        let layout = self.known.types.get(parameter)?.as_ref()?.layout;
        let (count, gap_bits) = match repeat {
            Some(repeat) => (Some(repeat?.0), repeat?.1),
            None => (None, 0),
        };
        let path = &names.parameters[parameter].path;
        let (start, bits) = (start?, i64::try_from(layout.bits).ok()?);
        let stride = bits + gap_bits;
        let end = start + stride * (count.unwrap_or(1) - 1) + bits;
        bounded(entry, start, end)?;
        let mut fields = Vec::new();
        for at in 0..count.unwrap_or(1) {
            let layout = Layout {
                at_bits: usize::try_from(start + at * stride).ok()?,
                ..layout
            };
            let name = match count {
                Some(_) => format!("{path}.{at}"),
                None => path.clone(),
            };
            let field = Field {
                name,
                layout,
                valid_if: valid_if.clone(),
            };
            fields.push((parameter, field));
        }
        let next = if valid_if.is_empty() {
            Next::At(end)
        } else {
            Next::Open(entry.line())
        };
        Some((fields, next))
    }

    /// The fields of a container within another one.
    fn part(
        &mut self,
        entry: Element<'t>,
        system: usize,
        laid: &mut Laid,
        line: usize,
    ) -> Option<(Vec<(usize, Field)>, Next)> {
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
        let start = start?;
        let mut fields = part.fields.clone();
        for (_, field) in &mut fields {
            let own = i64::try_from(field.layout.at_bits).ok()?;
            let bits = i64::try_from(field.layout.bits).ok()?;
            bounded(entry, start, start + own + bits)?;
            field.layout.at_bits = usize::try_from(start + own).ok()?;
            for condition in &mut field.valid_if {
                condition.field += laid.fields.len();
            }
        }
        let next = match part.next {
            Next::At(end) => Next::At(start + end),
            other => other,
        };
        Some((fields, next))
    }

    fn conditions(
        &self,
        entry: Element<'t>,
        system: usize,
        before: &[(usize, Field)],
    ) -> Vec<Condition> {
        let criteria = entry.child("IncludeCondition");
        let comparisons = criteria.map(|criteria| read(criteria, &self.known, system));
        let each = comparisons.into_iter().flatten();
        let each = each.filter_map(|comparison| {
            let field = field(&comparison, before);
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

/// The last field of the parameter that is compared.
fn field(comparison: &Comparison<'_>, fields: &[(usize, Field)]) -> Option<usize> {
    fields
        .iter()
        .rposition(|(parameter, _)| *parameter == comparison.parameter)
}

fn bounded(entry: Element<'_>, start: i64, end: i64) -> Option<()> {
    if start < 0 || end > BITS_MAX {
        let what = format!("leads from bit {start} to bit {end}");
        entry.problem(what, format!("a packet has bits 0 to {BITS_MAX}"));
        return None;
    }
    Some(())
}

/// Where an entry begins.
fn start(entry: Element<'_>, next: Next) -> Option<i64> {
    let mut offset = 0;
    if let Some(location) = entry.child("LocationInContainerInBits") {
        location.allow(&["referenceLocation"], &["FixedValue"]);
        let references = [("previousEntry", false), ("containerStart", true)];
        let from_start = location.choice("referenceLocation", &references)?;
        offset = location.fixed::<i64>()?;
        if !(-BITS_MAX..=BITS_MAX).contains(&offset) {
            location.problem(
                format!("is {offset}"),
                format!("a packet has {BITS_MAX} bits"),
            );
            return None;
        }
        if from_start {
            return Some(offset);
        }
    }
    match next {
        Next::At(at) => Some(at + offset),
        Next::Open(line) => {
            let what = format!("has no fixed place: the entry of line {line} may be missing");
            let remedy =
                "give it a LocationInContainerInBits with referenceLocation=\"containerStart\"";
            entry.problem(what, remedy);
            None
        }
        Next::Unknown => None,
    }
}

/// How often, and with how many bits between.
fn repeat(element: Element<'_>) -> Option<(i64, i64)> {
    element.allow(&[], &["Count", "Offset"]);
    let number = |name: &str| {
        let child = element.child(name)?;
        child.allow(&[], &["FixedValue"]);
        child.fixed::<i64>()
    };
    if element.child("Count").is_none() {
        element.problem("has no Count", "give it one with a FixedValue");
    }
    let count = number("Count")?;
    let gap = if element.child("Offset").is_some() {
        number("Offset")?
    } else {
        0
    };
    let is_right = usize::try_from(count).is_ok_and(|count| (1..=FIELDS_MAX).contains(&count));
    if !is_right || !(0..=BITS_MAX).contains(&gap) {
        let what = format!("repeats {count} times with {gap} bits between");
        element.problem(
            what,
            format!("choose 1 to {FIELDS_MAX} times, and no negative Offset"),
        );
        return None;
    }
    Some((count, gap))
}
