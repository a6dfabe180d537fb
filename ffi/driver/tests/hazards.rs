//! Every hazard that a C driver brings, against the real host process: each must end in the outcome that names it.

mod escapes;
mod kit;

use dunlin_driver::{Cause, Host, HostError, Quality, Value};
use escapes::ESCAPES;
use kit::{errno_of, first_failure, hostile, libc_errno, runtime, spec};
use std::path::{Path, PathBuf};

fn run(mode: &str) -> Result<(), HostError> {
    runtime().block_on(first_failure(&hostile(mode, "")))
}

fn cause(mode: &str) -> (Cause, String) {
    let error = run(mode).expect_err(mode);
    (error.cause(), error.detail())
}

#[test]
fn broken_contracts_are_named() {
    let cases = [
        ("overcount", "it returned 9, at most 8"),
        ("int-max", "it returned 2147483647"),
        ("negative", "it returned -100000, which is no negated errno"),
        ("int-min", "it returned -2147483648"),
        (
            "past-front",
            "wrote 1 bytes in front of the `read out` buffer",
        ),
        ("unwritten", "sample 0 of 2: was counted but not written"),
        ("half-written", "sample 0 of 3: its value was not written"),
        ("channel-bad", "channel 4 of 4 does not exist"),
        ("channel-frame", "is no value of channel \"c3\" (frame)"),
        ("quality-bad", "quality 3 does not exist"),
        ("bool-2", "0x2 is no value of channel \"c2\" (bool)"),
        ("bool-255", "0xff is no value of channel \"c2\" (bool)"),
        ("stamp-negative", "its stamp -1 is negative"),
        ("stamp-future", "in the future"),
        ("stamp-back", "before the one before it"),
        ("name-unterminated", "its name has no NUL within 64 bytes"),
        ("name-utf8", "its name is not UTF-8"),
        ("name-format", "\"%n%s%n\" is not [A-Za-z0-9_.-]{1,63}"),
        ("name-twice", "two channels are named \"c0\""),
        ("name-empty", "name \"\" is not"),
        ("kind-bad", "kind 77 does not exist"),
        ("range-nan", "is empty"),
        ("channels-none", "channel 0 of 0 does not exist"),
        ("channels-many", "it returned 5000, at most 4096"),
        ("channels-grow", "it had 65 channels and now has 66"),
        ("open-null", "it returned success and no device"),
        ("open-positive", "it returned 7, at most 0"),
    ];
    for (mode, expected) in cases {
        let (cause, detail) = cause(mode);
        assert_eq!(cause, Cause::Contract, "{mode}: {detail}");
        assert!(detail.contains(expected), "{mode}: {detail}");
    }
}

#[test]
fn wild_accesses_fault_in_the_guards_and_are_named() {
    let cases = [
        ("past-end", "past the end of the `read out` memory"),
        ("far-front", "wrongly into the `read out` memory"),
        ("channels-past", "past the end of the `channels out` memory"),
        (
            "open-options-write",
            "wrongly into the `open options` memory",
        ),
        (
            "open-options-past",
            "past the end of the `open options` memory",
        ),
        ("open-why-past", "past the end of the `why` memory"),
        ("kept", "wrongly into the `read out` memory"),
        ("kept-same-thread", "`read out`"),
    ];
    for (mode, expected) in cases {
        // A late write that falls into the next call spoils what that one returns, which is noticed, too; most do not.
        let tries = if mode == "kept" { 5 } else { 1 };
        let mut said = Vec::new();
        while said.len() < tries
            && !said
                .last()
                .is_some_and(|last: &String| last.contains(expected))
        {
            let (cause, detail) = cause(mode);
            assert_eq!(cause, Cause::Contract, "{mode}: {detail}");
            said.push(detail);
        }
        assert!(said[said.len() - 1].contains(expected), "{mode}: {said:?}");
    }
}

#[test]
fn deaths_are_told_apart() {
    // The C library aborts. The sanitizer, which took its place, exits as scripts/asan.sh told it to: this case also
    // shows that it is there, in the host, and looks at what drivers do with the heap.
    let free_twice = if cfg!(dunlin_asan) {
        ("free-twice", Cause::Exit { code: 99 }, "code 99")
    } else {
        ("free-twice", Cause::Crash { signal: 6 }, "SIGABRT")
    };
    let cases = [
        free_twice,
        (
            "crash",
            Cause::Crash { signal: 11 },
            "SIGSEGV at address 0x10",
        ),
        ("open-crash", Cause::Crash { signal: 11 }, "SIGSEGV"),
        ("abort", Cause::Crash { signal: 6 }, "SIGABRT"),
        // The standard library recognises the stack's guard page, says so and aborts.
        ("recurse", Cause::Crash { signal: 6 }, "SIGABRT"),
        ("exit", Cause::Exit { code: 3 }, "exited with code 3"),
        ("_exit", Cause::Exit { code: 0 }, "exited with code 0"),
        ("close-crash", Cause::Crash { signal: 6 }, "SIGABRT"),
        (
            "hang",
            Cause::Hang { call: "read" },
            "read did not return in time",
        ),
        (
            "spin",
            Cause::Hang { call: "read" },
            "read did not return in time",
        ),
        (
            "stop",
            Cause::Hang { call: "read" },
            "read did not return in time",
        ),
        (
            "open-hang",
            Cause::Hang { call: "open" },
            "open did not return in time",
        ),
        (
            "close-hang",
            Cause::Hang { call: "close" },
            "close did not return in time",
        ),
    ];
    for (mode, expected, detail) in cases {
        let mut spec = hostile(mode, "");
        if mode.ends_with("hang") {
            spec.deadline_ms = 400;
        }
        let started = std::time::Instant::now();
        let error = runtime().block_on(first_failure(&spec)).expect_err(mode);
        assert_eq!(error.cause(), expected, "{mode}: {}", error.detail());
        assert!(
            error.detail().contains(detail),
            "{mode}: {}",
            error.detail()
        );
        assert!(
            started.elapsed().as_millis() < 1500,
            "{mode}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_host_that_closes_its_socket_is_ended() {
    let (cause, detail) = cause("close-fds");
    assert!(
        matches!(cause, Cause::Exit { code: 76 } | Cause::Contract),
        "{cause:?}: {detail}"
    );
}

#[test]
#[cfg_attr(
    dunlin_asan,
    ignore = "the sanitizer's shadow memory is terabytes of address space, so that no limit of it can be set"
)]
fn the_memory_limit_holds() {
    // How long it takes to fill that much memory is the machine's business.
    let mut spec = hostile("leak", "");
    spec.slack_ms = 5000;
    let error = runtime().block_on(first_failure(&spec)).expect_err("leaks");
    let (cause, detail) = (error.cause(), error.detail());
    assert_eq!(cause, Cause::Limit { what: "memory" }, "{detail}");
}

#[test]
fn the_limits_of_cpu_and_descriptors_hold() {
    let mut spec = hostile("burn", "");
    spec.limits.cpu_percent = Some(10);
    spec.limits.cpu_window_ms = 300;
    let outcome = runtime().block_on(async {
        let mut host = Host::spawn(&spec)?;
        host.open().await?;
        for _ in 0..400 {
            host.read(8, 50).await?;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    });
    let error: HostError = outcome.expect_err("burns a CPU");
    assert_eq!(
        error.cause(),
        Cause::Limit { what: "cpu" },
        "{}",
        error.detail()
    );
    assert_eq!(errno("fd-flood"), libc_errno::EMFILE);
}

#[test]
fn the_limit_of_threads_holds() {
    let idle = |mode: &str, threads: Option<u32>| {
        let mut spec = hostile(mode, "");
        spec.limits.threads = threads;
        runtime().block_on(async {
            let mut host = Host::spawn(&spec)?;
            host.open().await?;
            let started = std::time::Instant::now();
            while started.elapsed().as_millis() < 1500 {
                host.read(8, 50).await?;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            host.close().await
        })
    };
    let error = idle("threads", Some(32)).expect_err("200 threads");
    let (cause, detail) = (error.cause(), error.detail());
    assert_eq!(cause, Cause::Limit { what: "threads" }, "{detail}");
    assert_eq!(detail, "201 threads, limit 32");
    // Of the limit, and of nothing else.
    idle("threads", Some(201)).expect("200 threads and the first");
    idle("good", Some(1)).expect("the host itself has one");
}

#[test]
fn a_flood_of_messages_holds_nobody_up() {
    let within = std::time::Duration::from_secs(10);
    let run = |spec| {
        let failure = async { tokio::time::timeout(within, first_failure(spec)).await };
        runtime().block_on(failure).expect("the wait ends")
    };
    let mut spec = hostile("last-words-flood", "");
    spec.deadline_ms = 400;
    let error = run(&spec).expect_err("last words without end");
    assert_eq!(error.cause(), Cause::Contract, "{}", error.detail());
    assert_eq!(error.detail(), "said its last words more than 64 times");
    // Threads may die together, each with its words, and a host that was only asked to say them answers on.
    let mut spec = hostile("last-words-many", "");
    spec.options[1].1 = "19".into();
    run(&spec).expect("60 are possible");
}

#[test]
fn a_host_that_answers_ahead_is_watched_all_the_same() {
    let mut spec = hostile("burn-ahead", "");
    spec.limits.cpu_percent = Some(10);
    spec.limits.cpu_window_ms = 300;
    let error = runtime().block_on(async {
        let mut host = Host::spawn(&spec).expect("starts");
        host.open().await.expect("opens");
        for _ in 0..3_000 {
            if let Err(error) = host.read(8, 50).await {
                return error;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("3,000 reads of a host that does nothing but burn a CPU");
    });
    let (cause, detail) = (error.cause(), error.detail());
    assert_eq!(cause, Cause::Limit { what: "cpu" }, "{detail}");
}

fn errno(mode: &str) -> i32 {
    errno_of(&hostile(mode, ""))
}

#[test]
fn errors_of_the_device_keep_host_and_errno() {
    runtime().block_on(async {
        let mut host = Host::spawn(&hostile("eio", "1")).expect("starts");
        host.open().await.expect("opens");
        host.read(8, 0).await.expect("the first is good");
        for _ in 0..3 {
            let error = host.read(8, 0).await.expect_err("EIO");
            assert_eq!(
                error.cause(),
                Cause::Device {
                    errno: libc_errno::EIO
                }
            );
            let detail = error.detail();
            // What the driver says is data: escaped, and never a format.
            assert!(
                detail.contains("the \\u{1b}[31m wire %n is cut"),
                "{detail}"
            );
        }
        host.close().await.expect("closes");
    });
    assert_eq!(errno("open-fails"), libc_errno::ENXIO);
    assert_eq!(errno("open-why-full"), libc_errno::EIO);
}

#[test]
fn the_sandbox_holds() {
    for (mode, expected) in ESCAPES {
        let found = errno(mode);
        assert!(
            expected.contains(&found),
            "{mode}: errno {found}, expected {expected:?}"
        );
    }
}

#[test]
fn the_agent_is_out_of_reach_of_a_driver_of_its_own_user() {
    use libc_errno::{EALREADY, ENOSYS, EPERM};
    let cases = [
        ("agent-rlimit", EPERM),
        ("agent-rlimit-read", EPERM),
        ("agent-affinity", EPERM),
        ("agent-scheduler", EPERM),
        ("agent-priority", EPERM),
        ("agent-affinity-read", ENOSYS),
        ("agent-scheduler-read", ENOSYS),
        ("agent-param-read", ENOSYS),
        ("agent-robust-list", ENOSYS),
        // Landlock holds signals back where the kernel has it; these have to hold where it has not.
        ("agent-owner", EPERM),
        ("agent-signal", EPERM),
        ("agent-owner-ex", EPERM),
        ("agent-fiosetown", EPERM),
        ("agent-siocspgrp", EPERM),
        ("agent-notify", EPERM),
        ("agent-lease", EPERM),
        ("own-limits-set", EPERM),
        // What C libraries need of the same calls works.
        ("own-limits", EALREADY),
        ("own-affinity", EALREADY),
        ("own-thread", EALREADY),
    ];
    let found = cases.map(|(mode, _)| (mode, errno(mode)));
    assert_eq!(found, cases);
}

#[test]
fn grants_open_what_they_name_and_nothing_else() {
    let room = tempfile::tempdir().expect("room");
    let (mine, other) = (room.path().join("mine"), room.path().join("other"));
    for path in [&mine, &other] {
        std::fs::write(path, "x").expect("written");
    }
    let opened = |mode: &str, path: &Path, read: &[PathBuf], devices: &[PathBuf]| {
        let mut spec = hostile(mode, path.to_str().expect("UTF-8"));
        (spec.grants.read, spec.grants.devices) = (read.to_vec(), devices.to_vec());
        errno_of(&spec)
    };
    let (granted, yes, no) = ([mine.clone()], libc_errno::EALREADY, libc_errno::EACCES);
    assert_eq!(opened("read-file", &mine, &granted, &[]), yes);
    assert_eq!(opened("read-file", &mine, &[], &[]), no);
    assert_eq!(opened("read-file", &other, &granted, &[]), no);
    // As fopen opens a file of /sys to write to it.
    assert_eq!(opened("truncate-file", &mine, &[], &granted), yes);
    assert_eq!(opened("truncate-file", &mine, &granted, &[]), no);
}

/// Whether this kernel has CAN or not: what answers is the filter for one, and the kernel for the other.
#[test]
fn a_can_grant_is_raw_frames_and_no_other_socket() {
    let asked = |mode: &str, arg: &str| {
        let mut spec = hostile(mode, arg);
        spec.grants.can.push("can0".into());
        errno_of(&spec)
    };
    let raw = asked("socket-can", "");
    let answers = [libc_errno::EALREADY, libc_errno::EAFNOSUPPORT];
    assert!(answers.contains(&raw), "errno {raw}");
    for mode in ["socket-can-bcm", "socket-inet", "socket-udp", "socket-unix"] {
        assert_eq!(asked(mode, ""), libc_errno::ENOSYS, "{mode}");
    }
    // An address as long as CAN's and no other; the descriptor is not there, which only the kernel says.
    assert_eq!(asked("bind", "24"), libc_errno::EBADF);
    assert_eq!(asked("bind", "16"), libc_errno::EBADF);
    for other in ["28", "110", "0"] {
        assert_eq!(asked("bind", other), libc_errno::ENOSYS, "{other}");
    }
}

#[test]
fn what_is_wrong_with_a_library_is_said() {
    let refused = |name: &str| {
        let error = runtime()
            .block_on(first_failure(&spec(name)))
            .expect_err(name);
        assert_eq!(error.cause(), Cause::Start, "{name}: {}", error.detail());
        error.detail()
    };
    let cases = [
        ("bad-major", "built for driver ABI 2.0"),
        ("bad-size", "its table claims 8 bytes, ABI 1.0 has 96"),
        ("bad-id", "its id \"Bad Id\" is not [a-z0-9_-]{1,31}"),
        ("bad-long-id", "its id has no NUL within 31 bytes"),
        ("bad-null", "its table has no read"),
        ("bad-entry", "does not export dunlin_driver_entry"),
        (
            "bad-align",
            "its table of \"dunlin.frames/1\" is not aligned",
        ),
        ("bad-long", "its table claims 1048576 bytes"),
        ("not-there", "No such file or directory"),
        ("hostile", "option \"mode\": missing: how to misbehave"),
    ];
    for (name, expected) in cases {
        let detail = refused(name);
        assert!(detail.contains(expected), "{name}: {detail}");
    }
}

#[test]
fn a_driver_cannot_read_what_lies_beside_it() {
    let room = tempfile::tempdir().expect("room");
    let key = room.path().join("agent.key");
    std::fs::write(&key, "secret").expect("written");
    let mut spec = hostile("read-file", key.to_str().expect("UTF-8"));
    let library = room.path().join("vendor.so");
    std::fs::copy(&spec.library, &library).expect("copied");
    spec.library = library;
    assert_eq!(errno_of(&spec), libc_errno::EACCES);
    spec.options[1].1 = room.path().to_str().expect("UTF-8").into();
    assert_eq!(errno_of(&spec), libc_errno::EACCES, "the directory");
}

#[test]
fn a_library_beside_a_driver_needs_a_grant_and_the_error_says_so() {
    let mut spec = spec("needs-beside");
    spec.options = vec![("mode".into(), "good".into())];
    let beside = spec.library.with_file_name("template.so");
    let first = |spec: &dunlin_driver::Spec| runtime().block_on(first_failure(spec));
    let error = first(&spec).expect_err("no grant");
    assert_eq!(error.cause(), Cause::Start, "{}", error.detail());
    let remedy = format!("add {} to `read` of its grants", beside.display());
    assert!(error.detail().contains(&remedy), "{}", error.detail());
    spec.grants.read.push(beside);
    first(&spec).expect("granted");
}

#[test]
fn a_pinned_library_loads_only_as_pinned() {
    use sha2::Digest as _;
    let mut spec = spec("template");
    let bytes = std::fs::read(&spec.library).expect("the driver");
    let mut pin: [u8; 32] = sha2::Sha256::digest(&bytes).into();
    spec.sha256 = Some(pin);
    runtime().block_on(first_failure(&spec)).expect("as pinned");
    pin[0] ^= 1;
    spec.sha256 = Some(pin);
    let error = runtime()
        .block_on(first_failure(&spec))
        .expect_err("another pin");
    assert!(error.detail().contains("pinned is"), "{}", error.detail());
}

#[test]
fn frames_are_checked() {
    let read = |mode: &str| {
        runtime().block_on(async {
            let mut host = Host::spawn(&hostile(mode, "")).expect("starts");
            host.open().await.expect("opens");
            let frames = host.read_frames(4, 10).await?;
            Ok(frames
                .iter()
                .map(|(span, bytes)| (span.channel, bytes.to_vec()))
                .collect())
        })
    };
    let good: Result<Vec<_>, HostError> = read("good");
    assert_eq!(good.expect("good frames"), [(3, b"hello".to_vec())]);
    let bad = [
        "length", "offset", "wrap", "zero", "channel", "past", "count",
    ];
    for mode in bad.map(|name| format!("frame-{name}")) {
        let error: HostError = read(&mode).expect_err(&mode);
        assert_eq!(error.cause(), Cause::Contract, "{mode}: {}", error.detail());
    }
}

#[test]
fn writes_reach_writable_channels_of_their_kind() {
    runtime().block_on(async {
        let mut host = Host::spawn(&spec("template")).expect("starts");
        host.open().await.expect("opens");
        host.write(1, Value::Float(25.5)).await.expect("in range");
        let samples = host.read(8, 0).await.expect("reads");
        assert_eq!(samples[1].value, Value::Float(25.5));
        assert_eq!(samples[1].quality, Quality::Good);
        let error = host
            .write(1, Value::Float(31.0))
            .await
            .expect_err("out of range");
        assert_eq!(error.cause(), Cause::Device { errno: 34 });
        assert!(
            error.detail().contains("the set point is 5 to 30 Cel"),
            "{}",
            error.detail()
        );
        for (channel, value) in [
            (0, Value::Int(1)),
            (1, Value::Int(1)),
            (9, Value::Float(1.0)),
        ] {
            let error = host.write(channel, value).await.expect_err("refused");
            assert!(matches!(error, HostError::Failed(_)), "{error}");
        }
        host.close().await.expect("closes");
    });
    let (cause, detail) = runtime().block_on(async {
        let mut host = Host::spawn(&hostile("write-value", "")).expect("starts");
        host.open().await.expect("opens");
        let error = host
            .write(0, Value::Float(1.0))
            .await
            .expect_err("scribbles");
        (error.cause(), error.detail())
    });
    assert_eq!(cause, Cause::Contract, "{detail}");
    assert!(detail.contains("`write value` memory"), "{detail}");
}

#[test]
fn harmless_oddities_are_tolerated() {
    // What only a sanitizer sees is among them, see scripts/sanitize.sh.
    for mode in [
        "good",
        "reserved",
        "channels-4096",
        "flood",
        "explain-past",
        "overflow",
    ] {
        run(mode).unwrap_or_else(|error| panic!("{mode}: {error}"));
    }
}
