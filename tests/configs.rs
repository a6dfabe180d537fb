//! Wrong input: each gives a paragraph that names file, key and remedy, with the documented exit code, and starts
//! nothing.

mod support;

#[path = "configs/downlink.rs"]
mod downlink;
#[cfg(all(feature = "telemetry", feature = "tools"))]
#[path = "configs/example.rs"]
mod example;
#[path = "configs/secret.rs"]
mod secret;
#[cfg(feature = "roughtime")]
#[path = "configs/time.rs"]
mod time;

use std::fs;
use std::path::Path;
use support::dunlin;

const CONFIG: i32 = 78;
const STATE: i32 = 73;

/// A configuration that is right, for each test to break in one way.
fn good(dir: &Path) -> String {
    format!(
        r#"[agent]
name = "gw"
state_dir = "{dir}/state"
runtime_dir = "{dir}/run"
driver_dir = "{drivers}"

[sources.sim]
type = "driver"
driver = "sim"
options = {{ rate_hz = 10 }}

[transforms.warm]
type = "filter"
inputs = ["sim"]
channels = ["*"]

[sinks.cloud]
type = "uplink"
inputs = ["warm"]
endpoint = "mqtt://127.0.0.1:1883"
"#,
        dir = dir.display(),
        drivers = dunlin_drivers::DIR,
    )
}

/// Checks `config`; panics unless it is refused with every one of `parts` in the message.
fn refused(dir: &Path, name: &str, config: &str, parts: &[&str]) {
    let file = dir.join("dunlin.toml");
    fs::write(&file, config).unwrap();
    let ended = dunlin(&["check", file.to_str().unwrap()]);
    assert_eq!(
        ended.code, CONFIG,
        "{name}: {}{}",
        ended.stdout, ended.stderr
    );
    for part in ["dunlin.toml", "Remedy: "].iter().chain(parts) {
        assert!(
            ended.stderr.contains(part),
            "{name}: no {part:?} in:\n{}",
            ended.stderr
        );
    }
    // What `check` refuses, `run` refuses in the same words, before it touches anything.
    let run = dunlin(&["run", file.to_str().unwrap()]);
    assert_eq!(run.code, CONFIG, "{name}: {}", run.stderr);
    assert!(
        !dir.join("state").exists(),
        "{name}: the state directory was touched"
    );
}

#[test]
fn the_good_one_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    fs::write(&file, good(dir.path())).unwrap();
    let ended = dunlin(&["check", file.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("is good"), "{}", ended.stdout);
    assert!(
        !dir.path().join("state").exists(),
        "check made the state directory"
    );
}

/// (name, text to replace, replacement, what the message must name)
const BROKEN: &[(&str, &str, &str, &[&str])] = &[
    (
        "not TOML",
        "[sources.sim]",
        "[sources.sim",
        &["not valid TOML", ":7"],
    ),
    (
        "value without key",
        "name = \"gw\"",
        "= \"gw\"",
        &["not valid TOML", ":2"],
    ),
    (
        "duplicate key",
        "name = \"gw\"",
        "name = \"gw\"\nname = \"x\"",
        &["duplicate"],
    ),
    (
        "unknown table",
        "[agent]",
        "[agnet]\nx = 1\n[agent]",
        &["agnet", "did you mean agent?"],
    ),
    (
        "unknown agent key",
        "name = \"gw\"",
        "nome = \"gw\"",
        &["agent.nome", "did you mean name?"],
    ),
    (
        "name not for a topic",
        "name = \"gw\"",
        "name = \"gate way/1\"",
        &["agent.name", "topic"],
    ),
    (
        "name of the wrong type",
        "name = \"gw\"",
        "name = 7",
        &["agent.name", "integer"],
    ),
    (
        "drain out of bounds",
        "name = \"gw\"",
        "drain_timeout_ms = 5",
        &["agent.drain_timeout_ms", "100 to"],
    ),
    (
        "no such driver dir",
        "driver_dir = ",
        "driver_dir = \"/nowhere\" #",
        &["agent.driver_dir", "/nowhere"],
    ),
    (
        "source without type",
        "type = \"driver\"",
        "",
        &["sources.sim.type", "missing"],
    ),
    (
        "unknown source type",
        "type = \"driver\"",
        "type = \"drivr\"",
        &["sources.sim.type", "driver"],
    ),
    (
        "missing driver",
        "driver = \"sim\"",
        "",
        &["sources.sim.driver", "missing"],
    ),
    (
        "no such .so",
        "driver = \"sim\"",
        "driver = \"smi\"",
        &["sources.sim.driver", "smi.so", "sim"],
    ),
    (
        "no such path",
        "driver = \"sim\"",
        "driver = \"/no/such.so\"",
        &["sources.sim.driver", "/no/such.so"],
    ),
    (
        "unknown source key",
        "driver = \"sim\"",
        "driver = \"sim\"\ninterval = 5",
        &["sources.sim.interval", "interval_ms"],
    ),
    (
        "interval zero",
        "driver = \"sim\"",
        "driver = \"sim\"\ninterval_ms = 0",
        &["sources.sim.interval_ms", "from 1"],
    ),
    (
        "interval negative",
        "driver = \"sim\"",
        "driver = \"sim\"\ninterval_ms = -5",
        &["sources.sim.interval_ms"],
    ),
    (
        "interval a text",
        "driver = \"sim\"",
        "driver = \"sim\"\ninterval_ms = \"1s\"",
        &["sources.sim.interval_ms", "string"],
    ),
    (
        "unknown class",
        "driver = \"sim\"",
        "driver = \"sim\"\nclass = \"urgent\"",
        &["sources.sim.class", "critical"],
    ),
    (
        "bad sha256",
        "driver = \"sim\"",
        "driver = \"sim\"\nsha256 = \"abc\"",
        &["sources.sim.sha256", "64 hex"],
    ),
    (
        "relative grant",
        "driver = \"sim\"",
        "driver = \"sim\"\ngrants = { devices = [\"i2c-1\"] }",
        &["sources.sim.grants.devices", "absolute"],
    ),
    (
        "grant by name",
        "driver = \"sim\"",
        "driver = \"sim\"\ngrants = { network = [\"plc:502\"] }",
        &["sources.sim.grants.network", "plc:502"],
    ),
    (
        "grant of no interface",
        "driver = \"sim\"",
        "driver = \"sim\"\ngrants = { can = [\"can 0\"] }",
        &["sources.sim.grants.can", "can 0", "ip link"],
    ),
    (
        "limit too small",
        "driver = \"sim\"",
        "driver = \"sim\"\nlimits = { memory_mb = 1 }",
        &["sources.sim.limits.memory_mb", "16"],
    ),
    (
        "backoff upside down",
        "driver = \"sim\"",
        "driver = \"sim\"\nrestart = { base_ms = 100, max_ms = 10 }",
        &["sources.sim.restart.max_ms"],
    ),
    (
        "unknown driver option",
        "rate_hz = 10",
        "rate = 10",
        &["sources.sim.options", "rate", "rate_hz"],
    ),
    (
        "driver option of the wrong kind",
        "rate_hz = 10",
        "rate_hz = \"fast\"",
        &["sources.sim.options", "rate_hz", "fast"],
    ),
    (
        "driver option out of bounds",
        "rate_hz = 10",
        "rate_hz = 1e9",
        &["sources.sim.options", "rate_hz"],
    ),
    (
        "unknown input",
        "inputs = [\"sim\"]",
        "inputs = [\"sin\"]",
        &["transforms.warm", "sin", "sim"],
    ),
    (
        "no inputs",
        "inputs = [\"sim\"]\n",
        "",
        &["transforms.warm"],
    ),
    (
        "cycle",
        "inputs = [\"sim\"]",
        "inputs = [\"sim\", \"warm\"]",
        &["transforms.warm", "itself"],
    ),
    (
        "unused output",
        "inputs = [\"warm\"]",
        "inputs = [\"sim\"]",
        &["transforms.warm", "no node uses"],
    ),
    (
        "unknown transform",
        "type = \"filter\"",
        "type = \"fitler\"",
        &["transforms.warm.type", "filter"],
    ),
    (
        "unknown sink",
        "type = \"uplink\"",
        "type = \"kafka\"",
        &["sinks.cloud.type", "uplink"],
    ),
    (
        "missing endpoint",
        "endpoint = \"mqtt://127.0.0.1:1883\"",
        "",
        &["sinks.cloud.endpoint", "missing"],
    ),
    (
        "plaintext to elsewhere",
        "mqtt://127.0.0.1:1883",
        "mqtt://10.1.2.3:1883",
        &["sinks.cloud.endpoint", "mqtts://"],
    ),
    (
        "unknown scheme",
        "mqtt://127.0.0.1:1883",
        "http://127.0.0.1",
        &["sinks.cloud.endpoint", "mqtts"],
    ),
    (
        "plaintext standby",
        "endpoint = \"mqtt://127.0.0.1:1883\"",
        "endpoint = \"mqtt://127.0.0.1:1883\"\nstandby = [\"mqtt://10.1.2.3\"]",
        &["sinks.cloud.standby", "clear text", "mqtts://"],
    ),
    (
        "the same endpoint twice",
        "endpoint = \"mqtt://127.0.0.1:1883\"",
        "endpoint = \"mqtt://127.0.0.1:1883\"\nstandby = [\"mqtt://127.0.0.1\"]",
        &["sinks.cloud.standby", "twice"],
    ),
    (
        "a standby with TLS and no certificates",
        "endpoint = \"mqtt://127.0.0.1:1883\"",
        "endpoint = \"mqtt://127.0.0.1:1883\"\nstandby = [\"mqtts://broker.example\"]",
        &["sinks.cloud.ca_file", "sinks.cloud.key_file"],
    ),
    (
        "a breaker that never judges",
        "type = \"uplink\"",
        "type = \"uplink\"\nbreaker = { attempts_min = 0 }",
        &["sinks.cloud.breaker.attempts_min", "1"],
    ),
    (
        "TLS without certificates",
        "mqtt://127.0.0.1:1883",
        "mqtts://127.0.0.1:8883",
        &["sinks.cloud.ca_file", "sinks.cloud.key_file"],
    ),
    (
        "clear text to an EST server",
        "[sources.sim]",
        "[identity]\nest = \"http://est.example\"\nca_file = \"/no/ca.pem\"\n[sources.sim]",
        &["identity.est", "https://", "identity.ca_file", "/no/ca.pem"],
    ),
    (
        "an identity with a word too many, and one too few",
        "[sources.sim]",
        "[identity]\nest = \"https://est.example\"\nverify = false\nrenew_percent = 96\n[sources.sim]",
        &[
            "identity.verify",
            "unknown key",
            "identity.ca_file: is missing",
            "renew_percent: is 96",
        ],
    ),
    (
        "a secret that is given twice",
        "[sources.sim]",
        "[identity]\nsecret_file = \"/no/s\"\nsecret_credential = \"est\"\n[sources.sim]",
        &["identity.secret_credential", "give one of them"],
    ),
    (
        "a secret in the configuration",
        "endpoint = \"mqtt://127.0.0.1:1883\"",
        "endpoint = \"mqtts://user:password@broker.example\"",
        &["credentials do not belong in an endpoint"],
    ),
    (
        "an unknown policy for the clock",
        "name = \"gw\"",
        "name = \"gw\"\nclock = \"never\"",
        &["agent.clock", "floor, wait"],
    ),
    (
        "unreadable certificate",
        "endpoint = \"mqtt://127.0.0.1:1883\"",
        "endpoint = \"mqtts://127.0.0.1:8883\"\nca_file = \"/no/ca.pem\"\ncert_file = \"/no/c.pem\"\nkey_file = \"/no/k.pem\"",
        &["sinks.cloud", "/no/ca.pem"],
    ),
    (
        "unknown payload",
        "type = \"uplink\"",
        "type = \"uplink\"\npayload = \"xml\"",
        &["sinks.cloud.payload", "json"],
    ),
    (
        "topic with wildcard",
        "type = \"uplink\"",
        "type = \"uplink\"\ntopic = \"a/#\"",
        &["sinks.cloud.topic", "#"],
    ),
    (
        "topic without stream",
        "type = \"uplink\"",
        "type = \"uplink\"\ntopic = \"a/{strem}\"",
        &["sinks.cloud.topic", "{stream}"],
    ),
    (
        "buffer too small",
        "type = \"uplink\"",
        "type = \"uplink\"\nbuffer = { size_mb = 1 }",
        &["sinks.cloud.buffer.size_mb"],
    ),
    (
        "streams without QUIC",
        "type = \"uplink\"",
        "type = \"uplink\"\nquic_streams = \"by_class\"",
        &["sinks.cloud.quic_streams", "quic:// endpoint"],
    ),
    (
        "unknown streams",
        "type = \"uplink\"",
        "type = \"uplink\"\nquic_streams = \"by_klass\"",
        &["sinks.cloud.quic_streams", "by_class"],
    ),
    (
        "no silence",
        "type = \"uplink\"",
        "type = \"uplink\"\nquic_silence_ms = 0",
        &["sinks.cloud.quic_silence_ms", "1000"],
    ),
    (
        "a silence without QUIC",
        "type = \"uplink\"",
        "type = \"uplink\"\nquic_silence_ms = 9000",
        &["sinks.cloud.quic_silence_ms", "quic:// endpoint"],
    ),
    (
        "early CONNECT without QUIC",
        "type = \"uplink\"",
        "type = \"uplink\"\nearly_connect = true",
        &["sinks.cloud.early_connect", "quic:// endpoint"],
    ),
    (
        "unknown policy",
        "type = \"uplink\"",
        "type = \"uplink\"\nbuffer = { policy = \"drop\" }",
        &["sinks.cloud.buffer.policy", "drop_oldest"],
    ),
];

#[test]
fn every_broken_configuration_is_refused_by_name() {
    const { assert!(BROKEN.len() >= 25) };
    for (name, from, to, parts) in BROKEN {
        let dir = tempfile::tempdir().unwrap();
        let config = good(dir.path());
        assert!(
            config.contains(from),
            "{name}: {from:?} is not in the good configuration"
        );
        refused(dir.path(), name, &config.replacen(from, to, 1), parts);
    }
}

#[test]
fn one_check_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let config = good(dir.path())
        .replace("name = \"gw\"", "nome = \"gw\"")
        .replace("rate_hz = 10", "rate = 10")
        .replace("inputs = [\"sim\"]", "inputs = [\"sin\"]")
        .replace("mqtt://127.0.0.1:1883", "mqtt://10.1.2.3:1883");
    let parts = [
        "agent.nome",
        "sources.sim.options",
        "transforms.warm",
        "sinks.cloud.endpoint",
    ];
    refused(dir.path(), "four errors", &config, &parts);
}

#[test]
fn a_missing_file_is_named() {
    let ended = dunlin(&["run", "/no/such/dunlin.toml"]);
    assert_eq!(ended.code, CONFIG);
    assert!(
        ended.stderr.contains("/no/such/dunlin.toml"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("Remedy: "), "{}", ended.stderr);
}

#[test]
fn a_file_that_is_no_driver_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let so = dir.path().join("fake.so");
    fs::write(&so, "not an ELF file").unwrap();
    let config = good(dir.path()).replace(
        "driver = \"sim\"",
        &format!("driver = \"{}\"", so.display()),
    );
    refused(
        dir.path(),
        "fake.so",
        &config,
        &["sources.sim.driver", "fake.so"],
    );
}

#[test]
fn a_driver_of_another_abi_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("old.c");
    let so = dir.path().join("old.so");
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/ffi/include");
    fs::write(
        &source,
        "#include <dunlin/driver.h>\nDUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = \
         { .struct_size = sizeof(dunlin_driver), .abi_major = 9, .id = \"old\", .version = \"1\", .summary = \"old\" };\n",
    )
    .unwrap();
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-I", header, "-o"])
        .args([&so, &source])
        .status()
        .unwrap();
    assert!(built.success());
    let config = good(dir.path()).replace(
        "driver = \"sim\"",
        &format!("driver = \"{}\"", so.display()),
    );
    refused(
        dir.path(),
        "old.so",
        &config,
        &["sources.sim.driver", "ABI", "9"],
    );
}

#[test]
fn another_hash_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = "0".repeat(64);
    let config = good(dir.path()).replace(
        "driver = \"sim\"",
        &format!("driver = \"sim\"\nsha256 = \"{wrong}\""),
    );
    refused(
        dir.path(),
        "hash",
        &config,
        &["sources.sim.sha256", "sim.so"],
    );
}

#[test]
fn a_newer_state_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    fs::write(&file, good(dir.path())).unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("format"), "dunlin-state 99\n").unwrap();
    for command in ["check", "run"] {
        let ended = dunlin(&[command, file.to_str().unwrap()]);
        assert_eq!(ended.code, STATE, "{command}: {}", ended.stderr);
        for part in ["format", "99", "Remedy: "] {
            assert!(
                ended.stderr.contains(part),
                "{command}: no {part:?} in:\n{}",
                ended.stderr
            );
        }
    }
    assert_eq!(
        fs::read_dir(&state).unwrap().count(),
        1,
        "something was written"
    );
    assert_eq!(
        fs::read_to_string(state.join("format")).unwrap(),
        "dunlin-state 99\n"
    );
}

#[test]
fn a_state_directory_that_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    fs::write(&file, good(dir.path())).unwrap();
    fs::write(dir.path().join("state"), "").unwrap();
    let ended = dunlin(&["run", file.to_str().unwrap()]);
    assert_eq!(ended.code, STATE, "{}", ended.stderr);
    assert!(ended.stderr.contains("Remedy: "), "{}", ended.stderr);
}
