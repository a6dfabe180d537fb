//! What the owner is told: counters, what a start found, what a drop takes, what goes to the journal.

use super::super::engine::Engine;
use super::super::fs::faulty::SimDisk;
use super::super::{Batch, Class, Options, Policy, Store, Why};
use super::model::{DIR, open, options, read_all, release};
use super::picky::Picky;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn batch(texts: &[&str]) -> [Batch; 1] {
    [texts.iter().collect()]
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files = disk.files(&Path::new(DIR).join("normal"));
    files.retain(|file| super::picky::is_segment(file));
    files
}

fn store(disk: &SimDisk, options: Options) -> Store {
    let opened = Store::open(Arc::new(disk.clone()), Path::new(DIR), options);
    opened.expect("a store").0
}

/// Five normal frames of which two are released, three critical ones, and nothing else.
#[test]
fn a_start_says_how_many_frames_wait() {
    let disk = SimDisk::new();
    let (mut engine, recovery) = open(&disk, Policy::DropOldest).expect("a new store");
    assert_eq!(recovery.frames(), 0);
    let five = batch(&["a", "b", "c", "d", "e"]);
    engine.append(Class::Normal, &five).expect("room");
    let three = batch(&["f", "g", "h"]);
    engine.append(Class::Critical, &three).expect("room");
    release(&engine.shared(), Class::Normal, 2);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
    assert_eq!(recovery.frames(), 6);
    let pending: Vec<_> = recovery
        .logs
        .iter()
        .map(|log| log.pending.clone())
        .collect();
    assert_eq!(pending, [0..0, 2..5, 0..3]);
    let stats = engine.shared().stats();
    assert_eq!((stats.frames_recovered, stats.frames_stored), (6, 6));
}

/// Each frame is released once, whatever is said twice, or was dropped before.
#[tokio::test]
async fn released_frames_are_counted_once() {
    let disk = SimDisk::new();
    let store = store(&disk, options(Policy::DropOldest));
    let ten: Batch = (0..10).map(|n| [n]).collect();
    store.append(Class::Normal, ten).await.expect("room");
    let mut counts = Vec::new();
    for position in [3, 3, 1, 8, u64::MAX] {
        store.release(Class::Normal, position);
        counts.push(store.stats().frames_released);
    }
    assert_eq!(counts, [4, 4, 4, 9, 10]);
    assert_eq!(store.pending(Class::Normal), 10..10);
}

#[tokio::test]
async fn what_is_appended_is_counted_in_frames_and_bytes() {
    let disk = SimDisk::new();
    let store = store(&disk, options(Policy::DropOldest));
    let batches = [batch(&["four", "sevens."]), batch(&["", "x", "yz"])];
    for [batch] in batches {
        store.append(Class::Normal, batch).await.expect("room");
    }
    let before = store.stats();
    let empty = store.append(Class::Normal, Batch::new()).await;
    assert_eq!(empty.expect("nothing to store"), 5..5);
    let stats = store.stats();
    assert_eq!(stats, before, "nothing was written for it");
    let frames = (
        stats.frames_appended,
        stats.frames_durable,
        stats.frames_stored,
    );
    assert_eq!(frames, (5, 5, 5));
    assert_eq!(stats.bytes_appended, 14);
    assert_eq!(store.pending(Class::Normal), 0..5);
}

/// A page is written whole, and one that two writes share is written twice.
#[test]
fn pages_are_counted_by_where_a_write_lies() {
    let disk = SimDisk::new();
    let (engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let shared = engine.shared();
    let pages = |offset, bytes| {
        let before = shared.stats();
        shared.counters.wrote(offset, bytes);
        let after = shared.stats();
        assert_eq!(after.bytes_written - before.bytes_written, bytes);
        (after.page_bytes_written - before.page_bytes_written) / 4096
    };
    assert_eq!(pages(0, 1), 1);
    assert_eq!(pages(0, 4096), 1);
    assert_eq!(pages(4095, 2), 2);
    assert_eq!(pages(3 * 4096, 4096), 1);
    assert_eq!(pages(5 * 4096 + 100, 4096), 2);
}

/// Whoever builds the gap frame gets what goes, as it was appended: packed or not, and without what is released.
#[test]
fn a_drop_hands_over_what_goes() {
    type Frame = (Why, Class, u64, Vec<u8>);
    let seen: Arc<Mutex<Vec<Frame>>> = Arc::default();
    let told = seen.clone();
    let disk = SimDisk::new();
    let options = Options {
        on_drop: Some(Arc::new(move |dropped| {
            let mut told = told.lock().expect("no panic");
            for (position, payload) in dropped.frames {
                told.push((dropped.why, dropped.class, position, payload.into_owned()));
            }
            None
        })),
        ..options(Policy::DropOldest)
    };
    let dir = Path::new(DIR);
    let (mut engine, _) = Engine::open(Arc::new(disk), dir, options).expect("a new store");
    engine.pack(true);
    let packed = "well ".repeat(100);
    let first = batch(&["released", "plain", &packed, "", "last"]);
    engine.append(Class::Normal, &first).expect("room");
    release(&engine.shared(), Class::Normal, 1);
    engine.seal();
    engine.pack(false);
    while engine.shared().stats().frames_dropped == 0 {
        let large = batch(&[&"x".repeat(30_000)]);
        engine.append(Class::Normal, &large).expect("room");
    }
    let entry = |position, text: &str| (Why::Space, Class::Normal, position, text.into());
    let wanted = [(1, "plain"), (2, &*packed), (3, ""), (4, "last")];
    let wanted = wanted.map(|(position, text)| entry(position, text));
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen[..4], wanted);
    // The small segment gave too little space: the next one went as well.
    let stats = engine.shared().stats();
    assert!(seen.len() > 4);
    assert_eq!(stats.frames_dropped, seen.len() as u64);
    assert_eq!(stats.frames_expired, 0);
}

/// A loss is as long as the positions that are missing and were not delivered.
#[test]
fn lost_frames_are_counted_one_by_one() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for _ in 0..3 {
        let large = batch(&[&"x".repeat(20_000), "a", &"y".repeat(20_000), "b"]);
        engine.append(Class::Normal, &large).expect("room");
    }
    release(&engine.shared(), Class::Normal, 1);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    // The first is taken away; the second loses a frame in its middle.
    let mut files = segments(&disk);
    let first = files.remove(0);
    super::super::fs::Storage::remove(&disk, &first).expect("a segment");
    disk.damage(&files[0], |bytes| {
        let at = bytes.iter().position(|b| *b == b'y');
        bytes[at.expect("a frame")] ^= 1;
    });
    let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
    assert_eq!(recovery.logs[1].lost, vec![1..4]);
    let chunk = read_all(&engine.shared(), Class::Normal);
    assert_eq!(chunk.lost, vec![1..4, 6..7]);
    let stats = engine.shared().stats();
    assert_eq!((stats.frames_lost, stats.records_corrupt), (4, 1));
    assert_eq!(chunk.frames.len(), 7);
}

/// The device is asked once a second at most, however often a page of metrics is.
#[test]
fn bytes_of_the_device_count_from_the_start_and_are_a_second_old_at_most() {
    let disk = Picky::willing(&SimDisk::new());
    disk.device.store(5000, Ordering::Relaxed);
    let began = Instant::now();
    let options = options(Policy::DropOldest);
    let store = Store::open(Arc::new(disk.clone()), Path::new(DIR), options);
    let store = store.expect("a store").0;
    disk.device.store(5000 + 4096, Ordering::Relaxed);
    let early = store.device_bytes_written();
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!(early, 0);
    }
    std::thread::sleep(Duration::from_millis(1010));
    assert_eq!(store.device_bytes_written(), 4096);
}

/// A file that is taken away while the store runs: what was in it, and was not delivered, is lost.
#[test]
fn a_segment_taken_away_is_lost_from_where_the_reader_is() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for texts in [&["a", "b", "c", "d", "e"][..], &["f"]] {
        engine.append(Class::Normal, &batch(texts)).expect("room");
        engine.seal();
    }
    release(&engine.shared(), Class::Normal, 2);
    super::super::fs::Storage::remove(&disk, &segments(&disk)[0]).expect("a segment");
    let chunk = read_all(&engine.shared(), Class::Normal);
    assert_eq!(chunk.lost, std::slice::from_ref(&(2..5)));
    assert_eq!(chunk.frames.len(), 1);
    assert_eq!(engine.shared().stats().frames_lost, 3);
}
