//! Segments and cursors of a store, as a broken disk may leave them. Nothing panics, what is exported is on the disk with
//! its checksum, and the store opens and goes on behind it.
//!
//! An input is one byte of switches, the length of the cursor's part in the next two, that part, and two segments, the
//! first of which has as many bytes as the two after the cursor's say. One switch has every checksum put right first, so
//! that what lies behind them is reached.
#![no_main]

#[path = "buffer/disk.rs"]
mod disk;

use std::path::Path;
use std::sync::Arc;

use disk::Disk;
use dunlin::buffer::{Options, Store, export, inspect, verify};
use dunlin::record::Class;
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/store";
/// Ids and bases of the two segments.
const SEGMENTS: [(u64, u64); 2] = [(1, 0), (2, 40)];
const HEADER_BYTES: usize = 64;
const RECORD_HEADER_BYTES: usize = 16;
/// Kind of a record whose payload is compressed, the last of the kinds.
const PACKED: u8 = 0xd4;

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

/// The checksum of the record at `at` and its length, as src/buffer/mod.rs states the format; `None` where no record can
/// be.
fn record(segment: &[u8], id: u64, at: usize) -> Option<(u32, usize)> {
    if at + RECORD_HEADER_BYTES > segment.len() || !(0xd1..=PACKED).contains(&segment[at + 3]) {
        return None;
    }
    let payload = (word(segment, at) & 0x00ff_ffff) as usize;
    let whole = (payload + RECORD_HEADER_BYTES).next_multiple_of(8);
    let bytes = segment.get(at..at + whole)?;
    let said = [
        &id.to_le_bytes()[..],
        &(at as u64).to_le_bytes(),
        &bytes[..4],
        &bytes[8..],
    ];
    Some((crc32c::crc32c(&said.concat()), whole))
}

fn seal(block: &mut [u8]) {
    if block.len() >= 64 {
        let sum = crc32c::crc32c(&block[..60]);
        block[60..64].copy_from_slice(&sum.to_le_bytes());
    }
}

fn seal_records(segment: &mut [u8], id: u64) {
    seal(segment);
    let mut at = HEADER_BYTES;
    while at + RECORD_HEADER_BYTES <= segment.len() {
        let Some((sum, whole)) = record(segment, id, at) else {
            at += 8;
            continue;
        };
        segment[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        at += whole;
    }
}

/// Whether the payload of a record is that one, as it is or packed.
fn is_of(segment: &[u8], at: usize, payload: &[u8]) -> bool {
    let from = at + RECORD_HEADER_BYTES;
    if segment[at + 3] != PACKED {
        return segment.get(from..from + payload.len()) == Some(payload);
    }
    let bytes = (word(segment, at) & 0x00ff_ffff) as usize;
    let packed = segment.get(from..from + bytes).map(lz4_flex::block::uncompressed_size);
    packed.is_some_and(|packed| {
        packed.is_ok_and(|(size, block)| {
            size == payload.len()
                && lz4_flex::block::decompress(block, size).is_ok_and(|all| all == payload)
        })
    })
}

/// Whether a payload of that position is in the segment, in a record whose checksum is right.
fn holds(segment: &[u8], id: u64, position: u64, payload: &[u8]) -> bool {
    (HEADER_BYTES..segment.len()).step_by(8).any(|at| {
        record(segment, id, at).is_some_and(|(sum, _)| {
            word(segment, at + 4) == sum
                && segment[at + 8..at + 16] == position.to_le_bytes()
                && is_of(segment, at, payload)
        })
    })
}

fuzz_target!(|input: &[u8]| {
    let [switches, low, high, first_low, first_high, rest @ ..] = input else {
        return;
    };
    let (cursor, rest) =
        rest.split_at(rest.len().min(u16::from_le_bytes([*low, *high]).into()));
    let (first, second) =
        rest.split_at(rest.len().min(u16::from_le_bytes([*first_low, *first_high]).into()));
    let (mut cursor, mut segments) = (cursor.to_vec(), [first.to_vec(), second.to_vec()]);
    let sealed = switches & 1 != 0;
    if sealed {
        for slot in cursor.chunks_mut(4096) {
            seal(slot);
        }
        for (segment, (id, _)) in segments.iter_mut().zip(SEGMENTS) {
            seal_records(segment, id);
        }
    }
    let disk = Disk::new();
    let path = |name: &str| Path::new(DIR).join(name);
    disk.put(&path("format"), b"dunlin-buffer 2\n");
    disk.put(&path("bulk/main.cursor"), &cursor);
    for (segment, (id, base)) in segments.iter().zip(SEGMENTS) {
        disk.put(&path(&format!("bulk/{id:016x}-{base:016x}.seg")), segment);
    }
    let mut last = None;
    let looked = export(&disk, Path::new(DIR), &mut |frame| {
        let here = segments.iter().zip(SEGMENTS);
        assert!(
            here.into_iter().any(|(s, (id, _))| holds(s, id, frame.position, &frame.payload)),
            "a record that nobody wrote: {frame:?}"
        );
        // Nobody seals what has a position twice; what a disk breaks has a wrong checksum.
        assert!(sealed || last < Some(frame.position), "positions grow");
        last = Some(frame.position);
        Ok(())
    });
    let _ = (looked, inspect(&disk, Path::new(DIR)), verify(&disk, Path::new(DIR)));
    if switches & 2 == 0 {
        return;
    }
    let options = Options {
        size_max_bytes: 512 << 10,
        segment_bytes: 64 << 10,
        ..Options::default()
    };
    if let Ok((store, _)) = Store::open(Arc::new(disk), Path::new(DIR), options) {
        let pending = store.pending(Class::Bulk);
        assert!(pending.start <= pending.end);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let appended = runtime.map(|runtime| {
            runtime.block_on(store.append(Class::Bulk, vec![b"next".to_vec()]))
        });
        if let Ok(Ok(positions)) = appended {
            assert!(positions.start >= pending.end, "a position is given twice");
        }
    }
});
