//! What makes the writer thread write: full groups, releases, budgets. Where a bound of time would do it as well, that bound is
//! an hour, so that a test that passes did not wait for it.

use super::super::fs::faulty::SimDisk;
use super::super::writer::Queue;
use super::super::{Batch, Class, Commit, Options, Policy, Store};
use super::model::{DIR, options};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;
/// What nothing here takes, on whatever machine.
const LONG: Duration = Duration::from_secs(5);

fn store(disk: &SimDisk, options: Options) -> Arc<Store> {
    let opened = Store::open(Arc::new(disk.clone()), Path::new(DIR), options);
    Arc::new(opened.expect("a store").0)
}

fn batch(frames: usize, bytes: usize) -> Batch {
    (0..frames).map(|_| vec![7; bytes]).collect()
}

/// Options of a store that writes a group when it is full.
fn full_groups(records_max: usize, bytes_max: usize) -> Options {
    Options {
        commit: Commit {
            records_max,
            bytes_max,
            latency_ms_max: HOUR_MS,
        },
        ..options(Policy::DropOldest)
    }
}

/// Appends payloads of these sizes side by side, and says in how many groups they became durable.
async fn groups_of(options: Options, sizes: &[usize]) -> u64 {
    let disk = SimDisk::new();
    let store = store(&disk, options);
    let mut appends = Vec::new();
    for bytes in sizes.iter().copied() {
        let store = store.clone();
        // They are polled, and so queued, in this order.
        appends.push(tokio::spawn(async move {
            store.append(Class::Normal, batch(1, bytes)).await
        }));
    }
    for (position, append) in (0..).zip(appends) {
        let done = tokio::time::timeout(LONG, append).await;
        let range = done.expect("no group waits an hour").expect("no panic");
        assert_eq!(range.expect("room"), position..position + 1);
    }
    // Each group is a sync, and the first of a segment one of its directory.
    store.stats().syncs - store.stats().segments
}

#[tokio::test]
async fn a_group_goes_when_it_is_full_and_is_whole() {
    const MANY: usize = 1 << 20;
    // By records, and by bytes: what just reaches the bound is one group.
    assert_eq!(groups_of(full_groups(3, MANY), &[10; 3]).await, 1);
    assert_eq!(groups_of(full_groups(3, MANY), &[10; 6]).await, 2);
    assert_eq!(groups_of(full_groups(MANY, 300), &[100; 3]).await, 1);
    assert_eq!(groups_of(full_groups(MANY, 300), &[100; 6]).await, 2);
    // The third goes beyond the bound: it begins the next group.
    assert_eq!(
        groups_of(full_groups(MANY, 300), &[100, 150, 200, 100]).await,
        2
    );
    // One that is larger than the bound is a group of its own.
    assert_eq!(groups_of(full_groups(MANY, 300), &[1000, 1000]).await, 2);
}

/// On disk a group is no longer than half a segment, commit included.
#[tokio::test]
async fn a_group_is_held_to_half_a_segment() {
    let half = (1 << 16) / 2 - 24;
    let (record, last) = (10_000 + 16, half - 2 * (10_000 + 16) - 16);
    assert_eq!(2 * record + last + 16, half);
    let options = || full_groups(3, 1 << 20);
    assert_eq!(groups_of(options(), &[10_000, 10_000, last]).await, 1);
    let sizes = [10_000, 10_000, last + 8, 10, 10];
    assert_eq!(groups_of(options(), &sizes).await, 2);
}

/// A place in the queue is its payload and 16 bytes a frame, which is what its header takes.
#[tokio::test]
async fn the_queue_is_full_with_small_frames_too() {
    let options = Options {
        queue_bytes_max: 4096,
        ..Options::default()
    };
    // 100 frames of one byte take 1700 bytes; 4080 bytes and one header, all of it.
    for (held, next, fits) in [
        (batch(100, 1), batch(100, 1), true),
        (batch(200, 1), batch(100, 1), false),
        (batch(1, 4080), Batch::new(), true),
        (batch(1, 4080), batch(1, 0), false),
        (batch(1, 4064), batch(1, 0), true),
        (batch(1, 9000), batch(1, 0), false),
    ] {
        let queue = Queue::new(&options);
        let _held = queue.room(Class::Normal, &held).await;
        // Another class has a queue of its own.
        assert!(queue.room(Class::Bulk, &held).await.is_some());
        let room = queue.room(Class::Normal, &next);
        let room = tokio::time::timeout(Duration::from_millis(1), room).await;
        assert_eq!(room.is_ok(), fits, "{} frames", held.len());
    }
}

fn cursor_options(frames_max: u64, ms_max: u64) -> Options {
    Options {
        cursor_frames_max: frames_max,
        cursor_ms_max: ms_max,
        commit: Commit {
            latency_ms_max: 0,
            ..Commit::default()
        },
        ..options(Policy::DropOldest)
    }
}

fn has_cursor(disk: &SimDisk) -> bool {
    disk.has(&Path::new(DIR).join("normal/uplink.cursor"))
}

async fn append(store: &Store, frames: usize) {
    let range = store.append(Class::Normal, batch(frames, 10)).await;
    range.expect("room");
}

/// The writer looks at cursors before it takes a group: what is durable after a release says whether one was due.
#[tokio::test]
async fn a_cursor_is_persisted_after_so_many_frames() {
    let disk = SimDisk::new();
    let store = store(&disk, cursor_options(10, HOUR_MS));
    // Three a group, six a segment: a segment that is released is no reason either.
    for _ in 0..4 {
        let range = store.append(Class::Normal, batch(3, 10_000)).await;
        range.expect("room");
    }
    for position in [0, 3, 5, 8] {
        store.release(Class::Normal, position);
        // Said twice, it counts once.
        store.release(Class::Normal, position);
        append(&store, 1).await;
        assert!(!has_cursor(&disk), "after {} frames", position + 1);
    }
    // Until the writer sleeps. The tenth wakes it, though nothing is appended.
    tokio::time::sleep(Duration::from_millis(30)).await;
    store.release(Class::Normal, 9);
    wait_for(|| has_cursor(&disk)).await;
}

#[tokio::test]
async fn a_cursor_is_persisted_after_a_while_without_an_append() {
    let disk = SimDisk::new();
    let store = store(&disk, cursor_options(u64::MAX, 20));
    append(&store, 12).await;
    // Until the writer sleeps, with no timer to wake it.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!has_cursor(&disk));
    store.release(Class::Normal, 3);
    wait_for(|| has_cursor(&disk)).await;
}

async fn wait_for(is_so: impl Fn() -> bool) {
    let polled = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let done = tokio::time::timeout(LONG, polled).await;
    done.expect("the writer does it by itself");
}

/// Under `Policy::Block` a release wakes the append that waits, at once, and not when the cursor is due.
#[tokio::test]
async fn an_append_that_waits_for_space_goes_on_with_a_release() {
    let disk = SimDisk::new();
    let options = Options {
        policy: Policy::Block,
        ..cursor_options(u64::MAX, HOUR_MS)
    };
    let store = store(&disk, options);
    // Two a segment, in eight segments.
    for _ in 0..16 {
        let range = store.append(Class::Normal, batch(1, 30_000)).await;
        range.expect("room");
    }
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.append(Class::Normal, batch(1, 30_000)).await })
    };
    // A first release arms the timer, and is not enough for a segment.
    store.release(Class::Normal, 0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    store.release(Class::Normal, 1);
    let done = tokio::time::timeout(LONG, waiting).await;
    let range = done.expect("it does not wait an hour").expect("no panic");
    assert_eq!(range.expect("room"), 16..17);
    assert_eq!(store.stats().frames_dropped, 0);
}

/// While less than a quarter of the budget is left payloads are compressed, and not before.
#[tokio::test]
async fn payloads_are_compressed_while_the_budget_is_short() {
    const SHARE: u64 = 1 << 20;
    let disk = SimDisk::new();
    let options = Options {
        // A second earns 292 bytes of an hour's share.
        wear_bytes_per_day: 24 * SHARE,
        wear_latency_ms_max: 0,
        ..cursor_options(u64::MAX, HOUR_MS)
    };
    let store = store(&disk, options);
    let (mut plain, mut packed) = (0, 0);
    let mut before = store.stats();
    // The writer weighs what a group has cost before it takes the next one.
    while before.page_bytes_written < SHARE * 95 / 100 {
        append_large(&store).await;
        let after = store.stats();
        let is_packed = after.frames_packed > before.frames_packed;
        if before.page_bytes_written <= SHARE * 3 / 4 {
            assert!(!is_packed, "{before:?}");
            plain += 1;
        } else if before.page_bytes_written > SHARE * 78 / 100 {
            assert!(is_packed, "{before:?}");
            packed += 1;
        }
        before = after;
    }
    assert!(plain > 5 && packed > 0, "{plain} plain, {packed} packed");
}

async fn append_large(store: &Store) {
    let range = store.append(Class::Normal, batch(1, 10_000)).await;
    range.expect("room");
}
