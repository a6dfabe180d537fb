//! Databases in XTCE that others published, with packets of their missions: each is read, and gives the values that
//! `space_packet_parser` does. `scripts/setup.sh test` brings them (lab/published/sources.txt).

use super::support::{dunlin, lab};
use super::{Met, agrees, said, theirs};
use dunlin::telemetry::database::field::Raw;
use dunlin::telemetry::database::{Database, Found, read};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const MISSIONS: &str = "space_packet_parser-6.2.0/tests/test_data";
const PRIME: &str = "fprime_xtce-0.1.5/tests/data";
const YAMCS: &str = "fprime_yamcs-0.2.4/src/fprime_yamcs/yamcs/src/main/yamcs/mdb";

fn published(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/lab/published")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: scripts/setup.sh test",
        path.display()
    );
    path
}

fn database(file: &Path) -> Database {
    let text = fs::read_to_string(file).unwrap();
    read(file, &text).unwrap_or_else(|problems| panic!("{}: {problems:#?}", file.display()))
}

/// Each with the packets, fields and parameters in it.
#[test]
fn every_published_file_is_read() {
    let files = [
        (MISSIONS, "jpss/jpss1_geolocation_xtce_v1.xml", (1, 27, 27)),
        (
            MISSIONS,
            "jpss/contrived_inheritance_structure.xml",
            (2, 30, 27),
        ),
        (MISSIONS, "ctim/ctim_xtce_v1.xml", (38, 9892, 9493)),
        (
            MISSIONS,
            "suda/suda_combined_science_definition.xml",
            (5, 295, 207),
        ),
        (
            MISSIONS,
            "idex/idex_combined_science_definition.xml",
            (5, 295, 207),
        ),
        (MISSIONS, "test_xtce.xml", (1, 27, 27)),
        (MISSIONS, "test_xtce_default_namespace.xml", (1, 27, 27)),
        (MISSIONS, "test_xtce_no_namespace.xml", (1, 27, 27)),
        (MISSIONS, "test_xtce_4byte.xml", (1, 1, 1)),
        (MISSIONS, "udp_packet.xml", (1, 5, 5)),
        (
            PRIME,
            "ReferenceDeploymentTopologyDictionary.ref.xml",
            (115, 1710, 133),
        ),
        (PRIME, "SimpleTestDictionary.ref.xml", (7, 88, 26)),
        (YAMCS, "fprime.xtce.xml", (111, 1664, 125)),
    ];
    for (dir, name, (packets, fields, parameters)) in files {
        let file = published(&format!("{dir}/{name}"));
        let ended = dunlin(&["telemetry", "check", file.to_str().unwrap()]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let said = format!(": {packets} packets, {fields} fields, {parameters} parameters\n");
        assert!(ended.stdout.contains(&said), "{name}: {}", ended.stdout);
    }
}

/// A recording of a mission.
struct Recording {
    database: &'static str,
    packets: &'static str,
    /// Bytes in front of each packet.
    skipped: usize,
    root: &'static str,
    /// Packets, and values in them.
    size: (usize, usize),
}

const SUDA: Recording = Recording {
    database: "suda/suda_combined_science_definition.xml",
    packets: "suda/sciData_2022_130_17_41_53.spl",
    skipped: 4,
    root: "CCSDSPacket",
    size: (13, 443),
};
const IDEX: Recording = Recording {
    database: "idex/idex_combined_science_definition.xml",
    packets: "idex/sciData_2023_052_14_45_05",
    skipped: 0,
    root: "CCSDSPacket",
    size: (78, 2658),
};
const JPSS: Recording = Recording {
    database: "jpss/jpss1_geolocation_xtce_v1.xml",
    packets: "jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1",
    skipped: 0,
    root: "CCSDSPacket",
    size: (7200, 194_400),
};
const CONTRIVED: Recording = Recording {
    database: "jpss/contrived_inheritance_structure.xml",
    ..JPSS
};
const CTIM: Recording = Recording {
    database: "ctim/ctim_xtce_v1.xml",
    packets: "ctim/ccsds_2021_155_14_39_51",
    skipped: 0,
    root: "CCSDSTelemetryPacket",
    size: (1499, 1_295_993),
};

impl Recording {
    fn file(&self) -> PathBuf {
        published(&format!("{MISSIONS}/{}", self.database))
    }

    /// Each packet by itself.
    fn split(&self) -> Vec<Vec<u8>> {
        let all = fs::read(published(&format!("{MISSIONS}/{}", self.packets))).unwrap();
        let (mut rest, mut packets) = (&all[..], Vec::new());
        while rest.len() > self.skipped {
            rest = &rest[self.skipped..];
            let bytes = 7 + usize::from(u16::from_be_bytes([rest[4], rest[5]]));
            packets.push(rest[..bytes].to_vec());
            rest = &rest[bytes..];
        }
        packets
    }

    /// A line a packet: NAME=VALUE with tabs between, VALUE~LABEL of an enumeration.
    fn theirs(&self) -> Vec<String> {
        let mut reader = lab("xtce_reader.py");
        let ended = reader
            .arg("recorded")
            .arg(self.file())
            .arg(published(&format!("{MISSIONS}/{}", self.packets)))
            .args([&self.skipped.to_string(), self.root])
            .output()
            .expect("the lab is installed: scripts/setup.sh test");
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let text = String::from_utf8(ended.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// A line as the other reader writes it: what comes twice in a packet is there once, with its last value.
fn line(database: &Database, packet: &[u8]) -> String {
    let kind = database.packet(packet).expect("a packet of the database");
    let (mut values, mut at) = (Vec::new(), HashMap::new());
    kind.read(packet, |field, found, _| {
        let Found::Value(raw) = found else {
            panic!("{}: {found:?}", field.name);
        };
        let label = database.parameter(&field.name).and_then(|known| {
            let Raw::Int(number) = raw else { return None };
            known.label(number)
        });
        let mut value = said(&raw);
        if let Some(label) = label {
            write!(value, "~{label}").unwrap();
        }
        let at = *at.entry(field.name.as_str()).or_insert(values.len());
        if at == values.len() {
            values.push((field.name.as_str(), value));
        } else {
            values[at].1 = value;
        }
    });
    let pairs = values.iter().enumerate();
    pairs.fold(String::new(), |mut line, (at, (name, value))| {
        let between = if at > 0 { "\t" } else { "" };
        write!(line, "{between}{name}={value}").unwrap();
        line
    })
}

#[test]
fn recorded_packets_of_missions_have_the_values_that_space_packet_parser_reads() {
    for recording in [SUDA, IDEX, JPSS, CONTRIVED, CTIM] {
        let known = database(&recording.file());
        let (packets, theirs) = (recording.split(), recording.theirs());
        assert_eq!(packets.len(), theirs.len(), "{}", recording.packets);
        let mut values = 0;
        for (packet, theirs) in packets.iter().zip(&theirs) {
            let ours = line(&known, packet);
            if ours != *theirs {
                let mut each = ours.split('\t').zip(theirs.split('\t'));
                let other = each.find(|(ours, theirs)| ours != theirs);
                panic!("{}: {other:?} of\n{ours}\n{theirs}", recording.packets);
            }
            values += theirs.split('\t').count();
        }
        assert_eq!(
            (packets.len(), values),
            recording.size,
            "{}",
            recording.packets
        );
        eprintln!(
            "{}: {} packets, {values} values",
            recording.database,
            packets.len()
        );
    }
}

/// As a stream of packets, and as the lines that the sink `file` writes of it.
#[test]
fn the_command_line_decodes_recorded_packets_of_missions() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().unwrap();
    for (recording, how) in [(IDEX, "--packets"), (SUDA, "--lines")] {
        let packets = recording.split();
        let mut bytes = packets.concat();
        if how == "--lines" {
            let lines = bytes.chunks(700).fold(String::new(), |lines, piece| {
                let frame = base64::engine::general_purpose::STANDARD.encode(piece);
                lines
                    + &format!("{{\"monotonic_ns\":1,\"channel\":\"rf\",\"frame\":\"{frame}\"}}\n")
            });
            bytes = lines.into_bytes();
        }
        let file = dir.path().join("recording");
        fs::write(&file, bytes).unwrap();
        let known = recording.file();
        let [file, known] = [&file, &known].map(|path| path.to_str().unwrap());
        let mut args = vec![
            "telemetry",
            "decode",
            file,
            "--packets",
            "--json",
            "--database",
            known,
        ];
        if how == "--lines" {
            args.push(how);
        }
        let ended = dunlin(&args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let lines = ended.stdout.lines();
        let lines = lines.map(|line| serde_json::from_str::<Json>(line).unwrap());
        let mut ours = lines.filter_map(|line| {
            let name = line.get("channel")?.as_str()?.to_owned();
            let value = match (line.get("value"), line.get("hex"), line.get("text")) {
                (Some(value), _, _) => value.to_string(),
                (_, Some(hex), _) => hex.as_str()?.to_owned(),
                (_, _, text) => text?
                    .as_str()?
                    .bytes()
                    .fold(String::new(), |all, byte| all + &format!("{byte:02x}")),
            };
            let ending = name.rsplit('.').next();
            (ending != Some("label")).then(|| format!("{name}={value}"))
        });
        let mut values = 0;
        for theirs in recording.theirs() {
            for theirs in theirs.split('\t') {
                let theirs = theirs.split('~').next().unwrap();
                assert_eq!(
                    ours.next().as_deref(),
                    Some(theirs),
                    "{}",
                    recording.packets
                );
                values += 1;
            }
        }
        assert_eq!((ours.next(), values), (None, recording.size.1));
    }
}

/// Of those without a recording. A packet of four bytes is none that a space packet can be.
#[test]
fn random_packets_of_published_files_have_the_values_that_space_packet_parser_reads() {
    for (dir, name, least) in [
        (MISSIONS, "test_xtce.xml", 8000),
        (MISSIONS, "test_xtce_default_namespace.xml", 8000),
        (MISSIONS, "test_xtce_no_namespace.xml", 8000),
        (MISSIONS, "udp_packet.xml", 1500),
        (PRIME, "ReferenceDeploymentTopologyDictionary.ref.xml", 4000),
        (PRIME, "SimpleTestDictionary.ref.xml", 3000),
        (YAMCS, "fprime.xtce.xml", 4000),
    ] {
        let file = published(&format!("{dir}/{name}"));
        let known = database(&file);
        let mut met = Met::default();
        for line in theirs(file.to_str().unwrap(), 1, 300) {
            agrees(&known, &line, &mut met);
        }
        assert!(met.values >= least, "{name}: {}", met.values);
        eprintln!("{name}: 300 packets, {} values", met.values);
    }
}
