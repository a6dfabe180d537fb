//! Frames from a network and from a file through the whole chain of a running agent, against what an independent
//! implementation says it sent.
#![cfg(feature = "telemetry")]

mod support;

use serde_json::Value as Json;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;
use support::{Agent, ccsds, dunlin, free_port, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

/// The first byte behind the header, of the packets of APID 1.
fn first_bytes(packets: &[Json]) -> Vec<u32> {
    let of_one = packets
        .iter()
        .filter(|packet| packet["channel"] == "apid-1");
    let first = of_one
        .map(|packet| u32::from_str_radix(&packet["hex"].as_str().unwrap()[12..14], 16).unwrap());
    first.collect()
}

fn database(version: &str, factor: u32) -> String {
    format!(
        "version = '{version}'\n[curves.c]\ntype = 'polynomial'\ncoefficients = [0, {factor}]\n\
         [packets.p]\napid = 1\nfields = [{{ name = 'x', type = 'uint', bits = 8 }}]\n\
         [parameters.x]\ncurve = 'c'\nunit = 'V'\n"
    )
}

/// An agent with such a source, the chain behind it, and a file at its end.
fn agent(dir: &Path, source: &str) -> Agent {
    agent_with(dir, source, "")
}

/// The same, with these keys in each transform of the chain.
fn agent_with(dir: &Path, source: &str, keys: &str) -> Agent {
    let at = dir.display();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("db.toml"), database("1", 2)).unwrap();
    Agent::new(
        dir,
        &format!(
            "[sources.radio]\n{source}\n\
             [transforms.station]\ntype = 'decode_ccsds'\ninputs = ['radio']\nframe_bytes = 223\n{keys}\n\
             [transforms.fields]\ntype = 'extract'\ninputs = ['station']\ndatabase = '{at}/db.toml'\nreload_ms = 20\n{keys}\n\
             [transforms.meaning]\ntype = 'calibrate'\ninputs = ['fields']\ndatabase = '{at}/db.toml'\nreload_ms = 20\n{keys}\n\
             [sinks.out]\ntype = 'file'\ninputs = ['meaning']\npath = '{at}/out.jsonl'\nsync_ms = 0\n"
        ),
    )
}

fn lines(dir: &Path) -> Vec<Json> {
    let text = fs::read_to_string(dir.join("out.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Value and version of each calibrated sample, in order.
fn values(dir: &Path) -> Vec<(f64, String)> {
    let lines = lines(dir);
    let samples = lines.iter().filter(|line| line["channel"] == "x");
    let each = samples.map(|line| {
        assert_eq!(
            (line["unit"].as_str(), line["stream"].as_str()),
            (Some("V"), Some("radio.station.fields"))
        );
        let version = line["calibration"]
            .as_str()
            .unwrap()
            .split('-')
            .next()
            .unwrap();
        (line["value"].as_f64().unwrap(), version.to_owned())
    });
    each.collect()
}

/// A database is swapped in the middle: each value is of the one version or the other, and none is missing.
#[test]
fn a_calibration_changes_under_a_stream_of_datagrams_and_nothing_is_lost() {
    a_calibration_changes("");
}

#[test]
fn a_calibration_changes_under_workers_and_nothing_is_lost() {
    a_calibration_changes("workers = 2");
}

fn a_calibration_changes(keys: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (stream, packets) = ccsds(dir.path(), 11, &[]);
    let wanted = first_bytes(&packets);
    let port = free_port();
    let mut agent = agent_with(
        dir.path(),
        &format!("type = 'udp'\nlisten = '127.0.0.1:{port}'"),
        keys,
    );
    agent.start();
    wait_for("the source", LIMIT, || {
        agent.status()["sources"]["radio"]["state"] == "running"
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let pieces: Vec<&[u8]> = stream.chunks(997).collect();
    let (first, second) = pieces.split_at(pieces.len() / 2);
    let mut done = 0;
    // A half fits into the socket's buffer, beyond which datagrams are lost.
    let mut send = |agent: &mut Agent, pieces: &[&[u8]]| {
        for piece in pieces {
            socket.send_to(piece, ("127.0.0.1", port)).unwrap();
        }
        done += pieces.len() as u64;
        agent.wait_count("/sources/radio/readings", done, LIMIT);
    };
    send(&mut agent, first);
    wait_for("the first half", LIMIT, || !values(dir.path()).is_empty());
    fs::write(dir.path().join("db.toml"), "version = ").unwrap();
    agent.wait_count("/transforms/meaning/databases_refused", 1, LIMIT);
    fs::write(dir.path().join("new"), database("2", 3)).unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("db.toml")).unwrap();
    agent.wait_count("/transforms/fields/databases", 1, LIMIT);
    agent.wait_count("/transforms/meaning/databases", 1, LIMIT);
    send(&mut agent, second);
    wait_for("all values", LIMIT, || {
        values(dir.path()).len() >= wanted.len()
    });
    let table = dunlin(&["status", agent.config().to_str().unwrap()]).stdout;
    let row = table.lines().find(|line| line.starts_with("meaning "));
    assert!(
        row.is_some_and(|row| row.contains("databases 1, ")),
        "{table}"
    );
    agent.stop();
    let found = values(dir.path());
    assert_eq!(found.len(), wanted.len());
    for ((value, version), byte) in found.iter().zip(wanted) {
        let factor = if version == "1" { 2 } else { 3 };
        let wanted = f64::from(byte * factor);
        assert!(
            (value - wanted).abs() < 1e-9,
            "{value} of {version}, not {wanted}"
        );
    }
    let versions: Vec<&str> = found.iter().map(|(_, version)| version.as_str()).collect();
    assert!(
        versions.is_sorted() && versions.first() == Some(&"1") && versions.last() == Some(&"2")
    );
    assert!(
        agent.log().contains("telemetry database not changed"),
        "{}",
        agent.log()
    );
}

#[test]
fn only_senders_that_are_meant_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let source = format!("type = 'udp'\nlisten = '127.0.0.1:{port}'\nfrom = ['127.0.0.2']");
    let mut agent = agent(dir.path(), &source);
    agent.start();
    wait_for("the source", LIMIT, || {
        agent.status()["sources"]["radio"]["state"] == "running"
    });
    for (sender, datagrams) in [("127.0.0.1:0", 3), ("127.0.0.2:0", 2)] {
        let socket = UdpSocket::bind(sender).unwrap();
        for _ in 0..datagrams {
            socket.send_to(b"x", ("127.0.0.1", port)).unwrap();
        }
    }
    agent.wait_count("/sources/radio/device_errors", 3, LIMIT);
    agent.wait_count("/sources/radio/readings", 2, LIMIT);
    assert_eq!(agent.count("/sources/radio/device_errors"), 3);
    assert_eq!(agent.count("/sources/radio/readings"), 2);
    agent.stop();
}

/// A connection that breaks off is made again, and the outage is a gap.
#[test]
fn a_connection_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (stream, packets) = ccsds(dir.path(), 12, &[]);
    let wanted = first_bytes(&packets);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut agent = agent(dir.path(), &format!("type = 'tcp'\nconnect = '{address}'"));
    agent.start();
    let (first, second) = stream.split_at(stream.len() / 2);
    for half in [first, second] {
        let mut connection = None;
        wait_for("a connection", LIMIT, || {
            connection = listener.accept().ok();
            connection.is_some()
        });
        let (mut connection, _) = connection.unwrap();
        connection.set_nonblocking(false).unwrap();
        connection.write_all(half).unwrap();
    }
    wait_for("all values", LIMIT, || {
        values(dir.path()).len() >= wanted.len()
    });
    agent.stop();
    let found: Vec<f64> = values(dir.path())
        .into_iter()
        .map(|(value, _)| value)
        .collect();
    let wanted: Vec<f64> = wanted.into_iter().map(|byte| f64::from(2 * byte)).collect();
    assert_eq!(found, wanted);
    let lines = lines(dir.path());
    let gaps: Vec<&Json> = lines
        .iter()
        .filter(|line| line["gap"].is_object())
        .collect();
    assert!(!gaps.is_empty(), "the outage is told");
    let detail = gaps[0]["gap"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("the other side closed the connection"),
        "{detail}"
    );
}

/// A recording, raw; and what a file sink wrote of frames, at a hundred times its pace.
#[test]
fn recordings_are_played() {
    let dir = tempfile::tempdir().unwrap();
    let (stream, packets) = ccsds(dir.path(), 13, &[]);
    let wanted = first_bytes(&packets).len();
    let at = dir.path().join("stream").display().to_string();
    let mut raw = agent(
        &dir.path().join("raw"),
        &format!("type = 'file'\npath = '{at}'\npiece_bytes = 500\nbytes_per_s = 1000000"),
    );
    raw.start();
    wait_for("all values", LIMIT, || {
        values(&dir.path().join("raw")).len() >= wanted
    });
    raw.stop();
    assert_eq!(values(&dir.path().join("raw")).len(), wanted);
    let mut recording = String::new();
    for (n, piece) in stream.chunks(700).enumerate() {
        use base64::Engine as _;
        let frame = base64::engine::general_purpose::STANDARD.encode(piece);
        recording += &format!(
            "{{\"monotonic_ns\":{},\"channel\":\"rf\",\"frame\":\"{frame}\"}}\n",
            5 + n * 1_000_000
        );
    }
    let lines = dir.path().join("recording.jsonl");
    fs::write(&lines, recording + "not a line\n").unwrap();
    let at = lines.display();
    let mut again = agent(
        &dir.path().join("lines"),
        &format!("type = 'file'\npath = '{at}'\nformat = 'lines'\nspeed = 100"),
    );
    again.start();
    wait_for("all values", LIMIT, || {
        values(&dir.path().join("lines")).len() >= wanted
    });
    again.stop();
    assert_eq!(values(&dir.path().join("lines")).len(), wanted);
}

#[test]
fn what_is_wrong_with_a_source_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for (source, said) in [
        (
            "type = 'udp'\nlisten = '0.0.0.0:5000'",
            "sources.radio.from: is missing where others than this machine can send",
        ),
        (
            "type = 'udp'\nlisten = 'localhost:5000'",
            "sources.radio.listen: is \"localhost:5000\"",
        ),
        (
            "type = 'udp'\nlisten = '0.0.0.0:5000'\nfrom = ['x']",
            "sources.radio.from: has \"x\"",
        ),
        ("type = 'tcp'", "sources.radio.connect: is missing"),
        (
            "type = 'file'\npath = 'x'",
            "sources.radio.path: is x, which is not absolute",
        ),
        (
            "type = 'file'\npath = '/x'\nformat = 'lines'\nspeed = -1",
            "sources.radio.speed: is -1",
        ),
        (
            "type = 'file'\npath = '/x'\nspeed = 1",
            "sources.radio.speed: is an unknown key",
        ),
    ] {
        let agent = agent(dir.path(), source);
        let ended = dunlin(&["check", agent.config().to_str().unwrap()]);
        assert_eq!(ended.code, 78, "{source}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{source}: {}", ended.stderr);
    }
}
