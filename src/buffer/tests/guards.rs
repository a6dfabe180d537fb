//! Guards that nothing else would notice the absence of.

use super::super::engine::Engine;
use super::super::format;
use super::super::fs::Disk;
use super::super::fs::faulty::{Fault, SimDisk};
use super::super::{Batch, Class, Commit, Options, PAYLOAD_BYTES_MAX, Policy, Store};
use super::model::{DIR, open, open_leaving_a_mib, options, read_all, release};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EINTR: i32 = 4;
const EIO: i32 = 5;

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
    let mut engine = open_leaving_a_mib(&disk);
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

/// A cursor that is read wrong would release what was never delivered.
#[test]
fn a_flipped_bit_in_a_cursor_releases_nothing() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for released in 1..=3 {
        engine.append(Class::Normal, &[batch(10)]).expect("room");
        release(&engine.shared(), Class::Normal, released);
        engine.flush_cursors().expect("a cursor");
    }
    engine
        .append(Class::Normal, &[batch(10), batch(10)])
        .expect("room");
    drop(engine);
    let path = Path::new(DIR).join("normal/uplink.cursor");
    for slot in [0, 4096] {
        for bit in slot * 8..(slot + 64) * 8 {
            let disk = disk.after_crash(0);
            disk.damage(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let (engine, _) = open(&disk, Policy::DropOldest).expect("a start");
            let released = engine.shared().log(Class::Normal).view().released;
            assert!(
                (2..=3).contains(&released),
                "bit {bit}: {released} released"
            );
        }
    }
}

#[test]
fn a_payload_is_no_longer_than_its_field_can_say() {
    // A length has 24 bits.
    assert_eq!(PAYLOAD_BYTES_MAX, 0xff_ffff);
    assert!(batch(PAYLOAD_BYTES_MAX).check(u64::MAX).is_ok());
    let error = batch(PAYLOAD_BYTES_MAX + 1).check(u64::MAX);
    let error = error.expect_err("one byte too many");
    assert!(error.to_string().contains("payload_bytes_max"), "{error}");
}

#[test]
fn only_whole_names_are_segments() {
    let name = format::segment_name(0xabc, 7);
    assert_eq!(format::parse_segment_name(&name), Some((0xabc, 7)));
    // Each number alone is too short, or too long, or no number: nobody may take the file for a segment.
    for name in [
        "abc-0000000000000007.seg",
        "0000000000000abc-7.seg",
        "00000000000000abc-0000000000000007.seg",
        "0000000000000abc-00000000000000007.seg",
        "0000000000000abx-0000000000000007.seg",
        "0000000000000abc-000000000000000x.seg",
        "0000000000000abc.seg",
        "0000000000000abc-0000000000000007",
    ] {
        assert_eq!(format::parse_segment_name(name), None, "{name}");
    }
}

/// Each option at both ends of its range, and one step beyond.
#[test]
fn options_are_held_to_their_ranges() {
    type Change = Box<dyn Fn(&mut Options)>;
    let segment = |bytes: u64| -> Change {
        Box::new(move |options| {
            options.segment_bytes = bytes;
            options.size_max_bytes = 8 << 30;
        })
    };
    let size = |bytes: u64| -> Change { Box::new(move |o| o.size_max_bytes = bytes) };
    let queue = |bytes| -> Change { Box::new(move |o| o.queue_bytes_max = bytes) };
    let cursor = |name: &str| -> Change {
        let name = name.to_owned();
        Box::new(move |o| o.cursor.clone_from(&name))
    };
    let records = |n| -> Change { Box::new(move |o| o.commit.records_max = n) };
    let bytes = |n| -> Change { Box::new(move |o| o.commit.bytes_max = n) };
    let least = 8 * Options::default().segment_bytes;
    let cases: [(&str, Vec<Change>, Vec<Change>); 6] = [
        (
            "segment_bytes",
            vec![segment(64 << 10), segment(1 << 30)],
            vec![
                segment((64 << 10) - 4096),
                segment((1 << 30) + 4096),
                segment((64 << 10) + 1),
            ],
        ),
        ("size_max_bytes", vec![size(least)], vec![size(least - 1)]),
        (
            "queue_bytes_max",
            vec![queue(4096), queue(1 << 30)],
            vec![queue(4095), queue((1 << 30) + 1)],
        ),
        (
            "cursor",
            vec![
                cursor("a"),
                cursor(&"a-9".repeat(21)),
                cursor(&"b".repeat(64)),
            ],
            vec![cursor(""), cursor(&"b".repeat(65)), cursor("a/b")],
        ),
        ("commit", vec![records(1)], vec![records(0)]),
        ("commit", vec![bytes(1)], vec![bytes(0)]),
    ];
    for (name, within, beyond) in &cases {
        let check = |change: &Change| {
            let mut options = Options::default();
            change(&mut options);
            options.check()
        };
        for (at, change) in within.iter().enumerate() {
            check(change).unwrap_or_else(|e| panic!("{name}, {at}: {e}"));
        }
        for (at, change) in beyond.iter().enumerate() {
            let error = check(change).expect_err(name).to_string();
            assert!(error.contains(name), "{name}, {at}: {error}");
        }
    }
}

/// The segment of the class normal that was begun first.
fn first_segment(disk: &SimDisk) -> PathBuf {
    let files = disk.files(&Path::new(DIR).join("normal"));
    let mut segments = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "seg"));
    segments.next().expect("a segment")
}

/// Of a group whose commit did not arrive, what lies behind a hole was never acknowledged: it is no loss, and not kept.
#[test]
fn a_hole_in_a_group_without_commit_is_no_loss() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &[batch(10)]).expect("room");
    let second = usize::try_from(engine.shared().log(Class::Normal).view().segments[0].bytes);
    let second = second.expect("small");
    let three = [batch(10), batch(10), batch(10)];
    engine.append(Class::Normal, &three).expect("room");
    engine.seal();
    drop(engine);
    disk.damage(&first_segment(&disk), |bytes| {
        bytes[second..second + 16].fill(0);
        let commit = bytes.len() - 24;
        bytes[commit..].fill(0);
    });
    let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
    assert_eq!(recovery.logs[1].pending, 0..1);
    assert_eq!(recovery.logs[1].lost, vec![]);
    let chunk = read_all(&engine.shared(), Class::Normal);
    assert_eq!((chunk.frames.len(), chunk.lost), (1, vec![]));
}

/// What a poisoned segment holds beyond its end was refused, and its positions were given to others.
#[test]
fn a_poisoned_tail_is_never_read() {
    let text = |text: &str| [[text].into_iter().collect::<Batch>()];
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &text("zero")).expect("room");
    let one = usize::try_from(engine.shared().log(Class::Normal).view().segments[0].bytes);
    let one = one.expect("small");
    engine.append(Class::Normal, &text("one")).expect("room");
    // The write arrives, its sync fails, and so does all after it.
    disk.fail(disk.ops().len() + 1, Fault::Forever(EIO));
    let refused = engine.append(Class::Normal, &text("refused"));
    assert!(refused.is_err());
    let segment = first_segment(&disk);
    let poisoned = disk.bytes(&segment);
    disk.heal();
    engine.append(Class::Normal, &text("two")).expect("room");
    drop(engine);
    // As if the disk had not let it be cut; and its last good frame is damaged.
    disk.damage(&segment, |bytes| {
        *bytes = poisoned;
        bytes[one + 16] ^= 1;
    });
    let (engine, _) = open(&disk, Policy::DropOldest).expect("a start");
    let chunk = read_all(&engine.shared(), Class::Normal);
    let texts: Vec<&[u8]> = chunk.frames.iter().map(|f| &f.payload[..]).collect();
    assert_eq!(texts, [&b"zero"[..], b"two"]);
    assert_eq!(chunk.lost, vec![1..2]);
}

/// Its name says where the one before ends, and it may stay though no block could be had for it.
#[test]
fn a_segment_that_could_not_be_begun_ends_the_one_before() {
    const ENOSPC: i32 = 28;
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for _ in 0..2 {
        engine
            .append(Class::Normal, &[batch(30_000)])
            .expect("room");
    }
    // The file is created; reserving its blocks fails, and so does taking it away.
    disk.fail(disk.ops().len() + 2, Fault::Forever(ENOSPC));
    let refused = engine.append(Class::Normal, &[batch(30_000)]);
    assert!(refused.is_err());
    disk.heal();
    // This one would have fitted behind the two.
    engine.append(Class::Normal, &[batch(10)]).expect("room");
    drop(engine);
    for seed in 0..16 {
        let (engine, _) = open(&disk.after_crash(seed), Policy::DropOldest).expect("a start");
        let chunk = read_all(&engine.shared(), Class::Normal);
        let positions: Vec<u64> = chunk.frames.iter().map(|f| f.position).collect();
        assert_eq!(
            (positions, chunk.lost),
            (vec![0, 1, 2], vec![]),
            "seed {seed}"
        );
    }
}
