//! What may cross the border between Rust and C at all, read off the sources.

use std::path::{Path, PathBuf};

fn ffi() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below a folder whose name ends so, with its text.
fn sources(folder: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path, ending));
        } else if path.to_str().is_some_and(|name| name.ends_with(ending)) {
            let text = std::fs::read_to_string(&path).expect("text");
            found.push((path, text));
        }
    }
    found
}

/// The functions of the tables: what C offers to Rust.
const TABLE: [&str; 8] = [
    "open",
    "channels",
    "read",
    "close",
    "explain",
    "get_extension",
    "read_frames",
    "write",
];

#[test]
fn no_function_of_ours_is_handed_to_c() {
    let headers = sources(&ffi().join("include"), ".h");
    assert!(headers.len() >= 3, "{} headers", headers.len());
    let mut found = Vec::new();
    for (path, text) in &headers {
        // `(*name)(`: a pointer to a function, in a table or as an argument.
        for piece in text.split("(*").skip(1) {
            let name = piece.split(')').next().unwrap_or_default();
            let is_function = piece[name.len()..].starts_with(")(");
            assert!(
                !is_function || TABLE.contains(&name),
                "{}: C is handed or named a function {name:?}",
                path.display()
            );
            if is_function {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    let mut table = TABLE.map(str::to_owned);
    table.sort();
    assert_eq!(found, table, "each once, and nothing else");
    // The one function of Rust that C, here the kernel, calls is the signal handler.
    let mut defined = Vec::new();
    for (path, text) in sources(&ffi().join("driver/src"), ".rs") {
        for line in text.lines().map(str::trim) {
            let definition = line.starts_with("extern \"C") || line.contains(" extern \"C\" fn ");
            if definition && line.contains(" fn ") {
                let name = path.file_name().expect("a file").to_str().expect("UTF-8");
                defined.push(format!(
                    "{name}: {}",
                    line.split('(').next().unwrap_or_default()
                ));
            }
        }
    }
    assert_eq!(defined, ["last_words.rs: extern \"C\" fn on_fault"]);
}

#[test]
fn no_slice_of_lent_memory_is_made_while_it_is_lent() {
    let mut made = 0;
    for (path, text) in sources(&ffi().join("driver/src"), ".rs") {
        let mut function = "";
        for line in text.lines().map(str::trim) {
            if let Some((_, rest)) = line.split_once("fn ") {
                function = rest.split(['(', '<']).next().unwrap_or_default();
            }
            if line.contains("from_raw_parts") && !line.starts_with("//") {
                let here = path.ends_with("buffer.rs") && function == "take_back";
                assert!(here, "{}: a slice in {function}", path.display());
                made += 1;
            }
        }
        for (at, _) in text.match_indices("extern \"C-unwind\" fn(") {
            let arguments = text[at..].split("->").next().unwrap_or_default();
            assert!(
                !arguments.contains('&'),
                "{}: a reference crosses the border in {arguments:?}",
                path.display()
            );
        }
    }
    assert_eq!(
        made, 2,
        "the lead-in, and what was lent, once they came back"
    );
}
