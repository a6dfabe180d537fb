//! The fields that one entry of a container makes.

use super::comparisons::{Known, Value};
use super::element::{Element, clipped};
use super::places::{Next, Spot};
use super::shapes::Leaf;
use super::sizes::{Counted, Size};
use crate::telemetry::database::extent::{Extent, Place, Room};
use crate::telemetry::database::field::{Coding, Layout};
use crate::telemetry::database::{Condition, Field};

/// The last field of a value.
pub(super) fn last(value: Value, fields: &[(Value, Field)]) -> Option<usize> {
    fields.iter().rposition(|(of, _)| *of == value)
}

/// The fields of one entry.
pub(super) struct Made<'l, 't> {
    pub(super) entry: Element<'t>,
    /// Those that stand before.
    pub(super) laid: &'l [(Value, Field)],
    pub(super) valid_if: Vec<Condition>,
    /// Where the next entry begins where this one is not there.
    pub(super) absent: Next,
    pub(super) fields: Vec<(Value, Field)>,
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
        };
        self.fields.push((value, field));
        Some(())
    }

    /// A size that a field before says.
    fn room(&self, known: &Known<'_, 't>, counted: &Counted<'t>) -> Option<Room> {
        let reference = counted.reference;
        let is_calibrated = reference.flag("useCalibratedValue", true);
        let (value, of) = known.value(reference, counted.system)?;
        let coding = of.coded.layout.coding;
        if !matches!(coding, Coding::Uint | Coding::Int) {
            reference.problem("is no whole number", "name a parameter that is one");
            return None;
        }
        if is_calibrated && of.parameter.curve.is_some() {
            let remedy = "write useCalibratedValue=\"false\", and adjust the value that is sent";
            reference.problem("takes a size from what a calibrator gives", remedy);
            return None;
        }
        let before = self.laid.len();
        let own = last(value, &self.fields).map(|at| at + before);
        let Some(field) = own.or_else(|| last(value, self.laid)) else {
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
