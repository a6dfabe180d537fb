//! The table of hazards in ffi/README.md, the tests that it names, the edits of ffi/mutations.txt and the hostile
//! driver: each is about the same forty things.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Hazards in the table.
const HAZARDS: usize = 40;

fn ffi() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: impl AsRef<Path>) -> String {
    let path = ffi().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

struct Row {
    file: String,
    modes: Vec<String>,
    tests: Vec<String>,
}

fn rows() -> BTreeMap<usize, Row> {
    let readme = text("README.md");
    let mut rows = BTreeMap::new();
    for line in readme.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, _, file, modes, tests] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let owned = |cell| quoted(cell).map(str::to_owned).collect::<Vec<_>>();
        let row = Row {
            file: owned(file).join(" "),
            modes: owned(modes),
            tests: owned(tests),
        };
        assert!(rows.insert(number, row).is_none(), "hazard {number} twice");
    }
    rows
}

/// Whether a test of that name is there.
fn exists(test: &str) -> bool {
    let (binary, name) = test.split_once("::").expect("binary::test");
    let in_file = |path: &str, name: &str| {
        let source = text(path);
        let place = source.find(&format!("fn {name}()"));
        place.is_some_and(|at| source[..at].trim_end().ends_with("#[test]"))
    };
    match binary {
        "doctest" => {
            let source = text("driver/src/device.rs");
            source.contains("```compile_fail") && source.contains(&format!("pub struct {name}"))
        }
        "lib" => {
            let (module, name) = name.split_once("::tests::").expect("module::tests::test");
            in_file(&format!("driver/src/{module}.rs"), name)
        }
        _ => in_file(&format!("driver/tests/{binary}.rs"), name),
    }
}

#[test]
fn every_hazard_has_a_defence_and_a_test_that_exist() {
    let rows = rows();
    let numbers: Vec<usize> = rows.keys().copied().collect();
    assert_eq!(numbers, (1..=HAZARDS).collect::<Vec<_>>());
    for (number, row) in &rows {
        assert!(ffi().join(&row.file).is_file(), "{number}: {:?}", row.file);
        assert!(!row.tests.is_empty(), "{number} names no test");
        for test in &row.tests {
            assert!(exists(test), "{number}: there is no test {test}");
        }
    }
    assert!(!exists("hazards::no_such_test"), "the search can fail");
}

#[test]
fn every_hazard_has_an_edit_for_a_test_of_its_row() {
    let (rows, mutations) = (rows(), text("mutations.txt"));
    let mut edited = BTreeSet::new();
    for head in mutations.lines().filter_map(|line| line.strip_prefix("@ ")) {
        let parts: Vec<&str> = head.split(" | ").collect();
        let [number, test, file] = parts[..] else {
            panic!("{head:?} is not hazard | test | file");
        };
        let number = number.parse().expect("a number");
        assert!(
            rows[&number].tests.iter().any(|named| named == test),
            "{head}"
        );
        assert!(ffi().join("..").join(file).is_file(), "{head}");
        edited.insert(number);
    }
    assert_eq!(edited, (1..=HAZARDS).collect());
}

#[test]
fn every_mode_of_the_hostile_driver_is_used_and_every_one_that_is_named_is_there() {
    let mut modes = BTreeSet::new();
    for part in ["hostile.c", "net.h", "reach.h", "upset.h"] {
        let source = text(format!("examples/hostile/{part}"));
        for piece in source.split("is(self, \"").skip(1) {
            modes.insert(piece.split('"').next().unwrap_or_default().to_owned());
        }
    }
    // What takes no branch of its own, and what is a shape of the whole driver.
    let shapes = [
        "good",
        "bad-major",
        "bad-size",
        "bad-long",
        "bad-align",
        "interposes",
        "constructor",
    ];
    let mut tests = String::new();
    for test in [
        "hazards",
        "network",
        "process_state",
        "ownership",
        "supervision",
    ] {
        tests += &text(format!("driver/tests/{test}.rs"));
    }
    tests += &text("driver/tests/escapes/mod.rs");
    tests += &text("driver/benches/driver_hop.rs");
    tests += &text("../tests/campaign/driver_kills.rs");
    tests += &text("driver-kit/tests/hostile.rs");
    for mode in &modes {
        let frames = mode
            .strip_prefix("frame-")
            .map(|rest| format!("\"{rest}\""));
        let used = tests.contains(&format!("\"{mode}\""))
            || frames.is_some_and(|quoted| tests.contains(&quoted));
        assert!(used, "no test runs the mode {mode:?}");
    }
    for (number, row) in rows() {
        for mode in row.modes {
            let known = modes.contains(&mode) || shapes.contains(&mode.as_str());
            assert!(known, "{number}: there is no mode {mode:?}");
        }
    }
}
