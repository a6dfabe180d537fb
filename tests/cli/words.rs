//! Help, version, and what is no command.

use crate::support::{Agent, dunlin_with};
use crate::{SELF_TEST, USAGE, ill, well};

const COMMANDS: [&str; 7] = [
    "run",
    "check",
    "status",
    "drivers",
    "buffer",
    "sub",
    "telemetry",
];

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

/// In a debug build a panic would be code 101.
#[test]
fn an_error_that_nobody_can_be_told_keeps_its_code() {
    let args = ["check", "/no/such/file"];
    let told = dunlin_with(&args, |_| ());
    let full = std::fs::File::options().write(true).open("/dev/full");
    let untold = dunlin_with(&args, |command| {
        command.stderr(full.unwrap());
    });
    assert_eq!((untold.code, &*untold.stderr), (told.code, ""));
}

/// Each primitive by name, the same list as in ffi/crypto/src/selftest.rs.
const PRIMITIVES: [&str; 12] = [
    "SHA-256",
    "SHA-384",
    "HMAC-SHA-256",
    "HMAC-SHA-384",
    "HKDF-SHA-256",
    "AES-128-GCM",
    "AES-256-GCM",
    "ChaCha20-Poly1305",
    "X25519",
    "ECDH P-256",
    "Ed25519 verify",
    "ECDSA P-256 verify",
];

#[test]
fn a_self_test_that_fails_stops_the_agent() {
    let said = well(&["version", "--self-test"]);
    assert!(said.contains("12 known answers right"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::new(
        dir.path(),
        "[sources.s]\ntype = \"driver\"\ndriver = \"sim\"\n\n[sinks.c]\ntype = \"console\"\ninputs = [\"s\"]\n",
    );
    let config = agent.config();
    for name in PRIMITIVES {
        assert!(said.contains(name), "{name} in {said}");
        for args in [
            &["version", "--self-test"][..],
            &["run", config.to_str().unwrap()],
        ] {
            let ended = dunlin_with(args, |command| {
                command.env("DUNLIN_WRONG_ANSWER", name);
            });
            assert_eq!(ended.code, SELF_TEST, "{name}: {}", ended.stderr);
            let stderr = &ended.stderr;
            assert!(
                stderr.contains(&format!("{name} of OpenSSL")) && stderr.contains("Remedy: "),
                "{stderr}"
            );
            assert_eq!(ended.stdout, "");
        }
    }
    assert!(!agent.state_dir().exists(), "nothing was started");
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
    for code in [0, 64, 65, 69, 70, 71, 73, 75, 78] {
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
