//! Network grants: a driver connects to the addresses that it was granted, and by no way to any other.

mod kit;

use dunlin_driver::{Cause, Host};
use kit::{hostile, libc_errno, runtime};
use std::net::{SocketAddr, TcpListener};

fn listen(at: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(at).expect("a port on loopback");
    listener.set_nonblocking(true).expect("a switch");
    let at = listener.local_addr().expect("bound");
    (listener, at)
}

/// What a driver with a grant for `granted` gets when it tries.
fn tried(mode: &str, to: &str, granted: &str) -> i32 {
    let mut spec = hostile(mode, to);
    spec.grants.network.push(granted.to_owned());
    kit::errno_of(&spec)
}

fn connect(to: SocketAddr, granted: SocketAddr) -> i32 {
    tried("net-connect", &to.to_string(), &granted.to_string())
}

#[test]
fn a_driver_reaches_the_address_that_it_was_granted_and_no_other() {
    use libc_errno::{EACCES, EISCONN};
    let (here, four) = listen("127.0.0.1:0");
    // The same port of another address, where somebody listens too.
    let (elsewhere, other) = listen(&format!("127.0.0.2:{}", four.port()));
    let (_other_port, port) = listen("127.0.0.1:0");
    assert_eq!(connect(four, four), EISCONN);
    here.accept().expect("it came");
    assert_eq!(connect(other, four), EACCES);
    assert_eq!(connect(port, four), EACCES);
    let mapped = |at: SocketAddr| format!("[::ffff:{}]:{}", at.ip(), at.port());
    let granted = four.to_string();
    assert_eq!(tried("net-connect", &mapped(four), &granted), EISCONN);
    assert_eq!(tried("net-connect", &mapped(other), &granted), EACCES);
    let range = format!("127.0.0.0/30:{}", four.port());
    assert_eq!(tried("net-connect", &other.to_string(), &range), EISCONN);
    elsewhere.accept().expect("it came");
    assert!(elsewhere.accept().is_err(), "nobody else came");
    let (_six, six) = listen("[::1]:0");
    assert_eq!(connect(six, six), EISCONN);
    assert_eq!(connect(six, four), EACCES);
}

#[test]
fn an_address_that_changes_under_the_call_changes_nothing() {
    let (_here, granted) = listen("127.0.0.1:0");
    let (elsewhere, _) = listen(&format!("127.0.0.2:{}", granted.port()));
    let to = granted.to_string();
    let mut spec = hostile("net-swap", &to);
    spec.grants.network.push(to);
    // As long as it takes on a machine whose every CPU is in use.
    spec.slack_ms = 20_000;
    // Its second thread does nothing but swap.
    spec.limits.cpu_percent = None;
    assert_eq!(kit::errno_of(&spec), libc_errno::EALREADY);
    assert!(elsewhere.accept().is_err(), "nobody came");
}

#[test]
fn a_socket_keeps_its_options_and_does_not_wait_where_it_is_set_so() {
    let (here, granted) = listen("127.0.0.1:0");
    let to = granted.to_string();
    assert_eq!(tried("net-later", &to, &to), libc_errno::EISCONN);
    // Nobody listens there any more.
    drop(here);
    assert_eq!(connect(granted, granted), libc_errno::ECONNREFUSED);
}

#[test]
fn there_is_no_way_around_connect() {
    use libc_errno::{EACCES, EAFNOSUPPORT, EFAULT, ENOSYS, EOPNOTSUPP, EPERM, EPIPE};
    let (_here, granted) = listen("127.0.0.1:0");
    let (elsewhere, other) = listen(&format!("127.0.0.2:{}", granted.port()));
    let cases = [
        ("socket-unix", ENOSYS),
        ("socket-udp", ENOSYS),
        ("socket-mptcp", ENOSYS),
        ("socket-netlink", ENOSYS),
        ("socket-packet", ENOSYS),
        ("io-uring", EPERM),
        ("abstract", EAFNOSUPPORT),
        ("net-raw", ENOSYS),
        ("net-udp", ENOSYS),
        ("net-short", EAFNOSUPPORT),
        ("net-wild", EFAULT),
        ("net-unspec", EAFNOSUPPORT),
        ("net-connect", EACCES),
        ("net-copy", EACCES),
        ("net-fastopen", ENOSYS),
        ("net-fastopen-message", ENOSYS),
        // Without a connection a socket of TCP goes nowhere, whatever address comes along.
        ("net-send", EPIPE),
        ("net-route", ENOSYS),
        ("net-device", ENOSYS),
        ("net-bind", EPERM),
        ("net-listen", EPERM),
    ];
    let (to, grant) = (other.to_string(), granted.to_string());
    let found = cases.map(|(mode, _)| (mode, tried(mode, &to, &grant)));
    assert_eq!(found, cases);
    assert!(elsewhere.accept().is_err(), "nobody came");
    assert_eq!(tried("net-copy", &grant, &grant), EOPNOTSUPP);
}

/// Nothing else would end it: nobody may signal it.
#[test]
fn the_gate_ends_with_its_host() {
    let mut spec = hostile("good", "");
    spec.grants.network.push("127.0.0.1:1".into());
    let gate = runtime().block_on(async {
        let mut host = Host::spawn(&spec).expect("starts");
        host.open().await.expect("opens");
        let pid = host.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("a kernel that lists children");
        children.trim().parse::<u32>().expect("one child, the gate")
    });
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        // Where nobody reaps orphans it stays behind as a name, in state Z.
        let stat = std::fs::read_to_string(format!("/proc/{gate}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            break;
        }
        assert!(std::time::Instant::now() < end, "still there: {stat}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// A filter of this thread, which its hosts inherit, refuses what a kernel before 5.0 does not know.
#[test]
fn a_kernel_that_cannot_hold_a_driver_to_addresses_is_named_and_the_driver_not_started() {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
    use seccompiler::{SeccompFilter, SeccompRule};
    dunlin_driver::network_grants().expect("this kernel can");
    let listener = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(8), 8);
    let rule = SeccompRule::new(vec![listener.expect("a condition")]).expect("a rule");
    let calls = [(libc::SYS_seccomp, vec![rule])].into();
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(22));
    let arch = std::env::consts::ARCH.try_into().expect("an architecture");
    let filter = SeccompFilter::new(calls, allow, refuse, arch).expect("a filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("on this thread");

    let lacking = dunlin_driver::network_grants().expect_err("not here");
    assert!(lacking.contains("Linux 5.9"), "{lacking}");
    let open = |granted: &[String]| {
        let mut spec = hostile("good", "");
        spec.grants.network = granted.to_vec();
        runtime().block_on(async {
            let mut host = Host::spawn(&spec).expect("starts");
            host.open().await.map(drop)
        })
    };
    open(&[]).expect("a driver without network is as ever");
    let error = open(&["127.0.0.1:502".to_owned()]).expect_err("no start");
    assert_eq!(error.cause(), Cause::Start, "{}", error.detail());
    assert!(error.detail().contains("Linux 5.9"), "{}", error.detail());
}
