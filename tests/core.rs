//! The core build, for gateways that nobody sits at:
//! `cargo nextest run -p dunlin --no-default-features --features core --lib --test core`.
#![cfg(not(feature = "tools"))]

mod support;

use std::time::Duration;
use support::{Agent, Broker, dunlin};

#[test]
fn what_it_lacks_is_said_with_the_remedy() {
    for command in ["sub", "drivers", "buffer", "telemetry"] {
        for args in [
            &[command, "x"][..],
            &[command, "--help"],
            &["help", command],
        ] {
            let ended = dunlin(args);
            assert_eq!(ended.code, 64, "{args:?}: {}", ended.stderr);
            assert_eq!(ended.stdout, "", "{args:?}");
            let said = format!("this build has no `{command}`; install the full one");
            assert!(ended.stderr.contains(&said), "{args:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn it_says_that_it_is_the_core() {
    let help = dunlin(&["--help"]).stdout;
    for command in ["run", "check", "status", "version"] {
        let line = format!("\n  {command} ");
        assert!(help.contains(&line), "{command} is not in:\n{help}");
    }
    assert!(!help.contains("sub CONFIG"), "{help}");
    assert!(dunlin(&["version"]).stdout.ends_with(", core)\n"));
}

#[test]
fn a_key_in_a_token_needs_the_full_build() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\n\
                  [sinks.cloud]\ntype = \"uplink\"\ninputs = [\"sim\"]\nendpoint = \"mqtts://localhost\"\n\
                  ca_file = \"/c\"\ncert_file = \"/c\"\nkey = \"pkcs11:object=k?module-path=/m\"\n";
    let file = Agent::new(dir.path(), config).config();
    let checked = dunlin(&["check", file.to_str().unwrap()]);
    assert_eq!(checked.code, 78, "{}", checked.stderr);
    let said = "needs keys in tokens, which this build has not";
    assert!(checked.stderr.contains(said), "{}", checked.stderr);
    assert!(
        checked.stderr.contains("install the full build"),
        "{}",
        checked.stderr
    );
    assert_eq!(dunlin(&["key-host"]).code, 64);
}

#[test]
fn messages_of_a_broker_need_the_full_build() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[sources.orders]\ntype = \"downlink\"\n\n\
                  [sinks.out]\ntype = \"console\"\ninputs = [\"orders\"]\n";
    let file = Agent::new(dir.path(), config).config();
    let checked = dunlin(&["check", file.to_str().unwrap()]);
    assert_eq!(checked.code, 78, "{}", checked.stderr);
    assert!(
        checked.stderr.contains("\"downlink\""),
        "{}",
        checked.stderr
    );
}

#[test]
fn it_tests_itself() {
    let ended = dunlin(&["version", "--self-test"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains(" known answers right "),
        "{}",
        ended.stdout
    );
}

#[test]
fn it_checks_runs_and_delivers() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let config = format!(
        "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
         options = {{ rate_hz = 200, waves = [{{ name = \"n\", shape = \"counter\" }}] }}\n\n\
         [sinks.cloud]\ntype = \"uplink\"\ninputs = [\"sim\"]\nendpoint = \"{}\"\n",
        broker.endpoint()
    );
    let mut agent = Agent::new(dir.path(), &config);
    let file = agent.config();
    let file = file.to_str().unwrap();
    let checked = dunlin(&["check", file]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    agent.start();
    agent.wait_count("/uplinked", 10, Duration::from_secs(30));
    let status = dunlin(&["status", file]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("cloud"), "{}", status.stdout);
}
