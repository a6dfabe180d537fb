//! Where one more, or one less, would be wrong: each of these was found by cargo-mutants (`scripts/mutants.sh`).

use super::super::engine::Engine;
use super::super::fs::faulty::{Fault, SimDisk};
use super::super::fs::{Disk, Storage};
use super::super::reader::{Chunk, Place};
use super::super::{Batch, Class, Options, Policy, verify};
use super::model::{DIR, open, options, read_all};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EIO: i32 = 5;

fn batch(text: &str) -> [Batch; 1] {
    [[text].into_iter().collect()]
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files = disk.files(&Path::new(DIR).join("normal"));
    files.retain(|f| f.extension().is_some_and(|e| e == "seg"));
    files.sort();
    files
}

/// `on_drop` may say more than one append may hold: then nothing of it is stored, and the drop is done all the same.
#[test]
fn a_gap_that_exceeds_an_append_is_left_out() {
    const GAP_BYTES: usize = 40_000;
    let disk = SimDisk::new();
    let options = Options {
        on_drop: Some(Arc::new(|_| Some(vec![1; GAP_BYTES]))),
        ..options(Policy::DropOldest)
    };
    assert!(options.append_bytes_max() < GAP_BYTES as u64 && GAP_BYTES < 1 << 16);
    let dir = Path::new(DIR);
    let (mut engine, _) = Engine::open(Arc::new(disk.clone()), dir, options).expect("a new store");
    for _ in 0..40 {
        engine
            .append(Class::Normal, &batch(&"x".repeat(20_000)))
            .expect("room by drops");
    }
    let chunk = read_all(&engine.shared(), Class::Normal);
    assert!(engine.shared().stats().frames_dropped > 0);
    assert!(!chunk.frames.is_empty());
    assert!(chunk.frames.iter().all(|f| f.payload.len() == 20_000));
}

#[test]
fn a_directory_is_made_once_and_never_taken_for_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("buffer");
    Disk.create_dir(&path).expect("a new one");
    Disk.create_dir(&path).expect("it is there");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    Disk.create_dir(&file).expect_err("a file is no directory");
    Disk.create_dir(&dir.path().join("nowhere/buffer"))
        .expect_err("no parent");
}

#[test]
fn a_log_that_cannot_be_listed_is_no_empty_log() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("format"), "dunlin-buffer 2\n").expect("a file");
    assert!(verify(&Disk, dir.path()).expect("no log yet").is_sound());
    std::fs::write(dir.path().join("normal"), "").expect("a file");
    let error = verify(&Disk, dir.path()).expect_err("a file is no log");
    assert!(error.to_string().contains("normal"), "{error}");
}

#[test]
fn damage_right_before_the_last_record_of_a_segment_is_reported() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch("first")).expect("room");
    engine.append(Class::Normal, &batch("tiny")).expect("room");
    engine.seal();
    engine.append(Class::Normal, &batch("after")).expect("room");
    drop(engine);
    let path = segments(&disk).remove(0);
    disk.damage(&path, |bytes| {
        let at = bytes.windows(4).position(|b| b == b"tiny");
        bytes[at.expect("the last frame")] ^= 1;
    });
    let report = verify(&disk, Path::new(DIR)).expect("a directory");
    let segment = &report.logs[1].segments[0];
    assert_eq!(
        (segment.damage.len(), segment.frames),
        (1, 1),
        "{segment:?}"
    );
}

/// The frame that was written and not synced has the position that the next segment begins with, and may be damaged.
#[test]
fn a_poisoned_tail_is_not_counted() {
    for damaged in [false, true] {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        for text in ["zero", "one"] {
            engine.append(Class::Normal, &batch(text)).expect("room");
        }
        disk.fail(disk.ops().len() + 1, Fault::Forever(EIO));
        engine
            .append(Class::Normal, &batch("refused"))
            .expect_err("no sync");
        let path = segments(&disk).remove(0);
        let mut poisoned = disk.bytes(&path);
        if damaged {
            let at = poisoned.windows(7).position(|b| b == b"refused");
            poisoned[at.expect("it was written")] ^= 1;
        }
        disk.heal();
        engine.append(Class::Normal, &batch("two")).expect("room");
        drop(engine);
        // As if the disk had not let it be cut.
        disk.damage(&path, |bytes| *bytes = poisoned);
        let report = verify(&disk, Path::new(DIR)).expect("a directory");
        let frames: Vec<u64> = report.logs[1].segments.iter().map(|s| s.frames).collect();
        assert_eq!(frames, [2, 1], "damaged: {damaged}");
        assert!(report.is_sound(), "damaged: {damaged}, {report:?}");
    }
}

/// Zeros are written behind a small group where nothing was written yet, and the groups in them write only themselves.
#[test]
fn zeros_go_ahead_of_small_groups_once() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let shared = engine.shared();
    let mut wrote = || {
        let before = shared.stats();
        engine.append(Class::Normal, &batch("small")).expect("room");
        let after = shared.stats();
        (
            after.bytes_written - before.bytes_written,
            after.page_bytes_written - before.page_bytes_written,
        )
    };
    let (first, pages) = wrote();
    assert!(first > 8 * 4096 && pages >= first, "{first}, {pages}");
    // Within one page that lies before.
    for _ in 0..8 {
        assert_eq!(wrote(), (48, 4096));
    }
}

#[test]
fn nothing_is_lost_where_a_log_ends() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch("one")).expect("room");
    let mut chunk = Chunk::default();
    let shared = engine.shared();
    let next = Place::default().read(&shared, Class::Normal, 1, (1, 1), &mut chunk);
    assert_eq!(next.expect("a readable disk"), 1);
    assert_eq!((chunk.frames.len(), chunk.lost), (0, vec![]));
}
