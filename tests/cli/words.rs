//! Help, version, and what is no command.

use crate::{USAGE, ill, well};

const COMMANDS: [&str; 6] = ["run", "check", "status", "drivers", "buffer", "sub"];

#[test]
fn version_names_version_abi_and_architecture() {
    let expected = format!(
        "dunlin {} (driver ABI 1.0, {})\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    for args in [&["version"][..], &["--version"], &["-V"]] {
        assert_eq!(well(args), expected);
    }
}

#[test]
fn every_command_teaches_itself() {
    let top = well(&["--help"]);
    assert_eq!(well(&["-h"]), top);
    assert_eq!(well(&["help"]), top);
    for command in COMMANDS {
        assert!(
            top.lines()
                .any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command} is not in:\n{top}"
        );
        let help = well(&[command, "--help"]);
        assert!(help.contains(&format!("Usage: dunlin {command}")), "{help}");
        assert_eq!(well(&["--help", command]), help);
        assert_eq!(well(&["help", command]), help, "dunlin help {command}");
        for line in help.lines() {
            assert!(line.chars().count() <= 120, "too wide: {line}");
        }
    }
    for code in [0, 64, 65, 69, 70, 73, 75, 78] {
        assert!(top.contains(&format!("{code} ")), "exit code {code}");
    }
}

#[test]
fn wrong_command_lines_are_explained() {
    ill(USAGE, &[], &["Usage: dunlin COMMAND"]);
    ill(USAGE, &["rum", "x.toml"], &["rum", "did you mean run?"]);
    ill(
        USAGE,
        &["frobnicate"],
        &["\"frobnicate\" is not a command", "--help"],
    );
    ill(USAGE, &["run"], &["CONFIG is missing", "Usage: dunlin run"]);
    ill(USAGE, &["run", "a", "b"], &["one word too many"]);
    ill(
        USAGE,
        &["status", "a", "--seconds", "1"],
        &["--seconds does not belong"],
    );
    ill(USAGE, &["sub", "a", "--seconds", "soon"], &["whole number"]);
    ill(USAGE, &["sub", "a", "--seconds"], &["seconds"]);
    ill(USAGE, &["drivers"], &["what to do with drivers is missing"]);
    ill(
        USAGE,
        &["drivers", "lits"],
        &["unknown", "Usage: dunlin drivers"],
    );
    ill(
        USAGE,
        &["drivers", "write", "sim", "setpoint"],
        &["VALUE is missing"],
    );
    ill(USAGE, &["buffer", "verify"], &["DIR is missing"]);
    ill(USAGE, &["run", "a", "--log", "loud"], &["choose error"]);
    ill(
        USAGE,
        &["run", "a", "--log-format", "xml"],
        &["human or json"],
    );
}
