//! The configuration file: TOML, read whole and checked whole before anything starts.

mod problem;
mod section;
mod token;

pub use problem::{Problem, Problems, Report, nearest};
pub use section::Section;

use std::path::Path;
use std::rc::Rc;
use toml::de::DeTable;

/// Largest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Parses `text` and hands its root table to `read`, which takes what it knows and reports what is wrong. Gives back
/// what `read` made of it, `None` where the text is not TOML, and every problem found, in the order of their lines.
pub fn parse_all<T>(
    text: &str,
    read: impl FnOnce(&mut Section<'_>, &Report) -> T,
) -> (Option<T>, Vec<Problem>) {
    let report = Report::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add(Problem {
            line: section::line_of(text, error.span().map_or(0, |span| span.start)),
            key: String::new(),
            what: format!(
                "is not valid TOML: {}",
                error.message().trim_end().replace('\n', "; ")
            ),
            remedy: "mend the syntax on this line; see https://toml.io".to_owned(),
        });
    }
    // A file that is not TOML would only produce follow-up errors.
    let value = errors.is_empty().then(|| {
        let shared: Rc<str> = text.into();
        let mut root = Section::root(table.get_ref(), &shared, &report);
        read(&mut root, &report)
    });
    (value, report.take())
}

/// The same for a text that must be without problems, named `file` in them.
pub fn parse<T>(
    file: &Path,
    text: &str,
    read: impl FnOnce(&mut Section<'_>, &Report) -> T,
) -> Result<T, Problems> {
    match parse_all(text, read) {
        (Some(value), list) if list.is_empty() => Ok(value),
        (_, list) => Err(Problems {
            file: file.to_owned(),
            list,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str, read: impl FnOnce(&mut Section<'_>)) -> String {
        parse(Path::new("x.toml"), text, |root, _| read(root))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn finds_everything_at_once() {
        let text = "[agent]\nname = 5\nintervall_ms = 3\ninterval_ms = 0\n";
        let found = problems(text, |root| {
            let mut agent = root.section("agent").unwrap();
            agent.text("name");
            agent.integer("interval_ms", 1..=10, 5);
        });
        assert_eq!(
            found,
            "x.toml:2: agent.name: is of type integer.\n  Remedy: write a text in quotes.\n\n\
             x.toml:3: agent.intervall_ms: is an unknown key (did you mean interval_ms?).\n  \
             Remedy: remove it, or use one of interval_ms, name.\n\n\
             x.toml:4: agent.interval_ms: is 0, out of bounds.\n  \
             Remedy: choose a value from 1 to 10."
        );
    }

    #[test]
    fn syntax_errors_come_with_their_line() {
        let found = problems("a = 1\nb = = 2\nc = 3\n", |_| {});
        assert!(found.starts_with("x.toml:2: is not valid TOML"), "{found}");
    }

    #[test]
    fn entries_flatten_lists_and_tables() {
        let text = "[o]\nb = true\nr = [ { n = \"x\", a = 0x10 }, \"n=y\" ]\nk = -1.5\n";
        let entries = parse(Path::new("x"), text, |root, _| {
            root.section("o").unwrap().entries()
        });
        let entries = entries.unwrap();
        let flat: Vec<String> = entries.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        assert_eq!(flat, ["b:true", "r:a=16,n=x", "r:n=y", "k:-1.5"]);
    }
}
