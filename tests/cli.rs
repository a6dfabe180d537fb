//! The command line as a person or a script meets it: what each command prints, where, and with which exit code.
#![cfg(feature = "tools")]

mod support;

#[path = "cli/buffer.rs"]
mod buffer;
#[path = "cli/drivers.rs"]
mod drivers;
#[path = "cli/live.rs"]
mod live;
#[cfg(all(feature = "live", feature = "telemetry"))]
#[path = "cli/local.rs"]
mod local;
#[path = "cli/words.rs"]
mod words;

use std::time::Duration;
use support::{Ended, dunlin};

/// For what takes milliseconds on an idle machine: generous, because CI machines are not idle.
const SOON: Duration = Duration::from_secs(30);

const USAGE: i32 = 64;
const DATA: i32 = 65;
const SELF_TEST: i32 = 71;
const UNAVAILABLE: i32 = 69;

/// Runs a command that must go well and say nothing but its answer.
fn well(args: &[&str]) -> String {
    let ended = dunlin(args);
    assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// Runs a command that must fail with this code, explain itself on standard error, and print no answer.
fn ill(code: i32, args: &[&str], parts: &[&str]) -> Ended {
    let ended = dunlin(args);
    assert_eq!(
        ended.code, code,
        "{args:?}: {}{}",
        ended.stdout, ended.stderr
    );
    assert_eq!(ended.stdout, "", "{args:?}: errors are no answers");
    for part in parts {
        assert!(
            ended.stderr.contains(part),
            "{args:?}: no {part:?} in:\n{}",
            ended.stderr
        );
    }
    ended
}
