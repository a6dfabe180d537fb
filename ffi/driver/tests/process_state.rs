//! What a driver can do to the process and the threads that it runs in: each ends in the host, and is seen or harmless.

mod kit;

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use dunlin_driver::{Cause, Host, HostError, Spec, Value};
use kit::{first_failure, hostile, runtime, spec};

fn run(spec: &Spec) -> Result<(), HostError> {
    runtime().block_on(first_failure(spec))
}

fn cause(mode: &str) -> (Cause, String) {
    let error = run(&hostile(mode, "")).expect_err(mode);
    (error.cause(), error.detail())
}

#[test]
fn nothing_unwinds_over_the_border() {
    // An exception as C++ throws it, and a thread that ends itself, which unwinds by force.
    for mode in ["throw", "thread-exit"] {
        let (cause, detail) = cause(mode);
        assert_eq!(cause, Cause::Exit { code: 70 }, "{mode}: {detail}");
    }
    // A jump into a frame that is gone does whatever it does, but it brings no reading.
    let (cause, detail) = cause("longjmp");
    let dead = matches!(
        cause,
        Cause::Crash { .. } | Cause::Exit { .. } | Cause::Hang { .. }
    );
    assert!(dead, "{cause:?}: {detail}");
}

#[test]
fn memory_that_is_lent_belongs_to_no_allocator() {
    if cfg!(dunlin_asan) {
        assert_eq!(cause("free-ours").0, Cause::Exit { code: 99 });
    } else {
        let (cause, detail) = cause("free-ours");
        // The canary sends free to look for an arena at its pointer rounded down to 64 MiB: nothing is there, or, by
        // chance, a part of the lent memory that may not be touched.
        let ours = cause == Cause::Contract && detail.contains("`read out` memory");
        let crashed = matches!(cause, Cause::Crash { .. });
        assert!(crashed || ours, "{cause:?}: {detail}");
    }
}

#[test]
fn a_thread_that_runs_on_reaches_nothing_that_was_lent() {
    for mode in ["kept-read", "racing"] {
        let (cause, detail) = cause(mode);
        assert_eq!(cause, Cause::Contract, "{mode}: {detail}");
        assert!(
            detail.contains("wrongly into the `read out` memory"),
            "{mode}: {detail}"
        );
    }
}

#[test]
fn a_read_one_byte_past_an_option_faults() {
    let (cause, detail) = cause("open-options-past-one");
    assert_eq!(cause, Cause::Contract, "{detail}");
    assert!(
        detail.contains("past the end of the `open options` memory"),
        "{detail}"
    );
}

#[test]
fn nothing_of_a_driver_runs_on_after_close() {
    runtime().block_on(async {
        let mut host = Host::spawn(&hostile("late-thread", "")).expect("starts");
        host.open().await.expect("opens");
        host.read(8, 0).await.expect("reads");
        let pid = host.pid();
        host.close().await.expect("closes, and the process ends");
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    });
    // A destructor of the library that hangs is not run at all.
    let mut spec = hostile("exit-hang", "");
    spec.deadline_ms = 400;
    run(&spec).expect("closes in good order");
}

#[test]
fn one_thread_makes_every_call() {
    // The driver compares the thread of each read with that of open, and answers EXDEV.
    run(&hostile("good", "")).expect("always the same");
}

#[test]
fn a_driver_that_blocks_every_signal_is_ended_all_the_same() {
    let mut spec = hostile("signals-blocked", "");
    spec.deadline_ms = 200;
    let started = Instant::now();
    let error = run(&spec).expect_err("hangs");
    assert_eq!(error.cause(), Cause::Hang { call: "read" });
    assert_eq!(error.detail(), "read did not return in time");
    assert!(started.elapsed() < Duration::from_millis(1500));
    // One with a signal handler of its own for every signal goes on reading.
    run(&hostile("signals-changed", "")).expect("harmless here");
    assert_eq!(cause("raise").0, Cause::Crash { signal: 15 });
}

#[test]
fn what_a_driver_does_to_its_process_stays_there() {
    let state = || {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
        let umask = read("status").expect("proc");
        let umask = umask.lines().find(|line| line.starts_with("Umask"));
        (
            std::env::current_dir().expect("a directory"),
            umask.map(str::to_owned),
            std::env::var_os("PATH"),
        )
    };
    let before = state();
    // The host's socket is none of the descriptors that everybody knows, so it keeps it.
    for mode in ["globals", "dup2"] {
        run(&hostile(mode, "")).unwrap_or_else(|error| panic!("{mode}: {error}"));
    }
    assert_eq!(state(), before);
}

#[test]
fn a_changed_rounding_mode_is_seen_and_named() {
    let (cause, detail) = cause("rounding");
    assert_eq!(cause, Cause::Contract, "{detail}");
    assert!(detail.contains("floating-point mode changed"), "{detail}");
}

#[test]
fn a_stack_that_overflows_is_a_crash_of_the_host() {
    // The thread of the host has a second stack for its signals: the standard library says what happened, and aborts.
    assert_eq!(cause("recurse").0, Cause::Crash { signal: 6 });
    // A thread of the driver has none, and dies of the guard page below its stack.
    assert_eq!(cause("recurse-thread").0, Cause::Crash { signal: 11 });
}

#[test]
fn a_host_inherits_no_descriptor() {
    // Above what the agent opens: without FD_CLOEXEC, as a library in the agent might leave one.
    let null = std::fs::File::open("/dev/null").expect("there");
    let kept = nix::fcntl::fcntl(&null, nix::fcntl::FcntlArg::F_DUPFD(40)).expect("a number");
    let second = nix::fcntl::fcntl(&null, nix::fcntl::FcntlArg::F_DUPFD(50)).expect("a number");
    assert!(kept >= 40 && second >= 50 && null.as_raw_fd() < 40);
    let error = run(&hostile("descriptors", "")).expect_err("counts them");
    assert_eq!(error.cause(), Cause::Device { errno: 13 });
}

#[test]
fn a_device_is_free_and_reset_when_its_next_host_opens_it() {
    let bus = tempfile::NamedTempFile::new().expect("a file");
    let path = bus.path().to_str().expect("UTF-8");
    let mut spec = hostile("bus", path);
    spec.grants.devices.push(bus.path().to_owned());
    spec.deadline_ms = 300;
    for round in 0..3 {
        let error = run(&spec).expect_err("hangs in the middle of a transfer");
        // Another cause would be EWOULDBLOCK: its last owner still has it.
        assert_eq!(error.detail(), "read did not return in time", "{round}");
        let left = std::fs::read_to_string(bus.path()).expect("read");
        assert_eq!(left, "busy ");
    }
}

#[test]
fn a_table_that_changes_later_changes_nothing() {
    run(&hostile("table-swap", "")).expect("the functions of the first moment are called");
}

#[test]
fn names_that_others_have_bind_to_nobody() {
    let mut spec = spec("interposes");
    spec.options = vec![("mode".into(), "good".into())];
    run(&spec).expect("the host calls its own");
}

#[test]
fn units_are_bytes_on_every_processor() {
    let unit = runtime().block_on(async {
        let mut host = Host::spawn(&hostile("unit-high-bytes", "")).expect("starts");
        let channels = host.open().await.expect("opens");
        channels[0].unit.clone()
    });
    assert_eq!(unit, "\u{b5}m");
}

#[test]
fn numbers_of_errors_are_kept_known_or_not() {
    let (cause, detail) = cause("errno-unknown");
    assert_eq!(cause, Cause::Device { errno: 4000 }, "{detail}");
    assert!(detail.contains("errno 4000"), "{detail}");
}

#[test]
fn forged_messages_end_the_host() {
    for (mode, expected) in [
        ("forge-sequence", "reply to 1, asked was 4"),
        ("forge-long", "a message of 200000 bytes"),
        ("forge-random", "malformed message: version 11, not 1"),
    ] {
        let (cause, detail) = cause(mode);
        assert_eq!(cause, Cause::Contract, "{mode}: {detail}");
        assert!(detail.contains(expected), "{mode}: {detail}");
    }
}

#[test]
fn numbers_arrive_bit_for_bit() {
    let values = runtime().block_on(async {
        let mut host = Host::spawn(&hostile("good", "")).expect("starts");
        host.open().await.expect("opens");
        let samples = host.read(8, 0).await.expect("reads");
        samples
            .iter()
            .map(|sample| sample.value)
            .collect::<Vec<_>>()
    });
    let expected = [Value::Float(1.5), Value::Int(1), Value::Bool(true)];
    assert_eq!(values, expected);
}
