//! The architecture's rules, executed. Each rule is a function from sources to violations, one test over the
//! repository, and one over a planted violation, so that a rule that can no longer fire fails too.
//!
//! Here: who may depend on whom, and where `unsafe` and C may be. Bounds and surroundings are in tidy/bounds.rs,
//! links, words and lengths in tidy/pages.rs, what CI runs elsewhere in tidy/workflows.rs; tidy/scan.rs reads the sources.

#[path = "tidy/bounds.rs"]
mod bounds;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/workflows.rs"]
mod workflows;

use scan::{Source, files, test_module, words};

/// Who may depend on whom: a module may use what is in the layers after its own, and of its own layer only itself.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["agent"],
    &[
        "sources",
        "transforms",
        "sinks",
        "command",
        "update",
        "console",
    ],
    &["downlink"],
    &[
        "pipeline",
        "buffer",
        "uplink",
        "payload",
        "telemetry",
        "workflow",
        "identity",
        "roughtime",
    ],
    &[
        "config",
        "credential",
        "record",
        "level",
        "slabs",
        "clock",
        "stats",
        "exit",
    ],
];

/// The kinds of node, none of which the pipeline may know.
const NODE_FOLDERS: [&str; 3] = ["src/sources/", "src/transforms/", "src/sinks/"];

/// Asserts that a rule finds nothing.
fn clean(rule: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{rule}\n  {}\n",
        violations.join("\n  ")
    );
}

/// Asserts that a rule finds what was planted, and nothing in a harmless relative of it.
fn bites(rule: impl Fn(&Source) -> Vec<String>, path: &str, bad: &str, good: &str) {
    let found = rule(&Source::new(path, bad));
    assert_eq!(
        found.len(),
        1,
        "planted in {path}: {bad:?}, found {found:?}"
    );
    let found = rule(&Source::new(path, good));
    assert!(
        found.is_empty(),
        "harmless in {path}: {good:?}, found {found:?}"
    );
}

fn each(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    sources.iter().flat_map(rule).collect()
}

fn rust(folders: &[&str]) -> Vec<Source> {
    files(folders, &[".rs"])
}

/// Uses of forbidden identifiers.
fn forbidden(source: &Source, code: &str, is_forbidden: impl Fn(&str) -> bool) -> Vec<String> {
    words(code)
        .filter(|(_, word)| is_forbidden(word))
        .map(|(line, word)| format!("{}: {word}", source.at(line)))
        .collect()
}

/// Lines that contain a piece of code.
fn lines_with(source: &Source, code: &str, pieces: &[&str]) -> Vec<String> {
    code.lines()
        .enumerate()
        .filter_map(|(at, line)| Some((at, pieces.iter().find(|piece| line.contains(**piece))?)))
        .map(|(at, piece)| format!("{}: {piece}", source.at(at)))
        .collect()
}

// === dependencies ===

/// The module at the top of the crate that a file of src/ belongs to, and how deep the file's own module lies.
fn module_of(path: &str) -> (&str, usize) {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let stem = inner
        .strip_suffix(".rs")
        .unwrap_or(inner)
        .trim_end_matches("/mod");
    (
        stem.split('/').next().unwrap_or(stem),
        stem.split('/').count(),
    )
}

/// Names that follow directly on a path prefix: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let (mut depth, mut entries, mut entry) = (0_i32, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(std::mem::take(&mut entry)),
            _ => {}
        }
        if depth == 0 && c != ',' {
            entry.push(c);
        }
    }
    entries.push(entry);
    entries
        .iter()
        .map(|entry| name(entry.trim_start()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn dependency_law(source: &Source) -> Vec<String> {
    let (own, depth) = module_of(&source.path);
    if own == "lib" {
        return Vec::new();
    }
    let rank = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let Some(own_rank) = rank(own) else {
        return vec![format!(
            "{}: {own} is in no layer; give it one in tests/tidy.rs",
            source.path
        )];
    };
    let code = source.code();
    let tests_from = test_module(&code);
    let root = if own == "main" { "dunlin::" } else { "crate::" };
    let mut used: Vec<(usize, String)> = Vec::new();
    for (at, _) in code.match_indices(root) {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            used.extend(
                heads(&code[at + root.len()..])
                    .into_iter()
                    .map(|head| (at, head)),
            );
        }
    }
    // `super::` as often as the module is deep is another way to write `crate::`.
    let mut from = 0;
    while let Some(at) = code[from..].find("super::").map(|at| at + from) {
        let supers = code[at..]
            .split("super::")
            .take_while(|piece| piece.is_empty())
            .count();
        let climbs = supers.saturating_sub(usize::from(at > tests_from));
        from = at + supers * "super::".len();
        if climbs >= depth {
            used.extend(heads(&code[from..]).into_iter().map(|head| (at, head)));
        }
    }
    used.into_iter()
        .filter(|(_, head)| head != own && rank(head).is_none_or(|rank| rank <= own_rank))
        .map(|(at, head)| {
            let line = code[..at].matches('\n').count();
            let why = if rank(&head).is_none() {
                "is in no layer"
            } else {
                "is not below it"
            };
            format!("{}: {own} uses {head}, which {why}", source.at(line))
        })
        .collect()
}

#[test]
fn dependencies_point_down() {
    clean(
        "A module uses only what is in the layers below its own.",
        &each(&rust(&["src"]), dependency_law),
    );
}

#[test]
fn dependencies_point_down_bites() {
    let bites = |path, bad, good| bites(dependency_law, path, bad, good);
    bites(
        "src/buffer/reader.rs",
        "use crate::pipeline::Batch;",
        "use crate::record::Class; // crate::agent::X",
    );
    bites(
        "src/sinks/file.rs",
        "use crate::{record::{A, B}, sources::driver::C};",
        "use crate::{record::A, pipeline::B};",
    );
    bites(
        "src/uplink/mod.rs",
        "fn f() { crate::agent::run() }",
        "use crate::uplink::session::S;",
    );
    bites(
        "src/pipeline/run.rs",
        "use super::super::agent::X;",
        "use super::super::record::X;",
    );
    bites(
        "src/config.rs",
        "use super::record::X;",
        "mod problem; use self::problem::X;",
    );
    bites(
        "src/clock.rs",
        "use crate::stats::X;",
        "#[cfg(test)]\nmod tests { use super::agent; }",
    );
    let stray = dependency_law(&Source::new("src/newcomer.rs", "fn f() {}"));
    assert_eq!(stray.len(), 1, "{stray:?}");
}

/// The node's kinds as literals; their modules are out of its reach by the dependency law.
fn pipeline_names_no_node(source: &Source, nodes: &[String]) -> Vec<String> {
    let text = source.code_and_literals();
    let text = &text[..test_module(&text)];
    let literals: Vec<String> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
    let pieces: Vec<&str> = literals.iter().map(String::as_str).collect();
    lines_with(source, text, &pieces)
}

#[test]
fn the_pipeline_names_no_node() {
    let mut nodes: Vec<String> = Vec::new();
    for source in rust(&["src"]) {
        if let Some(inner) = NODE_FOLDERS
            .iter()
            .find_map(|folder| source.path.strip_prefix(folder))
        {
            let node = inner.split(['/', '.']).next().unwrap_or_default();
            if node != "mod" {
                nodes.push(node.to_owned());
            }
        }
    }
    let found = each(&rust(&["src/pipeline"]), |source| {
        pipeline_names_no_node(source, &nodes)
    });
    clean(
        "The pipeline runs nodes without knowing any by name.",
        &found,
    );
}

#[test]
fn the_pipeline_names_no_node_bites() {
    let rule = |source: &Source| pipeline_names_no_node(source, &["window".to_owned()]);
    bites(
        rule,
        "src/pipeline/graph.rs",
        "match kind { \"window\" => 1 }",
        "let window = 1; // \"window\"",
    );
}

fn session_does_no_io(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/uplink/session") {
        return Vec::new();
    }
    lines_with(
        source,
        &source.code(),
        &[
            "tokio",
            "std::net",
            "std::io",
            "std::fs",
            "std::time::Instant",
            "Instant::now",
        ],
    )
}

#[test]
fn the_session_does_no_io() {
    clean(
        "uplink's session is a state machine: bytes and times come in as arguments.",
        &each(&rust(&["src"]), session_does_no_io),
    );
}

#[test]
fn the_session_does_no_io_bites() {
    bites(
        session_does_no_io,
        "src/uplink/session.rs",
        "use tokio::net::TcpStream;",
        "use std::time::Duration; // tokio",
    );
    bites(
        session_does_no_io,
        "src/uplink/session/packet.rs",
        "use std::io::Read;",
        "use std::fmt;",
    );
}

// === unsafe and C ===

fn no_unsafe(source: &Source) -> Vec<String> {
    forbidden(source, &source.code(), |word| word == "unsafe")
}

#[test]
fn unsafe_is_only_below_ffi() {
    clean(
        "unsafe code lives below ffi/.",
        &each(&rust(&["src", "tests", "benches", "build.rs"]), no_unsafe),
    );
    for path in ["src/lib.rs", "src/main.rs"] {
        let text = std::fs::read_to_string(scan::root().join(path)).expect(path);
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{path} must say #![forbid(unsafe_code)]"
        );
    }
}

#[test]
fn unsafe_is_only_below_ffi_bites() {
    bites(
        no_unsafe,
        "src/x.rs",
        "fn f() { unsafe { g() } }",
        "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";",
    );
}

/// Files of src/ that may use nix: its calls are safe, and std lacks these.
const NIX_ALLOWED: [(&str, &str); 1] = [(
    "src/buffer/fs.rs",
    "preallocates segments (fallocate) and asks for free space (statvfs), behind the storage trait",
)];

fn names_no_c(source: &Source) -> Vec<String> {
    let may_nix = NIX_ALLOWED.iter().any(|(path, _)| *path == source.path);
    forbidden(source, &source.code(), |word| {
        word == "libc" || word.ends_with("_sys") || word == "nix" && !may_nix
    })
}

/// The names in the `[dependencies]` of a manifest that speak to C or to the kernel.
fn depends_on_c(source: &Source) -> Vec<String> {
    let dependencies = source
        .text
        .lines()
        .enumerate()
        .skip_while(|(_, line)| line.trim() != "[dependencies]")
        .skip(1);
    dependencies
        .take_while(|(_, line)| !line.starts_with('['))
        .filter_map(|(at, line)| Some((at, line.split(['.', '=', ' ']).next()?)))
        .filter(|(_, name)| matches!(*name, "libc" | "openssl") || name.ends_with("-sys"))
        .map(|(at, name)| format!("{}: {name}", source.at(at)))
        .collect()
}

#[test]
fn src_names_no_c() {
    clean(
        "src/ reaches C and the kernel through ffi/.",
        &each(&rust(&["src"]), names_no_c),
    );
    clean(
        "So does its manifest.",
        &each(&files(&["Cargo.toml"], &["Cargo.toml"]), depends_on_c),
    );
}

#[test]
fn src_names_no_c_bites() {
    bites(
        names_no_c,
        "src/agent/run.rs",
        "nix::unistd::fork()",
        "// nix",
    );
    let allowed = Source::new(NIX_ALLOWED[0].0, "nix::fcntl::fallocate()");
    assert!(names_no_c(&allowed).is_empty());
    bites(
        names_no_c,
        "src/x.rs",
        "use libc::c_int;",
        "let phoenix = 1; // libc",
    );
    bites(
        names_no_c,
        "src/x.rs",
        "use dunlin_driver_sys::Driver;",
        "use dunlin_driver::Driver;",
    );
    let good = "[workspace.dependencies]\nlibc = \"0.2\"\n[dependencies]\ntoml = \"1\"\n[lints]\nlibc = 1\n";
    bites(
        depends_on_c,
        "Cargo.toml",
        "[dependencies]\nopenssl-sys.workspace = true\n",
        good,
    );
}

fn never_unloads(source: &Source) -> Vec<String> {
    forbidden(source, &source.code(), |word| word == "dlclose")
}

#[test]
fn libraries_are_never_unloaded() {
    let sources = files(&["src", "ffi", "tests", "benches"], &[".rs", ".c", ".h"]);
    clean(
        "A library's threads and destructors outlive dlclose: hosts end instead.",
        &each(&sources, never_unloads),
    );
}

#[test]
fn libraries_are_never_unloaded_bites() {
    bites(
        never_unloads,
        "ffi/driver/src/library.rs",
        "libc::dlclose(handle)",
        "// never dlclose\nlet s = \"dlclose\";",
    );
}
