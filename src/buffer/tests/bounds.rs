//! Bounds that nothing else would notice the absence of.

use super::super::engine::Engine;
use super::super::fs::Disk;
use super::super::fs::faulty::{Fault, SimDisk};
use super::super::{Batch, Class, Commit, Options, Policy, Store};
use super::model::{DIR, open, options, release};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const EINTR: i32 = 4;

fn batch(payload_bytes: usize) -> Batch {
    [vec![7; payload_bytes]].into_iter().collect()
}

#[test]
fn an_interrupted_write_is_repeated_a_bounded_number_of_times() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine
        .append(Class::Normal, &[batch(10)])
        .expect("an open segment");
    disk.fail_next(Fault::Forever(EINTR));
    let before = disk.ops().len();
    let error = engine.append(Class::Normal, &[batch(10)]);
    assert!(error.expect_err("no write succeeds").is_retryable());
    let tries = disk.ops().len() - before;
    assert!((1000..3000).contains(&tries), "{tries} operations");
}

#[test]
fn free_space_is_left_alone() {
    let disk = SimDisk::new();
    let options = Options {
        free_bytes_min: 1 << 20,
        ..options(Policy::DropOldest)
    };
    let dir = Path::new(DIR);
    let (mut engine, _) = Engine::open(Arc::new(disk.clone()), dir, options).expect("a new store");
    disk.set_free(1 << 20);
    let error = engine.append(Class::Normal, &[batch(10)]);
    let error = error.expect_err("a segment would take what is to be left alone");
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("free_bytes_min"), "{error}");
    let degraded = engine.shared().stats().degraded;
    assert_eq!(degraded.map(|d| d.refused), Some(1));
    disk.set_free((1 << 20) + (1 << 16));
    engine
        .append(Class::Normal, &[batch(10)])
        .expect("room for one segment");
    assert_eq!(engine.shared().stats().degraded, None);
}

/// Two readers by name: the slower one holds the space.
#[test]
fn the_lowest_cursor_holds_space_back() {
    let disk = SimDisk::new();
    let dir = Path::new(DIR);
    let named = |cursor: &str| Options {
        cursor: cursor.to_owned(),
        ..options(Policy::DropOldest)
    };
    let start = |cursor: &str| Engine::open(Arc::new(disk.clone()), dir, named(cursor));
    let (mut slow, _) = start("slow").expect("a new store");
    slow.append(Class::Normal, &[batch(10), batch(10)])
        .expect("room");
    release(&slow.shared(), Class::Normal, 1);
    slow.flush_cursors().expect("a cursor");
    drop(slow);
    let (mut fast, _) = start("fast").expect("the same store");
    for _ in 0..6 {
        fast.append(Class::Normal, &[batch(30_000)]).expect("room");
    }
    release(&fast.shared(), Class::Normal, u64::MAX);
    fast.flush_cursors().expect("a cursor");
    let first = fast.shared().log(Class::Normal).view().segments[0].base;
    assert_eq!(first, 0, "position 1 is not released by the slow reader");
    drop(fast);
    let (slow, _) = start("slow").expect("the same store");
    let shared = slow.shared();
    let view = shared.log(Class::Normal).view();
    assert_eq!((view.released, view.next), (1, 8));
}

async fn syncs_of(commit: Commit, appends: u64, payload_bytes: usize) -> u64 {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        commit,
        ..Options::default()
    };
    let store = Store::open(Arc::new(Disk), &dir.path().join("buffer"), options);
    let store = Arc::new(store.expect("a store").0);
    let waiting: Vec<_> = (0..appends)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.append(Class::Normal, batch(payload_bytes)).await })
        })
        .collect();
    for append in waiting {
        append.await.expect("no panic").expect("room");
    }
    store.stats().syncs
}

#[tokio::test]
async fn a_group_is_no_larger_than_its_bounds() {
    let two_records = Commit {
        records_max: 2,
        latency_ms_max: 20,
        ..Commit::default()
    };
    let syncs = syncs_of(two_records, 100, 10).await;
    assert!(syncs >= 50, "{syncs} syncs for 100 records, two a group");
    let two_kilobytes = Commit {
        bytes_max: 2000,
        latency_ms_max: 20,
        ..Commit::default()
    };
    let syncs = syncs_of(two_kilobytes, 100, 1000).await;
    assert!(syncs >= 50, "{syncs} syncs for 100 kB, two kB a group");
}

#[tokio::test]
async fn what_waits_for_the_writer_is_bounded() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        queue_bytes_max: 4096,
        commit: Commit {
            latency_ms_max: 60_000,
            ..Commit::default()
        },
        ..Options::default()
    };
    let store = Store::open(Arc::new(Disk), &dir.path().join("buffer"), options);
    let store = Arc::new(store.expect("a store").0);
    for _ in 0..8 {
        let store = store.clone();
        tokio::spawn(async move { store.append(Class::Normal, batch(1000)).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        store.stats().frames_appended,
        4,
        "four of 1016 bytes fit into 4096; the others wait outside"
    );
}
