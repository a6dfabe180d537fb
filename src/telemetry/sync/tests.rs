use super::*;
use crate::telemetry::testing::{Bits, Chance};

const BYTES: usize = 40;

fn settings() -> Settings {
    Settings {
        marker: Marker::CCSDS,
        frame_bytes: BYTES,
        marker_errors_max: 2,
        flywheel_frames: 1,
    }
}

fn frames(count: usize) -> Vec<Vec<u8>> {
    let mut chance = Chance::new(7);
    (0..count).map(|_| chance.bytes(BYTES)).collect()
}

fn stream(frames: &[Vec<u8>]) -> Bits {
    let mut bits = Bits::default();
    for frame in frames {
        bits.marked(frame);
    }
    bits
}

/// What is found in a stream that comes in pieces of so many bytes; frames that were sent are accepted.
fn found(
    settings: Settings,
    bytes: &[u8],
    piece: usize,
    sent: &[Vec<u8>],
) -> (Vec<Vec<u8>>, Counts) {
    let mut sync = Synchroniser::new(settings);
    let (mut all, mut counts) = (Vec::new(), Counts::default());
    let drain = |sync: &mut Synchroniser, all: &mut Vec<Vec<u8>>, counts: &mut Counts| {
        while let Some(frame) = sync.next(counts) {
            let frame = frame.to_vec();
            if sent.contains(&frame) {
                sync.accepted();
            } else {
                sync.rejected();
            }
            all.push(frame);
        }
    };
    for piece in bytes.chunks(piece) {
        sync.push(piece);
        drain(&mut sync, &mut all, &mut counts);
        let held = sync.buffer.len();
        assert!(
            held <= 4 * (BYTES + 4) + piece.len(),
            "{held} bytes are held"
        );
    }
    sync.finish();
    drain(&mut sync, &mut all, &mut counts);
    (all, counts)
}

#[test]
fn every_frame_is_found_at_every_bit_and_in_pieces_of_every_length() {
    let sent = frames(5);
    for lead in (0..20).chain([5000, 5003]) {
        let mut bits = Bits(vec![true; lead]);
        bits.0.extend(stream(&sent).0);
        for piece in [1, 7, 44, 1000] {
            let (all, counts) = found(settings(), &bits.bytes(), piece, &sent);
            assert_eq!(all, sent, "{lead} bits before, pieces of {piece}");
            assert_eq!(counts.skipped_bits, lead as u64);
        }
    }
}

#[test]
fn a_frame_whose_marker_is_hit_is_taken_all_the_same() {
    let sent = frames(6);
    for hits in 1..=32 {
        let mut bits = stream(&sent);
        for hit in 0..hits {
            bits.0[3 * (BYTES + 4) * 8 + hit] ^= true;
        }
        let (all, counts) = found(settings(), &bits.bytes(), 16, &sent);
        assert_eq!(all, sent, "{hits} hits");
        assert_eq!(counts.flywheel, u64::from(hits > 2));
    }
}

/// Bits that are lost, or that come on top, cost the frame they hit and none after it.
#[test]
fn a_slip_costs_one_frame() {
    let sent = frames(6);
    let period = (BYTES + 4) * 8;
    for slip in [1, 2, 3, 7, 8, 9, 31, 100, period / 2, period - 33] {
        for lost in [true, false] {
            for place in [2 * period + 40, 2 * period + 200] {
                let mut bits = stream(&sent);
                if lost {
                    let end = (place + slip).min(3 * period);
                    bits.0.drain(place..end);
                } else {
                    let noise = vec![false; slip];
                    bits.0.splice(place..place, noise);
                }
                let (all, _) = found(settings(), &bits.bytes(), 16, &sent);
                for (at, frame) in sent.iter().enumerate() {
                    let wanted = at != 2;
                    assert_eq!(
                        all.contains(frame),
                        wanted,
                        "frame {at}, {slip} bits at {place}, lost: {lost}"
                    );
                }
            }
        }
    }
}

#[test]
fn one_good_frame_between_two_that_are_cut_is_found() {
    let sent = frames(7);
    let mut bits = Bits::default();
    for (at, frame) in sent.iter().enumerate() {
        let mut one = Bits::default();
        one.marked(frame);
        let keep = if at % 2 == 1 { 150 } else { one.0.len() };
        bits.0.extend(&one.0[..keep]);
    }
    let (all, _) = found(settings(), &bits.bytes(), 16, &sent);
    for at in [0, 2, 4, 6] {
        assert!(all.contains(&sent[at]), "frame {at}");
    }
}

#[test]
fn data_that_looks_like_a_marker_is_passed_over() {
    let mut sent = frames(4);
    for frame in &mut sent {
        frame[9..13].copy_from_slice(&[0x1a, 0xcf, 0xfc, 0x1d]);
    }
    // The stream begins within a frame, so that the first marker to be seen is none.
    let bytes = stream(&sent).bytes()[6..].to_vec();
    let (all, _) = found(settings(), &bytes, 16, &sent);
    assert_eq!(all[all.len() - 2..], sent[2..]);
    assert!(all.contains(&sent[1]), "{all:?}");
}

#[test]
fn an_accepted_frame_is_not_searched() {
    let mut sent = frames(6);
    sent[1][9..13].copy_from_slice(&[0x1a, 0xcf, 0xfc, 0x1d]);
    let mut bits = stream(&sent);
    for at in [2, 3] {
        bits.0[at * (BYTES + 4) * 8..][..20].fill(true);
    }
    let settings = Settings {
        flywheel_frames: 2,
        ..settings()
    };
    let (all, counts) = found(settings, &bits.bytes(), 16, &sent);
    assert_eq!(all, sent);
    assert_eq!((counts.slips, counts.flywheel), (0, 2));
}

/// A marker that another follows is the surer one, and no reason to lose the frame before it.
#[test]
fn a_frame_without_a_follower_is_found_before_one_that_has_it() {
    let sent = frames(6);
    let mut bits = Bits::default();
    for (at, frame) in sent.iter().enumerate() {
        let mut one = Bits::default();
        one.marked(frame);
        let keep = match at {
            1 => 150,
            3 => 10,
            _ => one.0.len(),
        };
        bits.0.extend(&one.0[..keep]);
    }
    let (all, _) = found(settings(), &bits.bytes(), 16, &sent);
    for at in [0, 2, 4, 5] {
        assert!(all.contains(&sent[at]), "frame {at}");
    }
}

#[test]
fn without_any_marker_the_flywheel_ends() {
    let sent = frames(2);
    for flywheel_frames in [0, 1, 5] {
        let mut bytes = stream(&sent).bytes();
        bytes.extend(vec![0; 20 * (BYTES + 4)]);
        let settings = Settings {
            flywheel_frames,
            ..settings()
        };
        let (all, counts) = found(settings, &bytes, 16, &sent);
        assert_eq!(all.len(), 2 + flywheel_frames as usize);
        assert_eq!(counts.flywheel, u64::from(flywheel_frames));
    }
}

#[test]
fn other_markers() {
    for marker in [
        Marker {
            word: 0xeb90,
            bits: 16,
        },
        Marker {
            word: 0x03_5dd2_1973,
            bits: 40,
        },
        Marker {
            word: 0x0347_76c7_2728_95b0,
            bits: 64,
        },
    ] {
        let settings = Settings {
            marker,
            ..settings()
        };
        let sent = frames(3);
        let mut bits = Bits(vec![false; 5]);
        for frame in &sent {
            let word = (0..marker.bits)
                .rev()
                .map(|bit| marker.word >> bit & 1 == 1);
            bits.0.extend(word);
            bits.push(frame);
        }
        let (all, _) = found(settings, &bits.bytes(), 16, &sent);
        assert_eq!(all, sent, "{marker:x?}");
    }
}

/// A stream that is made to give out as much as can be: still no more than twice what came in.
#[test]
fn hostile_streams_are_not_amplified() {
    let mut chance = Chance::new(3);
    for round in 0..200 {
        let mut bytes = Vec::new();
        while bytes.len() < 4000 {
            bytes.extend([0x1a, 0xcf, 0xfc, 0x1d]);
            let gap = match round % 4 {
                0 => 0,
                1 => chance.below(3),
                2 => chance.below(BYTES + 5),
                _ => BYTES / 2,
            };
            bytes.extend(chance.bytes(gap));
        }
        let (all, _) = found(settings(), &bytes, 100, &[]);
        let given: usize = all.iter().map(Vec::len).sum();
        assert!(
            given <= 2 * bytes.len() + 2 * BYTES,
            "{given} of {}, round {round}",
            bytes.len()
        );
    }
}
