//! Frames a second on one core, from bits to packets, beside a copy of the same bytes, a parser as one writes it in an
//! afternoon, and the spacepackets crate, which reads headers of packets that somebody else has found. Frames of 1115 bytes,
//! packets of 20 to 400 in eight APIDs. Checksums beside those of the crates crc-fast and crc.
//!
//! "in a pipeline" is the chain as an agent runs it: what a source puts into slabs goes through the transform `decode_ccsds`, and
//! its packets, as records with times and acknowledgements, to three sinks.
//!
//! `chain N`, `parser N` and `pipeline N` only send 256 frames N times through one of them, for scripts/instructions.sh,
//! which counts.

#[path = "support/nodes.rs"]
mod nodes;

use dunlin::pipeline::{Ack, Batch, Inlet, Ledger, Outlet, Running, Sink, start};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record};
use dunlin::slabs::Slabs;
use dunlin::telemetry::ccsds::{Decoder, Event, Framing, Input, Settings};
use dunlin::telemetry::crc::Crc;
use dunlin::telemetry::frame::{self, Protocol};
use dunlin::telemetry::packet::{Header, Part};
use dunlin::telemetry::randomiser::randomise;
use dunlin::telemetry::sync::{self, Marker};
use nodes::nodes;
use spacepackets::{CcsdsPacket as _, SpHeader};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const FRAME_BYTES: usize = 1115;
const FRAMES: usize = 256;
const APIDS: u16 = 8;
const MARKER: [u8; 4] = [0x1a, 0xcf, 0xfc, 0x1d];
/// What the published system reaches.
const RIVAL: f64 = 115_200.0;
/// Sixteen tables, as fast as that crate gets.
static TABLE: crc::Crc<u16, crc::Table<16>> =
    crc::Crc::<u16, crc::Table<16>>::new(&crc::CRC_16_IBM_3740);
/// How long each line is measured.
const LONG: Duration = Duration::from_millis(700);

/// Packets that fill the frames to the last byte, one behind the other.
fn packets() -> Vec<u8> {
    let room = FRAMES * (FRAME_BYTES - 8);
    let mut bytes = Vec::with_capacity(room);
    let mut count = 0_u16;
    while bytes.len() < room {
        let rest = room - bytes.len();
        let length = 20 + usize::from(count) * 37 % 380;
        let length = if rest < length + 20 { rest } else { length };
        let header = Header {
            version: 0,
            telecommand: false,
            secondary: false,
            apid: 40 + count % APIDS,
            part: Part::Whole,
            count: count / APIDS,
            total_bytes: length,
        };
        bytes.extend(header.write());
        bytes.resize(bytes.len() + length - 6, 0x5a);
        count = (count + 1) & 0x3fff;
    }
    bytes
}

/// The frames of these packets, each counted on from the last.
fn frames(packets: &[u8], crc: &Crc) -> Vec<Vec<u8>> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(header) = Header::read(&packets[at..]) {
        starts.push(at);
        at += header.total_bytes;
    }
    let room = FRAME_BYTES - 8;
    let each = packets.chunks(room).zip(0_u8..=255).enumerate();
    let made = each.map(|(at, (data, count))| {
        let from = at * room;
        let first = starts
            .iter()
            .find(|start| (from..from + room).contains(*start));
        let pointer = first.map_or(0x7ff, |start| {
            u16::try_from(start - from).expect("within a frame")
        });
        let mut frame = vec![0x15, 0x52, count, count];
        frame.extend((0x1800 | pointer).to_be_bytes());
        frame.extend_from_slice(data);
        let sum = u16::try_from(crc.of(&frame)).expect("16 bits");
        frame.extend(sum.to_be_bytes());
        frame
    });
    made.collect()
}

fn settings(stream: bool, randomised: bool) -> Settings {
    let framing = Framing {
        frames: frame::Settings {
            protocol: Protocol::Tm,
            checksum: Crc::named("crc16-ccitt"),
            ocf: false,
            insert_zone_bytes: 0,
            spacecraft: None,
            frame_bytes_max: FRAME_BYTES,
        },
        randomised,
    };
    let sync = sync::Settings {
        marker: Marker::CCSDS,
        frame_bytes: FRAME_BYTES,
        marker_errors_max: 2,
        flywheel_frames: 2,
    };
    Settings {
        input: if stream {
            Input::Stream(sync, framing)
        } else {
            Input::Frames(framing)
        },
        packet_bytes_max: 65_542,
        join_segments: false,
    }
}

/// Frames a second of something that works on all of them.
fn rate(name: &str, mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while start.elapsed() < LONG {
        work();
        rounds += 1;
    }
    let rate = f64::from(rounds) * FRAMES as f64 / start.elapsed().as_secs_f64();
    println!(
        "{name:<40}{:>10.0}{rate:>14.0}{:>8.2}",
        1e9 / rate,
        rate * FRAME_BYTES as f64 / 1e9
    );
    rate
}

/// What one writes in an afternoon: a marker is searched byte by byte, packets are collected in a vector, counts in maps.
#[derive(Default)]
struct Straightforward {
    stream: Vec<u8>,
    frames: HashMap<u8, u8>,
    packets: HashMap<u16, u16>,
    partial: Vec<u8>,
    gaps: u64,
}

impl Straightforward {
    fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Vec<u8>)) {
        self.stream.extend_from_slice(bytes);
        loop {
            let Some(at) = self.stream.windows(4).position(|four| four == MARKER) else {
                return;
            };
            if self.stream.len() < at + 4 + FRAME_BYTES {
                return;
            }
            let frame: Vec<u8> = self
                .stream
                .drain(..at + 4 + FRAME_BYTES)
                .skip(at + 4)
                .collect();
            let (body, sum) = frame.split_at(FRAME_BYTES - 2);
            assert_eq!(
                TABLE.checksum(body).to_be_bytes(),
                sum,
                "a frame was refused"
            );
            let channel = body[1] >> 1 & 7;
            let before = self.frames.insert(channel, body[3]);
            self.gaps += u64::from(before.is_some_and(|count| count.wrapping_add(1) != body[3]));
            self.partial.extend_from_slice(&body[6..]);
            while self.partial.len() > 6 {
                let length =
                    7 + usize::from(u16::from_be_bytes([self.partial[4], self.partial[5]]));
                if self.partial.len() < length {
                    break;
                }
                let packet: Vec<u8> = self.partial.drain(..length).collect();
                let apid = u16::from_be_bytes([packet[0], packet[1]]) & 0x7ff;
                let count = u16::from_be_bytes([packet[2], packet[3]]) & 0x3fff;
                let before = self.packets.insert(apid, count);
                let follows = |before: u16| (before + 1) & 0x3fff == count;
                self.gaps += u64::from(before.is_some_and(|before| !follows(before)));
                out(packet);
            }
        }
    }
}

/// Runs all the pieces through one decoder, again and again: its counts go on where they were.
fn chain(name: &str, settings: Settings, pieces: &[Vec<u8>]) -> f64 {
    let mut decoder = Decoder::new(settings);
    let (mut packets, mut gaps) = (0_u64, 0_u64);
    let found = rate(name, || {
        for piece in pieces {
            decoder.push(piece, &mut |event| match event {
                Event::Packet { bytes, .. } => {
                    packets += 1;
                    black_box(bytes);
                }
                Event::Gap { .. } => gaps += 1,
                Event::Refused { .. } => panic!("a frame was refused"),
            });
        }
    });
    assert_eq!(decoder.counts().lost_frames, 0, "{name}");
    assert_eq!(packets, decoder.counts().packets, "{name}");
    black_box(gaps);
    found
}

/// How long one frame takes that comes alone, as from a socket.
fn each_frame(stream: &[Vec<u8>]) {
    let mut decoder = Decoder::new(settings(true, false));
    let bytes = stream.concat();
    let mut took = Vec::new();
    for _ in 0..200 {
        for piece in bytes.chunks_exact(FRAME_BYTES + MARKER.len()) {
            let start = Instant::now();
            decoder.push(black_box(piece), &mut |event| {
                black_box(event);
            });
            took.push(start.elapsed().as_nanos());
        }
    }
    took.sort_unstable();
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1000];
    println!(
        "one frame at a time, ns with the clock: p50 {}, p99 {}, p99.9 {}, max {}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}

/// The frames as a receiver gives them: with markers, in pieces.
fn marked(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let stream: Vec<u8> = frames
        .iter()
        .flat_map(|frame| [&MARKER[..], frame].concat())
        .collect();
    stream.chunks(8192).map(<[u8]>::to_vec).collect()
}

/// Counts packets.
#[derive(Clone, Default)]
struct Packets(Arc<AtomicU64>);

impl Sink for Packets {
    type Error = Infallible;

    async fn run(self, mut inlet: Inlet) -> Result<(), Infallible> {
        while let Some(batch) = inlet.recv().await {
            let packets = batch
                .records
                .iter()
                .filter(|record| matches!(record.body, Body::Frame { .. }));
            self.0.fetch_add(packets.count() as u64, Ordering::Relaxed);
            batch.ack.done();
        }
        Ok(())
    }
}

const CONFIG: &str = "
[sources.radio]
[transforms.station]
type = 'decode_ccsds'
inputs = ['radio']
frame_bytes = 1115
frame_bytes_max = 1115
[sinks.store]
inputs = ['station']
[sinks.rules]
inputs = ['station']
[sinks.view]
inputs = ['station']
";

/// A pipeline in which each piece of a stream is a record. What it takes to send it: frames go in, packets come out thrice.
struct Agent {
    runtime: tokio::runtime::Runtime,
    running: Running,
    outlet: Outlet,
    slabs: Slabs,
    stream: Arc<str>,
    channel: Arc<Channel>,
    ledger: Arc<Ledger>,
    packets: Packets,
}

impl Agent {
    fn start() -> Agent {
        let (graph, transforms) = nodes(CONFIG);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime starts");
        let packets = Packets::default();
        let sinks = ["store", "rules", "view"].map(|name| (name.to_owned(), packets.clone()));
        let entered = runtime.enter();
        let mut running = start(&graph, transforms, BTreeMap::from(sinks), 16);
        drop(entered);
        let channel = Channel {
            name: "rf".to_owned(),
            unit: "1".to_owned(),
            kind: Kind::Frame,
            calibration: None,
        };
        Agent {
            outlet: running.outlet("radio").expect("the source"),
            runtime,
            running,
            slabs: Slabs::default(),
            stream: "radio".into(),
            channel: Arc::new(channel),
            ledger: Arc::default(),
            packets,
        }
    }

    /// Sends these, as fast as there is room in the queues.
    fn send(&mut self, pieces: &[Vec<u8>]) {
        let Agent {
            runtime,
            outlet,
            slabs,
            stream,
            channel,
            ledger,
            ..
        } = self;
        runtime.block_on(async {
            for piece in pieces {
                let record = Record {
                    monotonic_ns: 0,
                    wall_ns: 0,
                    body: Body::Frame {
                        channel: Arc::clone(channel),
                        bytes: slabs.put(piece),
                        quality: Quality::Good,
                    },
                    reply: None,
                };
                let batch = Batch {
                    stream: Arc::clone(stream),
                    class: Class::Normal,
                    records: Arc::new(vec![record]),
                    ack: Ack::new(ledger, 1),
                };
                outlet.send(batch).await;
            }
        });
    }

    /// Packets that each sink had, once all have ended.
    fn end(self) -> u64 {
        drop(self.outlet);
        let drained = self.running.drain(Duration::from_mins(1));
        let drained = self.runtime.block_on(drained);
        drained.expect("no sink fails");
        assert_eq!(self.ledger.failed(), 0);
        self.packets.0.load(Ordering::Relaxed) / 3
    }
}

/// All frames, so many times, through one of them; nothing is measured. What is done once does not depend on how often.
fn only(what: &str, rounds: usize, frames: &[Vec<u8>]) {
    let pieces = marked(frames);
    let mut packets = 0_u64;
    match what {
        "chain" => {
            let mut decoder = Decoder::new(settings(true, false));
            for piece in pieces.iter().cycle().take(rounds * pieces.len()) {
                decoder.push(piece, &mut |event| {
                    packets += u64::from(matches!(event, Event::Packet { .. }));
                });
            }
        }
        "parser" => {
            let mut plain = Straightforward::default();
            for piece in pieces.iter().cycle().take(rounds * pieces.len()) {
                plain.push(piece, &mut |packet| {
                    packets += 1;
                    black_box(packet);
                });
            }
        }
        "pipeline" => {
            let mut agent = Agent::start();
            for _ in 0..rounds {
                agent.send(&pieces);
            }
            packets = agent.end();
        }
        _ => panic!("chain, parser or pipeline, not {what}"),
    }
    println!("{what}: {rounds} times {FRAMES} frames, {packets} packets");
}

fn main() {
    let crc = Crc::named("crc16-ccitt").expect("a known name");
    let packets = packets();
    let frames = frames(&packets, &crc);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, count] = &arguments[..] {
        only(what, count.parse().expect("how often"), &frames);
        return;
    }
    let noisy: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| {
            let mut frame = frame.clone();
            randomise(&mut frame);
            frame
        })
        .collect();
    let shifted = {
        let bytes: Vec<u8> = marked(&frames).concat();
        let pairs = bytes.iter().zip(bytes.iter().cycle().skip(1));
        let bits: Vec<u8> = pairs.map(|(a, b)| a << 3 | b >> 5).collect();
        bits.chunks(8192).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    println!(
        "{:<40}{:>10}{:>14}{:>8}",
        "", "ns/frame", "frames/s", "GB/s"
    );
    let mut copy = vec![0; FRAME_BYTES];
    rate("memcpy", || {
        for frame in &frames {
            copy.copy_from_slice(frame);
            black_box(&copy);
        }
    });
    rate("checksum", || {
        for frame in &frames {
            black_box(crc.of(black_box(frame)));
        }
    });
    let fast = crc_fast::CrcParams::new("", 16, 0x1021, 0xffff, false, 0, 0);
    rate("checksum, crc-fast", || {
        for frame in &frames {
            black_box(crc_fast::checksum_with_params(fast, black_box(frame)));
        }
    });
    rate("checksum, table of the crc crate", || {
        for frame in &frames {
            black_box(TABLE.checksum(black_box(frame)));
        }
    });
    rate("spacepackets: headers of packets alone", || {
        let mut at = 0;
        while let Ok((header, _)) = SpHeader::from_be_bytes(black_box(&packets[at..])) {
            black_box((header.apid(), header.psc()));
            at += header.packet_len();
            if at >= packets.len() {
                break;
            }
        }
    });
    let stream = marked(&frames);
    let mut plain = Straightforward::default();
    let mut found = 0_u64;
    rate("straightforward parser", || {
        for piece in &stream {
            plain.push(piece, &mut |packet| {
                found += 1;
                black_box(packet);
            });
        }
    });
    assert!(found > 0);
    chain("frames to packets", settings(false, false), &frames);
    chain(
        "stream to packets, bits shifted",
        settings(true, false),
        &shifted,
    );
    chain(
        "stream to packets, randomised",
        settings(true, true),
        &marked(&noisy),
    );
    let rate = chain("stream to packets (chain)", settings(true, false), &stream);
    let mut agent = Agent::start();
    self::rate("stream to packets, in a pipeline", || agent.send(&stream));
    assert!(agent.end() > 0);
    each_frame(&stream);
    println!(
        "chain {rate:.0} frames/s per core, x{:.1} of 115200",
        rate / RIVAL
    );
}
