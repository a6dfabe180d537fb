//! Elements as those who read them see them: what they may hold is said by who reads them, and all else is refused by name.

use super::tree::{Node, Tree};
use crate::config::nearest;
use std::str::FromStr;

/// Elements that any other one may have, which say nothing of how bits are read.
const NOTES: [&str; 3] = ["LongDescription", "AliasSet", "AncillaryDataSet"];
/// Attributes of the same kind.
const NOTE: &str = "shortDescription";

/// Elements that may stand beside others of the same name.
const SEVERAL: [&str; 17] = [
    "SpaceSystem",
    "ParameterRefEntry",
    "ArrayParameterRefEntry",
    "ContainerRefEntry",
    "Comparison",
    "Condition",
    "ContextCalibrator",
    "Dimension",
    "Enumeration",
    "Member",
    "SplinePoint",
    "Term",
    "Unit",
    // Each of these is passed over aloud.
    "AlgorithmSet",
    "CommandMetaData",
    "ServiceSet",
    "StreamSet",
];

/// What of a text from the file is shown.
const SHOWN_CHARACTERS: usize = 80;

/// One element of a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'t> {
    tree: &'t Tree<'t>,
    at: usize,
}

impl<'t> Element<'t> {
    /// The root of a tree.
    pub(super) fn root(tree: &'t Tree<'t>) -> Option<Element<'t>> {
        (!tree.nodes.is_empty()).then_some(Element { tree, at: 0 })
    }

    fn node(&self) -> &'t Node<'t> {
        &self.tree.nodes[self.at]
    }

    pub(super) fn name(&self) -> &'t str {
        self.node().name
    }

    pub(super) fn line(&self) -> usize {
        self.node().line
    }

    /// The text in it, without the space around.
    pub(super) fn text(&self) -> &'t str {
        self.node().text.trim()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'t str> {
        let mut attributes = self.node().attributes.iter();
        let found = attributes.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Element<'t>> + use<'t> {
        let tree = self.tree;
        let each = self.node().children.iter();
        each.map(move |at| Element { tree, at: *at })
    }

    pub(super) fn child(&self, name: &str) -> Option<Element<'t>> {
        self.children().find(|child| child.name() == name)
    }

    /// Whether it holds nothing but notes.
    pub(super) fn is_bare(&self) -> bool {
        self.children().all(|child| NOTES.contains(&child.name()))
    }

    /// What was made of it. Where that is nothing, something has been said, or it is now: nothing vanishes in silence.
    pub(super) fn said<T>(&self, made: Option<T>) -> Option<T> {
        if made.is_none() && !self.tree.has_problems() {
            self.problem("cannot be read", "compare it with docs/telemetry.md");
        }
        made
    }

    /// Its place among the elements of its file.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The one child of these names; one more of another name is refused as one more `what`.
    pub(super) fn only(&self, names: &[&str], what: &str) -> Option<Element<'t>> {
        let mut found = self
            .children()
            .filter(|child| names.contains(&child.name()));
        let first = found.next();
        // `allow` refuses those of the same name.
        if let Some(second) =
            found.find(|other| first.is_some_and(|first| first.name() != other.name()))
        {
            second.problem(format!("is a second {what}"), "keep one of them");
        }
        first
    }

    /// Says what is wrong with it.
    pub(super) fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) {
        self.tree.problem(self.line(), self.path(), what, remedy);
    }

    /// From the nearest element with a name.
    fn path(&self) -> String {
        let (mut path, mut at) = (String::new(), Some(self.at));
        while let Some(node) = at.and_then(|at| self.tree.nodes.get(at)) {
            let own = node.attributes.iter().find(|(key, _)| key == "name");
            let step = match own {
                Some((_, name)) => format!("{} {:?}", node.name, clipped(name)),
                None => node.name.to_owned(),
            };
            path = if path.is_empty() {
                step
            } else {
                format!("{step}/{path}")
            };
            at = node.parent.filter(|_| own.is_none());
        }
        path
    }

    /// Refuses all attributes and elements but these.
    pub(super) fn allow(&self, attributes: &[&str], children: &[&str]) {
        for (key, _) in &self.node().attributes {
            if key == NOTE || attributes.contains(&key.as_str()) {
                continue;
            }
            let hint = hint(key, attributes);
            self.problem(
                format!("has the attribute {key}, which is not read{hint}"),
                format!("take {key} out, where the values mean the same without it"),
            );
        }
        for child in self.children() {
            if !NOTES.contains(&child.name()) && !children.contains(&child.name()) {
                child.refuse(children);
            }
        }
        for name in children.iter().filter(|name| !SEVERAL.contains(name)) {
            if let Some(second) = self.children().filter(|child| child.name() == *name).nth(1) {
                second.problem("stands here a second time", "keep one of them");
            }
        }
    }

    /// It is not of the subset.
    pub(super) fn refuse(&self, instead: &[&str]) {
        let hint = hint(self.name(), instead);
        let remedy = match self.name() {
            "ContextAlarmList" => {
                "give a parameter of its own, with an IncludeCondition, to each context".to_owned()
            }
            "MathOperationCalibrator" => {
                "write a PolynomialCalibrator, or a SplineCalibrator through points of it"
                    .to_owned()
            }
            "WatchRange" | "DistressRange" | "SevereRange" => {
                "use WarningRange for yellow and CriticalRange for red".to_owned()
            }
            "ORedConditions" | "CustomAlgorithm" => {
                "write a Comparison, or a ComparisonList of which all must hold".to_owned()
            }
            "DynamicValue" | "DiscreteLookupList" => "give a fixed number".to_owned(),
            "ErrorDetectCorrect" => {
                "take it out: what checks a packet is the transform check_crc".to_owned()
            }
            "OffsetFrom" => "take it out: what a time counts from is not added".to_owned(),
            "MessageSet" => {
                "take it out, and give its containers a RestrictionCriteria each".to_owned()
            }
            _ if instead.is_empty() => "take it out".to_owned(),
            _ => format!("take it out, or use {}", instead.join(", ")),
        };
        self.problem(format!("is not supported{hint}"), remedy);
    }

    /// An attribute that must be there.
    pub(super) fn required(&self, name: &str) -> Option<&'t str> {
        let found = self.attribute(name).filter(|value| !value.is_empty());
        if found.is_none() {
            self.problem(format!("has no {name}"), format!("give it a {name}"));
        }
        found
    }

    /// An attribute that is a number; `default` where it is absent.
    pub(super) fn number<T: FromStr>(&self, name: &str, default: Option<T>) -> Option<T> {
        let Some(text) = self.attribute(name) else {
            return default;
        };
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.problem(
                format!("has {name} = {:?}", clipped(text)),
                format!("write a number as {name}"),
            );
        }
        parsed
    }

    /// A finite number; none where it is absent.
    pub(super) fn finite(&self, name: &str) -> Option<f64> {
        let number: f64 = self.number(name, None)?;
        if !number.is_finite() {
            let what = format!("has {name} = {number}");
            self.problem(what, format!("write a finite number as {name}"));
            return None;
        }
        Some(number)
    }

    /// An attribute that is true or false; `default` where it is absent.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        match self.attribute(name) {
            None => default,
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(other) => {
                self.problem(
                    format!("has {name} = {:?}", clipped(other)),
                    "write true or false",
                );
                default
            }
        }
    }

    /// One of a set of words, the first one where it is absent.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let Some(word) = self.attribute(name) else {
            return choices.first().map(|(_, value)| *value);
        };
        let found = choices.iter().find(|(known, _)| *known == word);
        if found.is_none() {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            let hint = hint(word, &known);
            let what = format!(
                "has {name} = {:?}, which is not supported{hint}",
                clipped(word)
            );
            self.problem(what, format!("choose one of {}", known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A whole number in a `FixedValue`.
    pub(super) fn fixed<T: FromStr>(&self) -> Option<T> {
        let Some(value) = self.child("FixedValue") else {
            if self.is_bare() {
                self.problem("has no FixedValue", "give it one");
            }
            return None;
        };
        value.allow(&[], &[]);
        let parsed = value.text().parse().ok();
        if parsed.is_none() {
            value.problem(
                format!("is {:?}", clipped(value.text())),
                "write a whole number",
            );
        }
        parsed
    }
}

/// The beginning of a text that may be long.
pub(super) fn clipped(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).collect()
}

/// What a misspelt word may have meant.
pub(super) fn hint(word: &str, known: &[&str]) -> String {
    if word.len() > SHOWN_CHARACTERS {
        return String::new();
    }
    nearest(word, known.iter().copied())
        .map_or_else(String::new, |known| format!(" (did you mean {known}?)"))
}
