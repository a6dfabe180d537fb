//! What is kept, reserved and taken away: files of segments, spares and cursors; and what is not written for nothing.

use super::super::engine::Engine;
use super::super::fs::faulty::SimDisk;
use super::super::{Batch, Class, Error, Options, Policy};
use super::model::{DIR, open, open_leaving_a_mib, options, read_all, release};
use super::picky::{Call, Picky, errno, is_segment};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const SEGMENT_BYTES: usize = 1 << 16;

/// A group of one payload, that takes so many bytes with its record and its commit.
fn group(bytes: usize) -> [Batch; 1] {
    [[vec![7; bytes - 16 - 24]].into_iter().collect()]
}

fn append(engine: &mut Engine, class: Class, bytes: usize) {
    engine.append(class, &group(bytes)).expect("room");
}

fn files(disk: &SimDisk, ending: &str) -> Vec<PathBuf> {
    let mut files = disk.files(&Path::new(DIR).join("normal"));
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files
}

/// A disk that answers so when a file with this ending is removed.
fn removing(ending: &'static str, code: i32) -> Picky {
    Picky::new(&SimDisk::new(), move |call, path| {
        if call == Call::Remove && path.to_string_lossy().ends_with(ending) {
            return Err(errno(code));
        }
        Ok(())
    })
}

/// The two slots are there from the first write on, and a write never touches the one that holds the newest value.
#[test]
fn a_torn_cursor_costs_one_step() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let path = Path::new(DIR).join("normal/uplink.cursor");
    let mut written: Vec<(usize, Vec<u8>)> = Vec::new();
    for released in 1..=9 {
        let before = released > 1;
        let old = if before {
            disk.bytes(&path)
        } else {
            vec![0; 4096 + 64]
        };
        append(&mut engine, Class::Normal, 100);
        release(&engine.shared(), Class::Normal, released);
        engine.flush_cursors().expect("a cursor");
        let new = disk.bytes(&path);
        assert_eq!(new.len(), 4096 + 64);
        let changed = [0, 4096].map(|at| new[at..at + 64] != old[at..at + 64]);
        assert_eq!(changed.iter().filter(|c| **c).count(), 1, "{released}");
        let at = if changed[0] { 0 } else { 4096 };
        written.push((at, new[at..at + 64].to_vec()));
        if before {
            let torn = disk.after_crash(released);
            torn.damage(&path, |bytes| bytes[at..at + 32].fill(0xff));
            let (engine, _) = open(&torn, Policy::DropOldest).expect("a start");
            let found = engine.shared().log(Class::Normal).view().released;
            assert_eq!(found, released - 1);
        }
    }
    assert!(written.windows(2).all(|pair| pair[0].0 != pair[1].0));
}

/// A restart with nothing to release leaves the cursor as it is.
#[test]
fn a_cursor_that_did_not_move_is_not_written() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    append(&mut engine, Class::Normal, 100);
    release(&engine.shared(), Class::Normal, 1);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a start");
    let before = disk.ops().len();
    engine.flush_cursors().expect("nothing to do");
    assert_eq!(disk.ops().len(), before);
    // A new file, with both its slots, takes the place of one that was found.
    append(&mut engine, Class::Normal, 100);
    release(&engine.shared(), Class::Normal, 2);
    engine.flush_cursors().expect("a cursor");
    let path = Path::new(DIR).join("normal/uplink.cursor");
    assert_eq!(disk.bytes(&path).len(), 4096 + 64);
}

/// Blocks are reserved before a byte is written, so that no group finds the disk full; a spare has them.
#[test]
fn a_segment_has_its_blocks_before_it_is_written() {
    let reserved = Arc::new(AtomicUsize::new(0));
    let counter = reserved.clone();
    let picky = Picky::new(&SimDisk::new(), move |call, path| {
        if call == Call::Allocate && is_segment(path) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let (mut engine, _) = open(&picky, Policy::DropOldest).expect("a new store");
    append(&mut engine, Class::Normal, 40_000);
    let file = files(&picky.disk, ".seg").remove(0);
    assert_eq!(picky.disk.bytes(&file).len(), SEGMENT_BYTES);
    append(&mut engine, Class::Normal, SEGMENT_BYTES - 64);
    append(&mut engine, Class::Normal, 40_000);
    release(&engine.shared(), Class::Normal, u64::MAX);
    engine.flush_cursors().expect("a cursor");
    let before = reserved.load(Ordering::Relaxed);
    append(&mut engine, Class::Normal, 40_000);
    assert_eq!(engine.shared().stats().segments_recycled, 1);
    assert_eq!(reserved.load(Ordering::Relaxed), before);
}

/// A spare takes nothing of the free space, so it may be used where there is too little.
#[test]
fn a_spare_needs_no_free_space() {
    let disk = SimDisk::new();
    let mut engine = open_leaving_a_mib(&disk);
    for _ in 0..2 {
        append(&mut engine, Class::Normal, SEGMENT_BYTES - 64);
    }
    release(&engine.shared(), Class::Normal, u64::MAX);
    engine.flush_cursors().expect("a cursor");
    disk.set_free(0);
    append(&mut engine, Class::Normal, 100);
    let refused = engine.append(Class::Normal, &group(SEGMENT_BYTES - 64));
    refused.expect_err("a new file would take what is to be left alone");
}

/// Zeros reach for sixteen groups and to the end of a page; more are written when they are used up, and not before.
#[test]
fn zeros_are_written_when_the_last_ones_are_used() {
    let options = Options {
        segment_bytes: 1 << 20,
        size_max_bytes: 8 << 20,
        ..options(Policy::DropOldest)
    };
    let disk = Arc::new(SimDisk::new());
    let (mut engine, _) = Engine::open(disk, Path::new(DIR), options).expect("a new store");
    let mut wrote = |bytes| {
        let shared = engine.shared();
        let before = shared.stats().bytes_written;
        append(&mut engine, Class::Normal, bytes);
        shared.stats().bytes_written - before
    };
    // Header and group are 128 bytes, which is a page a group.
    let ahead = 17 * 4096;
    assert_eq!(wrote(64), ahead);
    let rest = usize::try_from(ahead).expect("small") - 128 - 64;
    assert_eq!(wrote(rest), rest as u64);
    assert_eq!(wrote(64), 64, "it ends where the zeros do");
    // The largest group that zeros are written behind; the next takes exactly those.
    assert_eq!(wrote(32 << 10), 17 * (32 << 10));
    assert_eq!(wrote(16 * (32 << 10)), 16 * (32 << 10));
    let larger = (32 << 10) + 8;
    assert_eq!(wrote(larger), larger as u64);
}

/// A file that never held anything is taken away with the group that it refused.
#[test]
fn a_segment_whose_first_write_fails_leaves_nothing() {
    let picky = Picky::new(&SimDisk::new(), |call, path| {
        if call == Call::Write && is_segment(path) {
            return Err(errno(EIO));
        }
        Ok(())
    });
    let (mut engine, _) = open(&picky, Policy::DropOldest).expect("a new store");
    let refused = engine.append(Class::Normal, &group(100));
    refused.expect_err("no write succeeds");
    assert_eq!(files(&picky.disk, ".seg"), Vec::<PathBuf>::new());
    let stats = engine.shared().stats();
    assert_eq!((stats.segments, stats.disk_bytes), (0, 0));
    assert_eq!(stats.segments_poisoned, 2);
}

/// Two small segments, of which the first is released to its end.
fn released_segment(disk: &Picky) -> Engine {
    let (mut engine, _) = open(disk, Policy::DropOldest).expect("a new store");
    for _ in 0..2 {
        append(&mut engine, Class::Normal, 100);
        engine.seal();
    }
    release(&engine.shared(), Class::Normal, 1);
    engine
}

/// A segment goes when all of it is released, whoever took its file away; a small one is not worth keeping as a spare.
#[test]
fn a_released_segment_is_unlinked() {
    for disk in [Picky::willing(&SimDisk::new()), removing(".seg", ENOENT)] {
        let mut engine = released_segment(&disk);
        let before = files(&disk.disk, ".seg");
        engine.flush_cursors().expect("a cursor");
        let stats = engine.shared().stats();
        assert_eq!((stats.segments, stats.frames_stored), (1, 1));
        assert_eq!(files(&disk.disk, ".spare"), Vec::<PathBuf>::new());
        assert!(before.len() == 2 && stats.disk_bytes < 1000);
    }
}

/// What the disk does not let go is still counted, and tried again.
#[test]
fn a_segment_that_cannot_be_unlinked_still_takes_space() {
    let disk = removing(".seg", EIO);
    let mut engine = released_segment(&disk);
    let before = engine.shared().stats().disk_bytes;
    for _ in 0..2 {
        let error = engine.flush_cursors().expect_err("it stays");
        let first = files(&disk.disk, ".seg").remove(0).display().to_string();
        assert!(error.to_string().contains(&first), "{error}");
        let stats = engine.shared().stats();
        assert_eq!((stats.segments, stats.disk_bytes), (2, before));
    }
    assert_eq!(read_all(&engine.shared(), Class::Normal).frames.len(), 1);
}

/// A spare that makes room for data is gone before the room is used, and somebody may have taken it away.
#[test]
fn a_spare_that_gives_way_is_unlinked_first() {
    for (code, is_ok) in [(ENOENT, true), (EIO, false)] {
        let disk = removing(".spare", code);
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        for _ in 0..3 {
            append(&mut engine, Class::Normal, SEGMENT_BYTES - 64);
        }
        release(&engine.shared(), Class::Normal, u64::MAX);
        engine.flush_cursors().expect("a cursor");
        let mut full = (0..4).map(|_| engine.append(Class::Critical, &group(SEGMENT_BYTES - 64)));
        let error = full.find_map(Result::err);
        assert_eq!(error.is_none(), is_ok, "{error:?}");
        assert!(error.is_none_or(|e| e.to_string().contains(".spare")));
    }
}

/// The last segment of the size is left for gap frames, also where only higher classes could be dropped.
#[test]
fn the_last_segment_is_left_for_gap_frames() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for _ in 0..5 {
        append(&mut engine, Class::Critical, SEGMENT_BYTES - 64);
    }
    append(&mut engine, Class::Normal, SEGMENT_BYTES - 64);
    append(&mut engine, Class::Bulk, SEGMENT_BYTES - 64);
    for class in [Class::Bulk, Class::Normal] {
        let full = engine.append(class, &group(100));
        assert!(matches!(full, Err(Error::Full)), "{full:?}");
    }
    let stats = engine.shared().stats();
    assert_eq!((stats.disk_bytes, stats.frames_dropped), (7 << 16, 0));
    append(&mut engine, Class::Critical, SEGMENT_BYTES - 64);
    assert!(engine.shared().stats().disk_bytes <= 8 << 16);
}

#[test]
fn an_append_of_exactly_its_bound_is_taken() {
    let exact: Batch = vec![vec![7; 1000 - 16], vec![7; 1000 - 16]].into();
    assert_eq!((exact.len(), exact.bytes()), (2, 2000 - 32));
    exact.check(2000).expect("as much as there may be");
    exact.check(1999).expect_err("a byte more");
}
