//! Readings reach the broker: over loopback TCP and mutual TLS 1.3, as JSON and CBOR, as samples and frames.

use crate::support::{Agent, Broker, free_port, wait_for};
use crate::{SOON, arrived, broker, counter, counts, uplink};
use base64::Engine as _;
use dunlin::payload::{self, ItemBody};
use dunlin::record::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn loopback_tcp_brings_every_record_in_order() {
    let (dir, broker, witness) = broker();
    let config = counter("sim", 2000, 1000) + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 1000, SOON);
    agent.stop();
    let received = arrived(&witness, 1000);
    received.assert_dense_and_ordered();
    assert!(counts(&received, "sim").into_iter().eq(0..1000));
    let [channel] = [received.stream("sim").next().unwrap().1];
    assert_eq!(channel["sample"]["ch"], "n");
    assert!(channel["mono_ns"].as_u64().unwrap() > 0);
}

/// The broker's second listener: TLS 1.3 and nothing else, and no client without a certificate.
pub(crate) fn secure(dir: &Path) -> (Broker, u16) {
    let made = Command::new(format!("{ROOT}/lab/certs.sh"))
        .arg(dir.join("certs"))
        .status()
        .unwrap();
    assert!(made.success(), "lab/certs.sh");
    let port = free_port();
    let certs = dir.join("certs");
    let listener = format!(
        "listener {port} 127.0.0.1\ncafile {certs}/ca.pem\ncertfile {certs}/server.pem\nkeyfile {certs}/server.key\n\
         require_certificate true\nuse_identity_as_username true\ntls_version tlsv1.3\n",
        certs = certs.display()
    );
    (Broker::start_with(dir, &listener), port)
}

fn secure_uplink(dir: &Path, port: u16, client: &str) -> String {
    let endpoint = format!("mqtts://localhost:{port}");
    let certs = dir.join("certs");
    uplink(&["sim"], &endpoint)
        + &format!(
            "ca_file = \"{certs}/ca.pem\"\ncert_file = \"{certs}/{client}.pem\"\nkey_file = \"{certs}/{client}.key\"\n",
            certs = certs.display()
        )
}

#[test]
fn mutual_tls_brings_every_record_under_the_name_in_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let witness = broker.subscribe();
    let config = counter("sim", 2000, 500) + &secure_uplink(dir.path(), port, "agent");
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 500, SOON);
    agent.stop();
    let received = arrived(&witness, 500);
    received.assert_dense_and_ordered();
    assert!(counts(&received, "sim").into_iter().eq(0..500));
    let log = fs::read_to_string(dir.path().join("broker/log")).unwrap();
    assert!(
        log.contains("as gw-cloud (p5") && log.contains("u'agent'"),
        "the broker knows the agent by its certificate:\n{log}"
    );
}

#[test]
fn a_broker_of_another_authority_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let (_stranger, _) = secure(other.path());
    // The agent trusts another authority than the one that signed this broker.
    fs::copy(
        other.path().join("certs/ca.pem"),
        dir.path().join("certs/ca.pem"),
    )
    .unwrap();
    let config = counter("sim", 100, 50) + &secure_uplink(dir.path(), port, "agent");
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/durable", 50, SOON);
    wait_for("the state names the certificate", SOON, || {
        let state = agent.status()["sinks"]["cloud"]["state"].to_string();
        state.contains("certificate")
    });
    assert_eq!(agent.count("/sinks/cloud/connects"), 0);
    assert_eq!(agent.count("/uplinked"), 0);
    agent.stop();
}

/// A `mosquitto_sub` that writes each payload as a line of hexadecimal digits.
struct HexWitness(Child);

impl Drop for HexWitness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hex_witness(dir: &Path, broker: &Broker) -> HexWitness {
    let child = Command::new("mosquitto_sub")
        .args(["-V", "5", "-h", "127.0.0.1", "-p"])
        .arg(broker.port().to_string())
        .args(["-i", "hex", "-q", "1", "-t", "dunlin/#", "-F", "%x"])
        .stdin(Stdio::null())
        .stdout(File::create(dir.join("hex")).unwrap())
        .spawn()
        .expect("mosquitto_sub is installed: scripts/setup.sh test");
    let log = dir.join("broker/log");
    wait_for("the witness is subscribed", SOON, || {
        fs::read_to_string(&log)
            .unwrap_or_default()
            .contains("Sending SUBACK to hex")
    });
    HexWitness(child)
}

fn messages(dir: &Path) -> Vec<payload::Message> {
    let text = fs::read_to_string(dir.join("hex")).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    whole
        .lines()
        .map(|line| {
            let bytes: Vec<u8> = line.as_bytes().chunks(2).map(byte).collect();
            assert_ne!(bytes[0], b'{', "CBOR was asked for");
            payload::decode(&bytes).unwrap()
        })
        .collect()
}

#[test]
fn cbor_brings_the_same_values_and_whole_frames() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let _witness = hex_witness(dir.path(), &broker);
    let config = FRAMES.to_owned() + &uplink(&["sim"], &broker.endpoint()) + "payload = \"cbor\"\n";
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 2 * FRAME_COUNT, SOON);
    agent.stop();
    let mut all = Vec::new();
    wait_for("every record arrives", SOON, || {
        all = messages(dir.path());
        let records: usize = all.iter().map(|message| message.records.len()).sum();
        records as u64 >= 2 * FRAME_COUNT
    });
    let (mut counted, mut framed, mut next_seq) = (0, 0, 0);
    for message in all {
        assert_eq!(
            (message.agent.as_str(), message.stream.as_str()),
            ("gw", "sim")
        );
        assert_eq!(message.seq, next_seq, "a hole or a repeat");
        next_seq += message.records.len() as u64;
        for item in message.records {
            match item.body {
                ItemBody::Sample { value, .. } => {
                    assert_eq!(value, Value::Int(counted));
                    counted += 1;
                }
                ItemBody::Frame { bytes, .. } => {
                    assert_whole(&bytes, framed);
                    framed += 1;
                }
                other => panic!("neither was made: {other:?}"),
            }
        }
    }
    assert_eq!((counted, framed), (200, 200));
}

const FRAME_COUNT: u64 = 200;
const FRAME_BYTES: usize = 3000;
const FRAMES: &str = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
     options = { rate_hz = 500, count = 200, frames = true, frame_rate_hz = 500, frame_bytes = 3000, \
     waves = [{ name = \"n\", shape = \"counter\" }] }\n\n";

/// CRC-32 of IEEE 802.3, bit by bit, written here anew so that the driver is not checked by its own code.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: u32| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), step)
    })
}

/// A frame of sim: its number, filler, the CRC of both.
fn assert_whole(frame: &[u8], number: u64) {
    assert_eq!(frame.len(), FRAME_BYTES);
    assert_eq!(frame[..8], number.to_le_bytes(), "frame {number} is due");
    let (body, crc) = frame.split_at(FRAME_BYTES - 4);
    assert_eq!(
        crc,
        crc32(body).to_le_bytes(),
        "frame {number} is not whole"
    );
}

#[test]
fn frames_arrive_whole_in_json() {
    let (dir, broker, witness) = broker();
    let config = FRAMES.to_owned() + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 2 * FRAME_COUNT, SOON);
    agent.stop();
    let received = arrived(&witness, 2 * FRAME_COUNT);
    received.assert_dense_and_ordered();
    let mut number = 0;
    for (_, record) in received.stream("sim") {
        if let Some(text) = record["frame"]["bytes"].as_str() {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap();
            assert_whole(&bytes, number);
            number += 1;
        }
    }
    assert_eq!(number, FRAME_COUNT);
}

#[test]
fn a_broker_that_forgets_everything_costs_nothing_that_was_not_its_own() {
    let (dir, mut broker, witness) = broker();
    let config = counter("sim", 1000, 2000) + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/uplinked", 300, SOON);
    let before = arrived(&witness, 300);
    drop(witness);
    // Away in order, then without its store: its sessions, ours and the witness's, are gone.
    broker.stop();
    fs::remove_file(dir.path().join("broker/mosquitto.db")).unwrap();
    fs::remove_file(dir.path().join("broker/log")).unwrap();
    let confirmed = agent.count("/uplinked");
    broker.restart();
    let witness = broker.subscribe();
    agent.wait_count("/uplinked", 2000, SOON);
    agent.stop();
    // What was confirmed to the old broker and not yet handed to its subscriber died with it; all the rest is here.
    let after = arrived(&witness, 1);
    let mut seqs: Vec<u64> = Vec::new();
    wait_for("the last record arrives", SOON, || {
        let both = [&before, &witness.received()].map(|received| {
            let ids = received.stream("sim").map(|((_, _, seq), _)| *seq);
            ids.collect::<Vec<_>>()
        });
        seqs = both.concat();
        seqs.contains(&1999)
    });
    seqs.sort_unstable();
    seqs.dedup();
    let missing: Vec<u64> = (0..2000)
        .filter(|seq| seqs.binary_search(seq).is_err())
        .collect();
    assert!(
        missing.iter().all(|seq| *seq < confirmed + 256),
        "confirmed {confirmed}, missing {missing:?}, {} after",
        after.records.len()
    );
}
