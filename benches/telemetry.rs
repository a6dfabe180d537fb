//! Frames a second on one core, from bits to packets, beside a copy of the same bytes and the spacepackets crate, which
//! reads headers of packets that somebody else has found. Frames of 1115 bytes, packets of 20 to 400.

use dunlin::telemetry::ccsds::{Decoder, Event, Framing, Input, Settings};
use dunlin::telemetry::crc::Crc;
use dunlin::telemetry::frame::{self, Protocol};
use dunlin::telemetry::packet::{Header, Part};
use dunlin::telemetry::randomiser::randomise;
use dunlin::telemetry::sync::{self, Marker};
use spacepackets::{CcsdsPacket as _, SpHeader};
use std::hint::black_box;
use std::time::{Duration, Instant};

const FRAME_BYTES: usize = 1115;
const FRAMES: usize = 256;
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
            apid: 42,
            part: Part::Whole,
            count,
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

fn main() {
    let crc = Crc::named("crc16-ccitt").expect("a known name");
    let packets = packets();
    let frames = frames(&packets, &crc);
    let marked = |frames: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let stream: Vec<u8> = frames
            .iter()
            .flat_map(|frame| [&MARKER[..], frame].concat())
            .collect();
        stream.chunks(8192).map(<[u8]>::to_vec).collect()
    };
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
    let rate = chain(
        "stream to packets (chain)",
        settings(true, false),
        &marked(&frames),
    );
    println!(
        "chain {rate:.0} frames/s per core, x{:.1} of 115200",
        rate / RIVAL
    );
}
