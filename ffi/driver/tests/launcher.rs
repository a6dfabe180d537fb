//! Hosts that a launcher starts: they work, die and are told apart like children of the agent.

mod kit;

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_driver::{Cause, Event, Host, HostError, Spec, Supervisor, launch};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::unistd::Pid;

use kit::{first_failure, hostile, runtime, spec};

fn listener(path: &Path) -> OwnedFd {
    let kind = SockType::SeqPacket;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(fd.as_raw_fd(), &UnixAddr::new(path).expect("a path")).expect("bound");
    listen(&fd, Backlog::new(64).expect("a number")).expect("listens");
    fd
}

/// Runs a test with a launcher on the same thread.
fn with_launcher<T>(test: impl AsyncFnOnce(PathBuf) -> T) -> T {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("devices");
    let listener = listener(&path);
    runtime().block_on(async {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dunlin-driver-host"));
        tokio::select! {
            ended = launch(listener, &program) => panic!("the launcher ended: {ended:?}"),
            done = test(path) => done,
        }
    })
}

fn at(mut spec: Spec, launcher: &Path) -> Spec {
    spec.launcher = Some(launcher.to_owned());
    spec
}

/// Not as a zombie, which is whoever's to collect.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("the host lives");
}

async fn dies(pid: u32) {
    for _ in 0..200 {
        if !lives(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{pid} lives on");
}

#[test]
fn a_host_works_and_closes_in_good_order() {
    with_launcher(async |path| {
        let mut host = Host::spawn(&at(spec("template"), &path)).expect("starts");
        assert_eq!(host.pid(), 0, "not there yet");
        assert!(!host.open().await.expect("opens").is_empty());
        let pid = host.pid();
        assert!(lives(pid));
        assert!(!host.read(8, 50).await.expect("reads").is_empty());
        host.close().await.expect("closes with code 0");
        assert!(!lives(pid), "it was reaped before close returned");
    });
}

/// The agent has no child to wait for; the causes must be the same nevertheless.
#[test]
fn deaths_are_told_apart_as_those_of_children_are() {
    with_launcher(async |path| {
        for mode in ["exit", "_exit", "abort", "crash", "past-end", "hang"] {
            let failure = async |spec: &Spec| first_failure(spec).await.expect_err(mode);
            let own = failure(&quick(hostile(mode, ""))).await;
            let leased = failure(&at(quick(hostile(mode, "")), &path)).await;
            assert_eq!(own.cause(), leased.cause(), "{mode}");
            assert_eq!(own.detail(), leased.detail(), "{mode}");
        }
    });
}

fn quick(mut spec: Spec) -> Spec {
    spec.deadline_ms = 1000;
    spec
}

#[test]
fn a_host_that_is_dropped_or_stopped_is_killed() {
    with_launcher(async |path| {
        let mut host = Host::spawn(&at(spec("template"), &path)).expect("starts");
        host.open().await.expect("opens");
        let pid = host.pid();
        drop(host);
        dies(pid).await;

        let mut host = Host::spawn(&at(quick(spec("template")), &path)).expect("starts");
        host.open().await.expect("opens");
        let pid = host.pid();
        signal(pid, Signal::SIGSTOP);
        let error = host
            .read(8, 50)
            .await
            .map(|_| ())
            .expect_err("it is stopped");
        assert_eq!(error.cause(), Cause::Hang { call: "read" });
        assert!(!lives(pid), "killed and reaped, not left");
    });
}

/// What a host uses is watched through its pid, which the agent learns from the launcher.
#[test]
fn the_limits_that_are_watched_hold() {
    with_launcher(async |path| {
        let mut spec = at(hostile("burn", ""), &path);
        spec.limits.cpu_percent = Some(50);
        spec.limits.cpu_window_ms = 200;
        let error = first_failure_slowly(&spec).await;
        assert_eq!(error.cause(), Cause::Limit { what: "cpu" }, "{error}");
    });
}

async fn first_failure_slowly(spec: &Spec) -> HostError {
    let mut host = Host::spawn(spec).expect("starts");
    host.open().await.expect("opens");
    for _ in 0..500 {
        if let Err(error) = host.read(8, 50).await {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing failed");
}

#[test]
fn what_a_driver_prints_is_the_agents_to_log() {
    with_launcher(async |path| {
        let mut host = Host::spawn(&at(hostile("flood", ""), &path)).expect("starts");
        host.open().await.expect("opens");
        // Far more than a pipe holds: it returns only where somebody reads the other end.
        host.read(8, 50).await.expect("reads");
        host.close().await.expect("closes");
    });
}

#[test]
fn readings_come_back_when_the_host_or_its_launcher_dies() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("devices");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_dunlin-driver-host"));
    runtime().block_on(async {
        let mut spec = at(spec("template"), &path);
        spec.backoff.max_ms = 50;
        let mut supervisor = Supervisor::new(spec);
        // Nobody listens yet.
        assert!(matches!(
            supervisor.next().await,
            Event::Down {
                cause: Cause::Hang { call: "start" },
                ..
            }
        ));
        let launcher = tokio::spawn(serve(listener(&path), program.clone()));
        let pid = running(&mut supervisor).await;
        signal(pid, Signal::SIGKILL);
        let killed = Cause::Crash {
            signal: Signal::SIGKILL as i32,
        };
        assert_eq!(outage(&mut supervisor).await, killed);

        let pid = running(&mut supervisor).await;
        // Its sockets close and its hosts are killed, as when its process dies.
        launcher.abort();
        std::fs::remove_file(&path).expect("the socket");
        dies(pid).await;
        let _next = tokio::spawn(serve(listener(&path), program));
        assert_eq!(outage(&mut supervisor).await, killed);
        assert!(supervisor.stop().await.error.is_none());
    });
}

async fn serve(listener: OwnedFd, program: PathBuf) {
    let ended = launch(listener, &program).await;
    panic!("the launcher ended: {ended:?}");
}

/// Reads until there are samples: the host's pid.
async fn running(supervisor: &mut Supervisor) -> u32 {
    loop {
        if let Event::Samples(_) = supervisor.next().await {
            return supervisor.pid().expect("it runs");
        }
    }
}

async fn outage(supervisor: &mut Supervisor) -> Cause {
    loop {
        if let Event::Outage(outage) = supervisor.next().await {
            return outage.cause;
        }
    }
}

#[test]
fn only_a_socket_that_listens_is_served() {
    runtime().block_on(async {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let error = launch(one.into(), Path::new("/"))
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}
