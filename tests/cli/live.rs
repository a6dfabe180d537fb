//! `dunlin sub` and `dunlin status`: what is seen of an agent that runs.

use crate::support::{Agent, Broker, dunlin, free_port, wait_for};
use crate::{SOON, UNAVAILABLE, USAGE, ill, well};
use serde_json::Value;
#[cfg(feature = "telemetry")]
use std::{fs, process::Command};

fn config(endpoint: &str) -> String {
    format!(
        "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
         options = {{ rate_hz = 200, waves = [{{ name = \"n\", shape = \"counter\" }}] }}\n\n\
         [sinks.cloud]\ntype = \"uplink\"\ninputs = [\"sim\"]\nendpoint = \"{endpoint}\"\n"
    )
}

#[test]
fn sub_follows_what_is_sent_and_leaves_the_agent_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut agent = Agent::new(dir.path(), &config(&broker.endpoint()));
    agent.start();
    agent.wait_count("/uplinked", 10, SOON);
    let file = agent.config();
    let file = file.to_str().unwrap();

    let json = well(&["sub", file, "--json", "--seconds", "2"]);
    let mut next = None;
    for line in json.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(message["agent"], "gw");
        assert_eq!(message["stream"], "sim");
        let seq = message["seq"].as_u64().unwrap();
        assert!(next.is_none_or(|next| next == seq), "{next:?} and {seq}");
        next = Some(seq + message["records"].as_array().unwrap().len() as u64);
    }
    assert!(next.is_some(), "nothing followed");

    let lines = well(&["sub", file, "--seconds", "2"]);
    assert!(
        !lines.contains('\u{1b}'),
        "no terminal, no escapes: {lines:?}"
    );
    let counts = lines
        .lines()
        .filter(|line| line.contains(" records in ") && line.contains("connected to"));
    assert!(counts.count() >= 2, "{lines}");
    let last = lines.lines().last().unwrap();
    assert!(
        last.starts_with("sim ") && last.contains(" n "),
        "the table stays at the end: {lines}"
    );

    let ended = dunlin(&[
        "sub",
        file,
        "--filter",
        "dunlin/+/nothing",
        "--seconds",
        "1",
    ]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.stderr);
    assert!(ended.stderr.contains("no message came"), "{}", ended.stderr);
    ill(
        USAGE,
        &["sub", file, "--sink", "clod"],
        &["--sink", "cloud"],
    );

    assert_eq!(
        agent.count("/sinks/cloud/connects"),
        1,
        "the session was taken over"
    );
    agent.stop();
    assert_eq!(agent.count("/uplinked"), agent.count("/produced"));
}

/// Rises through both limits every three seconds; a terminal has colours for that, unless they are not wanted.
#[cfg(feature = "telemetry")]
#[test]
fn sub_shows_values_against_their_limits() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let database = dir.path().join("limits.toml");
    let limits = "version = '1'\n[parameters.n]\nunit = 'Cel'\nyellow_high = 30\nred_high = 65\n";
    fs::write(&database, limits).unwrap();
    let transform = format!(
        "[transforms.cal]\ntype = \"calibrate\"\ninputs = [\"sim\"]\ndatabase = {database:?}\n\n[sinks.cloud]"
    );
    let wave = "shape = \"ramp\", amplitude = 100, period_ms = 3000";
    let config = config(&broker.endpoint())
        .replace("shape = \"counter\"", wave)
        .replace("[sinks.cloud]", &transform)
        .replace(
            "\"uplink\"\ninputs = [\"sim\"]",
            "\"uplink\"\ninputs = [\"cal\"]",
        );
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 1, SOON);
    let file = agent.config();
    let file = file.to_str().unwrap();
    let bin = env!("CARGO_BIN_EXE_dunlin");
    let on_terminal = |no_color: &str| {
        let command = format!("{bin} sub {file} --seconds 5");
        let run = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("NO_COLOR", no_color)
            .output();
        String::from_utf8_lossy(&run.expect("script is of every Debian").stdout).into_owned()
    };
    let seen = on_terminal("");
    for (code, word) in [("33", "yellow high"), ("31", "red high")] {
        let mut lines = seen.lines().filter(|line| line.contains(word));
        let line = lines.next().unwrap_or_else(|| panic!("{word}: {seen}"));
        assert!(line.contains(&format!("\u{1b}[{code}msim")), "{line:?}");
        assert!(line.contains("Cel"), "{line:?}");
    }
    let seen = on_terminal("1");
    assert!(seen.contains("red high"), "{seen}");
    assert!(!seen.contains("\u{1b}[3"), "{seen:?}");
    agent.stop();
}

#[test]
fn status_shows_the_breaker_of_each_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let nobody = format!("mqtt://127.0.0.1:{}", free_port());
    let keys = "[sinks.cloud.breaker]\nopen_ms = 600000\n";
    let config = config(&nobody) + &format!("standby = [\"{}\"]\n{keys}", broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 10, SOON);
    let rows = || agent.status()["sinks"]["cloud"]["endpoints"].clone();
    wait_for("the status names the endpoints", SOON, || {
        rows()[1]["connected"] == true
    });
    let rows = rows();
    assert_eq!(rows[0]["endpoint"], nobody, "{rows}");
    assert_eq!(rows[0]["breaker"], "open", "{rows}");
    assert_eq!(rows[0]["failures"], 2, "{rows}");
    assert_eq!(rows[0]["connected"], false, "{rows}");
    assert_eq!(rows[1]["endpoint"], broker.endpoint(), "{rows}");
    assert_eq!(rows[1]["breaker"], "closed", "{rows}");

    let file = agent.config();
    let table = well(&["status", file.to_str().unwrap()]);
    let row = |endpoint: &str| {
        let mut lines = table.lines().filter(|line| line.starts_with(endpoint));
        lines.next_back().unwrap_or_else(|| panic!("{table}"))
    };
    assert!(row(&nobody).contains("cloud  open for "), "{table}");
    assert!(row(&broker.endpoint()).contains("closed"), "{table}");
    assert!(row(&broker.endpoint()).contains("yes"), "{table}");
    agent.stop();
}

#[test]
fn sub_without_a_broker_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("mqtt://127.0.0.1:{}", free_port());
    let agent = Agent::new(dir.path(), &config(&endpoint));
    let file = agent.config();
    for mode in [&["--json"][..], &[]] {
        let mut args = vec!["sub", file.to_str().unwrap(), "--seconds", "1"];
        args.extend(mode);
        let ended = dunlin(&args);
        assert_eq!(ended.code, UNAVAILABLE, "{}", ended.stderr);
        assert!(ended.stderr.contains("not connected"), "{}", ended.stderr);
    }
}

#[test]
fn status_tells_people_and_programs_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut agent = Agent::new(dir.path(), &config(&broker.endpoint()));
    let file = agent.config();
    let file = file.to_str().unwrap();
    ill(
        UNAVAILABLE,
        &["status", file],
        &["status.json", "Remedy: start the agent"],
    );
    agent.start();
    agent.wait_count("/uplinked", 10, SOON);
    let json: Value = serde_json::from_str(&well(&["status", file, "--json"])).unwrap();
    assert_eq!(json["pid"], agent.pid());
    assert_eq!(json["sources"]["sim"]["state"], "running");
    let people = well(&["status", file]);
    assert!(people.starts_with("agent gw (boot 1-"), "{people}");
    let row = |name: &str| {
        let line = people.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in:\n{people}"))
    };
    assert!(row("sim ").contains("running"));
    assert!(row("cloud ").contains("connected to"));
    agent.stop();
}

#[test]
fn status_after_the_end_does_not_pretend_that_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut agent = Agent::new(dir.path(), &config(&broker.endpoint()));
    let file = agent.config();
    agent.start();
    agent.wait_count("/uplinked", 10, SOON);
    agent.kill();
    // The file of the agent that was killed is still there: its counts are worth showing, its states are not true.
    let ended = dunlin(&["status", file.to_str().unwrap()]);
    assert_eq!(ended.code, UNAVAILABLE, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("does not run"), "{}", ended.stderr);
    assert!(ended.stdout.contains("agent gw"), "{}", ended.stdout);
}
