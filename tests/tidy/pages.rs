//! Rules on lengths, words, manifests, links and the code map.

use super::scan::{Source, files, root, words};
use super::{bites, clean, each};

/// Everything that people write by hand.
const FOLDERS: &[&str] = &[
    "src", "ffi", "tests", "benches", "fuzz", "lab", "scripts", "deploy", ".ci", "docs", "examples",
];
const CODE: &[&str] = &[".rs", ".c", ".h", ".cpp", ".sh", ".py", ".ci/run"];

/// Longest file, in lines; aim at 100 to 250.
const FILE_LINES_MAX: usize = 600;

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        vec![format!("{}: {lines} lines", source.path)]
    } else {
        Vec::new()
    }
}

#[test]
fn files_are_short() {
    clean(
        "A file holds one idea, in at most 600 lines.",
        &each(&files(FOLDERS, CODE), length),
    );
}

#[test]
fn files_are_short_bites() {
    bites(length, "src/x.rs", &"\n".repeat(601), &"\n".repeat(600));
}

/// Words that name no idea. Other people's traits and crates may; ours may not.
const EMPTY_WORDS: [&str; 5] = ["manager", "handler", "util", "helper", "common"];

fn empty_names(source: &Source) -> Vec<String> {
    let is_empty = |name: &str| {
        EMPTY_WORDS
            .iter()
            .any(|word| name.to_lowercase().contains(word))
    };
    let mut found = Vec::new();
    if is_empty(&source.path) {
        found.push(source.path.clone());
    }
    let code = source.code();
    let named: Vec<(usize, &str)> = words(&code).collect();
    for pair in named.windows(2) {
        let defines = matches!(
            pair[0].1,
            "struct" | "enum" | "trait" | "type" | "mod" | "fn" | "union" | "typedef"
        );
        if defines && is_empty(pair[1].1) {
            found.push(format!("{}: {}", source.at(pair[1].0), pair[1].1));
        }
    }
    found
}

#[test]
fn names_say_something() {
    clean(
        "Never manager, handler, util, helper, common: name the idea.",
        &each(&files(FOLDERS, CODE), empty_names),
    );
}

#[test]
fn names_say_something_bites() {
    bites(
        empty_names,
        "src/x.rs",
        "pub struct DeviceManager;",
        "let handler = sigaction(); // a helper struct",
    );
    assert_eq!(empty_names(&Source::new("src/utils.rs", "")).len(), 1);
}

fn unfinished(source: &Source) -> Vec<String> {
    // Put together, so that this file does not match itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    words(&source.text)
        .filter(|(_, word)| marks.contains(word))
        .map(|(line, word)| format!("{}: {word}", source.at(line)))
        .collect()
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    let sources = files(FOLDERS, &[".rs", ".c", ".h", ".sh", ".py", ".md", ".toml"]);
    clean("Do it, or write an issue.", &each(&sources, unfinished));
}

#[test]
fn nothing_is_left_to_do_in_comments_bites() {
    bites(
        unfinished,
        "src/x.rs",
        concat!("// TO", "DO: later"),
        "// what is to do: nothing",
    );
}

fn missing_members(manifest: &Source, crates: &[String]) -> Vec<String> {
    let list = manifest
        .text
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .unwrap_or_default();
    let members: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let mut found: Vec<String> = crates
        .iter()
        .filter(|path| !members.contains(&path.as_str()))
        .map(|path| format!("{path}: has a Cargo.toml and is no workspace member"))
        .collect();
    found.extend(
        members
            .iter()
            .filter(|member| member.contains('*'))
            .map(|member| format!("{member}: is a pattern")),
    );
    found
}

#[test]
fn workspace_members_are_listed() {
    let manifest = files(&["Cargo.toml"], &["Cargo.toml"]).remove(0);
    let crates: Vec<String> = files(&["ffi"], &["/Cargo.toml"])
        .iter()
        .map(|source| source.path.trim_end_matches("/Cargo.toml").to_owned())
        .collect();
    clean(
        "Workspace members are listed one by one.",
        &missing_members(&manifest, &crates),
    );
}

#[test]
fn workspace_members_are_listed_bites() {
    let rule = |source: &Source| missing_members(source, &["ffi/a".to_owned()]);
    bites(
        rule,
        "Cargo.toml",
        "members = [\".\"]",
        "members = [\".\", \"ffi/a\"]",
    );
    bites(
        rule,
        "Cargo.toml",
        "members = [\"ffi/a\", \"ffi/*\"]",
        "members = [\n\"ffi/a\",\n]",
    );
}

/// Targets of `[text](target)` outside code, with their line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        // Odd pieces lie within backticks, where brackets are code; a link may carry code as its text.
        for (start, _) in line.match_indices("](") {
            let in_code = line[..start].matches('`').count() % 2 == 1;
            if let (false, Some(target)) = (in_code, line[start + 2..].split([')', ' ']).next()) {
                found.push((at, target));
            }
        }
    }
    found
}

/// A heading as the anchor that GitHub makes of it.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn dead_links(source: &Source) -> Vec<String> {
    let folder = source
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    links(&source.text)
        .into_iter()
        .filter(|(_, target)| {
            !target.contains("://") && !target.starts_with("mailto:") && !target.contains("::")
        })
        .filter(|(_, target)| {
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() {
                root().join(&source.path)
            } else {
                root().join(folder).join(path)
            };
            if fragment.is_empty() || file.extension().is_none_or(|end| end != "md") {
                return !file.exists();
            }
            let text = if path.is_empty() {
                Ok(source.text.clone())
            } else {
                std::fs::read_to_string(&file)
            };
            !text.is_ok_and(|text| {
                text.lines()
                    .any(|line| line.starts_with('#') && anchor(line) == fragment)
            })
        })
        .map(|(line, target)| format!("{}: {target}", source.at(line)))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = files(
        &[
            "README.md",
            "SECURITY.md",
            "src",
            "ffi",
            "docs",
            "lab",
            "scripts",
            "deploy",
            "examples",
        ],
        &[".md"],
    );
    clean(
        "A link leads to a file, and its anchor to a heading.",
        &each(&pages, dead_links),
    );
}

#[test]
fn links_lead_somewhere_bites() {
    bites(
        dead_links,
        "src/x.md",
        "see [a](../no/such.md)",
        "see [a](../Cargo.toml), `[b](c)`, [d](https://e)",
    );
    bites(
        dead_links,
        "x.md",
        "# One two\n[a](#one-too)",
        "# One, two\n[a](#one-two)\n```\n[a](b)\n```",
    );
}

/// Paths in backticks: with a slash, or ending in .rs; taken from the root, from src/, or from the page's folder.
fn missing_paths(source: &Source) -> Vec<String> {
    let folder = source
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        for piece in line.split('`').skip(1).step_by(2) {
            let is_path = piece.contains('/') || piece.strip_suffix(".rs").is_some();
            let is_plain = piece
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            // A slash also stands in topics, absolute paths of a gateway, and extension ids.
            let is_ours = !piece.starts_with(['/', '.']) && !piece.starts_with("dunlin.");
            let exists = ["", "src", folder]
                .iter()
                .any(|base| root().join(base).join(piece).exists());
            if is_path && is_plain && is_ours && !exists && !piece.starts_with("target/") {
                found.push(format!("{}: {piece}", source.at(at)));
            }
        }
    }
    found
}

const MAPS: &[&str] = &["src/ARCHITECTURE.md", "ffi/README.md", "README.md"];

#[test]
fn the_code_map_names_what_exists() {
    clean(
        "A path that a map names exists.",
        &each(&files(MAPS, &[".md"]), missing_paths),
    );
}

#[test]
fn the_code_map_names_what_exists_bites() {
    bites(
        missing_paths,
        "src/x.md",
        "in `src/no_such.rs`",
        "in `src/lib.rs`, `lib.rs`, `/etc/x`, `a/b c`",
    );
}

/// Entries of src/ that the map does not name.
fn unmapped(map: &Source, entries: &[String]) -> Vec<String> {
    entries
        .iter()
        .filter(|entry| {
            let names = [
                format!("`{entry}`"),
                format!("`src/{entry}`"),
                format!("[`{}`]", entry.trim_end_matches('/')),
            ];
            !names.iter().any(|name| map.text.contains(name))
        })
        .map(|entry| format!("{}: does not name `{entry}`", map.path))
        .collect()
}

#[test]
fn the_code_map_names_every_module() {
    let mut entries: Vec<String> = Vec::new();
    for source in files(&["src"], &[".rs"]) {
        let inner = source.path.trim_start_matches("src/").to_owned();
        let entry = inner
            .split_once('/')
            .map_or(inner.clone(), |(folder, _)| format!("{folder}/"));
        // A folder and the file of its name are one module.
        let twin = format!("{}/", entry.trim_end_matches(".rs"));
        if entry != "lib.rs"
            && !entries.contains(&entry)
            && !root().join("src").join(&twin).is_dir()
            || entry.ends_with('/') && !entries.contains(&entry)
        {
            entries.push(entry);
        }
    }
    let map = files(&["src/ARCHITECTURE.md"], &[".md"]).remove(0);
    clean(
        "Every module is on the map, as `name.rs` or `folder/`.",
        &unmapped(&map, &entries),
    );
}

#[test]
fn the_code_map_names_every_module_bites() {
    let rule = |source: &Source| unmapped(source, &["buffer/".to_owned()]);
    bites(
        rule,
        "src/ARCHITECTURE.md",
        "- `pipeline/` runs",
        "- `buffer/` keeps",
    );
}
