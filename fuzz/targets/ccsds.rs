//! What a receiver hands over: streams of bits, frames, packets. What is found is bounded by what came, packets are as long
//! as they say, and pieces of any length give the same as the whole.
#![no_main]

use dunlin::telemetry::Counts;
use dunlin::telemetry::ccsds::{Decoder, Event, Framing, Input, Settings};
use dunlin::telemetry::crc::Crc;
use dunlin::telemetry::frame::{self, Protocol};
use dunlin::telemetry::packet::PACKET_BYTES_MAX;
use dunlin::telemetry::sync::{self, Marker};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const FRAME_BYTES: usize = 64;
static CHECKSUM: LazyLock<Crc> = LazyLock::new(|| Crc::named("crc16-ccitt").expect("a known name"));

fn settings(choice: u8) -> Settings {
    let protocol = if choice & 4 == 0 { Protocol::Tm } else { Protocol::Aos };
    let framing = Framing {
        frames: frame::Settings {
            protocol,
            checksum: (choice & 8 != 0).then(|| CHECKSUM.clone()),
            ocf: choice & 16 != 0,
            insert_zone_bytes: usize::from(choice >> 5 & 1),
            spacecraft: None,
            frame_bytes_max: 1024,
        },
        randomised: choice & 64 != 0,
    };
    let sync = sync::Settings {
        marker: Marker::CCSDS,
        frame_bytes: FRAME_BYTES,
        marker_errors_max: 2,
        flywheel_frames: 2,
    };
    let input = match choice & 3 {
        0 | 1 => Input::Stream(sync, framing),
        2 => Input::Frames(framing),
        _ => Input::Packets,
    };
    Settings { input, packet_bytes_max: PACKET_BYTES_MAX, join_segments: choice & 128 != 0 }
}

fn decoded(settings: &Settings, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, u64, Counts) {
    let mut decoder = Decoder::new(settings.clone());
    let (mut packets, mut lost) = (Vec::new(), 0);
    let mut take = |event: Event<'_>| match event {
        Event::Packet { header, bytes, .. } => {
            assert_eq!(header.total_bytes, bytes.len());
            packets.push(bytes.to_vec());
        }
        Event::Gap { lost: more, .. } => lost += u64::from(more),
        Event::Refused { .. } => {}
    };
    for piece in pieces {
        decoder.push(piece, &mut take);
    }
    decoder.finish(&mut take);
    (packets, lost, *decoder.counts())
}

fuzz_target!(|input: &[u8]| {
    let [choice, at, rest @ ..] = input else {
        return;
    };
    let settings = settings(*choice);
    let pieces: Vec<&[u8]> = rest.chunks(usize::from(*at) + 1).collect();
    let (packets, lost, counts) = decoded(&settings, &pieces);
    assert_eq!(lost, counts.lost_frames + counts.lost_packets);
    let given: usize = packets.iter().map(Vec::len).sum();
    // A frame may be given out twice, where two markers claim its bits.
    assert!(given <= 3 * rest.len() + 3 * FRAME_BYTES, "{given} of {}", rest.len());
    if let Input::Stream(..) = settings.input {
        assert_eq!(counts, decoded(&settings, &[rest]).2);
    }
});
