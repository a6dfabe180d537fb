//! The kit on the examples, and what it writes. First-party drivers are in `first_party.rs`, hostile ones in `hostile.rs`.

use std::path::PathBuf;
use std::process::{Command, Output};

fn kit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin-driver-kit"))
        .args(arguments)
        .output()
        .expect("the kit runs")
}

fn example(name: &str) -> String {
    format!("{}/{name}.so", env!("DUNLIN_KIT_DRIVERS"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Checks a driver that must pass; what was said.
fn passes(driver: &str, options: &[&str]) -> String {
    let mut arguments = vec!["check", driver];
    arguments.extend(options);
    let output = kit(&arguments);
    let said = text(&output);
    assert!(output.status.success(), "{driver}: {said}");
    said
}

#[test]
fn the_template_passes_every_check() {
    let said = passes(&example("template"), &["--allow-writes"]);
    assert!(said.contains("16 ok, 0 found, 1 skipped"), "{said}");
    assert!(said.contains("skipped  frames"), "{said}");
}

#[test]
fn the_example_in_cpp_passes_and_its_exceptions_stay_inside() {
    let number = "/proc/sys/kernel/pid_max";
    let path = format!("path={number}");
    let options = ["-o", path.as_str(), "--read-path", number];
    let said = passes(&example("average"), &options);
    assert!(said.contains("15 ok, 0 found, 2 skipped"), "{said}");
    // Thrown in C++, caught at the border: an errno with words.
    let mut arguments = vec!["check", "", "--only", "reads", "-o", "path=/dev/null"];
    let average = example("average");
    arguments[1] = &average;
    let output = kit(&arguments);
    assert!(
        text(&output).contains("/dev/null holds no number"),
        "{}",
        text(&output)
    );
}

#[test]
fn reports_are_machine_readable() {
    let room = tempfile::tempdir().expect("room");
    let path = |name: &str| room.path().join(name).to_str().expect("UTF-8").to_owned();
    let (json, junit) = (path("kit.json"), path("kit.xml"));
    let output = kit(&[
        "check",
        &example("hostile"),
        "-o",
        "mode=crash",
        "--only",
        "reads",
        "--only",
        "loads",
        "--json",
        &json,
        "--junit",
        &junit,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let read = |path: &str| std::fs::read_to_string(path).expect("written");
    let parsed: serde_json::Value = serde_json::from_str(&read(&json)).expect("JSON");
    let verdicts: Vec<&str> = parsed["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|c| c["verdict"].as_str().expect("text"))
        .collect();
    assert_eq!(verdicts, ["ok", "CRASHED"]);
    let xml = read(&junit);
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<failure type=\"CRASHED\""), "{xml}");
}

#[test]
fn bench_and_fuzz_say_what_they_saw() {
    let room = tempfile::tempdir().expect("room");
    let svg: PathBuf = room.path().join("bench.svg");
    let output = kit(&[
        "bench",
        &example("template"),
        "--seconds",
        "1",
        "--svg",
        svg.to_str().expect("UTF-8"),
    ]);
    let said = text(&output);
    assert!(output.status.success() && said.contains(" us"), "{said}");
    assert!(
        std::fs::read_to_string(&svg)
            .expect("a picture")
            .starts_with("<svg ")
    );
    let output = kit(&[
        "fuzz",
        &example("template"),
        "--runs",
        "20",
        "--allow-writes",
    ]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("20 runs from seed 1, 20 opened, 0 found"),
        "{}",
        text(&output)
    );
    // A finding repeats with its seed.
    let output = kit(&[
        "fuzz",
        &example("hostile"),
        "-o",
        "mode=crash",
        "--runs",
        "30",
    ]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let seed = said
        .split("--seed ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("a seed");
    let again = kit(&[
        "fuzz",
        &example("hostile"),
        "-o",
        "mode=crash",
        "--runs",
        "1",
        "--seed",
        seed,
    ]);
    assert!(text(&again).contains("1 found"), "{}", text(&again));
}

#[test]
fn a_wrong_command_line_is_a_sentence() {
    for (arguments, expected) in [
        (vec!["check"], "check needs a driver"),
        (vec!["check", "/not/there.so"], "No such file"),
        (vec!["check", "/dev/null", "-o", "x"], "is not KEY=VALUE"),
        (vec!["chek", "/dev/null"], "there is no command \"chek\""),
    ] {
        let output = kit(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    let output = kit(&["check", "/dev/null", "--only", "nothing"]);
    assert!(
        text(&output).contains("there is no check \"nothing\""),
        "{}",
        text(&output)
    );
}
