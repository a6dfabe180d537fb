//! Clocks that are wrong, and servers that sign the time: `lab/roughtime_server.py`, which may lie, and agents under faketime.

use crate::clock::{config, expire, faketime, state};
use crate::delivery::secure;
use crate::support::{Agent, Lab, dunlin, free_port, lab, wait_for};
use crate::{SOON, arrived};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A server that signs the time, each with a key of its own.
struct TimeServer {
    port: u16,
    key: String,
    rules: PathBuf,
    _server: Lab,
}

impl TimeServer {
    fn start(dir: &Path, rules: &Value) -> TimeServer {
        let port = free_port();
        let file = dir.join(format!("time-{port}.json"));
        fs::write(&file, rules.to_string()).unwrap();
        let mut server = lab("roughtime_server.py");
        server
            .args(["--listen", &port.to_string()])
            .args(["--seed", &format!("{port:064x}"), "--rules"])
            .arg(&file);
        let (server, key) = Lab::serve(&mut server);
        TimeServer {
            port,
            key: key.trim().to_owned(),
            rules: file,
            _server: server,
        }
    }

    /// What it does from now on.
    fn rules(&self, rules: &Value) {
        let new = self.rules.with_extension("new");
        fs::write(&new, rules.to_string()).unwrap();
        fs::rename(new, &self.rules).unwrap();
    }

    fn table(&self) -> String {
        format!(
            "[time.servers.s{port}]\naddress = \"127.0.0.1:{port}\"\nkey = \"{key}\"\n",
            port = self.port,
            key = self.key
        )
    }
}

fn tables(servers: &[TimeServer]) -> String {
    servers.iter().map(TimeServer::table).collect()
}

fn time(agent: &Agent) -> String {
    agent.status()["time"]["state"].to_string()
}

/// What the status says of the time, once it has asked.
fn told(agent: &Agent) -> String {
    wait_for("it has asked for the time", SOON, || {
        let time = &agent.status()["time"];
        time["rounds"].as_u64() > Some(0) || time["failures"].as_u64() > Some(0)
    });
    time(agent)
}

const AHEAD: &str = "@2090-01-01 00:00:00";
const BEHIND: &str = "@1970-01-02 00:00:00";

#[test]
fn a_clock_that_is_decades_ahead_or_behind_connects_by_the_signed_time() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let witness = broker.subscribe();
    let server = [TimeServer::start(dir.path(), &json!({"others": 5}))];
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, &tables(&server)));
    for (when, word) in [(AHEAD, "ahead of"), (BEHIND, "behind")] {
        let before = agent.count("/uplinked");
        agent.start_with(|command| faketime(command, when));
        agent.wait_count("/sinks/cloud/connects", 1, SOON);
        agent.wait_count("/uplinked", 20, SOON);
        let said = format!("{word} a signed time: certificates are held against that time");
        assert!(agent.log().contains(&said), "{before}: {}", agent.log());
        let status = dunlin(&["status", agent.config().to_str().unwrap()]).stdout;
        assert!(
            status.contains(&said) && status.contains("time: signed, 1 of 1 servers agree"),
            "{status}"
        );
        agent.stop();
        // The clock file is right although the clock was not.
        let seen: u64 = fs::read_to_string(agent.state_dir().join("clock"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(now.abs_diff(seen) < 120, "{seen} is not about {now}");
    }
    arrived(&witness, 40).assert_dense_and_ordered();
}

/// The floor alone would take it: the program is older than the certificate's end.
#[test]
fn at_1970_a_certificate_that_ended_yesterday_is_refused_by_the_signed_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, port) = secure(dir.path());
    expire(dir.path());
    broker.stop();
    broker.restart();
    let server = [TimeServer::start(dir.path(), &json!({}))];
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, &tables(&server)));
    let text = fs::read_to_string(agent.config()).unwrap();
    let waits = text.replacen("name = ", "clock = \"wait\"\nname = ", 1);
    fs::write(agent.config(), waits).unwrap();
    agent.start_with(|command| faketime(command, BEHIND));
    wait_for("it is refused", SOON, || {
        state(&agent).contains("has expired")
    });
    assert_eq!(agent.count("/uplinked"), 0);
    agent.stop();
}

#[test]
fn no_lie_is_believed_and_each_has_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let lies = [
        (json!({"lie": "key"}), "the configured key did not sign it"),
        (json!({"lie": "signature"}), "the time in it is not signed"),
        (json!({"lie": "nonce"}), "the answer to another question"),
        (json!({"lie": "delegation"}), "outside of the life"),
        (json!({"radius": 601}), "uncertain by 601 s"),
    ];
    let servers = lies
        .each_ref()
        .map(|(rules, _)| TimeServer::start(dir.path(), rules));
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, &tables(&servers)));
    agent.start();
    let words = told(&agent);
    assert!(words.contains("no signed time: 0 of 5"), "{words}");
    for ((rules, expected), server) in lies.iter().zip(&servers) {
        let name = format!("s{} answers, but", server.port);
        let said = words.split("; ").find(|part| part.contains(&name));
        assert!(
            said.is_some_and(|said| said.contains(expected)),
            "{rules}: {words}"
        );
    }
    agent.stop();
    for server in &servers {
        server.rules(&json!({"lie": "noise"}));
    }
    agent.start();
    assert_eq!(told(&agent), "\"signed, 5 of 5 servers agree\"");
    agent.stop();
}

#[test]
fn what_most_servers_sign_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let off = json!({"offset": 86_400 * 365});
    let servers = [json!({}), off.clone(), json!({"offset": 3})]
        .map(|rules| TimeServer::start(dir.path(), &rules));
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, &tables(&servers)));
    agent.start();
    assert_eq!(told(&agent), "\"signed, 2 of 3 servers agree\"");
    assert!(agent.status()["clock"].is_null());
    agent.stop();
    // One of three is right, one silent, one wrong: nobody is believed.
    servers[2].rules(&json!({"lie": "silent"}));
    agent.start();
    let told = told(&agent);
    assert!(
        told.contains("2 of 3 servers answered, 2 must agree"),
        "{told}"
    );
    assert!(told.contains("does not answer"), "{told}");
    assert!(agent.status()["clock"].is_null());
    agent.stop();
}
