//! The size of the store: what goes into a segment, what a drop costs, and who gives way.

use super::super::engine::Engine;
use super::super::format::segment_name;
use super::super::fs::faulty::SimDisk;
use super::super::{Batch, Class, Options, Policy};
use super::model::{DIR, open, open_with, options, read_all, release};
use super::picky::{Call, Picky, errno, is_segment};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

const EIO: i32 = 5;
const SEGMENT_BYTES: usize = 1 << 16;
/// Bytes of the header of a segment, of a record, and of a commit.
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 16;
const COMMIT_BYTES: usize = 24;

/// A group of one payload, that takes so many bytes in all.
fn group(bytes: usize) -> [Batch; 1] {
    let payload = vec![7; bytes - RECORD_BYTES - COMMIT_BYTES];
    [[payload].into_iter().collect()]
}

/// Names of the files of the class normal that end so.
fn files(disk: &SimDisk, ending: &str) -> Vec<PathBuf> {
    let mut files = disk.files(&Path::new(DIR).join("normal"));
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files
}

fn start(disk: &Picky, gap: Option<&'static [u8]>) -> Engine {
    let on_drop: super::super::OnDrop = Arc::new(move |_| gap.map(<[u8]>::to_vec));
    let options = Options {
        on_drop: Some(on_drop),
        ..options(Policy::DropOldest)
    };
    open_with(disk, options)
}

/// Fills five segments with a group each, so that the next group must drop one; `left` bytes stay free in each.
fn fill(engine: &mut Engine, left: usize) {
    for _ in 0..5 {
        let bytes = group(SEGMENT_BYTES - HEADER_BYTES - left);
        engine.append(Class::Normal, &bytes).expect("room");
    }
}

/// Where it was written, a segment is used to its last byte, and not beyond.
#[test]
fn a_group_that_just_fits_ends_its_segment() {
    for (beyond, segments) in [(0, 1), (8, 2)] {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        engine.append(Class::Normal, &group(48)).expect("room");
        let rest = SEGMENT_BYTES - HEADER_BYTES - 48 + beyond;
        engine.append(Class::Normal, &group(rest)).expect("room");
        assert_eq!(engine.shared().stats().segments, segments, "{beyond}");
        let sizes = files(&disk, ".seg").into_iter();
        let longest = sizes.map(|file| disk.bytes(&file).len()).max();
        assert_eq!(longest, Some(SEGMENT_BYTES), "{beyond}");
    }
}

/// A gap frame that just fits needs no segment of its own.
#[test]
fn a_gap_that_just_fits_goes_into_the_segment_that_is_there() {
    let disk = Picky::willing(&SimDisk::new());
    let mut engine = start(&disk, Some(b"8 bytes."));
    fill(&mut engine, RECORD_BYTES + 8 + COMMIT_BYTES);
    engine.append(Class::Normal, &group(1000)).expect("a drop");
    let shared = engine.shared();
    let stats = shared.stats();
    assert_eq!((stats.segments, stats.frames_dropped), (5, 1));
    let chunk = read_all(&shared, Class::Normal);
    let positions: Vec<u64> = chunk.frames.iter().map(|f| f.position).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(chunk.frames[4].payload, &b"8 bytes."[..]);
}

/// A drop that no gap frame tells is committed as any: also where the segment that is written has no room for it.
#[test]
fn a_drop_without_a_gap_frame_is_committed_in_a_segment_with_room() {
    let disk = Picky::willing(&SimDisk::new());
    let mut engine = start(&disk, None);
    fill(&mut engine, 0);
    engine.append(Class::Normal, &group(1000)).expect("a drop");
    let dropped = engine.shared().stats().frames_dropped;
    assert!(dropped > 0);
    drop(engine);
    let engine = start(&Picky::willing(&disk.disk.after_crash(1)), None);
    let chunk = read_all(&engine.shared(), Class::Normal);
    let positions: Vec<u64> = chunk.frames.iter().map(|f| f.position).collect();
    let rest: Vec<u64> = (dropped..6).collect();
    assert_eq!((positions, chunk.lost), (rest, vec![]));
    for file in files(&disk.disk, ".seg") {
        assert!(disk.disk.bytes(&file).len() <= SEGMENT_BYTES);
    }
}

/// A disk on which so many writes to segments fail, once it is told to begin; and how many writes it saw since.
fn failing_writes(times: usize) -> (Picky, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let counter = seen.clone();
    let disk = Picky::new(&SimDisk::new(), move |call, path| {
        let is_armed = counter.load(Ordering::Relaxed) != usize::MAX;
        let counts = is_armed && call == Call::Write && is_segment(path);
        if counts && counter.fetch_add(1, Ordering::Relaxed) < times {
            return Err(errno(EIO));
        }
        Ok(())
    });
    (disk, seen)
}

/// One poisoned segment costs nothing; where the next one fails too, the owner is told instead of segment after segment spent.
#[test]
fn a_group_is_tried_in_two_segments_and_no_more() {
    for (failures, is_stored) in [(1, true), (2, false), (5, false)] {
        let (disk, seen) = failing_writes(failures);
        let mut engine = start(&disk, None);
        engine.append(Class::Normal, &group(100)).expect("room");
        seen.store(0, Ordering::Relaxed);
        let outcome = engine.append(Class::Normal, &group(100));
        assert_eq!(outcome.is_ok(), is_stored, "{failures}: {outcome:?}");
        assert_eq!(seen.load(Ordering::Relaxed), 2, "{failures}");
        let degraded = engine.shared().stats().degraded;
        assert_eq!(degraded.is_none(), is_stored, "{failures}: {degraded:?}");
    }
}

/// The same holds for the group that makes a drop durable.
#[test]
fn a_drop_is_tried_in_two_segments_and_no_more() {
    for (failures, is_stored) in [(1, true), (2, false), (5, false)] {
        let (disk, seen) = failing_writes(failures);
        let mut engine = start(&disk, Some(b"8 bytes."));
        fill(&mut engine, 1000);
        seen.store(0, Ordering::Relaxed);
        let outcome = engine.append(Class::Normal, &group(2000));
        assert_eq!(outcome.is_ok(), is_stored, "{failures}: {outcome:?}");
        let shared = engine.shared();
        let dropped = shared.stats().frames_dropped;
        let is_gone = shared.log(Class::Normal).view().floor > 0;
        assert_eq!((dropped > 0, is_gone), (is_stored, is_stored), "{failures}");
        if !is_stored {
            assert_eq!(seen.load(Ordering::Relaxed), 2, "{failures}");
        }
        let whole = read_all(&shared, Class::Normal);
        assert_eq!(whole.lost, vec![], "{failures}");
    }
}

/// Space that is released is found again by an append, though nobody flushed a cursor; and only once the cursor is durable.
#[test]
fn released_space_is_reused_before_anything_is_dropped() {
    for policy in [Policy::DropOldest, Policy::Block] {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, policy).expect("a new store");
        for number in 0..40 {
            let group = group(SEGMENT_BYTES / 2 - HEADER_BYTES);
            engine.append(Class::Normal, &group).expect("room");
            release(&engine.shared(), Class::Normal, number);
            let after = disk.after_crash(number);
            let (engine, recovery) = open(&after, policy).expect("a start");
            assert_eq!(recovery.logs[1].lost, vec![], "{policy:?} {number}");
            let chunk = read_all(&engine.shared(), Class::Normal);
            assert_eq!(chunk.lost, vec![], "{policy:?} {number}");
        }
        let stats = engine.shared().stats();
        assert_eq!((stats.frames_dropped, stats.frames_stored), (0, 1));
    }
}

/// What one class has released is found before records of another are dropped.
#[test]
fn released_space_of_a_class_spares_the_records_of_a_lower_one() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let group = group(SEGMENT_BYTES - HEADER_BYTES);
    for class in [Class::Bulk, Class::Bulk, Class::Normal, Class::Normal] {
        engine.append(class, &group).expect("room");
    }
    engine.append(Class::Normal, &group).expect("room");
    release(&engine.shared(), Class::Normal, 1);
    engine.append(Class::Normal, &group).expect("room");
    let stats = engine.shared().stats();
    assert_eq!((stats.frames_dropped, stats.frames_stored), (0, 5));
}

/// A segment that the disk does not give back is dropped in its turn, and what comes is stored.
#[test]
fn a_segment_that_cannot_be_read_is_dropped_by_its_count() {
    for failing in [Call::Open, Call::Read] {
        let first = Path::new(DIR).join("normal").join(segment_name(0, 0));
        let is_full = Arc::new(AtomicUsize::new(0));
        let armed = is_full.clone();
        let disk = Picky::new(&SimDisk::new(), move |call, path| {
            if call == failing && path == first && armed.load(Ordering::Relaxed) > 0 {
                return Err(errno(EIO));
            }
            Ok(())
        });
        let mut engine = start(&disk, Some(b"8 bytes."));
        fill(&mut engine, 1000);
        is_full.store(1, Ordering::Relaxed);
        engine.append(Class::Normal, &group(2000)).expect("a drop");
        let chunk = read_all(&engine.shared(), Class::Normal);
        let positions: Vec<u64> = chunk.frames.iter().map(|f| f.position).collect();
        assert_eq!((positions, chunk.lost), ((1..=6).collect(), vec![]));
        assert_eq!(engine.shared().stats().frames_dropped, 1);
    }
}

/// A cursor that need not be written is not: space is looked for only where it is short.
#[test]
fn a_segment_that_fits_frees_nothing() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for number in 0..5 {
        let group = group(SEGMENT_BYTES - HEADER_BYTES);
        engine.append(Class::Normal, &group).expect("room");
        release(&engine.shared(), Class::Normal, number);
    }
    assert_eq!(engine.shared().stats().segments, 5);
    assert_eq!(files(&disk, ".cursor"), Vec::<PathBuf>::new());
}

/// Spare files stay where there is room for them, whoever starts a segment.
#[test]
fn spare_files_stay_while_there_is_room() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for _ in 0..3 {
        let group = group(SEGMENT_BYTES - HEADER_BYTES);
        engine.append(Class::Normal, &group).expect("room");
    }
    release(&engine.shared(), Class::Normal, u64::MAX);
    engine.flush_cursors().expect("a cursor");
    assert_eq!(files(&disk, ".spare").len(), 2);
    engine.append(Class::Critical, &group(100)).expect("room");
    assert_eq!(files(&disk, ".spare").len(), 2);
    engine
        .append(Class::Normal, &group(SEGMENT_BYTES / 2))
        .expect("room");
    let stats = engine.shared().stats();
    assert_eq!(
        (files(&disk, ".spare").len(), stats.segments_recycled),
        (1, 1)
    );
    assert_eq!(stats.disk_bytes, 4 << 16);
}

/// A release that comes while something else is dropped: the segment that it frees goes next, and the cursor before it.
#[test]
fn what_was_released_during_a_drop_is_gone_only_once_the_cursor_says_so() {
    let shared: Arc<OnceLock<Arc<super::super::shared::Shared>>> = Arc::default();
    let told = shared.clone();
    let disk = Picky::new(&SimDisk::new(), move |call, path| {
        let is_bulk = path.parent().is_some_and(|dir| dir.ends_with("bulk"));
        if let Some(shared) = told.get().filter(|_| call == Call::Write && is_bulk) {
            release(shared, Class::Normal, 2);
        }
        Ok(())
    });
    let mut engine = start(&disk, Some(b"8 bytes."));
    fill(&mut engine, 1000);
    for _ in 0..2 {
        let group = group(SEGMENT_BYTES - HEADER_BYTES - 1000);
        engine.append(Class::Bulk, &group).expect("the reserve");
    }
    shared.set(engine.shared()).ok().expect("once");
    engine
        .append(Class::Normal, &group(2000))
        .expect("two drops");
    assert_eq!(engine.shared().stats().frames_dropped, 1);
    for seed in 0..32 {
        let after = Picky::willing(&disk.disk.after_crash(seed));
        let engine = start(&after, None);
        let shared = engine.shared();
        let chunk = read_all(&shared, Class::Normal);
        assert_eq!(chunk.lost, vec![], "seed {seed}");
        assert!(shared.log(Class::Normal).view().released >= 1, "{seed}");
    }
}
