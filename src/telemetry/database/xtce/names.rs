//! Space systems, one in another, and what their names stand for.

use super::element::{Element, clipped};
use crate::telemetry::database::{ENTRIES_MAX, NAME_BYTES_MAX};
use std::cell::Cell;
use std::collections::HashMap;

/// Most steps from system to system that all references take, each looked for in every system around.
const STEPS_MAX: usize = 1 << 22;

/// Longest reference, in bytes.
const REFERENCE_BYTES_MAX: usize = 1024;

/// What a name may stand for. The same name may stand for one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Type,
    Parameter,
    Container,
}

/// Something with a name.
#[derive(Debug)]
pub(super) struct Named<'t> {
    pub(super) element: Element<'t>,
    /// The space system it is in.
    pub(super) system: usize,
    /// With the names of the systems it is in, but for the root: `AOCS.WHEEL.SPEED`.
    pub(super) path: String,
}

#[derive(Debug)]
struct System {
    name: String,
    parent: Option<usize>,
    children: HashMap<String, usize>,
    names: HashMap<(Kind, String), usize>,
    path: String,
}

/// All names of a file.
#[derive(Debug, Default)]
pub(super) struct Names<'t> {
    systems: Vec<System>,
    pub(super) types: Vec<Named<'t>>,
    pub(super) parameters: Vec<Named<'t>>,
    pub(super) containers: Vec<Named<'t>>,
    /// Elements that are of something else than the fields of packets.
    pub(super) passed: Vec<Element<'t>>,
    steps: Cell<usize>,
}

impl<'t> Names<'t> {
    pub(super) fn read(root: Element<'t>) -> Names<'t> {
        let mut names = Names::default();
        if root.name() == "SpaceSystem" {
            names.system(root, None);
        } else {
            root.problem("is no SpaceSystem", "give a file of XTCE 1.2");
        }
        names
    }

    /// Reads a system and those in it; the depth of the tree is bounded.
    fn system(&mut self, element: Element<'t>, parent: Option<usize>) {
        let parts = [
            "Header",
            "TelemetryMetaData",
            "CommandMetaData",
            "ServiceSet",
            "SpaceSystem",
        ];
        element.allow(&["name", "operationalStatus"], &parts);
        let at = self.systems.len();
        let name = name(&element).unwrap_or_default();
        let path = match parent.and_then(|parent| self.systems.get(parent)) {
            Some(system) => join(&system.path, &name),
            None => String::new(),
        };
        if path.len() > NAME_BYTES_MAX {
            let what = format!("is {} deep in names", clipped(&path));
            element.problem(
                what,
                format!("keep names to {NAME_BYTES_MAX} bytes with those around them"),
            );
            return;
        }
        if let Some(above) = parent.and_then(|parent| self.systems.get_mut(parent))
            && above.children.insert(name.clone(), at).is_some()
        {
            element.problem("has the name of another system here", "choose another");
        }
        self.systems.push(System {
            name,
            parent,
            children: HashMap::new(),
            names: HashMap::new(),
            path,
        });
        for part in element.children() {
            match part.name() {
                "TelemetryMetaData" => {
                    let sets = ["ParameterTypeSet", "ParameterSet", "ContainerSet"];
                    let passed = ["AlgorithmSet", "StreamSet"];
                    part.allow(&[], &[&sets[..], &passed].concat());
                    for set in part.children() {
                        if passed.contains(&set.name()) {
                            self.passed.push(set);
                        }
                        self.set(set, at);
                    }
                }
                "SpaceSystem" => self.system(part, Some(at)),
                "CommandMetaData" | "ServiceSet" => self.passed.push(part),
                _ => {}
            }
        }
    }

    fn set(&mut self, set: Element<'t>, system: usize) {
        let kind = match set.name() {
            "ParameterTypeSet" => Kind::Type,
            "ParameterSet" => Kind::Parameter,
            "ContainerSet" => Kind::Container,
            _ => return,
        };
        for element in set.children() {
            match (kind, element.name()) {
                (Kind::Parameter, "Parameter")
                | (Kind::Container, "SequenceContainer")
                | (Kind::Type, _) => {}
                (Kind::Parameter, _) => {
                    element.refuse(&["Parameter"]);
                    continue;
                }
                (Kind::Container, _) => {
                    element.refuse(&["SequenceContainer"]);
                    continue;
                }
            }
            let Some(name) = name(&element) else { continue };
            let path = join(&self.systems[system].path, &name);
            if path.len() > NAME_BYTES_MAX {
                let remedy =
                    format!("keep it to {NAME_BYTES_MAX} bytes with the systems around it");
                element.problem("has a name that is too long", remedy);
                continue;
            }
            let list = match kind {
                Kind::Type => &mut self.types,
                Kind::Parameter => &mut self.parameters,
                Kind::Container => &mut self.containers,
            };
            if list.len() >= ENTRIES_MAX {
                let what = format!("is one of more than {ENTRIES_MAX} of its kind");
                return element.problem(what, "split the database by what is needed");
            }
            let names = &mut self.systems[system].names;
            if names.insert((kind, name), list.len()).is_some() {
                element.problem("has the name of another one here", "choose another");
            }
            list.push(Named {
                element,
                system,
                path,
            });
        }
    }

    /// What the reference in an attribute stands for, seen from a system. Where it stands for nothing, that is said.
    pub(super) fn resolve(
        &self,
        element: Element<'t>,
        attribute: &str,
        kind: Kind,
        system: usize,
    ) -> Option<usize> {
        let reference = reference(element, attribute)?;
        let found = self.find(reference, kind, system);
        if self.steps.get() > STEPS_MAX {
            let what = format!("is one of references with more than {STEPS_MAX} steps together");
            element.problem(what, "give shorter paths, in fewer systems around");
            return None;
        }
        if found.is_none() {
            let what = format!(
                "has {attribute} = {:?}, which is nowhere",
                clipped(reference)
            );
            let remedy = match kind {
                Kind::Type => "name a type of this SpaceSystem or one around it, or give its path",
                Kind::Parameter => {
                    "name a Parameter of this SpaceSystem or one around it, or give its path"
                }
                Kind::Container => {
                    "name a SequenceContainer of this SpaceSystem or one around it, or give its path"
                }
            };
            element.problem(what, remedy);
        }
        found
    }

    /// The parameter that the reference in an attribute stands for, and the name of the member of it, empty where it is all
    /// of the parameter. Where it stands for nothing, that is said.
    pub(super) fn value(&self, element: Element<'t>, system: usize) -> Option<(usize, String)> {
        const ATTRIBUTE: &str = "parameterRef";
        let reference = reference(element, ATTRIBUTE)?;
        let whole = self.find(reference, Kind::Parameter, system);
        let whole = whole.map(|at| (at, String::new()));
        let found = whole.or_else(|| self.member(reference, system));
        found.or_else(|| {
            let at = self.resolve(element, ATTRIBUTE, Kind::Parameter, system)?;
            Some((at, String::new()))
        })
    }

    fn find(&self, reference: &str, kind: Kind, system: usize) -> Option<usize> {
        let (systems, name) = reference.rsplit_once('/').unwrap_or(("", reference));
        let steps = || systems.split('/');
        if reference.starts_with('/') {
            let mut steps = steps().filter(|step| !step.is_empty());
            let root = self.systems.first()?;
            if steps.next() != Some(root.name.as_str()) {
                return None;
            }
            return self.named(self.walk(0, steps)?, kind, name);
        }
        // From this system, and then from each one around it.
        let mut from = Some(system);
        while let Some(at) = from {
            let found = self
                .walk(at, steps())
                .and_then(|at| self.named(at, kind, name));
            if found.is_some() {
                return found;
            }
            from = self.systems.get(at)?.parent;
        }
        None
    }

    /// The parameter that the front of a reference stands for, and the name of the member that the rest does: `.A.0` of
    /// `P/A[0]`.
    fn member(&self, reference: &str, system: usize) -> Option<(usize, String)> {
        let steps = reference.split('/').filter(|step| !step.is_empty());
        let steps: Vec<&str> = steps.collect();
        if reference.starts_with('/') {
            let (root, steps) = steps.split_first()?;
            let is_root = self.systems.first()?.name == **root;
            return is_root.then(|| self.member_of(0, steps)).flatten();
        }
        let mut from = Some(system);
        while let Some(at) = from {
            if let Some(found) = self.member_of(at, &steps) {
                return Some(found);
            }
            from = self.systems.get(at)?.parent;
        }
        None
    }

    /// The same, from one system: the last step that is a parameter is the one.
    fn member_of(&self, from: usize, steps: &[&str]) -> Option<(usize, String)> {
        let (mut at, mut found) = (from, None);
        for (index, step) in steps.iter().enumerate() {
            let name = step.split(['.', '[']).next().unwrap_or_default();
            if !name.is_empty()
                && let Some(parameter) = self.named(at, Kind::Parameter, name)
            {
                found = Some((parameter, &step[name.len()..], index + 1));
            }
            match self.walk(at, std::iter::once(*step)) {
                Some(next) => at = next,
                None => break,
            }
        }
        let (parameter, own, behind) = found?;
        let mut rest = own.replace('[', ".").replace(']', "");
        for step in &steps[behind..] {
            rest.push('.');
            rest.push_str(&step.replace('[', ".").replace(']', ""));
        }
        Some((parameter, rest))
    }

    fn walk<'s>(&self, from: usize, steps: impl Iterator<Item = &'s str>) -> Option<usize> {
        let mut at = from;
        for step in steps {
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > STEPS_MAX {
                return None;
            }
            let system = self.systems.get(at)?;
            at = match step {
                "." | "" => at,
                ".." => system.parent?,
                name => *system.children.get(name)?,
            };
        }
        Some(at)
    }

    fn named(&self, system: usize, kind: Kind, name: &str) -> Option<usize> {
        let names = &self.systems.get(system)?.names;
        names.get(&(kind, name.to_owned())).copied()
    }
}

/// The reference in an attribute, where there is one of a length that can be looked for.
fn reference<'t>(element: Element<'t>, attribute: &str) -> Option<&'t str> {
    let reference = element.required(attribute)?;
    if reference.len() > REFERENCE_BYTES_MAX {
        let what = format!("has {attribute} of {} bytes", reference.len());
        element.problem(what, format!("keep it to {REFERENCE_BYTES_MAX}"));
        return None;
    }
    Some(reference)
}

fn join(system: &str, name: &str) -> String {
    if system.is_empty() {
        name.to_owned()
    } else {
        format!("{system}.{name}")
    }
}

/// The name of an element, where it can be used.
pub(super) fn name(element: &Element<'_>) -> Option<String> {
    let name = element.required("name")?;
    // XTCE keeps these for paths.
    let is_usable = !name.contains(['/', '.', ':', '[', ']']) && !name.contains(char::is_control);
    if !is_usable {
        let what = format!("has the name {:?}", clipped(name));
        element.problem(what, "choose a name without / . : [ ] in it");
        return None;
    }
    Some(name.to_owned())
}
