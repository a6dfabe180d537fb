//! Telemetry over the network into a board: frames that are not ours, at the pace of a receiver, become values at the broker while
//! the telemetry database is replaced on the board.

use super::machine::{Boot, Machine};
use super::station::{FIRST_LIMIT, Station, good_sample, time_now};
use crate::support::{Received, ccsds};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PACKETS: u32 = 3000;
/// A frame behind its marker, as `lab/ccsds_sender.py` makes it.
const MARKED_BYTES: usize = 4 + 223;
/// What is sent at once: it ends anywhere in a frame. A piece has 4.4 frames.
const PIECE_BYTES: usize = 997;
const PACE: Duration = Duration::from_millis(20);
/// Longest wait for the last value once the stream may end, which on an idle machine are 3 s.
const END_LIMIT: Duration = Duration::from_mins(1);

/// A telemetry database: a polynomial over the number that each packet carries.
struct Database {
    version: &'static str,
    coefficients: [f64; 3],
    unit: &'static str,
}

const OLD: Database = Database {
    version: "1",
    coefficients: [1.0, 0.5, 0.0],
    unit: "V",
};
const WRONG: Database = Database {
    version: "2",
    coefficients: [7.0, 7.0, 7.0],
    unit: "warm",
};
/// For no number the same as the old one.
const NEW: Database = Database {
    version: "3",
    coefficients: [3.0, 0.25, 0.125],
    unit: "V",
};

impl Database {
    /// The number stands behind the primary header; in packets of APID 42, behind a PUS header with a time.
    fn text(&self) -> String {
        let packets = [(1, 6), (42, 20), (0x7FE, 6)].map(|(apid, at)| {
            format!(
                "[packets.p{apid}]\napid = {apid}\n\
                 fields = [{{ name = \"n\", type = \"uint\", bits = 32, at_bytes = {at} }}]\n"
            )
        });
        format!(
            "version = \"{}\"\n[curves.c]\ntype = \"polynomial\"\ncoefficients = {:?}\n{}\
             [parameters.n]\ncurve = \"c\"\nunit = \"{}\"\n",
            self.version,
            self.coefficients,
            packets.concat(),
            self.unit
        )
    }

    /// What it makes of a number, exactly: all of it are fractions of two.
    fn value(&self, number: u32) -> f64 {
        let of_higher = |sum, coefficient: &f64| sum * f64::from(number) + coefficient;
        self.coefficients.iter().rev().fold(0.0, of_higher)
    }

    /// Puts it in the place of the one before at once, as a file that is read has to be replaced.
    fn put(&self, machine: &mut Machine) {
        let text = self.text().replace('\n', "\\n");
        machine.sh(&format!(
            "printf '{text}' >/run/telemetry.new && mv /run/telemetry.new /run/telemetry.toml"
        ));
    }
}

/// A server that plays a stream to the first who connects.
struct Replay {
    port: u16,
    may_end: SyncSender<()>,
    /// The connection, which has to outlive the stream, since its end would be a gap, and how long it took.
    played: JoinHandle<(TcpStream, Duration)>,
}

impl Replay {
    /// Holds the last fifth back until `may_end` has word, so that a slow board too has its databases changed within the stream.
    fn start(stream: Vec<u8>) -> Replay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (may_end, word) = sync_channel(1);
        let played = thread::spawn(move || play(&listener, &stream, &word));
        Replay {
            port,
            may_end,
            played,
        }
    }
}

fn play(listener: &TcpListener, stream: &[u8], word: &Receiver<()>) -> (TcpStream, Duration) {
    let (mut radio, _) = listener.accept().unwrap();
    radio.set_nodelay(true).unwrap();
    let start = Instant::now();
    let pieces = stream.chunks(PIECE_BYTES);
    let last_fifth = pieces.len() * 4 / 5;
    for (n, piece) in pieces.enumerate() {
        if n == last_fifth {
            word.recv().expect("the test goes on");
        }
        radio.write_all(piece).expect("the board takes it");
        thread::sleep(PACE);
    }
    (radio, start.elapsed())
}

fn chain(port: u16) -> String {
    let database = "database = \"/run/telemetry.toml\"\nreload_ms = 100\n";
    format!(
        "[sources.radio]\ntype = \"tcp\"\nconnect = \"10.0.2.2:{port}\"\n\n\
         [transforms.station]\ntype = \"decode_ccsds\"\ninputs = [\"radio\"]\nframe_bytes = 223\n\n\
         [transforms.fields]\ntype = \"extract\"\ninputs = [\"station\"]\npackets = \"drop\"\n{database}\n\
         [transforms.meaning]\ntype = \"calibrate\"\ninputs = [\"fields\"]\n{database}\n"
    )
}

/// Each value with the version that it was calibrated by, in the order of their records.
fn values(received: &Received) -> Vec<(&str, f64)> {
    let records = received.stream("radio.station.fields");
    let volts = records.filter(|(_, record)| record["sample"]["unit"] == "V");
    let each = volts.filter_map(|(_, record)| {
        let version = record["sample"]["cal"].as_str()?.split('-').next()?;
        Some((version, good_sample(record, "n")?))
    });
    each.collect()
}

fn calibrated(status: &Value) -> u64 {
    let count = &status["transforms"]["meaning"]["calibrated"];
    count.as_u64().unwrap_or(0)
}

/// Waits until both transforms that read the database have counted this.
fn wait_both(machine: &mut Machine, count: &str) -> Value {
    machine.wait_status(count, FIRST_LIMIT, |status| {
        let of = |node: &str| status["transforms"][node][count].as_u64();
        of("fields") == Some(1) && of("meaning") == Some(1)
    })
}

/// Each packet has one value, in order, of the old database and then of the new one, and nothing else came: how many are of the old.
fn assert_each_once(received: &Received) -> usize {
    let records = received.records.values();
    let gaps: Vec<&Value> = records.filter_map(|record| record.get("gap")).collect();
    assert!(gaps.is_empty(), "{gaps:?}");
    received.assert_dense_and_ordered();
    let found = values(received);
    let old = found.partition_point(|&(version, _)| version == OLD.version);
    for (number, (version, value)) in (0..).zip(&found) {
        let database = if (number as usize) < old { &OLD } else { &NEW };
        let wanted = database.value(number);
        assert!(
            *version == database.version && (value - wanted).abs() < 1e-9,
            "packet {number}: {value} by {version}, not {wanted} by {}",
            database.version
        );
    }
    let each = (found.len(), received.records.len());
    assert_eq!(each, (PACKETS as usize, PACKETS as usize));
    old
}

#[test]
fn board_virt_a_replayed_stream_is_calibrated_anew_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (stream, packets) = ccsds(dir.path(), 21, &["--numbered", &PACKETS.to_string()]);
    assert_eq!(packets.len(), PACKETS as usize);
    let (frames, noise) = (stream.len() / MARKED_BYTES, stream.len() % MARKED_BYTES);
    let station = Station::start();
    let replay = Replay::start(stream);
    let seed = station.seed(&chain(replay.port), &["meaning"]);
    let mut machine = Boot::new("virt")
        .seed(seed.without_agent())
        .option("--append", &time_now())
        .start();
    OLD.put(&mut machine);
    // An agent that starts without a network connects later, and tells that as a gap.
    machine.wait("ip route | grep -q default", FIRST_LIMIT);
    machine.sh("rm /run/seed/no-agent && (setsid /etc/init.d/agent &)");

    let total = u64::from(PACKETS);
    machine.wait_status("a quarter", FIRST_LIMIT, |status| {
        calibrated(status) >= total / 4
    });
    WRONG.put(&mut machine);
    let refused = calibrated(&wait_both(&mut machine, "databases_refused"));
    let more = machine.wait_status("values after the wrong database", FIRST_LIMIT, |status| {
        calibrated(status) >= refused + total / 8
    });
    NEW.put(&mut machine);
    wait_both(&mut machine, "databases");
    replay.may_end.send(()).expect("the stream is played");

    let last = NEW.value(PACKETS - 1);
    station.await_that("the last value", END_LIMIT, |received| {
        (values(received).last()?.1 >= last).then_some(())
    });
    let old = assert_each_once(&station.received());
    machine.wait_status("all is counted", FIRST_LIMIT, |status| {
        calibrated(status) >= total
    });
    let status = machine.sh("dunlin status --json /run/dunlin.toml");
    let status: Value = serde_json::from_str(&status).expect("it is JSON");
    let log = machine.sh("grep 'telemetry database' /run/dunlin/log");
    let pid = machine.agent_pid();
    machine.sh(&format!("kill {pid}"));
    machine.wait(&format!("! kill -0 {pid}"), FIRST_LIMIT);
    let stopped = machine.status();
    let (_radio, took) = replay.played.join().expect("all of it was played");

    let received = station.received();
    assert_eq!(received.records.len(), packets.len(), "nothing came later");
    let least = usize::try_from(calibrated(&more)).unwrap();
    assert!(least <= old && old < packets.len(), "{least}, {old}");
    // Only what was counted at all is in there: nothing lost, bad, unknown or short.
    let databases = |what: &str| json!({ what: total, "databases": 1, "databases_refused": 1 });
    assert_eq!(
        status["transforms"],
        json!({
            "station": { "frames": frames, "packets": total, "idle_packets": 1, "skipped_bits": 8 * noise },
            "fields": databases("packets"),
            "meaning": databases("calibrated"),
        })
    );
    for (count, wanted) in [("durable", total), ("uplinked", total), ("dropped", 0)] {
        assert_eq!(stopped["sinks"]["cloud"][count], wanted, "{count}");
    }
    for (said, times) in [
        ("database not changed", 2),
        ("database changed", 2),
        ("parameters.n.unit", 2),
    ] {
        assert_eq!(log.matches(said).count(), times, "{said}: {log}");
    }
    println!(
        "{frames} frames in {:.1} s, {:.0} a second; of {total} packets {old} by version {}, {} by version {}, \
         {} duplicates\n{log}",
        took.as_secs_f64(),
        frames as f64 / took.as_secs_f64(),
        OLD.version,
        packets.len() - old,
        NEW.version,
        received.duplicates
    );
}
