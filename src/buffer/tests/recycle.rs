//! Segments that are released and become new ones: their blocks are written over.

use super::super::engine::Engine;
use super::super::format::{SegmentHeader, Stamp};
use super::super::fs::faulty::{Fault, Op, SimDisk};
use super::super::reader::{Chunk, Place};
use super::super::{Batch, Class, Policy, verify};
use super::model::{DIR, open, read_all, release};
use std::path::{Path, PathBuf};

const EIO: i32 = 5;

fn batch(text: &str) -> [Batch; 1] {
    [[text].into_iter().collect()]
}

/// A frame that takes nearly half a segment, so that each segment holds two.
fn large(number: u64) -> String {
    format!("{number} {}", "x".repeat(30_000))
}

fn append(engine: &mut Engine, numbers: std::ops::Range<u64>) {
    for number in numbers {
        engine
            .append(Class::Normal, &batch(&large(number)))
            .expect("room");
    }
}

fn release_all(engine: &mut Engine) {
    release(&engine.shared(), Class::Normal, u64::MAX);
    engine.flush_cursors().expect("a cursor");
}

/// Files of the class normal whose name ends so.
fn files(disk: &SimDisk, ending: &str) -> Vec<PathBuf> {
    let files = disk.files(&Path::new(DIR).join("normal"));
    let ends = |file: &PathBuf| file.to_string_lossy().ends_with(ending);
    files.into_iter().filter(ends).collect()
}

#[test]
fn released_segments_are_written_over() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    append(&mut engine, 0..8);
    let creates = |disk: &SimDisk| disk.ops().iter().filter(|op| **op == Op::Create).count();
    release_all(&mut engine);
    let before = creates(&disk);
    for round in 1..20 {
        append(&mut engine, 8 * round..8 * round + 2);
        release_all(&mut engine);
        assert_eq!(files(&disk, ".spare").len(), 2, "no more are kept");
    }
    let stats = engine.shared().stats();
    assert_eq!(stats.segments_recycled, 19);
    assert_eq!(creates(&disk), before, "no file is new");
    assert_eq!(stats.frames_dropped, 0);
    append(&mut engine, 200..201);
    let shared = engine.shared();
    let seen = read_all(&shared, Class::Normal);
    assert_eq!((seen.frames.len(), seen.lost), (1, vec![]));
    drop(engine);
    let spares = files(&disk, ".spare");
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    assert!(report.is_sound(), "{report:?}");
    let torn: u64 = report.logs[1].segments.iter().map(|s| s.torn_bytes).sum();
    assert_eq!(torn, 0, "what an older life left is not torn");
    let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
    assert_eq!(recovery.logs[1].torn_bytes, 0);
    assert!(spares.iter().all(|spare| !disk.has(spare)));
    let seen = read_all(&engine.shared(), Class::Normal);
    assert_eq!(seen.frames[0].payload, large(200).as_bytes());
}

#[test]
fn a_segment_that_a_reader_holds_is_not_written_over() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    append(&mut engine, 0..3);
    let shared = engine.shared();
    let (mut place, mut chunk) = (Place::default(), Chunk::default());
    place
        .read(&shared, Class::Normal, 0, (1, 1), &mut chunk)
        .expect("a frame");
    // Another reader has delivered all.
    release_all(&mut engine);
    for round in 1..6 {
        append(&mut engine, 10 * round..10 * round + 4);
        release_all(&mut engine);
    }
    let (_, file, _) = place.open.as_ref().expect("an open segment");
    let mut bytes = vec![0; 2 * large(1).len() + 200];
    let read = super::super::fs::read_full(file.as_ref(), &mut bytes, 0).expect("a file");
    let text = String::from_utf8_lossy(&bytes[..read]);
    assert!(text.contains("0 xxx") && text.contains("1 xxx"));
}

/// What a failed write or sync left in it is unknown.
#[test]
fn a_poisoned_segment_is_not_written_over() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    append(&mut engine, 0..2);
    disk.fail(disk.ops().len() + 1, Fault::Once(EIO));
    engine
        .append(Class::Normal, &batch("x"))
        .expect("a new segment");
    assert_eq!(engine.shared().stats().segments_poisoned, 1);
    release_all(&mut engine);
    assert_eq!(files(&disk, ".spare"), Vec::<PathBuf>::new());
    assert_eq!(files(&disk, ".seg").len(), 1);
}

/// A crash may leave a file under its new name with the header of what it was: that is another segment's.
#[test]
fn a_header_of_an_older_life_says_nothing() {
    let header = SegmentHeader {
        class: Class::Normal,
        recycled: false,
        id: 5,
        base: 40,
        floor: 7,
        begun: Stamp::default(),
    };
    let bytes = header.encode();
    assert_eq!(SegmentHeader::of(&bytes, 5), Some(header));
    assert_eq!(SegmentHeader::of(&bytes, 6), None);
}

/// Spare files are part of the size, and go before any data does.
#[test]
fn spare_files_give_way_to_data() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    append(&mut engine, 0..6);
    release_all(&mut engine);
    assert_eq!(files(&disk, ".spare").len(), 2);
    for number in 0..8 {
        engine
            .append(Class::Critical, &batch(&large(number)))
            .expect("room");
        let stats = engine.shared().stats();
        assert_eq!(stats.frames_dropped, 0);
        assert!(stats.disk_bytes <= 8 << 16, "{stats:?}");
    }
    assert_eq!(files(&disk, ".spare"), Vec::<PathBuf>::new());
}

/// A name that cannot be changed, or not durably, costs the spare and nothing else.
#[test]
fn a_spare_that_cannot_be_renamed_is_given_up() {
    // After the cut of the segment before: the rename, the sync of the directory.
    for after in 1..3 {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        append(&mut engine, 0..6);
        release_all(&mut engine);
        disk.fail(disk.ops().len() + after, Fault::Once(EIO));
        append(&mut engine, 6..8);
        let stats = engine.shared().stats();
        assert_eq!(stats.segments_recycled, 0, "fault {after}");
        assert_eq!(stats.segments_poisoned, 0, "fault {after}");
        for seed in 0..32 {
            let (engine, _) = open(&disk.after_crash(seed), Policy::DropOldest).expect("a start");
            let chunk = read_all(&engine.shared(), Class::Normal);
            assert_eq!((chunk.frames.len(), chunk.lost), (2, vec![]), "seed {seed}");
        }
    }
}

/// As an agent of format 1 left it: the version in `format` and in each header, and no stamps.
fn to_format_1(disk: &SimDisk) {
    disk.damage(&Path::new(DIR).join("format"), |bytes| {
        *bytes = b"dunlin-buffer 1\n".to_vec();
    });
    for class in Class::ALL {
        for file in disk.files(&Path::new(DIR).join(class.name())) {
            if file.extension().is_some_and(|e| e == "seg") {
                disk.damage(&file, |bytes| {
                    bytes[8] = 1;
                    bytes[40..60].fill(0);
                    let sum = crc32c::crc32c(&bytes[..60]);
                    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
                });
            }
        }
    }
}

#[test]
fn a_log_of_format_1_is_read_and_goes_on_as_format_2() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    append(&mut engine, 0..5);
    release(&engine.shared(), Class::Normal, 2);
    engine.flush_cursors().expect("a cursor");
    engine.seal();
    drop(engine);
    to_format_1(&disk);
    // The power may go at any moment of the first start.
    for at in 0.. {
        let upgraded = disk.after_crash(0);
        upgraded.fail(at, Fault::Crash);
        let is_open = open(&upgraded, Policy::DropOldest).is_ok();
        for seed in 0..8 {
            let note = format!("operation {at}, damage seed {seed}");
            let after = upgraded.after_crash(seed);
            let (mut engine, _) = open(&after, Policy::DropOldest).expect(&note);
            append(&mut engine, 5..7);
            let chunk = read_all(&engine.shared(), Class::Normal);
            assert_eq!(chunk.lost, vec![], "{note}");
            let positions: Vec<u64> = chunk.frames.iter().map(|f| f.position).collect();
            assert_eq!(positions, [2, 3, 4, 5, 6], "{note}");
            let format = after.bytes(&Path::new(DIR).join("format"));
            assert_eq!(format, b"dunlin-buffer 2\n", "{note}");
            // Its segments become new ones as any.
            release_all(&mut engine);
            append(&mut engine, 7..11);
            assert!(engine.shared().stats().segments_recycled > 0, "{note}");
        }
        if is_open {
            break;
        }
    }
}
