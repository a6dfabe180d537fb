//! Rules on .github/workflows: they run what is here, by names that are known.

use super::scan::{Source, files, root};
use super::{bites, clean, each};
use std::os::unix::fs::PermissionsExt as _;

/// The words of a file with their line, without the marks around them.
fn marked_off(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(at, line)| {
        line.split(|c: char| c.is_whitespace() || "'\"(),".contains(c))
            .filter(|word| !word.is_empty())
            .map(move |word| (at, word))
    })
}

/// Scripts that a workflow names and that nobody could run.
fn missing_scripts(workflow: &Source) -> Vec<String> {
    marked_off(&workflow.text)
        .filter(|(_, word)| {
            ["scripts/", "tests/", ".ci/"]
                .iter()
                .any(|folder| word.starts_with(folder))
        })
        .filter(|(_, word)| {
            !root()
                .join(word)
                .metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
        .map(|(line, word)| format!("{}: {word}", workflow.at(line)))
        .collect()
}

/// Words after scripts/test.sh that are no stage of it.
fn unknown_stages(workflow: &Source, stages: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed = false;
    for (line, word) in marked_off(&workflow.text) {
        if word == "scripts/test.sh" {
            listed = true;
        } else if !word.chars().all(|c| c.is_ascii_lowercase()) {
            listed = false;
        } else if listed && !stages.iter().any(|stage| stage == word) {
            found.push(format!("{}: {word}", workflow.at(line)));
        }
    }
    found
}

/// The stages of scripts/test.sh: functions of these names, without which it refuses a word.
fn stages() -> Vec<String> {
    let script = files(&["scripts/test.sh"], &[".sh"]).remove(0);
    script
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("stage_")?.split_once("()"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn workflows() -> Vec<Source> {
    files(&[".github/workflows"], &[".yml"])
}

#[test]
fn workflows_run_what_is_here() {
    clean(
        "A script that a workflow names is here and can be run.",
        &each(&workflows(), missing_scripts),
    );
}

#[test]
fn workflows_run_what_is_here_bites() {
    bites(
        missing_scripts,
        "x.yml",
        "- run: scripts/none.sh --all",
        "- run: scripts/image.sh\n  key: ${{ hashFiles('scripts/image.sh') }}",
    );
    bites(
        missing_scripts,
        "x.yml",
        "run: tests/tidy.rs",
        "run: .ci/run",
    );
}

#[test]
fn workflows_name_stages_that_are() {
    let stages = stages();
    clean(
        "A workflow names stages of scripts/test.sh.",
        &each(&workflows(), |source| unknown_stages(source, &stages)),
    );
}

#[test]
fn workflows_name_stages_that_are_bites() {
    let stages = stages();
    bites(
        |source| unknown_stages(source, &stages),
        "x.yml",
        "- run: scripts/test.sh setup\n  floor",
        "- run: >-\n  scripts/test.sh setup\n  floors\n- name: gather",
    );
}
