//! The disk refuses, lies about a sync, or rots.

use super::super::fs::faulty::{Fault, Op, SimDisk};
use super::super::{Batch, Class, Error, Policy, verify};
use super::model::{DIR, Model, open, read_all};
use std::path::{Path, PathBuf};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EINTR: i32 = 4;
const EDQUOT: i32 = 122;

fn batch(text: &str) -> Vec<Batch> {
    vec![[text].into_iter().collect()]
}

/// Every operation fails once or for ever, with every errno; what was acknowledged is there before and after a crash,
/// and the store goes on by itself once the disk does.
#[test]
fn no_error_of_any_operation_is_a_false_ack() {
    let mut runs = 0;
    let mut faults = vec![Fault::Short];
    for errno in [EIO, ENOSPC, EDQUOT, EROFS, EINTR] {
        faults.extend([Fault::Once(errno), Fault::Forever(errno)]);
    }
    for fault in faults {
        for at in (8..).step_by(3) {
            let disk = SimDisk::new();
            let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
            disk.fail(at, fault);
            let mut model = Model::default();
            let outcome = model.run(&mut engine, 9, 50);
            let done = disk.ops().len() <= at;
            let note = format!("{fault:?} at operation {at}: {outcome:?}");
            if let Err(e) = &outcome {
                assert!(e.is_retryable(), "{note}");
            }
            model.check(&engine.shared(), &note);
            let after = disk.after_crash(at as u64);
            let (found, _) = open(&after, Policy::DropOldest).expect(&note);
            model.check(&found.shared(), &format!("{note}, then a crash"));
            disk.heal();
            for log in &mut model.logs {
                // An error says that it is not stored, and it must not turn up later.
                log.unknown.clear();
            }
            model.run(&mut engine, 11, 20).expect(&note);
            model.check(&engine.shared(), &format!("{note}, then healed"));
            drop(engine);
            let after = disk.after_crash(at as u64);
            let (found, _) = open(&after, Policy::DropOldest).expect(&note);
            model.check(
                &found.shared(),
                &format!("{note}, then healed, then a crash"),
            );
            runs += 1;
            if done {
                break;
            }
        }
    }
    println!("fault runs {runs}");
    assert!(runs > 300, "{runs} runs: the workload has become too short");
}

/// Reads fail at any moment of a start or of a workload: an error is returned or the read repeated, nothing is skipped,
/// and nothing acknowledged is lost.
#[test]
fn no_failed_read_loses_anything() {
    let (disk, model) = {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        let mut model = Model::default();
        model.run(&mut engine, 9, 50).expect("no faults");
        (disk, model)
    };
    let mut runs = 0;
    for fault in [Fault::Once(EIO), Fault::Once(EINTR), Fault::Forever(EIO)] {
        for at in 0.. {
            let after = disk.after_crash(1);
            after.fail_reads(at, fault);
            let outcome = open(&after, Policy::DropOldest);
            let done = after.reads() <= at;
            let note = format!("{fault:?} at read {at}");
            if let Err(e) = &outcome {
                assert!(e.is_retryable(), "{note}: {e}");
            }
            drop(outcome);
            after.heal();
            let (engine, _) = open(&after, Policy::DropOldest).expect(&note);
            model.check(&engine.shared(), &note);
            runs += 1;
            if done {
                break;
            }
        }
    }
    println!("fault runs {runs}");
    assert!(runs > 30, "{runs} runs: a start reads less than it did");
}

/// A drive that confirms a write and stores it elsewhere, or nowhere, breaks the promise below the log. What the log
/// owes then: nothing wrong is ever delivered, all that is whole is, and every position that is missing is reported.
#[test]
fn a_drive_that_lies_is_found_out() {
    let (mut runs, mut missing) = (0, 0);
    let faults = [
        Fault::Lost,
        Fault::Misdirected(512),
        Fault::Misdirected(4096),
        Fault::Misdirected(8),
    ];
    for fault in faults {
        for at in 12..60 {
            let disk = SimDisk::new();
            let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
            disk.fail(at, fault);
            let mut acked = Vec::new();
            for number in 0..40 {
                let text = format!("{number} {}", "x".repeat(number * 37 % 600));
                let first = engine
                    .append(Class::Normal, &batch(&text))
                    .expect("no error is shown");
                assert_eq!(first, acked.len() as u64);
                acked.push(text);
            }
            engine.seal();
            drop(engine);
            disk.evict();
            let note = format!("{fault:?} at operation {at}");
            let (mut engine, _) = open(&disk, Policy::DropOldest).expect(&note);
            // What lies at the very end and is gone cannot be told from what was never written.
            let next = engine.append(Class::Normal, &batch("after")).expect(&note);
            let chunk = read_all(&engine.shared(), Class::Normal);
            let mut seen = 0;
            for frame in &chunk.frames {
                if frame.position < next {
                    let stored = String::from_utf8_lossy(&frame.payload);
                    assert_eq!(
                        stored,
                        acked[usize::try_from(frame.position).expect("small")],
                        "{note}"
                    );
                    seen += 1;
                }
            }
            let lost: u64 = chunk.lost.iter().map(|r| r.end - r.start).sum();
            assert_eq!(seen + lost, next, "{note}: {chunk:?}");
            missing += acked.len() as u64 - seen;
            runs += 1;
        }
    }
    println!("fault runs {runs}, {missing} frames missing and said so");
    assert!(
        missing > 50,
        "{missing} frames missing: the faults hit nothing"
    );
}

#[test]
fn a_full_disk_is_degraded_and_resumes_alone() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine
        .append(Class::Normal, &batch("before"))
        .expect("room");
    for cycle in 0..100 {
        let errno = [ENOSPC, EDQUOT, EROFS][cycle % 3];
        disk.fail_next(Fault::Forever(errno));
        let error = engine
            .append(Class::Normal, &batch("refused"))
            .expect_err("a full disk");
        assert!(error.is_retryable(), "{error}");
        assert!(engine.shared().stats().degraded.is_some());
        disk.heal();
        engine
            .append(Class::Normal, &batch("after"))
            .expect("room again");
        assert_eq!(engine.shared().stats().degraded, None);
    }
    let frames = read_all(&engine.shared(), Class::Normal).frames;
    assert_eq!(frames.len(), 101);
    assert!(frames.iter().all(|f| f.payload != "refused"));
}

/// After a failed sync the pages are clean and not written: syncing again would succeed and prove nothing.
#[test]
fn a_failed_sync_poisons_the_segment() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch("first")).expect("room");
    disk.fail(disk.ops().len() + 1, Fault::Once(EIO));
    engine
        .append(Class::Normal, &batch("second"))
        .expect("a new segment");
    assert_eq!(engine.shared().stats().segments_poisoned, 1);
    assert_eq!(*disk.ops().last().expect("operations"), Op::SyncDir);
    for seed in 0..64 {
        let after = disk.after_crash(seed);
        let (engine, _) = open(&after, Policy::DropOldest).expect("recovery");
        let frames = read_all(&engine.shared(), Class::Normal).frames;
        assert_eq!(frames.len(), 2, "seed {seed}");
        assert_eq!(frames[1].payload, "second", "seed {seed}");
    }
}

/// A killed process leaves writes in the page cache: the next one sees them, and a power cut takes them all the same.
#[test]
fn what_a_start_shows_survives_a_power_cut() {
    for at in 0..40 {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        engine.append(Class::Normal, &batch("acked")).expect("room");
        disk.fail(disk.ops().len() + at, Fault::Crash);
        for _ in 0..40 {
            let _ = engine.append(Class::Normal, &batch("under way"));
        }
        drop(engine);
        disk.heal();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a start");
        let shown = read_all(&engine.shared(), Class::Normal);
        engine.append(Class::Normal, &batch("next")).expect("room");
        let mut all = shown.frames;
        all.extend(read_all(&engine.shared(), Class::Normal).frames.pop());
        for seed in 0..16 {
            let note = format!("operation {at}, damage seed {seed}");
            let (engine, _) = open(&disk.after_crash(seed), Policy::DropOldest).expect(&note);
            let found = read_all(&engine.shared(), Class::Normal);
            assert_eq!((found.frames, found.lost), (all.clone(), vec![]), "{note}");
        }
    }
}

/// A log of three frames in three groups, closed; and the path of its segment.
fn small() -> (SimDisk, PathBuf) {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    for text in ["one", "two and more", "three"] {
        engine.append(Class::Normal, &batch(text)).expect("room");
    }
    engine.seal();
    let files = disk.files(&Path::new(DIR).join("normal"));
    let segment = files
        .into_iter()
        .find(|f| f.extension().is_some_and(|e| e == "seg"));
    (disk, segment.expect("a segment"))
}

#[test]
fn every_flipped_bit_is_found_and_costs_one_frame_at_most() {
    let (disk, path) = small();
    let size = disk.bytes(&path).len();
    let mut found = 0;
    for bit in 0..size * 8 {
        let disk = disk.after_crash(0);
        disk.damage(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let report = verify(&disk, Path::new(DIR)).expect("a directory");
        let torn = report.logs[1].segments[0].torn_bytes;
        assert!(!report.is_sound() || torn > 0, "bit {bit} is not found");
        let (mut engine, recovery) = open(&disk, Policy::DropOldest).expect("recovery");
        engine.append(Class::Normal, &batch("after")).expect("room");
        let chunk = read_all(&engine.shared(), Class::Normal);
        let lost: u64 = chunk.lost.iter().map(|r| r.end - r.start).sum();
        assert_eq!(
            chunk.frames.len() as u64 + lost,
            4,
            "bit {bit}: {chunk:?} {recovery:?}"
        );
        assert!(lost <= 1, "bit {bit}: {chunk:?}");
        found += lost;
    }
    assert!(found > 300, "{found}");
}

#[test]
fn a_cut_at_every_byte_leaves_a_prefix() {
    let (disk, path) = small();
    for size in 0..disk.bytes(&path).len() {
        let disk = disk.after_crash(0);
        disk.damage(&path, |bytes| bytes.truncate(size));
        let (engine, _) = open(&disk, Policy::DropOldest).expect("recovery");
        let chunk = read_all(&engine.shared(), Class::Normal);
        let texts: Vec<_> = chunk.frames.iter().map(|f| f.payload.to_vec()).collect();
        let all = [b"one".to_vec(), b"two and more".to_vec(), b"three".to_vec()];
        assert!(all.starts_with(&texts), "cut at {size}: {chunk:?}");
    }
}

/// Sectors zeroed, and exchanged with another: each frame is delivered as it was, or reported.
#[test]
fn zeroed_and_swapped_sectors_are_found() {
    const SECTOR: usize = 512;
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let text = |n: usize| {
        format!(
            "{n} {}",
            char::from(b'a' + u8::try_from(n % 26).expect("small"))
                .to_string()
                .repeat(n * 61 % 900)
        )
    };
    for n in 0..40 {
        engine
            .append(Class::Normal, &batch(&text(n)))
            .expect("room");
    }
    engine.seal();
    drop(engine);
    let path = disk.files(&Path::new(DIR).join("normal")).remove(0);
    let sectors = disk.bytes(&path).len() / SECTOR;
    let mut runs = 0;
    for one in 0..sectors {
        for other in (one..sectors).step_by(2) {
            let disk = disk.after_crash(0);
            disk.damage(&path, |bytes| {
                if one == other {
                    bytes[one * SECTOR..(one + 1) * SECTOR].fill(0);
                } else {
                    let (low, high) = bytes.split_at_mut(other * SECTOR);
                    low[one * SECTOR..(one + 1) * SECTOR].swap_with_slice(&mut high[..SECTOR]);
                }
            });
            let (mut engine, _) = open(&disk, Policy::DropOldest).expect("recovery");
            let next = engine.append(Class::Normal, &batch("after")).expect("room");
            let chunk = read_all(&engine.shared(), Class::Normal);
            let whole = chunk.frames.iter().filter(|f| f.position < next);
            for frame in whole.clone() {
                assert_eq!(
                    frame.payload,
                    text(usize::try_from(frame.position).expect("small"))
                );
            }
            let lost: u64 = chunk.lost.iter().map(|r| r.end - r.start).sum();
            assert_eq!(
                whole.count() as u64 + lost,
                next,
                "sectors {one} {other}: {:?}",
                chunk.lost
            );
            // Frames of up to 0.9 KB: a sector takes two at most when each is long, and a few when they are short.
            assert!(lost <= 24, "sectors {one} {other}: {:?}", chunk.lost);
            runs += 1;
        }
    }
    println!("corruptions {runs}");
    assert!(runs > 300, "{runs}");
}

/// A block that a disk wrote to the wrong place, or of an older life of the file, has a right checksum in
/// itself; only the id and the offset mixed in give it away.
#[test]
fn a_misplaced_or_stale_frame_is_refused() {
    let (disk, path) = small();
    // The fourth frame of a log of the same id and base, whose frames are longer, right behind the end of this one.
    let older = SimDisk::new();
    let (mut engine, _) = open(&older, Policy::DropOldest).expect("a new store");
    engine
        .append(Class::Normal, &batch("a first frame that is long"))
        .expect("room");
    engine.append(Class::Normal, &batch("2")).expect("room");
    engine.append(Class::Normal, &batch("3")).expect("room");
    let from = usize::try_from(engine.shared().log(Class::Normal).view().segments[0].bytes);
    let from = from.expect("small");
    engine.append(Class::Normal, &batch("stale")).expect("room");
    let stale = older.bytes(&path)[from..from + 24].to_vec();
    assert_ne!(from, disk.bytes(&path).len());
    let moved = disk.after_crash(0);
    moved.damage(&path, |bytes| bytes.extend(stale));
    let (engine, _) = open(&moved, Policy::DropOldest).expect("recovery");
    assert_eq!(read_all(&engine.shared(), Class::Normal).frames.len(), 3);

    let bytes = disk.bytes(&path);
    let other = SimDisk::new();
    let (mut engine, _) = open(&other, Policy::DropOldest).expect("a new store");
    engine.append(Class::Normal, &batch("x")).expect("room");
    drop(engine);
    let (mut engine, _) = open(&other, Policy::DropOldest).expect("the same store");
    engine.append(Class::Normal, &batch("y")).expect("room");
    drop(engine);
    let files = other.files(&Path::new(DIR).join("normal"));
    other.damage(&files[1], |stale| *stale = bytes);
    let (engine, _) = open(&other, Policy::DropOldest).expect("recovery");
    let chunk = read_all(&engine.shared(), Class::Normal);
    assert_eq!(chunk.frames.len(), 1, "{chunk:?}");
}

#[test]
fn a_newer_format_is_refused_and_untouched() {
    let (disk, _) = small();
    let path = Path::new(DIR).join("format");
    disk.damage(&path, |bytes| *bytes = b"dunlin-buffer 3\n".to_vec());
    let ops = disk.ops().len();
    let Err(error) = open(&disk, Policy::DropOldest) else {
        panic!("a newer format was opened");
    };
    assert!(matches!(error, Error::Version { known: 2, .. }), "{error}");
    assert!(
        error.to_string().contains("/buffer has format 3"),
        "{error}"
    );
    assert_eq!(disk.ops().len(), ops);
}
