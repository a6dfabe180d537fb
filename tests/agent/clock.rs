//! Clocks that are wrong: the agent under faketime, at 1970, against a broker whose clock is right.

use crate::delivery::secure;
use crate::support::{Agent, dunlin, wait_for};
use crate::{SOON, arrived, counter, uplink};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn config(dir: &Path, port: u16, more: &str) -> String {
    let certs = dir.join("certs");
    counter("sim", 100, 0)
        + &uplink(&["sim"], &format!("mqtts://localhost:{port}"))
        + &format!(
            "ca_file = \"{certs}/ca.pem\"\ncert_file = \"{certs}/agent.pem\"\nkey_file = \"{certs}/agent.key\"\n{more}",
            certs = certs.display()
        )
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Has a program start at another time. Monotonic time goes on as it does.
pub(crate) fn faketime(command: &mut Command, when: &str) {
    let library = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("faketime is installed: scripts/setup.sh test");
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", when)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
}

/// Starts the agent in the second day of 1970.
fn start_in_1970(agent: &mut Agent) {
    agent.start_with(|command| faketime(command, "@1970-01-02 00:00:00"));
}

/// The time that the agent knows to be past.
fn seen(agent: &Agent, at_s: u64) {
    fs::create_dir_all(agent.state_dir()).unwrap();
    fs::write(agent.state_dir().join("clock"), format!("{at_s}\n")).unwrap();
}

pub(crate) fn state(agent: &Agent) -> String {
    agent.status()["sinks"]["cloud"]["state"].to_string()
}

/// A certificate of the broker that ended yesterday.
pub(crate) fn expire(dir: &Path) {
    let certs = dir.join("certs");
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&certs)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    fs::write(certs.join("san.cnf"), "subjectAltName=DNS:localhost").unwrap();
    openssl("req -new -key server.key -subj /CN=localhost -out server.csr");
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 77 -days -1 -extfile san.cnf -out server.pem",
    );
}

#[test]
fn at_1970_it_connects_by_what_is_past_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let witness = broker.subscribe();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, ""));
    seen(&agent, now_s());
    start_in_1970(&mut agent);
    agent.wait_count("/uplinked", 20, SOON);
    let said = "behind a time that is known to be past: certificates are held against that time";
    assert!(agent.log().contains(said), "{}", agent.log());
    let status = dunlin(&["status", agent.config().to_str().unwrap()]).stdout;
    assert!(status.contains(said), "{status}");
    agent.stop();
    arrived(&witness, 20).assert_dense_and_ordered();
}

/// The certificates are younger than the program, and it never saw a later time.
#[test]
fn at_1970_a_certificate_that_was_signed_since_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, ""));
    start_in_1970(&mut agent);
    agent.wait_count("/uplinked", 20, SOON);
    agent.stop();
    assert!(
        !agent.state_dir().join("clock").exists(),
        "a wrong clock was believed"
    );
}

#[test]
fn at_1970_a_certificate_that_expired_before_what_is_past_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, port) = secure(dir.path());
    expire(dir.path());
    broker.stop();
    broker.restart();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, ""));
    seen(&agent, now_s());
    start_in_1970(&mut agent);
    wait_for("it is refused", SOON, || {
        state(&agent).contains("has expired")
    });
    assert_eq!(agent.count("/uplinked"), 0);
    agent.stop();
}

#[test]
fn at_1970_it_waits_for_the_clock_where_it_shall() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, ""));
    let text = fs::read_to_string(agent.config()).unwrap();
    fs::write(
        agent.config(),
        text.replacen("name = ", "clock = \"wait\"\nname = ", 1),
    )
    .unwrap();
    let witness = broker.subscribe();
    start_in_1970(&mut agent);
    wait_for("it waits", SOON, || {
        state(&agent).contains("agent.clock is")
    });
    agent.wait_count("/durable", 50, SOON);
    assert_eq!(agent.count("/sinks/cloud/connects"), 0);
    agent.stop();
    // The clock is right again: what was kept goes, and the time is remembered.
    agent.start();
    agent.wait_count("/uplinked", 50, SOON);
    agent.stop();
    arrived(&witness, 50).assert_dense_and_ordered();
    let stored = fs::read_to_string(agent.state_dir().join("clock")).unwrap();
    let stored: u64 = stored.trim().parse().unwrap();
    assert!(now_s() - stored < 60, "{stored}");
}

#[cfg(feature = "quic")]
#[test]
fn at_1970_quic_is_held_to_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let text = config(dir.path(), port, "");
    let over_quic = |quic: u16| {
        text.replace(
            &format!("mqtts://localhost:{port}"),
            &format!("quic://localhost:{quic}"),
        )
    };
    let (front, quic) = crate::token::front(dir.path(), port, "agent.key");
    let mut agent = Agent::new(dir.path(), &over_quic(quic));
    start_in_1970(&mut agent);
    agent.wait_count("/uplinked", 20, SOON);
    agent.stop();
    drop(front);
    expire(dir.path());
    let (_front, quic) = crate::token::front(dir.path(), port, "agent.key");
    let mut agent = Agent::new(dir.path(), &over_quic(quic));
    seen(&agent, now_s());
    start_in_1970(&mut agent);
    wait_for("it is refused", SOON, || {
        state(&agent).contains("has expired")
    });
    agent.stop();
}
