//! Reads one table of a configuration key by key and reports all that is wrong with it.
//!
//! Nothing here stops at the first error: a reader of a bad value reports it and answers with the default, so that one
//! run of `dunlin check` finds everything. A key that nobody asked for is reported when the section is dropped.

mod lists;

use super::problem::{Problem, Report, nearest};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of a configuration.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    line: usize,
    table: &'a DeTable<'a>,
    text: Rc<str>,
    report: Report,
    asked: BTreeSet<&'static str>,
    open: bool,
}

impl<'a> Section<'a> {
    /// The root table of `text`.
    pub(super) fn root(table: &'a DeTable<'a>, text: &Rc<str>, report: &Report) -> Section<'a> {
        Section {
            path: String::new(),
            line: 1,
            table,
            text: Rc::clone(text),
            report: report.clone(),
            asked: BTreeSet::new(),
            open: false,
        }
    }

    fn child(&self, key: &str, table: &'a DeTable<'a>, at: usize) -> Section<'a> {
        Section {
            path: self.key_path(key),
            line: line_of(&self.text, at),
            table,
            text: Rc::clone(&self.text),
            report: self.report.clone(),
            asked: BTreeSet::new(),
            open: false,
        }
    }

    /// Dotted path of this table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Dotted path of a key of this table.
    pub fn key_path(&self, key: &str) -> String {
        if key.is_empty() {
            self.path.clone()
        } else if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Line of a key, or of the table where the key is absent.
    pub fn line(&self, key: &str) -> usize {
        self.table
            .get(key)
            .map_or(self.line, |value| line_of(&self.text, value.span().start))
    }

    /// Reports a problem with a key of this table. `what` and `remedy` are clauses without a full stop.
    pub fn problem(&self, key: &str, what: impl Display, remedy: impl Display) {
        self.report.add(Problem {
            line: self.line(key),
            key: self.key_path(key),
            what: what.to_string(),
            remedy: remedy.to_string(),
        });
    }

    /// Whether the table has this key.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    fn wrong_type(&self, key: &str, value: &DeValue<'_>, wanted: &str) {
        self.problem(
            key,
            format_args!("is of type {}", value.type_str()),
            format_args!("write {wanted}"),
        );
    }

    /// A text, or `None` where the key is absent.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.get(key)?.get_ref();
        match value {
            DeValue::String(text) => Some(text.to_string()),
            other => {
                self.wrong_type(key, other, "a text in quotes");
                None
            }
        }
    }

    /// A text that must be there; `remedy` says what to write.
    pub fn required_text(&mut self, key: &'static str, remedy: &str) -> Option<String> {
        if !self.has(key) {
            self.asked.insert(key);
            self.problem(key, "is missing", remedy);
            return None;
        }
        let text = self.text(key)?;
        if text.is_empty() {
            self.problem(key, "is empty", remedy);
            return None;
        }
        Some(text)
    }

    /// A whole number within bounds; `default` where the key is absent. The unit is in the key.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        self.optional_integer(key, bounds).unwrap_or(default)
    }

    /// A whole number within bounds, or `None` where the key is absent.
    pub fn optional_integer(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.get(key)?.get_ref();
        let DeValue::Integer(integer) = value else {
            self.wrong_type(key, value, "a whole number without quotes");
            return None;
        };
        match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if bounds_contain(&bounds, number) => u64::try_from(number).ok(),
            _ => {
                self.problem(
                    key,
                    format_args!("is {}, out of bounds", integer.as_str()),
                    format_args!("choose a value from {} to {}", bounds.start(), bounds.end()),
                );
                None
            }
        }
    }

    /// A number, or `None` where the key is absent.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        let parsed = finite(value);
        if parsed.is_none() {
            self.wrong_type(key, value, "a finite number without quotes");
        }
        parsed
    }

    /// `true` or `false`; `default` where the key is absent.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.get(key).map(Spanned::get_ref) {
            None => default,
            Some(DeValue::Boolean(flag)) => *flag,
            Some(other) => {
                self.wrong_type(key, other, "true or false without quotes");
                default
            }
        }
    }

    /// One of a set of words; `default` where the key is absent.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> T {
        let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
        self.chosen(key, &names).map_or(default, |at| choices[at].1)
    }

    /// The place of a word among `names`. Apart from `choice`, so that it is compiled once and not for each type.
    fn chosen(&mut self, key: &'static str, names: &[&'static str]) -> Option<usize> {
        let word = self.text(key)?;
        let at = names.iter().position(|name| *name == word);
        if at.is_none() {
            let hint = nearest(&word, names.iter().copied())
                .map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"));
            self.problem(
                key,
                format_args!("is {word:?}, which is unknown{hint}"),
                format_args!("choose one of {}", names.join(", ")),
            );
        }
        at
    }

    /// The key `type`, which must be one of `types`; reports it where it is not.
    pub fn kind(&mut self, types: &[&'static str]) -> Option<&'static str> {
        self.required_text("type", &format!("choose one of {}", types.join(", ")))?;
        self.chosen("type", types).map(|at| types[at])
    }

    /// Reports no unknown key of this table.
    pub fn ignore(mut self) {
        self.open = true;
    }

    /// A list of texts; empty where the key is absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.get(key).map(Spanned::get_ref) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value else {
            self.wrong_type(key, value, "a list of texts: [\"one\", \"two\"]");
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(array.len());
        for item in array {
            match item.get_ref() {
                DeValue::String(text) => texts.push(text.to_string()),
                other => self.wrong_type(key, other, "only texts in quotes in this list"),
            }
        }
        texts
    }

    /// The table under a key, or `None` where the key is absent.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.child(key, table, value.span().start)),
            other => {
                self.wrong_type(key, other, "a table");
                None
            }
        }
    }

    /// The named tables under a key, in the order of the file: `[sources.NAME]`. Empty where the key is absent.
    pub fn sections(&mut self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let Some(mut parent) = self.section(key) else {
            return Vec::new();
        };
        parent.open = true;
        let mut named: Vec<_> = parent.table.iter().collect();
        named.sort_by_key(|(name, _)| name.span().start);
        let mut sections = Vec::with_capacity(named.len());
        for (name, value) in named {
            let name = name.get_ref();
            match value.get_ref() {
                DeValue::Table(table) => {
                    let at = value.span().start;
                    sections.push((name.to_string(), parent.child(name, table, at)));
                }
                other => parent.wrong_type(name, other, "a table"),
            }
        }
        sections
    }

    /// All entries of this table flattened to texts, in the order of the file: a list gives one entry per element, a
    /// table within a list is written `key=value,key=value`. For options that only a driver knows.
    pub fn entries(mut self) -> Vec<(String, String)> {
        self.open = true;
        let mut named: Vec<_> = self.table.iter().collect();
        named.sort_by_key(|(name, _)| name.span().start);
        let mut entries = Vec::with_capacity(named.len());
        for (name, value) in named {
            let name: &str = name.get_ref();
            let items: Vec<&DeValue> = match value.get_ref() {
                DeValue::Array(array) => array.iter().map(Spanned::get_ref).collect(),
                single => vec![single],
            };
            for item in items {
                let text = match item {
                    DeValue::Table(table) => self.flat_table(name, table),
                    scalar => self.flat_scalar(name, scalar),
                };
                entries.extend(text.map(|text| (name.to_owned(), text)));
            }
        }
        entries
    }

    fn flat_scalar(&self, key: &str, value: &DeValue<'_>) -> Option<String> {
        match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str().to_owned()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(|n| n.to_string()),
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            other => {
                self.wrong_type(key, other, "a text, a number, true or false");
                None
            }
        }
    }

    fn flat_table(&self, key: &str, table: &DeTable<'_>) -> Option<String> {
        let mut parts = Vec::with_capacity(table.len());
        for (name, value) in table {
            let text = self.flat_scalar(key, value.get_ref())?;
            if text.contains([',', '=']) {
                self.problem(
                    key,
                    format_args!("has a comma or an equals sign in {:?}", name.get_ref()),
                    "leave them out; they separate the fields of an entry",
                );
                return None;
            }
            parts.push(format!("{}={text}", name.get_ref()));
        }
        Some(parts.join(","))
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        if self.open {
            return;
        }
        for (key, value) in self.table {
            let key: &str = key.get_ref();
            if self.asked.contains(key) {
                continue;
            }
            let hint = nearest(key, self.asked.iter().copied())
                .map_or_else(String::new, |known| format!(" (did you mean {known}?)"));
            let known: Vec<&str> = self.asked.iter().copied().collect();
            self.report.add(Problem {
                line: line_of(&self.text, value.span().start),
                key: self.key_path(key),
                what: format!("is an unknown key{hint}"),
                remedy: format!("remove it, or use one of {}", known.join(", ")),
            });
        }
    }
}

fn finite(value: &DeValue<'_>) -> Option<f64> {
    let parsed: Option<f64> = match value {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    };
    parsed.filter(|number| number.is_finite())
}

fn bounds_contain(bounds: &RangeInclusive<u64>, number: i128) -> bool {
    (i128::from(*bounds.start())..=i128::from(*bounds.end())).contains(&number)
}

/// Line, from 1, of a byte offset.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
