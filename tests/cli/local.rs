//! `dunlin sub --local`: what is seen of an agent without a broker, beside the other two that a gateway feeds.

use crate::support::{Agent, Broker, dunlin, wait_for};
use crate::{SOON, UNAVAILABLE, USAGE, ill, well};
use serde_json::Value;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

/// A counter that is kept durably, judged by limits on the spot, and shown.
fn config(dir: &std::path::Path, endpoint: &str, rate_hz: u32) -> String {
    let database = dir.join("limits.toml");
    let limits = "version = '1'\n[parameters.n]\nunit = 'Cel'\nyellow_high = 30\nred_high = 65\n";
    fs::write(&database, limits).unwrap();
    let kept = dir.join("kept.jsonl");
    format!(
        "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
         options = {{ rate_hz = {rate_hz}, waves = [{{ name = \"n\", shape = \"counter\" }}] }}\n\n\
         [transforms.rules]\ntype = \"calibrate\"\ninputs = [\"sim\"]\ndatabase = \"{}\"\n\n\
         [sinks.cloud]\ntype = \"uplink\"\ninputs = [\"sim\"]\nendpoint = \"{endpoint}\"\n\n\
         [sinks.kept]\ntype = \"file\"\ninputs = [\"rules\"]\npath = \"{}\"\n\n\
         [sinks.view]\ntype = \"live\"\ninputs = [\"rules\"]\nviewers = 2\n",
        database.display(),
        kept.display()
    )
}

fn viewer(file: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["sub", file, "--local", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dunlin starts")
}

/// Readings that lines of JSON show of the stream of the source, and how many between the first and the last of them do
/// not.
fn seen_and_missed(json: &str) -> (u64, u64) {
    let (mut seen, mut missed, mut next) = (0, 0, None);
    for line in json.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(message["agent"], "gw");
        if message["stream"] != "sim" {
            continue;
        }
        let seq = message["seq"].as_u64().unwrap();
        let records = message["records"].as_array().unwrap();
        let holes = next.map_or(Some(0), |next| seq.checked_sub(next));
        missed += holes.unwrap_or_else(|| panic!("{next:?} and {seq}: twice"));
        seen += records.len() as u64;
        next = Some(seq + records.len() as u64);
    }
    (seen, missed)
}

#[test]
fn sub_local_needs_no_broker_and_shows_values_and_limits() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let config = config(dir.path(), "mqtt://127.0.0.1:9", 100);
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sinks/kept/durable", 100, SOON);
    let file = agent.config();
    let file = file.to_str().unwrap();
    let (seen, missed) =
        seen_and_missed(&well(&["sub", file, "--local", "--json", "--seconds", "2"]));
    assert!(seen > 0, "nothing followed");
    assert_eq!(missed, 0, "a viewer that reads misses nothing");
    let table = well(&["sub", file, "--local", "--sink", "view", "--seconds", "2"]);
    let row = table.lines().last().unwrap();
    assert!(row.starts_with("sim ") && row.contains(" Cel "), "{table}");
    assert!(table.contains("view  connected to "), "{table}");
    // A key that only the agent can read is not asked for.
    let files = "ca_file = \"ca\"\ncert_file = \"cert\"\nkey_file = \"key\"\n";
    let config = fs::read_to_string(file).unwrap();
    let config = config.replace(
        "mqtt://127.0.0.1:9\"\n",
        &format!("mqtts://127.0.0.1:9\"\n{files}"),
    );
    let other = dir.path().join("other.toml");
    fs::write(&other, config).unwrap();
    let other = other.to_str().unwrap();
    ill(78, &["check", other], &["key_file"]);
    well(&["sub", other, "--local", "--seconds", "2"]);

    ill(
        USAGE,
        &["sub", file, "--local", "--sink", "viev"],
        &["--sink", "view"],
    );
    ill(
        USAGE,
        &["sub", file, "--local", "--filter", "a/#"],
        &["--filter"],
    );
    // The seats of those above are free by then.
    agent.wait_count("/produced", agent.count("/produced") + 20, SOON);
    let mut others = [viewer(file), viewer(file)];
    for other in &mut others {
        let mut byte = [0];
        other
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut byte)
            .unwrap();
    }
    let third = dunlin(&["sub", file, "--local", "--seconds", "20"]);
    assert_eq!(third.code, UNAVAILABLE, "{}", third.stderr);
    assert!(
        third.stderr.contains("sinks.view.viewers"),
        "{}",
        third.stderr
    );

    agent.stop();
    for mut other in others {
        wait_for("a viewer ends with its agent", SOON, || {
            other.try_wait().unwrap().is_some_and(|end| end.success())
        });
    }
    let gone = dunlin(&["sub", file, "--local"]);
    assert_eq!(gone.code, UNAVAILABLE, "{}", gone.stderr);
    assert!(gone.stderr.contains("view.live"), "{}", gone.stderr);
}

/// The durable buffer, the rules, and a viewer whose terminal is stopped: it misses, the others do not.
#[test]
fn a_viewer_that_stands_still_costs_the_other_consumers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let config = config(dir.path(), &broker.endpoint(), 20_000);
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/produced", 1, SOON);
    let file = agent.config();
    let mut stopped = viewer(file.to_str().unwrap());
    let mut out = stopped.stdout.take().unwrap();
    let mut first = [0];
    out.read_exact(&mut first).unwrap();
    // Now nobody reads: the pipe fills, then the socket, and the ring goes round.
    let at = agent.count("/produced");
    agent.wait_count("/produced", at + 80_000, SOON);
    let reader = std::thread::spawn(move || {
        let mut text = String::from_utf8(first.to_vec()).unwrap();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let at = agent.count("/produced");
    agent.wait_count("/produced", at + 20_000, SOON);
    agent.stop();
    let (seen, missed) = seen_and_missed(&reader.join().unwrap());
    stopped.wait().unwrap();
    let produced = agent.count("/sources/sim/produced");
    assert!(
        missed > 1000 && seen > 10_000,
        "{seen} seen, {missed} missed"
    );
    assert!(seen + missed <= produced);
    assert_eq!(
        agent.count("/sinks/cloud/durable"),
        produced,
        "the buffer has all"
    );
    let kept = fs::read_to_string(dir.path().join("kept.jsonl")).unwrap();
    let readings = kept
        .lines()
        .filter(|line| line.contains("\"stream\":\"sim\""));
    assert_eq!(readings.count() as u64, produced, "the rules saw all");
    assert_eq!(agent.count("/failed"), 0);
}
