//! The chain over streams with every kind of fault, against what the sender knows.

use super::*;
use crate::telemetry::crc::Crc;
use crate::telemetry::packet::Part;
use crate::telemetry::testing::{Bits, Chance, Sender, packet};
use std::collections::{BTreeMap, BTreeSet};

const FRAME_BYTES: usize = 128;

fn framing(checksum: bool, randomised: bool) -> Framing {
    Framing {
        frames: frame::Settings {
            protocol: frame::Protocol::Tm,
            checksum: checksum.then(|| Crc::named("crc16-ccitt").unwrap()),
            ocf: false,
            insert_zone_bytes: 0,
            spacecraft: None,
            frame_bytes_max: 1024,
        },
        randomised,
    }
}

fn stream_settings() -> Settings {
    let sync = sync::Settings {
        marker: sync::Marker::CCSDS,
        frame_bytes: FRAME_BYTES,
        marker_errors_max: 2,
        flywheel_frames: 2,
    };
    Settings {
        input: Input::Stream(sync, framing(true, true)),
        packet_bytes_max: 4096,
        join_segments: false,
    }
}

fn frame_settings() -> Settings {
    Settings {
        input: Input::Frames(framing(true, false)),
        ..stream_settings()
    }
}

#[derive(Default)]
struct Seen {
    packets: Vec<Vec<u8>>,
    lost: BTreeMap<String, u64>,
    refused: usize,
}

impl Seen {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Packet { header, bytes, .. } => {
                assert_eq!(header.total_bytes, bytes.len());
                self.packets.push(bytes.to_vec());
            }
            Event::Gap { counter, lost, .. } => {
                *self.lost.entry(format!("{counter:?}")).or_default() += u64::from(lost);
            }
            Event::Refused { .. } => self.refused += 1,
        }
    }
}

fn decoded(settings: Settings, pieces: impl IntoIterator<Item = Vec<u8>>) -> (Seen, Counts) {
    let mut decoder = Decoder::new(settings);
    let mut seen = Seen::default();
    for piece in pieces {
        decoder.push(&piece, &mut |event| seen.take(event));
    }
    decoder.finish(&mut |event| seen.take(event));
    (seen, *decoder.counts())
}

/// Packets of all lengths on some APIDs, in frames of one channel.
struct Sent {
    packets: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
}

fn sent(seed: u64, count: usize, randomised: bool) -> Sent {
    let mut chance = Chance::new(seed);
    let mut sender = Sender::new(FRAME_BYTES);
    sender.randomised = randomised;
    let mut counts = [0_u16; 4];
    let mut packets = Vec::new();
    for _ in 0..count {
        let apid = chance.below(4);
        let length = match chance.below(8) {
            0 => 1,
            7 => 1 + chance.below(600),
            _ => 1 + chance.below(100),
        };
        let data = chance.bytes(length);
        let made = packet(
            u16::try_from(apid).unwrap(),
            counts[apid],
            Part::Whole,
            &data,
        );
        counts[apid] = (counts[apid] + 1) & 0x3fff;
        packets.push(made.clone());
        sender.packet(made);
    }
    let mut frames = Vec::new();
    while sender.waits() {
        frames.push(sender.frame(3));
    }
    Sent { packets, frames }
}

#[test]
fn what_is_sent_whole_comes_out_whole() {
    for seed in 1..40 {
        let sent = sent(seed, 100, true);
        let mut bits = Bits(vec![true; usize::try_from(seed).unwrap()]);
        sent.frames.iter().for_each(|frame| bits.marked(frame));
        let bytes = bits.bytes();
        for piece in [1, 100, 5000] {
            let pieces = bytes.chunks(piece).map(<[u8]>::to_vec);
            let (seen, counts) = decoded(stream_settings(), pieces);
            assert!(
                seen.packets == sent.packets,
                "seed {seed}, pieces of {piece}"
            );
            assert!(seen.lost.is_empty() && seen.refused == 0, "{counts:?}");
            assert_eq!(counts.frames, sent.frames.len() as u64);
        }
    }
}

/// Which packets a loss of these frames must cost: those that touch one, and no other.
fn survivors(sent: &Sent, lost: &BTreeSet<usize>) -> Vec<Vec<u8>> {
    let room = FRAME_BYTES - 8;
    let mut at = 0;
    let alive = sent.packets.iter().filter(|packet| {
        let touched = at / room..=(at + packet.len() - 1) / room;
        at += packet.len();
        !touched.into_iter().any(|frame| lost.contains(&frame))
    });
    alive.cloned().collect()
}

/// Each frame that is lost costs the packets in it, and is counted; so is each packet.
#[test]
fn lost_frames_cost_what_was_in_them_and_are_counted() {
    for seed in 1..200 {
        let sent = sent(seed, 150, false);
        let mut chance = Chance::new(seed + 1000);
        // Neither the first nor the last: what is missing there no count can tell.
        let lost: BTreeSet<usize> = (1..sent.frames.len() - 1)
            .filter(|_| chance.below(6) == 0)
            .collect();
        let kept = sent.frames.iter().enumerate();
        let kept = kept
            .filter(|(at, _)| !lost.contains(at))
            .map(|(_, f)| f.clone());
        let (seen, counts) = decoded(frame_settings(), kept);
        let wanted = survivors(&sent, &lost);
        assert!(seen.packets == wanted, "seed {seed}: {counts:?}");
        assert_eq!(
            seen.lost.get("Channel(3)").copied().unwrap_or(0),
            lost.len() as u64
        );
        for apid in 0..4_u16 {
            let counts_of = |packets: &[Vec<u8>]| -> Vec<u16> {
                let headers = packets.iter().map(|p| Header::read(p).unwrap());
                headers
                    .filter(|h| h.apid == apid)
                    .map(|h| h.count)
                    .collect()
            };
            let arrived = counts_of(&wanted);
            let span = match (arrived.first(), arrived.last()) {
                (Some(first), Some(last)) => u64::from(last - first) + 1,
                _ => 0,
            };
            let gaps = seen
                .lost
                .get(&format!("Apid({apid})"))
                .copied()
                .unwrap_or(0);
            assert_eq!(
                gaps,
                span - arrived.len() as u64,
                "seed {seed}, apid {apid}"
            );
        }
    }
}

#[test]
fn duplicates_and_reordered_frames_are_left_out_and_counted() {
    for seed in 1..200 {
        let sent = sent(seed, 150, false);
        let mut chance = Chance::new(seed);
        let (mut frames, mut doubled) = (Vec::new(), 0);
        for frame in &sent.frames {
            frames.push(frame.clone());
            if chance.below(4) == 0 {
                frames.push(frame.clone());
                doubled += 1;
            }
        }
        let (seen, counts) = decoded(frame_settings(), frames);
        assert!(seen.packets == sent.packets, "seed {seed}");
        assert_eq!((counts.duplicates, counts.lost_frames), (doubled, 0));

        let mut frames = sent.frames.clone();
        let mut late = BTreeSet::new();
        let mut at = 1;
        while at + 5 < frames.len() {
            // Frame `at` comes up to three places too late.
            let by = 1 + chance.below(3);
            frames[at..=at + by].rotate_left(1);
            late.insert(at);
            at += by + 1 + chance.below(6);
        }
        let (seen, counts) = decoded(frame_settings(), frames);
        assert!(
            seen.packets == survivors(&sent, &late),
            "seed {seed}: {counts:?}"
        );
        assert_eq!(
            (counts.late, counts.lost_frames),
            (late.len() as u64, late.len() as u64)
        );
    }
}

/// Bits that are wrong, at the rates of a bad link: what comes out was sent, nothing that was sent whole is missing, and
/// every frame is accounted for.
#[test]
fn random_bit_errors_cost_the_frames_they_hit() {
    for (rate, seeds) in [(100_000, 10), (10_000, 10), (1000, 20), (100, 10)] {
        for seed in 1..=seeds {
            let sent = sent(seed, 200, true);
            let mut chance = Chance::new(seed * 7919 + rate);
            let mut bits = Bits::default();
            let mut hit = BTreeSet::new();
            for (at, frame) in sent.frames.iter().enumerate() {
                let start = bits.0.len();
                bits.marked(frame);
                for (place, bit) in bits.0[start..].iter_mut().enumerate() {
                    if chance.below(usize::try_from(rate).unwrap()) == 0 {
                        *bit = !*bit;
                        if place >= 32 {
                            hit.insert(at);
                        }
                    }
                }
            }
            let (seen, counts) = decoded(stream_settings(), [bits.bytes()]);
            let strangers = seen
                .packets
                .iter()
                .filter(|p| !sent.packets.contains(p))
                .count();
            assert_eq!(strangers, 0, "1 in {rate}, seed {seed}");
            let total = sent.frames.len() as u64;
            if rate >= 1000 {
                // The rest of the chain works frame by frame, so that what is not hit comes out.
                assert!(
                    seen.packets == survivors(&sent, &hit),
                    "1 in {rate}, seed {seed}: {counts:?}"
                );
                assert_eq!(
                    counts.frames,
                    total - hit.len() as u64,
                    "1 in {rate}, seed {seed}"
                );
                assert_eq!(
                    counts.checksum,
                    hit.len() as u64,
                    "1 in {rate}, seed {seed}"
                );
            } else {
                assert!(counts.frames <= total - hit.len() as u64, "{counts:?}");
            }
        }
    }
}

/// Pieces cut out, put in twice, put in from elsewhere: frames that are whole come out, whatever was before them.
#[test]
fn slips_and_truncations_cost_the_frames_they_touch() {
    for seed in 1..60 {
        let sent = sent(seed, 150, true);
        let mut chance = Chance::new(seed + 5);
        let mut bits = Bits::default();
        let mut whole = 0;
        for frame in &sent.frames {
            let mut one = Bits::default();
            one.marked(frame);
            match chance.below(6) {
                // Not by so little that the next marker's zeros make up for it.
                0 => one.0.truncate(chance.below(one.0.len() - 8)),
                1 => {
                    let (at, length) = (33 + chance.below(200), 1 + chance.below(40));
                    one.0.drain(at..at + length);
                }
                2 => {
                    let at = 33 + chance.below(900);
                    let more: Vec<bool> = (0..=chance.below(40)).map(|n| n % 3 == 0).collect();
                    one.0.splice(at..at, more);
                }
                _ => whole += 1,
            }
            bits.0.extend(one.0);
        }
        let (seen, counts) = decoded(stream_settings(), [bits.bytes()]);
        assert_eq!(counts.frames, whole, "seed {seed}: {counts:?}");
        assert!(
            seen.packets.iter().all(|p| sent.packets.contains(p)),
            "seed {seed}"
        );
    }
}

#[test]
fn hostile_bytes_never_stop_it() {
    let mut chance = Chance::new(99);
    for round in 0..300 {
        let sent = sent(round, 20, false);
        let mut all = sent.frames;
        for frame in &mut all {
            // Lengths, pointers and versions that lie, with no checksum to say so.
            for _ in 0..chance.below(6) {
                let at = chance.below(frame.len().min(40));
                frame[at] = chance.next().to_be_bytes()[0];
            }
            let length = chance.below(frame.len() + 1);
            if chance.below(3) == 0 {
                frame.truncate(length);
            }
        }
        let settings = Settings {
            input: Input::Frames(framing(false, false)),
            packet_bytes_max: 300,
            join_segments: true,
        };
        let (seen, counts) = decoded(settings, all.clone());
        assert!(seen.packets.iter().all(|packet| packet.len() <= 65_542));
        assert_eq!(counts.checksum, 0);
        let settings = Settings {
            input: Input::Packets,
            ..frame_settings()
        };
        drop(decoded(settings, all));
    }
}

#[test]
fn a_frame_from_nowhere_begins_no_channel_beyond_the_bound() {
    let frames = (0..200_u16).map(|spacecraft| {
        let mut frame = vec![0; 20];
        frame[..2].copy_from_slice(&(spacecraft << 4).to_be_bytes());
        frame[4..6].copy_from_slice(&[0x1f, 0xff]);
        frame
    });
    let settings = Settings {
        input: Input::Frames(framing(false, false)),
        ..frame_settings()
    };
    let (_, counts) = decoded(settings, frames);
    assert_eq!(
        (counts.frames, counts.channels),
        (CHANNELS_MAX as u64, 200 - CHANNELS_MAX as u64)
    );
}

#[test]
fn idle_and_foreign_packets_are_counted_and_left_out() {
    let mut bytes = packet(0x7ff, 0, Part::Whole, &[1; 9]);
    bytes.extend(packet(1, 7, Part::Whole, &[2]));
    bytes.extend(packet(1, 8, Part::Whole, &vec![3; 5000]));
    bytes.extend(packet(1, 9, Part::Whole, &[4]));
    bytes.extend([0xe0, 0, 0, 0, 0, 0, 0]);
    let settings = Settings {
        input: Input::Packets,
        ..frame_settings()
    };
    let (seen, counts) = decoded(settings, [bytes]);
    assert_eq!(seen.packets.len(), 2);
    assert_eq!(seen.lost["Apid(1)"], 1);
    let found = (
        counts.idle_packets,
        counts.long_packets,
        counts.other_packets,
        counts.packets,
    );
    assert_eq!(found, (1, 1, 1, 2));
}

#[test]
fn segments_become_one_packet() {
    let unit = |counts: &[(u16, Part, &[u8])]| -> (Seen, Counts) {
        let pieces = counts
            .iter()
            .map(|(count, part, data)| packet(5, *count, *part, data));
        let settings = Settings {
            input: Input::Packets,
            join_segments: true,
            ..frame_settings()
        };
        decoded(settings, pieces.collect::<Vec<_>>())
    };
    let (seen, _) = unit(&[
        (1, Part::First, b"ab"),
        (2, Part::Middle, b"cd"),
        (3, Part::Last, b"e"),
        (4, Part::Whole, b"f"),
    ]);
    let wanted = [
        packet(5, 1, Part::Whole, b"abcde"),
        packet(5, 4, Part::Whole, b"f"),
    ];
    assert_eq!(seen.packets, wanted);
    // One in between is missing: nothing is made of the rest.
    let (seen, counts) = unit(&[
        (1, Part::First, b"ab"),
        (3, Part::Last, b"e"),
        (4, Part::Whole, b"f"),
    ]);
    assert_eq!(seen.packets, [packet(5, 4, Part::Whole, b"f")]);
    assert_eq!((counts.cut_packets, counts.lone_segments), (1, 1));
    // A first one after a first one.
    let (seen, counts) = unit(&[
        (1, Part::First, b"ab"),
        (2, Part::First, b"c"),
        (3, Part::Last, b"d"),
    ]);
    assert_eq!(seen.packets, [packet(5, 2, Part::Whole, b"cd")]);
    assert_eq!(counts.cut_packets, 1);
    // More than a packet can hold.
    let long = vec![0; 40_000];
    let settings = Settings {
        input: Input::Packets,
        packet_bytes_max: 65_542,
        join_segments: true,
    };
    let pieces =
        [Part::First, Part::Last].map(|part| packet(5, u16::from(part == Part::Last), part, &long));
    let (seen, counts) = decoded(settings, pieces);
    assert_eq!((seen.packets.len(), counts.long_packets), (0, 1));
}

#[test]
fn unfinished_units_are_bounded_together() {
    let settings = Settings {
        input: Input::Packets,
        packet_bytes_max: 65_542,
        join_segments: true,
    };
    let data = vec![0; 60_000];
    let parts = [Part::First, Part::Last];
    let pieces = parts.into_iter().flat_map(|part| {
        let count = u16::from(part == Part::Last);
        (0..100).map(move |apid| (apid, count, part))
    });
    let pieces = pieces.map(|(apid, count, part)| {
        let data = if part == Part::First {
            &data[..]
        } else {
            b"end"
        };
        packet(apid, count, part, data)
    });
    let (seen, counts) = decoded(settings, pieces.collect::<Vec<_>>());
    let fit = crate::telemetry::segments::OPEN_BYTES_MAX / 60_006;
    assert_eq!(seen.packets.len(), fit);
    assert_eq!(
        (counts.long_packets, counts.lone_segments),
        (100 - fit as u64, 100 - fit as u64)
    );
}
