//! Every mode of the hostile driver: found by the kit for what it does, or named here with the reason why it is not.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

fn kit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin-driver-kit"))
        .args(arguments)
        .output()
        .expect("the kit runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A check of this mode, or all that run in a host.
fn check(mode: &str, only: &[&str]) -> Output {
    let driver = format!("{}/hostile.so", env!("DUNLIN_KIT_DRIVERS"));
    let option = format!("mode={mode}");
    let mut arguments = vec!["check", driver.as_str(), "-o", &option, "-o", "arg="];
    arguments.extend(["--allow-writes", "--deadline-ms", "600"]);
    for name in only {
        arguments.extend(["--only", name]);
    }
    kit(&arguments)
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
    ("free-ours", "reads", "SIG"),
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
    // Ways out, which the sandbox closes: what is found is the refusal.
    ("agent-affinity", "reads", "read: EPERM"),
    ("agent-fiosetown", "reads", "read: EPERM"),
    ("agent-lease", "reads", "read: EPERM"),
    ("agent-notify", "reads", "read: EPERM"),
    ("agent-owner", "reads", "read: EPERM"),
    ("agent-owner-ex", "reads", "read: EPERM"),
    ("agent-priority", "reads", "read: EPERM"),
    ("agent-rlimit", "reads", "read: EPERM"),
    ("agent-rlimit-read", "reads", "read: EPERM"),
    ("agent-scheduler", "reads", "read: EPERM"),
    ("agent-signal", "reads", "read: EPERM"),
    ("agent-siocspgrp", "reads", "read: EPERM"),
    ("bind", "reads", "read: EPERM"),
    ("fork", "reads", "read: EPERM"),
    ("raw-fork", "reads", "read: EPERM"),
    ("kill-agent", "reads", "read: EPERM"),
    ("kill-all", "reads", "read: EPERM"),
    ("tkill-agent", "reads", "read: EPERM"),
    ("ptrace", "reads", "read: EPERM"),
    ("unshare", "reads", "read: EPERM"),
    ("seccomp", "reads", "read: EPERM"),
    ("system", "reads", "read: EPERM"),
    ("socket-inet", "reads", "read: EPERM"),
    ("socket-unix", "reads", "read: EPERM"),
    ("socket-udp", "reads", "read: EPERM"),
    ("socket-mptcp", "reads", "read: EPERM"),
    ("socket-can", "reads", "read: EPERM"),
    ("socket-can-bcm", "reads", "read: EPERM"),
    ("own-limits-set", "reads", "read: EPERM"),
    ("vm-read", "reads", "read: EPERM"),
    ("vm-write", "reads", "read: EPERM"),
    ("pidfd", "reads", "read: EPERM"),
    ("pidfd-signal", "reads", "read: EPERM"),
    ("sigqueue", "reads", "read: EPERM"),
    ("io-uring", "reads", "read: EPERM"),
    ("exec-fd", "reads", "read: EPERM"),
    ("socket-netlink", "reads", "read: EPERM"),
    ("socket-packet", "reads", "read: EPERM"),
    ("socket-vsock", "reads", "read: EPERM"),
    ("net-raw", "reads", "read: EPERM"),
    ("net-udp", "reads", "read: EPERM"),
    ("net-swap", "reads", "read: EPERM"),
    ("net-later", "reads", "read: EPERM"),
    ("net-connect", "reads", "read: EPERM"),
    ("net-short", "reads", "read: EPERM"),
    ("net-wild", "reads", "read: EPERM"),
    ("net-unspec", "reads", "read: EPERM"),
    ("net-copy", "reads", "read: EPERM"),
    ("net-fastopen", "reads", "read: EPERM"),
    ("net-fastopen-message", "reads", "read: EPERM"),
    ("net-send", "reads", "read: EPERM"),
    ("net-route", "reads", "read: EPERM"),
    ("net-device", "reads", "read: EPERM"),
    ("net-bind", "reads", "read: EPERM"),
    ("net-listen", "reads", "read: EPERM"),
    ("pidfd-getfd", "reads", "read: ENOSYS"),
    ("memfd", "reads", "read: ENOSYS"),
    ("open-by-handle", "reads", "read: ENOSYS"),
    ("openat2", "reads", "read: ENOSYS"),
    ("abstract", "reads", "read: ENOSYS"),
    ("send-elsewhere", "reads", "read: ENOSYS"),
    ("socketpair", "reads", "read: ENOSYS"),
    ("agent-affinity-read", "reads", "read: ENOSYS"),
    ("agent-scheduler-read", "reads", "read: ENOSYS"),
    ("agent-param-read", "reads", "read: ENOSYS"),
    ("agent-robust-list", "reads", "read: ENOSYS"),
    ("outlive", "reads", "read: ENOSYS"),
    ("proc-agent", "reads", "read: EACCES"),
    ("write-file", "reads", "read: EACCES"),
    ("shadow", "reads", "read: EACCES"),
    ("environment", "reads", "read: EACCES"),
    ("descriptors", "reads", "read: EACCES"),
    ("exec", "reads", "read: E"),
    ("chmod", "reads", "read: E"),
    ("read-file", "reads", "read: ENOENT"),
    ("truncate-file", "reads", "read: ENOENT"),
    ("fd-flood", "reads", "read: EMFILE"),
    ("own-limits", "reads", "read: EALREADY"),
    ("own-affinity", "reads", "read: EALREADY"),
    ("own-thread", "reads", "read: EALREADY"),
    ("enodev", "reads", "read: ENODEV"),
    ("eio-once", "reads", "read: EIO"),
    ("errno-unknown", "reads", "errno 4000"),
    ("constructor", "opens", "EACCES"),
    ("bus", "opens", "ENOENT"),
    ("_exit", "reads", "the host exited with code 0"),
    ("raise", "reads", "SIGTERM"),
    ("bool-255", "reads", "0xff is no value of channel"),
    ("int-min", "reads", "it returned -2147483648"),
    ("burn-ahead", "reads", "50 reads brought no sample"),
    ("channel-frame", "reads", "is no value of channel"),
    ("channels-none", "reads", "channel 0 of 0 does not exist"),
    ("channels-grow", "opens", "now has 66"),
    ("close-fds", "reads", "FAILED"),
    (
        "exit-hang",
        "opens-a-thousand-times",
        "its process does not end",
    ),
    ("far-front", "reads", "wrongly into the `read out` memory"),
    ("kept-read", "reads", "`read out`"),
    ("kept-same-thread", "reads", "`read out`"),
    ("forge-long", "reads", "FAILED"),
    ("forge-random", "reads", "FAILED"),
    ("frame-channel", "frames", "FAILED"),
    ("frame-count", "frames", "it returned"),
    ("frame-wrap", "frames", "lie outside the buffer"),
    ("frame-zero", "frames", "FAILED"),
    ("late-thread", "opens-a-thousand-times", "threads are left"),
    ("threads", "opens-a-thousand-times", "threads are left"),
    ("leak", "reads", "MiB of address space in use"),
    (
        "last-words-many",
        "reads",
        "said its last words more than 64 times",
    ),
    ("longjmp", "reads", "the host"),
    ("thread-exit", "reads", "the host"),
    ("recurse-thread", "reads", "CRASHED"),
    ("name-empty", "opens", "name \"\" is not"),
    ("name-format", "opens", "is not [A-Za-z0-9_.-]{1,63}"),
    (
        "name-unterminated",
        "opens",
        "its name has no NUL within 64 bytes",
    ),
    (
        "open-options-past",
        "opens",
        "past the end of the `open options` memory",
    ),
    ("open-positive", "opens", "it returned 7"),
    ("open-why-full", "opens", "EIO"),
    (
        "signals-blocked",
        "returns-in-time",
        "read did not return in time",
    ),
    ("stop", "returns-in-time", "read did not return in time"),
];

/// Modes in which no check finds anything, and why that is so.
const UNSEEN: &[(&str, &str)] = &[
    ("bench", "it keeps the rules"),
    ("good", "it keeps the rules"),
    ("channels-4096", "it keeps the rules: as many are allowed"),
    ("unit-high-bytes", "it keeps the rules: units are UTF-8"),
    ("reserved", "a reserved field is not looked at"),
    (
        "flood",
        "what a driver prints is cut to 20 lines a second, and no rule forbids it",
    ),
    (
        "overflow",
        "undefined behaviour without a trace; UndefinedBehaviorSanitizer sees it (scripts/hostile.sh)",
    ),
    (
        "explain-past",
        "it needs a failure, which these modes do not have",
    ),
    (
        "table-swap",
        "the table was copied, and what it changes to is not looked at",
    ),
    (
        "burn",
        "a thread that burns a CPU takes the five seconds of the agent's window to be seen",
    ),
];

#[test]
fn every_mode_is_found_or_named_with_the_reason_why_not() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hostile");
    let mut modes = BTreeSet::from(["good".to_owned()]);
    for part in ["hostile.c", "net.h", "reach.h", "upset.h"] {
        let source = std::fs::read_to_string(examples.join(part)).expect("the hostile driver");
        for piece in source.split("is(self, \"").skip(1) {
            modes.insert(piece.split('"').next().unwrap_or_default().to_owned());
        }
    }
    let found: BTreeSet<String> = HOSTILE
        .iter()
        .map(|(mode, ..)| (*mode).to_owned())
        .collect();
    let unseen: BTreeSet<String> = UNSEEN.iter().map(|(mode, _)| (*mode).to_owned()).collect();
    let both: Vec<_> = found.intersection(&unseen).collect();
    assert!(both.is_empty(), "in both tables: {both:?}");
    let named: BTreeSet<String> = found.union(&unseen).cloned().collect();
    let difference: Vec<_> = modes.symmetric_difference(&named).collect();
    assert!(
        difference.is_empty(),
        "in no table, or no mode: {difference:?}"
    );
    println!("{} modes found, {} not", found.len(), unseen.len());
}

#[test]
fn every_hostile_mode_is_found_for_what_it_does() {
    let mut wrong = Vec::new();
    for (mode, name, expected) in HOSTILE {
        // What their thread writes is not seen where it comes within a call, when the memory is the driver's.
        let tries = if matches!(*mode, "kept" | "racing") {
            3
        } else {
            1
        };
        let mut said = String::new();
        let is_found = (0..tries).any(|_| {
            let output = check(mode, &[name]);
            said = text(&output);
            output.status.code() == Some(1) && said.contains(expected)
        });
        if !is_found {
            wrong.push(format!("{mode}, {name}, expected {expected:?}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In a host only: those outside run without a sandbox, and take longer.
#[test]
fn what_is_named_as_unseen_is_not_seen() {
    let in_host = [
        "loads",
        "opens",
        "reads",
        "reads-any-capacity",
        "stamps-in-order",
        "frames",
        "closes",
    ];
    for (mode, why) in UNSEEN {
        let output = check(mode, &in_host);
        assert!(output.status.success(), "{mode}, {why}:\n{}", text(&output));
    }
}

/// A driver that fails in the sandbox is not run outside of it, where nobody would hold it back.
#[test]
fn what_fails_in_a_host_is_not_run_without_a_sandbox() {
    let said = text(&check("kill-agent", &["reads", "opens-a-thousand-times"]));
    let kept = "skipped  opens-a-thousand-times   it would run outside the sandbox";
    assert!(said.contains(kept), "{said}");
}
