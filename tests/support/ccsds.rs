//! What an independent implementation sends: `lab/ccsds_sender.py`.

use super::lab::lab;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The stream, and one object a packet; both are left in `dir`.
pub fn ccsds(dir: &Path, seed: u64, more: &[&str]) -> (Vec<u8>, Vec<Value>) {
    let (stream, packets) = (dir.join("stream"), dir.join("packets"));
    let ended = lab("ccsds_sender.py")
        .arg(seed.to_string())
        .args([&stream, &packets])
        .args(more)
        .status();
    assert!(
        ended.is_ok_and(|status| status.success()),
        "the lab is installed: scripts/setup.sh test"
    );
    let text = fs::read_to_string(packets).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (fs::read(stream).unwrap(), lines.collect())
}
