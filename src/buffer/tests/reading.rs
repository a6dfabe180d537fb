//! What a reader asks for is what it gets: bounds of a read, how often the disk is asked, and the ends of a log.

use super::super::format::segment_name;
use super::super::fs::Storage;
use super::super::fs::faulty::SimDisk;
use super::super::reader::{Chunk, Place};
use super::super::shared::Shared;
use super::super::{Batch, Class, Policy, Store};
use super::model::{DIR, open, options, read_all, release};
use super::picky::{Call, Picky, errno, is_segment};
use std::path::Path;
use std::sync::Arc;

fn batch(frames: usize, bytes: usize) -> [Batch; 1] {
    [(0..frames).map(|_| vec![7; bytes]).collect()]
}

/// A read from position `next` on: the position after it, and how many frames it got.
fn read(shared: &Shared, next: u64, limit: (usize, usize)) -> (u64, usize) {
    let mut chunk = Chunk::default();
    let next = Place::default().read(shared, Class::Normal, next, limit, &mut chunk);
    assert_eq!(chunk.lost, vec![]);
    (next.expect("a readable disk"), chunk.frames.len())
}

/// At least one frame, and no more than the one that reaches the bound: in one segment, and where the next begins.
#[test]
fn a_read_ends_at_its_bounds() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for frames in [10, 3, 5] {
        engine
            .append(Class::Normal, &batch(frames, 100))
            .expect("room");
        engine.seal();
    }
    let shared = engine.shared();
    for (from, limit, frames) in [
        (0, (5, 0), 1),
        (0, (5, 1), 1),
        (0, (50, 100), 1),
        (0, (50, 101), 2),
        (0, (50, 250), 3),
        (0, (3, 1000), 3),
        (0, (10, usize::MAX), 10),
        (0, (50, 1000), 10),
        (2, (50, 900), 9),
        (0, (12, usize::MAX), 12),
        (0, (50, 1100), 11),
        (7, (50, usize::MAX), 11),
        (18, (50, usize::MAX), 0),
    ] {
        let found = read(&shared, from, limit);
        assert_eq!(found, (from + frames as u64, frames), "{from}, {limit:?}");
    }
}

/// One read of the disk serves all frames that it brought, however small they are.
#[test]
fn frames_are_read_by_the_hundred() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch(500, 20)).expect("room");
    let before = disk.reads();
    let found = read(&engine.shared(), 0, (usize::MAX, usize::MAX));
    assert_eq!(found, (500, 500));
    let reads = disk.reads() - before;
    assert!(reads <= 5, "{reads} reads for 500 frames");
}

/// A reader that is at the end goes on with what is appended later, whatever it has seen of the place before.
#[test]
fn a_reader_follows_what_is_appended() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let shared = engine.shared();
    let (mut place, mut next) = (Place::default(), 0);
    for round in 0..20 {
        engine.append(Class::Normal, &batch(3, 50)).expect("room");
        let mut chunk = Chunk::default();
        let limit = (usize::MAX, usize::MAX);
        let read = place.read(&shared, Class::Normal, next, limit, &mut chunk);
        next = read.expect("a readable disk");
        assert_eq!((next, chunk.lost), (3 * round + 3, vec![]));
        let positions: Vec<u64> = chunk.frames.iter().map(|f| f.position).collect();
        assert_eq!(positions, [3 * round, 3 * round + 1, 3 * round + 2]);
    }
}

/// A disk may read, and write, less than it is asked for.
#[test]
fn short_reads_and_writes_are_continued() {
    let mut picky = Picky::willing(&SimDisk::new());
    picky.piece = 7;
    let (mut engine, _) = open(&picky, Policy::DropOldest).expect("a new store");
    let texts: Vec<String> = (0..20)
        .map(|n| format!("{n} {}", "x".repeat(n * 5)))
        .collect();
    for text in &texts {
        let batch: Batch = [text].into_iter().collect();
        engine.append(Class::Normal, &[batch]).expect("room");
    }
    release(&engine.shared(), Class::Normal, 1);
    engine.flush_cursors().expect("a cursor");
    engine.seal();
    drop(engine);
    for disk in [picky.clone(), Picky::willing(&picky.disk)] {
        let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
        assert_eq!(recovery.logs[1].pending, 1..20);
        let chunk = read_all(&engine.shared(), Class::Normal);
        let found: Vec<&[u8]> = chunk.frames.iter().map(|f| &f.payload[..]).collect();
        let wanted: Vec<&[u8]> = texts[1..].iter().map(String::as_bytes).collect();
        assert_eq!((found, chunk.lost), (wanted, vec![]));
    }
}

/// What stands in front of a place that the disk does not give back is handed over before the error is.
#[test]
fn frames_in_front_of_an_error_are_read() {
    for failing in [Call::Open, Call::Read] {
        let second = Path::new(DIR).join("normal").join(segment_name(1, 3));
        let disk = Picky::new(&SimDisk::new(), move |call, path| {
            if call == failing && path == second {
                return Err(errno(5));
            }
            Ok(())
        });
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        for frames in [3, 2] {
            engine
                .append(Class::Normal, &batch(frames, 100))
                .expect("room");
            engine.seal();
        }
        let shared = engine.shared();
        assert_eq!(read(&shared, 0, (usize::MAX, usize::MAX)), (3, 3));
        let mut chunk = Chunk::default();
        let read = Place::default().read(&shared, Class::Normal, 3, (9, 9), &mut chunk);
        let error = read.expect_err("an error of the disk").to_string();
        assert!(error.contains(&segment_name(1, 3)), "{error}");
        assert_eq!(chunk, Chunk::default());
    }
}

/// All files of a log were taken away from outside: whoever asks for what was in them is told, and does not wait.
#[test]
fn a_log_without_segments_is_a_loss_up_to_its_cursor() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch(7, 10)).expect("room");
    release(&engine.shared(), Class::Normal, 7);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    let dir = Path::new(DIR).join("normal");
    for file in disk.files(&dir).iter().filter(|file| is_segment(file)) {
        disk.remove(file).expect("a segment");
    }
    let (engine, _) = open(&disk, Policy::DropOldest).expect("a start");
    let (shared, mut chunk) = (engine.shared(), Chunk::default());
    let next = Place::default().read(&shared, Class::Normal, 4, (9, 9), &mut chunk);
    assert_eq!(next.expect("a readable disk"), 7);
    assert_eq!(chunk.lost, std::slice::from_ref(&(4..7)));
    assert_eq!(shared.stats().frames_lost, 3);
}

#[tokio::test]
async fn a_reader_says_where_it_is_and_goes_back_to_its_cursor() {
    let disk = SimDisk::new();
    let opened = Store::open(Arc::new(disk), Path::new(DIR), options(Policy::DropOldest));
    let store = opened.expect("a store").0;
    let mut reader = store.reader(Class::Normal);
    let [frames] = batch(10, 50);
    store.append(Class::Normal, frames).await.expect("room");
    let mut at = vec![reader.position()];
    for _ in 0..3 {
        let chunk = reader.next(3, usize::MAX).await.expect("frames");
        assert_eq!(chunk.last(), Some(reader.position() - 1));
        at.push(reader.position());
    }
    store.release(Class::Normal, 4);
    reader.rewind_to_cursor();
    at.push(reader.position());
    assert_eq!(at, [0, 3, 6, 9, 5]);
}

/// The last position that a chunk speaks of, be it a frame or a loss.
#[test]
fn the_end_of_a_chunk_is_a_frame_or_a_loss() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch(3, 10)).expect("room");
    let whole = read_all(&engine.shared(), Class::Normal);
    let lost = |lost| Chunk {
        lost: vec![lost],
        ..whole.clone()
    };
    assert_eq!(Chunk::default().last(), None);
    assert_eq!(whole.last(), Some(2));
    assert_eq!(lost(3..6).last(), Some(5));
    assert_eq!(lost(0..1).last(), Some(2));
}

#[test]
fn a_batch_that_was_cleared_is_as_new() {
    let mut batch = Batch::new();
    for round in 0..3 {
        assert!(batch.is_empty());
        assert_eq!((batch.len(), batch.bytes()), (0, 0));
        batch.push(b"one");
        batch.push(&[]);
        batch.push_with(|bytes| bytes.extend_from_slice(b"three"));
        assert_eq!((batch.len(), batch.bytes()), (3, 8), "{round}");
        assert!(batch.iter().eq([&b"one"[..], b"", b"three"]));
        batch.clear();
    }
}
