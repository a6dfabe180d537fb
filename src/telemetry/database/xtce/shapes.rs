//! Parameter types of several values, arrays and aggregates, as the values that they are made of; and any type as one of
//! these.

use super::FIELDS_ALL_MAX;
use super::element::{Element, clipped};
use super::names::{Kind, Names, name};
use super::once::{Line, Once, Words};
use super::places::Spot;
use super::types::{Origin, Type, read};
use crate::telemetry::database::{FIELDS_MAX, NAME_BYTES_MAX, is_index};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::rc::Rc;

/// Most dimensions of an array.
const DIMENSIONS_MAX: usize = 8;

const WORDS: Words = Words {
    one: "type",
    no_circle: "let no type be of itself",
    no_line: "make fewer of them of each other",
};

/// All values of a type.
#[derive(Debug, Default)]
pub(super) struct Shape<'t> {
    pub(super) leaves: Vec<Leaf<'t>>,
    /// Where what follows begins.
    pub(super) end: Spot,
    /// The longest line of types behind it.
    depth: usize,
    /// The values by their names, once one of them is looked for.
    by_name: OnceCell<HashMap<String, usize>>,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Leaf<'t> {
    /// Behind the name of the parameter: `.MEMBER`, `.0.1`; empty where the parameter is one value.
    pub(super) name: String,
    pub(super) spot: Spot,
    pub(super) of: Rc<Type<'t>>,
}

impl Line for Shape<'_> {
    fn depth(&self) -> usize {
        self.depth
    }
}

/// Makes the shapes of types.
pub(super) struct Shapes<'k, 't> {
    names: &'k Names<'t>,
    made: Once<Shape<'t>>,
    all_leaves: usize,
}

impl<'k, 't> Shapes<'k, 't> {
    pub(super) fn new(names: &'k Names<'t>) -> Shapes<'k, 't> {
        Shapes {
            names,
            made: Once::new(names.types.len(), WORDS),
            all_leaves: 0,
        }
    }

    /// The shape of the type of a place. Where there is none, something was said.
    pub(super) fn shape(
        &mut self,
        at: usize,
        from: Element<'t>,
        line: usize,
    ) -> Option<Rc<Shape<'t>>> {
        if let ControlFlow::Break(done) = self.made.begin(at, from, line) {
            return done;
        }
        let made = self.make(at, line).map(Rc::new);
        let shape = self.names.types[at].element.said(made);
        self.made.done(at, shape)
    }

    fn make(&mut self, at: usize, line: usize) -> Option<Shape<'t>> {
        if self.all_leaves > FIELDS_ALL_MAX {
            return None;
        }
        let named = &self.names.types[at];
        let (element, system) = (named.element, named.system);
        match element.name() {
            "AggregateParameterType" => self.aggregate(element, system, line),
            "ArrayParameterType" => self.array(element, system, line),
            _ => self.value(element, system, line),
        }
    }

    /// Counts values that are about to be made. Of all types together they have a bound.
    fn count(&mut self, element: Element<'t>, leaves: usize) -> Option<()> {
        let before = self.all_leaves;
        self.all_leaves += leaves;
        if self.all_leaves <= FIELDS_ALL_MAX {
            return Some(());
        }
        if before <= FIELDS_ALL_MAX {
            let what = format!("is one of types with more than {FIELDS_ALL_MAX} values together");
            element.problem(what, "split the database by what is needed");
        }
        None
    }

    /// A type that another one is of.
    fn of(
        &mut self,
        element: Element<'t>,
        attribute: &str,
        system: usize,
        line: usize,
    ) -> Option<Rc<Shape<'t>>> {
        let names = self.names;
        let at = names.resolve(element, attribute, Kind::Type, system)?;
        self.shape(at, element, line + 1)
    }

    fn value(&mut self, element: Element<'t>, system: usize, line: usize) -> Option<Shape<'t>> {
        self.count(element, 1)?;
        let mut depth = 0;
        let mut extended = None;
        if element.attribute("baseType").is_some() {
            let at = self
                .names
                .resolve(element, "baseType", Kind::Type, system)?;
            let other = self.names.types[at].element.name();
            if other != element.name() {
                let remedy = "extend one of the same kind";
                element.problem(format!("extends an {other}"), remedy);
                return None;
            }
            let shape = self.shape(at, element, line + 1)?;
            depth = shape.depth + 1;
            extended = Some(Rc::clone(&shape.leaves.first()?.of));
        }
        let origin = Origin {
            base: extended.as_deref(),
            system,
        };
        let of = Rc::new(read(element, &origin)?);
        Some(Shape {
            end: Spot::default().past(0, &of.coded)?,
            leaves: vec![Leaf {
                name: String::new(),
                spot: Spot::default(),
                of,
            }],
            depth,
            by_name: OnceCell::new(),
        })
    }

    fn aggregate(&mut self, element: Element<'t>, system: usize, line: usize) -> Option<Shape<'t>> {
        element.allow(&["name"], &["MemberList"]);
        let list = element.only(&["MemberList"], "list of members");
        let members = |list: Element<'t>| list.children().filter(|child| child.name() == "Member");
        let Some(list) = list.filter(|list| members(*list).next().is_some()) else {
            element.problem("has no member", "give it a MemberList with a Member");
            return None;
        };
        list.allow(&[], &["Member"]);
        let (mut shape, mut names) = (Some(Shape::default()), HashSet::new());
        for member in members(list) {
            member.allow(&["name", "typeRef", "initialValue"], &[]);
            let of = self.of(member, "typeRef", system, line);
            let Some((name, of)) = name(&member).zip(of) else {
                shape = None;
                continue;
            };
            if !names.insert(name.clone()) {
                member.problem("has the name of another member", "choose another");
            }
            if is_index(&name) {
                let remedy = "choose a name with a letter: numbers are of elements of arrays";
                member.problem(format!("has the name {name:?}"), remedy);
            }
            if let Some(all) = &mut shape {
                self.count(member, of.leaves.len())?;
                all.add(member, &format!(".{name}"), &of)?;
            }
        }
        shape
    }

    fn array(&mut self, element: Element<'t>, system: usize, line: usize) -> Option<Shape<'t>> {
        element.allow(&["name", "arrayTypeRef"], &["DimensionList"]);
        let sizes = dimensions(element);
        let of = self.of(element, "arrayTypeRef", system, line)?;
        let sizes = sizes?;
        let mut shape = Shape::default();
        let mut index = vec![0; sizes.len()];
        loop {
            let name = index
                .iter()
                .fold(String::new(), |name, at| format!("{name}.{at}"));
            self.count(element, of.leaves.len())?;
            shape.add(element, &name, &of)?;
            // The last dimension goes round first.
            let mut turned = (0..sizes.len()).rev();
            let Some(next) = turned.find(|at| index[*at] + 1 < sizes[*at]) else {
                return Some(shape);
            };
            index[next] += 1;
            index[next + 1..].fill(0);
        }
    }
}

impl<'t> Shape<'t> {
    /// The place of the value of a name.
    pub(super) fn leaf(&self, name: &str) -> Option<usize> {
        let by_name = self.by_name.get_or_init(|| {
            let each = self.leaves.iter().enumerate();
            each.map(|(at, leaf)| (leaf.name.clone(), at)).collect()
        });
        by_name.get(name).copied()
    }

    /// Puts another one behind, its values named from `name` on.
    fn add(&mut self, element: Element<'t>, name: &str, other: &Shape<'t>) -> Option<()> {
        let (start, before) = (self.end, self.leaves.len());
        if before + other.leaves.len() > FIELDS_MAX {
            let what = format!("makes more than {FIELDS_MAX} values of one parameter");
            element.problem(what, "leave some out");
            return None;
        }
        for leaf in &other.leaves {
            let name = format!("{name}{}", leaf.name);
            if name.len() > NAME_BYTES_MAX {
                let what = format!("makes the name {:?}", clipped(&name));
                element.problem(what, format!("keep it to {NAME_BYTES_MAX} bytes"));
                return None;
            }
            self.leaves.push(Leaf {
                name,
                spot: leaf.spot.within(start, before),
                of: Rc::clone(&leaf.of),
            });
        }
        self.end = other.end.within(start, before);
        self.depth = self.depth.max(other.depth + 1);
        Some(())
    }
}

/// The sizes of an array, one a dimension.
fn dimensions(element: Element<'_>) -> Option<Vec<usize>> {
    let list = element.only(&["DimensionList"], "list of dimensions");
    let count = list.map_or(0, |list| {
        list.allow(&[], &["Dimension"]);
        list.children().count()
    });
    let Some(list) = list.filter(|_| (1..=DIMENSIONS_MAX).contains(&count)) else {
        let remedy = format!("give it a DimensionList with 1 to {DIMENSIONS_MAX}");
        element.problem(format!("has {count} dimensions"), remedy);
        return None;
    };
    let (mut sizes, mut product) = (Vec::new(), 1_usize);
    for dimension in list.children() {
        dimension.allow(&[], &["StartingIndex", "EndingIndex"]);
        let [first, last] = ["StartingIndex", "EndingIndex"].map(|name| {
            let Some(index) = dimension.only(&[name], name) else {
                dimension.problem(format!("has no {name}"), "give it one with a FixedValue");
                return None;
            };
            index.allow(&[], &["FixedValue"]);
            index.fixed::<usize>()
        });
        let (first, last) = (first?, last?);
        if first != 0 || last >= FIELDS_MAX {
            let what = format!("goes from {first} to {last}");
            let remedy = format!("begin with 0, and end below {FIELDS_MAX}");
            dimension.problem(what, remedy);
            return None;
        }
        sizes.push(last + 1);
        product = product.saturating_mul(last + 1);
    }
    if product > FIELDS_MAX {
        let remedy = format!("keep it to {FIELDS_MAX}");
        element.problem(format!("has {product} elements"), remedy);
        return None;
    }
    Some(sizes)
}
