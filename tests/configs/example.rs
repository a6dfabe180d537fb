//! The configuration and the databases of examples/ground-station are right.

use super::support::dunlin;
use std::fs;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_ground_station_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    let made = Command::new(format!("{ROOT}/lab/certs.sh"))
        .arg(format!("{at}/certs"))
        .status();
    assert!(made.unwrap().success(), "lab/certs.sh");
    let example = format!("{ROOT}/examples/ground-station");
    let config = fs::read_to_string(format!("{example}/dunlin.toml"))
        .unwrap()
        .replace("@RUN@", &at)
        .replace("@DATABASE@", &format!("{example}/spacecraft.toml"))
        .replace("@BROKER_PORT@", "18831")
        .replace("@RADIO_PORT@", "18832");
    let file = format!("{at}/dunlin.toml");
    fs::write(&file, config).unwrap();
    for (words, said) in [
        (
            &["check", &file][..],
            "is good: sources 1, transforms 3, sinks 2",
        ),
        (
            &["telemetry", "check", &format!("{example}/spacecraft.toml")],
            "1 packets, 5 fields, 5 parameters",
        ),
    ] {
        let ended = dunlin(words);
        assert_eq!(ended.code, 0, "{words:?}: {}", ended.stderr);
        assert!(ended.stdout.contains(said), "{words:?}: {}", ended.stdout);
    }
}
