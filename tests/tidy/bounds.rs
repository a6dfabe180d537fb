//! Rules on what code may reach for: unbounded queues, the environment, standard output, wall time.

use super::scan::Source;
use super::{bites, clean, each, forbidden, lines_with, rust};

fn bounded(source: &Source) -> Vec<String> {
    let code = source.code();
    let unbounded = |word: &str| word == "unbounded_channel" || word.starts_with("Unbounded");
    let mut found = forbidden(source, &code, unbounded);
    found.extend(lines_with(
        source,
        &code,
        &[
            "::unbounded(",
            "mpsc::channel()",
            "mpsc::{channel",
            "std::sync::mpsc::Sender",
            "mpsc::channel::<",
        ],
    ));
    // tokio's channel takes its bound as an argument; with the type written out, the argument is still there.
    found.retain(|line| !line.ends_with("mpsc::channel::<") || code.contains("std::sync::mpsc"));
    found
}

#[test]
fn every_channel_has_a_bound() {
    clean(
        "Every channel has a bound with a name and a unit.",
        &each(&rust(&["src", "ffi"]), bounded),
    );
}

#[test]
fn every_channel_has_a_bound_bites() {
    bites(
        bounded,
        "src/x.rs",
        "let (a, b) = mpsc::unbounded_channel();",
        "let (a, b) = mpsc::channel(QUEUE_RECORDS); // unbounded",
    );
    bites(
        bounded,
        "ffi/driver/src/x.rs",
        "let (a, b) = mpsc::channel();",
        "let (a, b) = mpsc::sync_channel(1);",
    );
}

fn surroundings(source: &Source) -> Vec<String> {
    if source.path == "src/main.rs" {
        return Vec::new();
    }
    let code = source.shipped();
    let mut found = forbidden(source, &code, |word| word == "anyhow");
    found.extend(lines_with(
        source,
        &code,
        &[
            "env::var",
            "env::args",
            "env::{",
            "env::set_var",
            "env::remove_var",
            "env::home_dir",
        ],
    ));
    found
}

#[test]
fn only_main_reads_the_environment_and_uses_anyhow() {
    clean(
        "Only main.rs reads the environment and uses anyhow.",
        &each(&rust(&["src"]), surroundings),
    );
}

#[test]
fn only_main_reads_the_environment_and_uses_anyhow_bites() {
    bites(
        surroundings,
        "src/agent/run.rs",
        "std::env::var(\"X\")",
        "env!(\"CARGO_PKG_VERSION\"); std::env::current_exe()",
    );
    bites(
        surroundings,
        "src/cli/args.rs",
        "std::env::args_os()",
        "#[cfg(test)]\nmod tests { fn f() { std::env::var(\"X\"); } }",
    );
    bites(
        surroundings,
        "src/config.rs",
        "use anyhow::Result;",
        "// anyhow\nfn f() {}",
    );
    assert!(surroundings(&Source::new("src/main.rs", "std::env::args()")).is_empty());
}

fn prints(source: &Source) -> Vec<String> {
    let may = ["src/main.rs", "src/cli.rs", "src/cli/", "src/sinks/console"];
    if may.iter().any(|path| source.path.starts_with(path)) {
        return Vec::new();
    }
    lines_with(source, &source.shipped(), &["println!", "print!(", "dbg!"])
}

#[test]
fn only_the_command_line_prints() {
    clean(
        "The library logs by tracing; the command line and the console sink print.",
        &each(&rust(&["src"]), prints),
    );
}

#[test]
fn only_the_command_line_prints_bites() {
    bites(
        prints,
        "src/agent/run.rs",
        "eprintln!(\"x\")",
        "// println!\nwriteln!(f, \"x\")",
    );
    assert!(prints(&Source::new("src/cli/table.rs", "println!()")).is_empty());
}

/// What turns off the verification of a peer, in any library that is used or might be.
fn unverified(source: &Source) -> Vec<String> {
    if source.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let never = [
        "SslVerifyMode::NONE",
        "SslVerifyMode::empty",
        "verify_hostname(false)",
        "danger_accept",
        "insecure",
        "dangerous_configuration",
        "set_certificate_verifier",
    ];
    lines_with(source, &source.shipped(), &never)
}

#[test]
fn nothing_turns_verification_off() {
    clean(
        "Peers are verified, whatever is configured: there is no option and no code that turns it off.",
        &each(&rust(&["src", "ffi"]), unverified),
    );
}

#[test]
fn nothing_turns_verification_off_bites() {
    bites(
        unverified,
        "ffi/crypto/src/tls.rs",
        "builder.set_verify(SslVerifyMode::NONE);",
        "builder.set_verify(SslVerifyMode::PEER); // insecure",
    );
    bites(
        unverified,
        "src/sinks/uplink/endpoints.rs",
        "let insecure = section.flag(key, false);",
        "let secure = true;",
    );
}

/// Wall time outside the clock: order and expiry must not hang on it.
fn wall_clock(source: &Source) -> Vec<String> {
    if source.path == "src/clock.rs" {
        return Vec::new();
    }
    forbidden(source, &source.shipped(), |word| {
        matches!(word, "SystemTime" | "UNIX_EPOCH")
    })
}

#[test]
fn only_the_clock_knows_wall_time() {
    clean(
        "Time may lie: wall time comes from clock.rs, for display alone.",
        &each(&rust(&["src"]), wall_clock),
    );
}

#[test]
fn only_the_clock_knows_wall_time_bites() {
    bites(
        wall_clock,
        "src/buffer/reader.rs",
        "let t = SystemTime::now();",
        "let t = clock::wall_ns(); // SystemTime",
    );
}
