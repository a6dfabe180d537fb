//! Reading sources for the rules in tidy.rs: which files there are, and what of them is code.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the repository.
pub(crate) struct Source {
    /// Path from the repository's root, with slashes.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The text without comments and without the contents of literals, line for line.
    pub(crate) fn code(&self) -> String {
        blank(&self.text, true)
    }

    /// The text without comments.
    pub(crate) fn code_and_literals(&self) -> String {
        blank(&self.text, false)
    }

    /// The code without tests: up to the first test module, and nothing of a file of tests.
    pub(crate) fn shipped(&self) -> String {
        let is_test = self.path.split(['/', '.']).any(|part| part == "tests");
        let mut code = if is_test { String::new() } else { self.code() };
        code.truncate(test_module(&code));
        code
    }

    /// `path:line`.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path, line + 1)
    }
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All text files below `folders` whose names end in one of `ends`; a folder may be a single file.
pub(crate) fn files(folders: &[&str], ends: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    found.sort();
    let sources: Vec<Source> = found
        .iter()
        .filter(|path| ends.iter().any(|end| path.to_string_lossy().ends_with(end)))
        .map(|path| Source {
            path: path
                .strip_prefix(root())
                .expect("found below it")
                .to_string_lossy()
                .into_owned(),
            text: fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        })
        .collect();
    assert!(
        !sources.is_empty(),
        "no {ends:?} in {folders:?}: this rule checks nothing"
    );
    sources
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else {
        if path.is_file() {
            found.push(path.to_owned());
        }
        return;
    };
    for entry in entries {
        let path = entry.expect("a directory that can be listed").path();
        let name = path
            .file_name()
            .expect("listed by name")
            .to_string_lossy()
            .into_owned();
        if name != "target" && name != ".git" {
            walk(&path, found);
        }
    }
}

/// Identifiers of a piece of code with their line, from 0.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(at, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(move |word| (at, word))
    })
}

/// Where, from the start of the text, the first `#[cfg(test)] mod` stands; the end where there is none.
pub(crate) fn test_module(code: &str) -> usize {
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|at| at + from) {
        let rest = code[at + "#[cfg(test)]".len()..].trim_start();
        if rest.starts_with("mod ") {
            return at;
        }
        from = at + 1;
    }
    code.len()
}

/// Replaces comments, and where asked the contents of literals, by spaces. Knows Rust and C well enough: nested block
/// comments, raw strings, and characters as opposed to lifetimes.
fn blank(text: &str, literals: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let put =
        |out: &mut String, c: char, keep: bool| out.push(if keep || c == '\n' { c } else { ' ' });
    while at < chars.len() {
        let rest = &chars[at..];
        let inside_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let (length, keep) = if rest.starts_with(&['/', '/']) {
            (
                rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
                false,
            )
        } else if rest.starts_with(&['/', '*']) {
            (block_comment(rest), false)
        } else if !inside_word && let Some(length) = raw_string(rest) {
            (length, !literals)
        } else if rest[0] == '"' {
            (quoted(rest, '"'), !literals)
        } else if rest[0] == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
            (quoted(rest, '\''), !literals)
        } else {
            (1, true)
        };
        for c in &rest[..length] {
            put(&mut out, *c, keep);
        }
        at += length;
    }
    out
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(rest.len())
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let start = usize::from(matches!(rest[0], 'b' | 'c'));
    if rest.get(start) != Some(&'r') {
        return None;
    }
    let hashes = rest[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let close = rest[open + 1..]
        .windows(end.len())
        .position(|window| window == end)?;
    Some(open + 1 + close + end.len())
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += 1 + usize::from(rest[at] == '\\');
    }
    (at + 1).min(rest.len())
}

#[test]
fn tests_are_not_shipped() {
    let source = |path| Source::new(path, "a();\n#[cfg(test)]\nmod tests { b() }\n");
    assert_eq!(source("src/x.rs").shipped(), "a();\n");
    assert_eq!(source("src/x/tests/kill.rs").shipped(), "");
    assert_eq!(source("src/x/tests.rs").shipped(), "");
}

#[test]
fn code_is_told_from_comments_and_literals() {
    let text = "let a = \"un\\\"safe\"; // unsafe\n/* unsafe /* twice */ unsafe */ b('\"', 'x, r#\"unsafe \" x\"#) 'c'";
    let source = Source::new("x.rs", text);
    assert!(!source.code().contains("unsafe"), "{}", source.code());
    assert_eq!(source.code().lines().count(), 2);
    assert!(source.code().contains("b(   , 'x,"), "{}", source.code());
    assert!(source.code_and_literals().contains("un\\\"safe"));
}
