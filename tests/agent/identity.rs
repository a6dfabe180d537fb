//! The agent gets its certificates itself: from an EST server that shares no code with it, for a broker that asks for
//! them. Lives are seconds here, so that renewals come while the tests run.

use crate::delivery::secure;
use crate::support::{Agent, Ended, Lab, dunlin, free_port, lab, wait_for};
use crate::{SOON, arrived, counter, counts, uplink};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const SECRET: &str = "gw:one-time-9f4c2b";

/// `lab/est_server.py` with the certificates of the broker.
pub(crate) struct Est {
    dir: PathBuf,
    port: u16,
    _server: Lab,
}

impl Est {
    pub(crate) fn start(dir: &Path, rules: &Value) -> Est {
        fs::write(dir.join("certs/est.json"), rules.to_string()).unwrap();
        let port = free_port();
        let mut server = lab("est_server.py");
        server
            .args(["--listen", &port.to_string(), "--certs"])
            .arg(dir.join("certs"))
            .arg("--log")
            .arg(dir.join("est.log"));
        let (server, line) = Lab::serve(&mut server);
        assert_eq!(line, "ready\n");
        Est {
            dir: dir.to_owned(),
            port,
            _server: server,
        }
    }

    /// What it does from now on.
    pub(crate) fn rules(&self, rules: &Value) {
        // In one step: the server may be reading it.
        let (new, file) = (
            self.dir.join("certs/est.new"),
            self.dir.join("certs/est.json"),
        );
        fs::write(&new, rules.to_string()).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// A line for each request.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("est.log")).unwrap_or_default()
    }

    fn count(&self, what: &str) -> usize {
        self.log().lines().filter(|l| l.starts_with(what)).count()
    }
}

/// A one-time secret in a file.
fn secret(dir: &Path, text: &str) {
    let file = dir.join("secret");
    fs::write(&file, format!("{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// An agent that enrols at `est`, and delivers 100 readings a second to the broker at `port`.
pub(crate) fn config(dir: &Path, est: &Est, port: u16, more: &str) -> String {
    format!(
        "[identity]\nest = \"https://localhost:{}\"\nca_file = \"{dir}/certs/ca.pem\"\nsecret_file = \"{dir}/secret\"\n{more}\n",
        est.port,
        dir = dir.display()
    ) + &counter("sim", 100, 0)
        + &uplink(&["sim"], &format!("mqtts://localhost:{port}"))
        + &format!("ca_file = \"{}/certs/ca.pem\"\n", dir.display())
}

fn ask(agent: &Agent, action: &str) -> Ended {
    dunlin(&["identity", action, agent.config().to_str().unwrap()])
}

/// The serial number of the certificate in use.
fn serial(agent: &Agent) -> String {
    let shown = ask(agent, "show").stdout;
    let line = shown.lines().find(|line| line.starts_with("  serial"));
    line.unwrap_or_default().to_owned()
}

#[test]
fn it_enrols_at_the_first_start_and_renews_while_readings_flow() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let est = Est::start(dir.path(), &json!({"secret": SECRET, "life": 12}));
    secret(dir.path(), SECRET);
    let witness = broker.subscribe();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), &est, port, ""));
    let checked = dunlin(&["check", agent.config().to_str().unwrap()]);
    assert_eq!(
        checked.code, 0,
        "before the first start: {}",
        checked.stderr
    );
    let shown = ask(&agent, "show").stdout;
    assert!(shown.contains("no certificate yet"), "{shown}");

    agent.start();
    agent.wait_count("/uplinked", 50, SOON);
    let first = serial(&agent);
    let mut status = String::new();
    wait_for("the status shows it", SOON, || {
        status = dunlin(&["status", agent.config().to_str().unwrap()]).stdout;
        status.contains("identity: in use")
    });
    for part in ["; certificate CN=gw, ends ", " GMT, next one ", " GMT\n"] {
        assert!(status.contains(part), "{status}");
    }
    let files = agent.state_dir().join("identity");
    for (path, mode) in [(files.clone(), 0o700), (files.join("current.pem"), 0o600)] {
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
    assert!(!files.join("key.pem").exists(), "the key lies twice");

    // Two renewals, each by the certificate before it: the secret is used up.
    wait_for("two renewals", SOON, || {
        est.count("simplereenroll 200") >= 2
    });
    agent.wait_count("/sinks/cloud/connects", 3, SOON);
    assert_ne!(serial(&agent), first);
    let before = agent.count("/uplinked");
    agent.wait_count("/uplinked", before + 50, SOON);
    agent.stop();
    assert_eq!(est.count("simpleenroll"), 1, "{}", est.log());
    let received = arrived(&witness, before + 50);
    received.assert_dense_and_ordered();
    assert_eq!(counts(&received, "sim").first(), Some(&0));
    let log = fs::read_to_string(dir.path().join("broker/log")).unwrap();
    assert!(log.contains("u'gw'"), "known by its certificate:\n{log}");
}

#[test]
fn the_old_certificate_stays_where_the_broker_refuses_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let other = tempfile::tempdir().unwrap();
    secure(other.path());
    for end in ["pem", "key"] {
        let (from, to) = (format!("certs/ca.{end}"), format!("certs/other-ca.{end}"));
        fs::copy(other.path().join(from), dir.path().join(to)).unwrap();
    }
    let est = Est::start(dir.path(), &json!({"secret": SECRET, "life": 3600}));
    secret(dir.path(), SECRET);
    let witness = broker.subscribe();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), &est, port, ""));
    agent.start();
    agent.wait_count("/uplinked", 20, SOON);
    let first = serial(&agent);
    // The next one comes from an authority that the broker does not know.
    est.rules(&json!({"issuer": "other-ca"}));
    let renewed = ask(&agent, "renew");
    assert_eq!(renewed.code, 0, "{}", renewed.stderr);
    assert!(renewed.stdout.contains("on trial"), "{}", renewed.stdout);
    let refused = agent.state_dir().join("identity/refused.pem");
    wait_for("it is set aside", SOON, || refused.exists());
    let before = agent.count("/uplinked");
    agent.wait_count("/uplinked", before + 50, SOON);
    assert_eq!(serial(&agent), first);
    assert!(
        agent.log().contains("the new certificate is set aside"),
        "{}",
        agent.log()
    );
    agent.stop();
    arrived(&witness, before + 50).assert_dense_and_ordered();
}

#[test]
fn an_agent_whose_certificate_expired_keeps_its_records_until_it_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let est = Est::start(dir.path(), &json!({"secret": SECRET, "life": 4}));
    secret(dir.path(), SECRET);
    let witness = broker.subscribe();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), &est, port, ""));
    let requested = ask(&agent, "request");
    assert_eq!(requested.code, 0, "{}", requested.stderr);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let shown = ask(&agent, "show");
    assert!(shown.stdout.contains("EXPIRED"), "{}", shown.stdout);

    // It has never connected: the secret is the only way, and it is used up.
    agent.start();
    agent.wait_count("/durable", 50, SOON);
    wait_for("why is said", SOON, || {
        let state = agent.status()["identity"]["state"].clone();
        state
            .as_str()
            .unwrap_or_default()
            .contains("get a new one-time secret")
    });
    assert_eq!(agent.count("/uplinked"), 0);
    est.rules(&json!({"secret": "gw:second", "life": 3600}));
    secret(dir.path(), "gw:second");
    let requested = ask(&agent, "request");
    assert_eq!(requested.code, 0, "{}", requested.stderr);
    agent.wait_count("/uplinked", 50, SOON);
    agent.stop();
    let received = arrived(&witness, 50);
    received.assert_dense_and_ordered();
    assert_eq!(
        counts(&received, "sim").first(),
        Some(&0),
        "kept from the start"
    );
}

#[test]
fn what_the_server_does_wrong_is_said_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let est = Est::start(dir.path(), &json!({"secret": SECRET}));
    secret(dir.path(), "gw:wrong");
    let agent = Agent::new(
        dir.path(),
        &config(dir.path(), &est, port, "life_days_max = 7"),
    );
    let refused = |part: &str| {
        let ended = ask(&agent, "request");
        assert_eq!(ended.code, 69, "{}{}", ended.stdout, ended.stderr);
        assert!(
            ended.stderr.contains(part),
            "no {part:?} in {}",
            ended.stderr
        );
        assert!(ended.stderr.contains("Remedy: "), "{}", ended.stderr);
        let files = agent.state_dir().join("identity");
        assert!(!files.join("next.pem").exists() && !files.join("made.pem").exists());
    };
    refused("does not accept who we are (status 401)");
    secret(dir.path(), SECRET);
    est.rules(&json!({"status": 202}));
    refused("asks to be asked again in 1 s");
    est.rules(&json!({"status": 500}));
    refused("answered with status 500");
    est.rules(&json!({"secret": SECRET, "life": 8 * 86_400}));
    refused("lives for 691200 s, and identity.life_days_max allows 604800 s");
    let ended = ask(&agent, "renew");
    assert!(
        ended.stderr.contains("current.pem: no such file"),
        "{}",
        ended.stderr
    );
    // A server of another authority is told nothing.
    let stranger = tempfile::tempdir().unwrap();
    secure(stranger.path());
    for name in ["server.pem", "server.key"] {
        let certs = dir.path().join("certs");
        fs::copy(stranger.path().join("certs").join(name), certs.join(name)).unwrap();
    }
    drop(est);
    fs::remove_file(dir.path().join("est.log")).unwrap();
    let est = Est::start(dir.path(), &json!({"secret": SECRET}));
    let agent = Agent::new(dir.path(), &config(dir.path(), &est, port, ""));
    let ended = ask(&agent, "request");
    assert!(
        ended
            .stderr
            .contains("not signed by an authority in the CA file"),
        "{}",
        ended.stderr
    );
    assert_eq!(est.count("simpleenroll"), 0, "{}", est.log());
}

#[test]
fn a_key_in_a_token_asks_for_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let est = Est::start(dir.path(), &json!({"secret": SECRET}));
    secret(dir.path(), SECRET);
    let witness = broker.subscribe();
    let token = crate::token::Token::softhsm(dir.path());
    fs::remove_file(dir.path().join("certs/agent.key")).unwrap();
    let key = format!("key = \"{}\"", token.uri());
    let mut agent = Agent::new(dir.path(), &config(dir.path(), &est, port, &key));
    agent.start_with(|command| {
        command.envs(token.environment.iter().cloned());
    });
    agent.wait_count("/uplinked", 20, SOON);
    let current = fs::read_to_string(agent.state_dir().join("identity/current.pem")).unwrap();
    assert!(
        !current.contains("PRIVATE KEY"),
        "a key outside of the token"
    );
    let log = File::open(dir.path().join("broker/log")).unwrap();
    let known = |line: String| line.contains("u'gw'");
    assert!(BufReader::new(log).lines().map_while(Result::ok).any(known));
    agent.stop();
    arrived(&witness, 20);
}
