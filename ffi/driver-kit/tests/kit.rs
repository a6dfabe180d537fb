//! The kit on what is known: every first-party driver passes, every hostile mode is found for what it does.

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

fn first_party(name: &str) -> String {
    format!("{}/{name}.so", dunlin_drivers::DIR)
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
fn sim_passes_with_frames_and_writes() {
    let options = ["-o", "frames=true", "-o", "rate_hz=1000", "--allow-writes"];
    let said = passes(&first_party("sim"), &options);
    assert!(said.contains("17 ok, 0 found, 0 skipped"), "{said}");
}

#[test]
fn host_passes_with_a_library_that_cannot_do_without_memory() {
    // libsensors ends the process where it has no memory; denied are the driver's own allocations, not its.
    let output = kit(&[
        "check",
        &first_party("host"),
        "-o",
        "disks=/",
        "--read-path",
        "/proc",
        "--read-path",
        "/sys",
    ]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
}

/// Mode, check that finds it, what it says.
const HOSTILE: &[(&str, &str, &str)] = &[
    (
        "crash",
        "reads",
        "CRASHED  reads                    the host died of SIGSEGV at address 0x10",
    ),
    (
        "abort",
        "reads",
        "CRASHED  reads                    the host died of SIGABRT",
    ),
    ("exit", "reads", "the host exited with code 3"),
    ("throw", "reads", "the host exited with code 70"),
    ("recurse", "reads", "SIGABRT"),
    ("free-ours", "reads", "CRASHED"),
    ("free-twice", "reads", "CRASHED"),
    ("hang", "returns-in-time", "read did not return in time"),
    ("spin", "returns-in-time", "read did not return in time"),
    ("overcount", "reads", "it returned 9, at most 8 is possible"),
    (
        "overcount",
        "reads-any-capacity",
        "it returned 2, at most 1 is possible",
    ),
    ("int-max", "reads", "it returned 2147483647"),
    (
        "negative",
        "reads",
        "it returned -100000, which is no negated errno",
    ),
    ("unwritten", "reads", "was counted but not written"),
    ("half-written", "reads", "its value was not written"),
    ("past-end", "reads", "past the end of the `read out` memory"),
    ("past-front", "reads", "in front of the `read out` buffer"),
    ("kept", "reads", "wrongly into the `read out` memory"),
    ("racing", "reads", "wrongly into the `read out` memory"),
    ("rounding", "reads", "floating-point mode changed"),
    ("bool-2", "reads", "is no value of channel"),
    ("quality-bad", "reads", "quality 3 does not exist"),
    ("channel-bad", "reads", "channel 4 of 4 does not exist"),
    (
        "stamp-negative",
        "stamps-in-order",
        "its stamp -1 is negative",
    ),
    ("stamp-future", "stamps-in-order", "in the future"),
    ("stamp-back", "stamps-in-order", "before the one before it"),
    ("open-fails", "opens", "ENXIO"),
    ("open-null", "opens", "it returned success and no device"),
    ("open-hang", "opens", "open did not return in time"),
    ("open-crash", "opens", "CRASHED"),
    ("open-why-past", "opens", "past the end of the `why` memory"),
    (
        "open-options-write",
        "opens",
        "wrongly into the `open options` memory",
    ),
    (
        "open-options-past-one",
        "opens",
        "past the end of the `open options` memory",
    ),
    ("channels-many", "opens", "it returned 5000"),
    (
        "channels-past",
        "opens",
        "past the end of the `channels out` memory",
    ),
    ("name-utf8", "opens", "its name is not UTF-8"),
    ("name-twice", "opens", "two channels are named"),
    ("kind-bad", "opens", "kind 77 does not exist"),
    ("range-nan", "opens", "is empty"),
    ("frame-length", "frames", "the driver's frames have"),
    ("frame-offset", "frames", "lie outside the buffer"),
    (
        "frame-past",
        "frames",
        "past the end of the `read_frames bytes` memory",
    ),
    ("write-crash", "writes", "SIGABRT"),
    (
        "write-value",
        "writes",
        "wrongly into the `write value` memory",
    ),
    ("close-crash", "closes", "SIGABRT"),
    ("close-hang", "closes", "close did not return in time"),
    (
        "last-words-flood",
        "reads",
        "said its last words more than 64 times",
    ),
    ("forge-sequence", "reads", "reply to 1"),
    ("eio", "reads", "wire %n is cut"),
    (
        "leak-a-thread",
        "opens-a-thousand-times",
        "threads are left",
    ),
    (
        "leak-a-little",
        "opens-a-thousand-times",
        "bytes of heap are left after 1000 openings",
    ),
    (
        "leak-a-descriptor",
        "opens-a-thousand-times",
        "descriptors are left after 1000 openings",
    ),
    ("one-at-a-time", "opens-twice-at-once", "CRASHED"),
    ("one-thread", "lives-on-any-thread", "EXDEV"),
    (
        "signals-changed",
        "leaves-the-process-alone",
        "the action of signal",
    ),
    ("globals", "leaves-the-process-alone", "descriptor 0 was"),
    ("dup2", "leaves-the-process-alone", "descriptor"),
    (
        "no-memory-unchecked",
        "survives-no-memory",
        "CRASHED  survives-no-memory       SIGSEGV",
    ),
    (
        "counts-by-room",
        "asks-for-channels-twice",
        "with room for none, for all",
    ),
];

#[test]
fn every_hostile_mode_is_found_for_what_it_does() {
    let driver = example("hostile");
    let mut wrong = Vec::new();
    for (mode, check, expected) in HOSTILE {
        let (mode_option, only) = (format!("mode={mode}"), ["--only", check]);
        let fixed = [
            "-o",
            &mode_option,
            "-o",
            "arg=",
            "--allow-writes",
            "--deadline-ms",
            "600",
        ];
        let mut arguments = vec!["check", driver.as_str()];
        arguments.extend(fixed);
        arguments.extend(only);
        let output = kit(&arguments);
        let said = text(&output);
        if output.status.code() != Some(1) || !said.contains(expected) {
            wrong.push(format!("{mode}, {check}, expected {expected:?}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
