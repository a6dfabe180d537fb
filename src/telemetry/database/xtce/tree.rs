//! XML as a tree. Everything that a file may make grow has a bound, there is no document type and so no entity but the five of
//! XML itself, and nothing outside the text is ever read.

use crate::config::Problem;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use std::cell::RefCell;

/// Most elements.
const ELEMENTS_MAX: usize = 1 << 19;
/// Deepest element.
const DEPTH_MAX: usize = 64;
/// Most attributes of one element.
const ATTRIBUTES_MAX: usize = 32;
/// Most problems of one file; behind them it is not looked at any further.
const PROBLEMS_MAX: usize = 1000;

/// One element.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Without its prefix.
    pub(super) name: &'a str,
    pub(super) line: usize,
    pub(super) parent: Option<usize>,
    /// Without those that have a prefix or declare one: they are not of XTCE.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<usize>,
    /// What stands directly in it.
    pub(super) text: String,
}

/// All of a file, with what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    /// The first one is the root.
    pub(super) nodes: Vec<Node<'a>>,
    /// What the root declares its elements to be of; empty where it does not.
    namespace: String,
    problems: RefCell<Vec<Problem>>,
}

/// Where the reading of a text is.
struct Place<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Place<'_> {
    /// The line of a byte that is not before the last one asked for.
    fn line(&mut self, at: u64) -> usize {
        let at = usize::try_from(at)
            .unwrap_or(usize::MAX)
            .min(self.text.len());
        let passed = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        self.line += passed.split(|byte| *byte == b'\n').skip(1).count();
        self.at = at.max(self.at);
        self.line
    }
}

/// Why reading stops.
type Stop = (String, &'static str);

fn stop<T>(what: impl Into<String>, remedy: &'static str) -> Result<T, Stop> {
    Err((what.into(), remedy))
}

impl<'a> Tree<'a> {
    /// Reads a text; a tree without elements has a problem.
    pub(super) fn read(text: &'a str) -> Tree<'a> {
        let text = text.trim_start_matches('\u{feff}');
        let mut tree = Tree::default();
        let mut reader = Reader::from_str(text);
        let (mut place, mut open) = (
            Place {
                text,
                at: 0,
                line: 1,
            },
            Vec::new(),
        );
        let mut prefix = None;
        loop {
            let line = place.line(reader.buffer_position());
            let taken = match reader.read_event() {
                Ok(Event::Eof) => tree.end(&open),
                Ok(event) => tree.take(&event, line, &mut open, &mut prefix, &mut place),
                Err(error) => {
                    let line = place.line(reader.error_position());
                    let what = format!("is not valid XML: {error}");
                    tree.problem(line, "", what, "mend the syntax on this line");
                    Ok(false)
                }
            };
            match taken {
                Ok(true) => {}
                Ok(false) => break,
                Err((what, remedy)) => {
                    tree.problem(line, "", what, remedy);
                    break;
                }
            }
        }
        if !tree.problems.borrow().is_empty() {
            tree.nodes.clear();
        }
        tree
    }

    fn end(&self, open: &[usize]) -> Result<bool, Stop> {
        if let Some(node) = open.last().and_then(|at| self.nodes.get(*at)) {
            let what = format!(
                "ends within {}, which began on line {}",
                node.name, node.line
            );
            return stop(what, "close the element");
        }
        if self.nodes.is_empty() {
            return stop("is XML without an element", "write a SpaceSystem");
        }
        Ok(false)
    }

    /// Takes one piece of the text. Says whether more may come.
    fn take(
        &mut self,
        event: &Event<'_>,
        line: usize,
        open: &mut Vec<usize>,
        prefix: &mut Option<&'a str>,
        place: &mut Place<'a>,
    ) -> Result<bool, Stop> {
        match event {
            Event::Start(start) => {
                let at = self.start(start, line, open, prefix, place)?;
                open.push(at);
            }
            Event::Empty(start) => {
                self.start(start, line, open, prefix, place)?;
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => self.add(&text.xml10_content(), open)?,
            Event::CData(text) => self.add(&text.xml10_content(), open)?,
            Event::GeneralRef(entity) => {
                let character = entity.resolve_char_ref();
                let name = entity.xml10_content();
                match (character, resolve_predefined_entity(&name)) {
                    (Ok(Some(character)), _) => {
                        self.add(character.encode_utf8(&mut [0; 4]), open)?;
                    }
                    (Ok(None), Some(text)) => self.add(text, open)?,
                    _ => {
                        let what = format!("has the entity {name:?}");
                        return stop(
                            what,
                            "write the characters themselves: no entity is expanded",
                        );
                    }
                }
            }
            Event::DocType(_) => {
                return stop(
                    "has a document type",
                    "take <!DOCTYPE out: no entity is expanded",
                );
            }
            Event::Decl(declaration) => {
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !encoding.eq_ignore_ascii_case("utf-8")
                {
                    let what = format!("is declared to be in {encoding}");
                    return stop(what, "convert it to UTF-8, and write so in its first line");
                }
            }
            Event::Comment(_) | Event::PI(_) | Event::Eof => {}
        }
        Ok(true)
    }

    fn add(&mut self, text: &str, open: &[usize]) -> Result<(), Stop> {
        match open.last().and_then(|at| self.nodes.get_mut(*at)) {
            Some(node) => node.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return stop("has text outside its elements", "take it out"),
        }
        Ok(())
    }

    fn start(
        &mut self,
        start: &BytesStart<'_>,
        line: usize,
        open: &[usize],
        prefix: &mut Option<&'a str>,
        place: &Place<'a>,
    ) -> Result<usize, Stop> {
        if self.nodes.len() >= ELEMENTS_MAX {
            let what = format!("has more than {ELEMENTS_MAX} elements");
            return stop(what, "split the database by what is needed");
        }
        if open.len() >= DEPTH_MAX {
            let what = format!("has elements more than {DEPTH_MAX} deep");
            return stop(what, "nest fewer of them");
        }
        if open.is_empty() && !self.nodes.is_empty() {
            return stop(
                "has a second root element",
                "keep one SpaceSystem, with the others in it",
            );
        }
        // Names are pieces of the text, right behind the opening bracket.
        let piece = |name: &str| {
            let behind = place.text.get(place.at + 1..)?;
            behind.get(..name.len()).filter(|piece| *piece == name)
        };
        let Some(full) = piece(start.name().0) else {
            return stop(
                "has an element without a name",
                "mend the syntax on this line",
            );
        };
        let (own, name) = full.split_once(':').unwrap_or(("", full));
        if *prefix.get_or_insert(own) != own {
            let what = format!("has the element {full}, of another namespace than the root");
            return stop(what, OTHER);
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            if attributes.len() >= ATTRIBUTES_MAX {
                let what = format!("has more than {ATTRIBUTES_MAX} attributes in one element");
                return stop(what, "take some out");
            }
            let read = attribute
                .map_err(|error| error.to_string())
                .and_then(|attribute| {
                    let value = attribute.normalized_value(XmlVersion::Explicit1_0);
                    let value = value.map_err(|error| error.to_string())?;
                    Ok((attribute.key.0.to_owned(), value.into_owned()))
                });
            match read {
                Ok(pair) => attributes.push(pair),
                Err(error) => {
                    let what = format!("is not valid XML: {error}");
                    return stop(what, "mend the attributes of this element");
                }
            }
        }
        let declared = declared(own, &attributes);
        if self.nodes.is_empty() {
            checked(own, declared)?;
            self.namespace = declared.unwrap_or_default().into();
        } else if declared.is_some_and(|uri| uri != self.namespace) {
            let what = format!("has the element {full}, of another namespace than the root");
            return stop(what, OTHER);
        }
        attributes.retain(|(key, _)| key != "xmlns" && !key.contains(':'));
        let parent = open.last().copied();
        let at = self.nodes.len();
        self.nodes.push(Node {
            name,
            line,
            parent,
            attributes,
            children: Vec::new(),
            text: String::new(),
        });
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
            parent.children.push(at);
        }
        Ok(at)
    }

    pub(super) fn problem(
        &self,
        line: usize,
        key: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem {
                line,
                key: key.into(),
                what: what.into(),
                remedy: remedy.into(),
            });
        }
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// All problems, in the order of their lines.
    pub(super) fn problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// What to do about elements of another namespace.
const OTHER: &str = "take it out: what is not of XTCE has no meaning here";

/// What an element declares its prefix, or the lack of one, to stand for.
fn declared<'n>(prefix: &str, attributes: &'n [(String, String)]) -> Option<&'n str> {
    let is_own = |key: &str| match key.strip_prefix("xmlns:") {
        Some(name) => name == prefix,
        None => key == "xmlns" && prefix.is_empty(),
    };
    let found = attributes.iter().find(|(key, _)| is_own(key));
    found.map(|(_, uri)| uri.as_str())
}

/// The namespace of the root, where one is declared, is one of XTCE, of whichever year.
fn checked(prefix: &str, declared: Option<&str>) -> Result<(), Stop> {
    match declared {
        Some(uri) if !uri.to_ascii_lowercase().contains("xtce") => {
            let what = format!("is of the namespace {uri:?}");
            stop(
                what,
                "write xmlns=\"http://www.omg.org/spec/XTCE/20180204\"",
            )
        }
        None if !prefix.is_empty() => {
            let what = format!("does not declare its prefix {prefix}");
            stop(what, "write what it stands for in the root element")
        }
        _ => Ok(()),
    }
}
