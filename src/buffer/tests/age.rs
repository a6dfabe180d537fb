//! Frames that are too old are dropped; no clock that anybody sets has a part in it.

use super::super::age::AgeClock;
use super::super::engine::Engine;
use super::super::format::Stamp;
use super::super::fs::Moment;
use super::super::fs::faulty::SimDisk;
use super::super::reader::Reader;
use super::super::{Batch, Class, Options, Policy};
use super::model::{open_with, options, read_all};
use super::picky::{Call, Picky, errno, is_segment};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const TTL_MS: u64 = 1_000_000;

fn open(disk: &SimDisk) -> Engine {
    let options = Options {
        ttl_ms: [0, TTL_MS, 0],
        ..options(Policy::DropOldest)
    };
    open_with(disk, options)
}

fn append(engine: &mut Engine, class: Class, text: &str) {
    let batch: Batch = [text].into_iter().collect();
    engine.append(class, &[batch]).expect("room");
}

/// The texts that a reader gets, gap frames as `gap`.
fn texts(engine: &Engine, class: Class) -> Vec<String> {
    let chunk = read_all(&engine.shared(), class);
    assert_eq!(chunk.lost, vec![]);
    let text = |payload: &[u8]| {
        if payload.starts_with(b"GAP") {
            return "gap".to_owned();
        }
        String::from_utf8_lossy(payload).into_owned()
    };
    chunk.frames.iter().map(|f| text(&f.payload)).collect()
}

#[test]
fn what_is_too_old_is_dropped_counted_and_told() {
    let disk = SimDisk::new();
    disk.set_moment(7, 5000);
    let mut engine = open(&disk);
    append(&mut engine, Class::Normal, "old");
    append(&mut engine, Class::Critical, "without a time to live");
    engine.expire().expect("nothing to do");
    disk.set_moment(7, 5000 + TTL_MS / 2);
    engine.expire().expect("nothing to drop");
    append(&mut engine, Class::Normal, "young");
    engine.expire().expect("nothing to drop");
    disk.set_moment(7, 5000 + TTL_MS);
    engine.expire().expect("nothing to drop");
    assert_eq!(texts(&engine, Class::Normal), ["old", "young"]);
    disk.set_moment(7, 5001 + TTL_MS);
    engine.expire().expect("room for a gap");
    assert_eq!(texts(&engine, Class::Normal), ["young", "gap"]);
    disk.set_moment(7, 5001 + TTL_MS / 2 + TTL_MS);
    engine.expire().expect("room for a gap");
    assert_eq!(texts(&engine, Class::Normal), ["gap", "gap"]);
    let stats = engine.shared().stats();
    assert_eq!((stats.frames_expired, stats.frames_dropped), (2, 2));
    assert_eq!(texts(&engine, Class::Critical), ["without a time to live"]);
    drop(engine);
    let engine = open(&disk.after_crash(3));
    assert_eq!(texts(&engine, Class::Normal), ["gap", "gap"]);
}

/// A segment is ended at a quarter of the time to live, and not before: what is dropped whole should be of about one age.
#[test]
fn a_segment_spans_a_quarter_of_the_time_to_live() {
    for (passed_ms, segments) in [(TTL_MS / 4 - 1, 1), (TTL_MS / 4, 2)] {
        let disk = SimDisk::new();
        disk.set_moment(7, 5000);
        let mut engine = open(&disk);
        append(&mut engine, Class::Normal, "one");
        disk.set_moment(7, 5000 + passed_ms);
        engine.expire().expect("nothing to drop");
        append(&mut engine, Class::Normal, "two");
        let found = engine.shared().stats().segments;
        assert_eq!(found, segments, "after {passed_ms} ms");
        // Of its own age, not of the log's.
        disk.set_moment(7, 5000 + passed_ms + TTL_MS / 4 - 1);
        engine.expire().expect("nothing to drop");
        append(&mut engine, Class::Normal, "three");
        let found = engine.shared().stats().segments;
        assert_eq!(found, 2, "after {passed_ms} ms and as many again");
    }
}

/// A segment that is dropped and could not be removed does not keep what stands behind it from growing old.
#[test]
fn what_cannot_be_removed_at_once_holds_nothing_up() {
    let disk = SimDisk::new();
    disk.set_moment(7, 5000);
    let failures = AtomicUsize::new(1);
    let picky = Picky::new(&disk, move |call, path| {
        let counts = call == Call::Remove && is_segment(path);
        let spend = |left: usize| left.checked_sub(1);
        if counts && failures.fetch_update(Relaxed, Relaxed, spend).is_ok() {
            return Err(errno(5));
        }
        Ok(())
    });
    let options = Options {
        ttl_ms: [0, TTL_MS, 0],
        ..options(Policy::DropOldest)
    };
    let mut engine = open_with(&picky, options);
    append(&mut engine, Class::Normal, "old");
    engine.expire().expect("nothing to drop");
    disk.set_moment(7, 5000 + TTL_MS / 2);
    engine.expire().expect("nothing to drop");
    append(&mut engine, Class::Normal, "young");
    engine.expire().expect("nothing to drop");
    disk.set_moment(7, 5001 + TTL_MS);
    engine.expire().expect_err("a file that stays");
    assert_eq!(texts(&engine, Class::Normal), ["young", "gap"]);
    disk.set_moment(7, 5001 + TTL_MS / 2 + TTL_MS);
    engine.expire().expect("room for a gap");
    assert_eq!(texts(&engine, Class::Normal), ["gap", "gap"]);
}

/// Where no gap frame tells of a drop, a reader that has not come so far passes it over, and waits for what comes.
#[tokio::test]
async fn a_reader_passes_over_what_is_too_old() {
    let disk = SimDisk::new();
    disk.set_moment(7, 5000);
    let options = Options {
        ttl_ms: [0, TTL_MS, 0],
        on_drop: None,
        ..options(Policy::DropOldest)
    };
    let mut engine = open_with(&disk, options);
    let shared = engine.shared();
    let mut reader = Reader::new(shared.clone(), Class::Normal);
    append(&mut engine, Class::Normal, "old");
    engine.expire().expect("nothing to drop");
    disk.set_moment(7, 5001 + TTL_MS);
    engine.expire().expect("room");
    assert_eq!(shared.stats().frames_expired, 1);
    let waits = tokio::time::timeout(Duration::from_millis(50), reader.next(10, 1000)).await;
    assert!(waits.is_err(), "{waits:?}");
    append(&mut engine, Class::Normal, "new");
    let chunk = reader.next(10, 1000).await.expect("a frame");
    assert_eq!((chunk.last(), chunk.frames.len()), (Some(1), 1));
    assert_eq!((chunk.lost, shared.stats().frames_lost), (vec![], 0));
}

/// The log's age after a restart, at `boot` and `uptime_ms`, of a log that was written at boot 7, uptime 5000.
fn expires_after_restart(boot: u32, uptime_ms: u64) -> bool {
    let disk = SimDisk::new();
    disk.set_moment(7, 5000);
    let mut engine = open(&disk);
    append(&mut engine, Class::Normal, "old");
    engine.seal();
    drop(engine);
    disk.set_moment(boot, uptime_ms);
    let mut engine = open(&disk);
    // What was written before the start is not taken for older than the start.
    disk.set_moment(boot, uptime_ms + TTL_MS - 1);
    engine.expire().expect("nothing to do");
    assert_eq!(texts(&engine, Class::Normal), ["old"], "boot {boot}");
    append(&mut engine, Class::Normal, "new");
    drop(engine);
    // The second start knows that the first one was later than what it found.
    let mut engine = open(&disk);
    engine.expire().expect("room for a gap");
    let before = texts(&engine, Class::Normal).contains(&"old".to_owned());
    disk.set_moment(boot, uptime_ms + 2 * TTL_MS);
    engine.expire().expect("room for a gap");
    let after = texts(&engine, Class::Normal).contains(&"old".to_owned());
    before && !after
}

#[test]
fn age_goes_on_over_restarts() {
    // The same boot, another one, and one whose id cannot be read.
    for boot in [7, 8, 0] {
        assert!(expires_after_restart(boot, 900_000), "boot {boot}");
    }
}

fn moment(boot: u32, uptime_ms: u64) -> Moment {
    Moment { boot, uptime_ms }
}

const FOUND: Stamp = Stamp {
    age_ms: 1000,
    boot: 7,
    uptime_ms: 50_000,
};

#[test]
fn what_passed_between_two_starts_is_what_is_known_of_it() {
    let age = |found, now| AgeClock::resume(found, now).now_ms();
    assert_eq!(age(FOUND, moment(7, 53_000)), 4000, "the same boot");
    assert_eq!(age(FOUND, moment(8, 300)), 1300, "at least since the boot");
    assert_eq!(age(FOUND, moment(0, 0)), 1000, "nothing is known");
    assert_eq!(age(FOUND, moment(0, 300)), 1000, "nor of which boot");
    let unknown = Stamp { boot: 0, ..FOUND };
    assert_eq!(age(unknown, moment(8, 300)), 1000, "nothing is known");
    assert_eq!(age(Stamp::default(), moment(8, 300)), 0, "of format 1");
}

#[test]
fn it_never_goes_back_and_never_jumps() {
    let mut age = AgeClock::resume(FOUND, moment(7, 53_000));
    assert_eq!(age.stamp(moment(7, 54_000)).age_ms, 5000);
    // A machine restored from an older snapshot, and one that cannot say.
    assert_eq!(age.stamp(moment(7, 100)).age_ms, 5000);
    assert_eq!(age.stamp(moment(0, 0)).age_ms, 5000);
    assert_eq!(age.stamp(moment(7, 54_001)).age_ms, 5001);
    assert_eq!(AgeClock::resume(FOUND, moment(7, 10)).now_ms(), 1000);
}
