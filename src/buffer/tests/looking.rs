//! What `inspect`, `verify` and `export` say is what a reader would see, and what lies on the disk.

use super::super::engine::Engine;
use super::super::fs::Storage as _;
use super::super::fs::faulty::SimDisk;
use super::super::{Batch, Class, Exported, Options, Policy, export, inspect, verify};
use super::model::{DIR, open, open_with, options, release};
use super::picky::{Call, Picky, errno, is_segment};
use super::starts::small;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ENOENT: i32 = 2;
const EIO: i32 = 5;

fn batch(texts: &[&str]) -> [Batch; 1] {
    [texts.iter().collect()]
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files = disk.files(&Path::new(DIR).join("normal"));
    files.retain(|file| is_segment(file));
    files
}

fn exported(disk: &SimDisk) -> Vec<Exported> {
    let mut frames = Vec::new();
    let each = &mut |frame| {
        frames.push(frame);
        Ok(())
    };
    export(disk, Path::new(DIR), each).expect("a directory");
    frames
}

/// Three segments: positions 0 to 2, 3 and 4, 5.
fn three_segments() -> (SimDisk, Engine) {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for texts in [&["zero", "one", "two"][..], &["three", "four"], &["five"]] {
        engine.append(Class::Normal, &batch(texts)).expect("room");
        engine.seal();
    }
    (disk, engine)
}

#[test]
fn inspect_lists_segments_positions_and_cursors() {
    let (disk, mut engine) = three_segments();
    release(&engine.shared(), Class::Normal, 2);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    let report = inspect(&disk, Path::new(DIR)).expect("a directory");
    assert!(report.is_sound());
    let log = &report.logs[1];
    assert_eq!(log.cursors, [("uplink".to_owned(), Some(2))]);
    assert_eq!((log.floor, log.positions.clone()), (0, 0..6));
    let ranges: Vec<_> = log.segments.iter().map(|s| s.positions.clone()).collect();
    assert_eq!(ranges, [0..3, 3..5, 5..6]);
    // Only the last segment is read.
    assert_eq!(log.frames, 1);
    for (segment, file) in log.segments.iter().zip(segments(&disk)) {
        assert_eq!(segment.disk_bytes, disk.bytes(&file).len() as u64);
        assert!(segment.header_good);
    }
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    assert_eq!((report.logs[1].frames, report.is_sound()), (6, true));
}

#[test]
fn what_is_exported_is_what_was_appended() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let packed = "a well packed text ".repeat(20);
    engine.pack(true);
    let texts = ["zero", &packed, "", "three"];
    engine.append(Class::Normal, &batch(&texts)).expect("room");
    release(&engine.shared(), Class::Normal, 2);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    let frames = exported(&disk);
    assert_eq!(frames.len(), texts.len());
    for ((position, frame), text) in (0..).zip(frames).zip(texts) {
        let wanted = Exported {
            class: Class::Normal,
            position,
            released: position < 2,
            gap: false,
            payload: text.into(),
        };
        assert_eq!(frame, wanted);
    }
}

/// Dropped frames are not exported, though their bytes may still be there; the gap that stands for them is, as one.
#[test]
fn what_is_dropped_is_not_exported_and_its_gap_is() {
    let disk = Picky::new(&SimDisk::new(), |call, path| {
        // No segment can be unlinked: what is dropped stays.
        if call == Call::Remove && is_segment(path) {
            return Err(errno(EIO));
        }
        Ok(())
    });
    let options = Options {
        on_drop: Some(Arc::new(|_| Some(b"gap".to_vec()))),
        ..options(Policy::DropOldest)
    };
    let dir = Path::new(DIR);
    let mut engine = open_with(&disk, options);
    engine
        .append(Class::Normal, &batch(&["zero", "one"]))
        .expect("room");
    engine.seal();
    let large = "x".repeat(60_000);
    while engine.append(Class::Normal, &batch(&[&large])).is_ok() {}
    drop(engine);
    let report = verify(&disk.disk, dir).expect("a directory");
    assert_eq!(report.logs[1].floor, 2);
    let frames = exported(&disk.disk);
    assert_eq!(frames[0].position, 2);
    let gaps: Vec<&Exported> = frames.iter().filter(|frame| frame.gap).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].payload, b"gap");
    assert_eq!(gaps[0].position, frames[frames.len() - 1].position);
}

/// Each missing position is named, in the middle of a segment and at its end.
#[test]
fn verify_names_the_positions_that_are_lost() {
    for (text, lost) in [
        ("one", 1..2),
        ("two", 2..3),
        ("three", 3..4),
        ("four", 4..5),
    ] {
        let (disk, engine) = three_segments();
        drop(engine);
        for file in segments(&disk) {
            disk.damage(&file, |bytes| {
                let at = bytes.windows(text.len()).position(|b| b == text.as_bytes());
                if let Some(at) = at {
                    bytes[at] ^= 1;
                }
            });
        }
        let report = verify(&disk, Path::new(DIR)).expect("a directory");
        let log = &report.logs[1];
        assert_eq!(log.lost, std::slice::from_ref(&lost), "{text}");
        assert_eq!((log.frames, log.positions.clone()), (5, 0..6), "{text}");
        assert_eq!((log.damage(), report.is_sound()), (1, false), "{text}");
        let positions: Vec<u64> = exported(&disk).iter().map(|f| f.position).collect();
        let wanted: Vec<u64> = (0..6).filter(|at| !lost.contains(at)).collect();
        assert_eq!(positions, wanted, "{text}");
    }
}

/// Its end is where the next one begins, whatever is left of it.
#[test]
fn a_segment_that_was_cut_short_lost_its_last_frames() {
    let (disk, engine) = three_segments();
    drop(engine);
    // A header and one frame are left of each, and the last has only just been begun.
    for (file, bytes) in segments(&disk).iter().zip([64 + 24, 64 + 24, 64]) {
        disk.damage(file, |stored| stored.truncate(bytes));
    }
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    let log = &report.logs[1];
    assert_eq!(log.lost, [1..3, 4..5]);
    assert_eq!((log.frames, log.positions.clone()), (2, 0..5));
    assert!(!report.is_sound());
}

/// What was never committed is a torn tail and no damage, whatever lies in it.
#[test]
fn what_was_not_committed_is_torn_and_not_damaged() {
    let (disk, file, end) = small(true);
    // Of the second group the first frame is damaged and the commit is missing.
    disk.damage(&file, |stored| {
        let at = stored.windows(3).position(|bytes| bytes == b"one");
        stored[at.expect("the frame")] ^= 1;
        stored.truncate(end - 24);
    });
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    let log = &report.logs[1];
    assert_eq!((log.damage(), log.frames, report.is_sound()), (0, 1, true));
    assert_eq!((log.positions.clone(), log.lost.len()), (0..1, 0));
    assert_eq!(log.segments[0].torn_bytes, 48);
}

/// A gap frame without its commit is not there: the drop that it tells of was not done.
#[test]
fn a_gap_that_was_not_committed_is_torn() {
    let disk = SimDisk::new();
    let options = Options {
        on_drop: Some(Arc::new(|_| Some(b"a gap...".to_vec()))),
        ..options(Policy::DropOldest)
    };
    let dir = Path::new(DIR);
    let mut engine = open_with(&disk, options);
    let large = "x".repeat(60_000);
    for _ in 0..6 {
        engine
            .append(Class::Normal, &batch(&[&large]))
            .expect("a drop");
    }
    drop(engine);
    // The last segment is what made the drop necessary; the one before ends in the gap.
    let mut files = segments(&disk);
    let last = files.pop().expect("a segment");
    disk.remove(&last).expect("a file");
    disk.damage(&files[files.len() - 1], |stored| {
        stored.truncate(stored.len() - 24);
    });
    let report = verify(&disk, dir).expect("a directory");
    let log = &report.logs[1];
    let segment = &log.segments[log.segments.len() - 1];
    assert_eq!((segment.frames, segment.torn_bytes), (1, 16 + 8));
}

/// A segment that was only just begun has no header yet, and that is no damage.
#[test]
fn a_segment_without_a_frame_need_not_have_a_header() {
    let (disk, engine) = three_segments();
    drop(engine);
    disk.damage(&segments(&disk)[2], |stored| stored.fill(0));
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    let log = &report.logs[1];
    assert_eq!((log.damage(), log.frames, report.is_sound()), (0, 5, true));
}

/// A damaged header costs no frame, and is told, in `verify` alone.
#[test]
fn a_damaged_header_is_damage() {
    let (disk, engine) = three_segments();
    drop(engine);
    for file in &segments(&disk)[..2] {
        disk.damage(file, |bytes| bytes[0] ^= 1);
    }
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    let log = &report.logs[1];
    assert_eq!((log.damage(), log.frames, report.is_sound()), (2, 6, false));
    assert_eq!(log.lost, vec![]);
    let good: Vec<bool> = log.segments.iter().map(|s| s.header_good).collect();
    assert_eq!(good, [false, false, true]);
}

/// A segment may be released and unlinked while somebody looks: that is no error and no loss. A disk that fails is one.
#[test]
fn a_segment_that_goes_while_we_look_is_passed_over() {
    for (code, is_ok) in [(ENOENT, true), (EIO, false)] {
        let (disk, engine) = three_segments();
        drop(engine);
        let first = segments(&disk).remove(0);
        let file = first.clone();
        let picky = Picky::new(&disk, move |call, path| {
            if call == Call::Open && path == file {
                return Err(errno(code));
            }
            Ok(())
        });
        match verify(&picky, Path::new(DIR)) {
            Ok(report) => {
                let log = &report.logs[1];
                assert!(is_ok);
                assert_eq!((log.frames, log.segments.len()), (3, 2));
                assert_eq!((log.lost.len(), log.positions.clone()), (0, 0..6));
            }
            Err(error) => {
                assert!(!is_ok, "{error}");
                let name = first.display().to_string();
                assert!(error.to_string().contains(&name), "{error}");
            }
        }
    }
}
