//! What a start makes of what it finds: torn bytes to the byte, losses to the position, and errors that are errors.

use super::super::fs::Storage;
use super::super::fs::faulty::SimDisk;
use super::super::{Batch, Class, Policy, format, inspect};
use super::model::{DIR, open, read_all, release};
use super::picky::{Call, Picky, errno, is_segment};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EIO: i32 = 5;

fn batch(texts: &[&str]) -> [Batch; 1] {
    [texts.iter().collect()]
}

fn files(disk: &SimDisk, ending: &str) -> Vec<PathBuf> {
    let mut files = disk.files(&Path::new(DIR).join("normal"));
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files
}

/// A log of three frames in two groups, and its segment, which is cut or not.
pub(super) fn small(cut: bool) -> (SimDisk, PathBuf, usize) {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine
        .append(Class::Normal, &batch(&["zero"]))
        .expect("room");
    engine
        .append(Class::Normal, &batch(&["one", "two"]))
        .expect("room");
    let end = engine.shared().log(Class::Normal).view().segments[0].bytes;
    if cut {
        engine.seal();
    }
    drop(engine);
    let file = files(&disk, ".seg").remove(0);
    (disk, file, usize::try_from(end).expect("small"))
}

/// Torn is what was written behind the last good record, in whole record places; zeros that were only reserved are not.
#[test]
fn torn_bytes_are_those_that_were_written() {
    for cut in [false, true] {
        for (written, torn) in [(0, 0), (1, 8), (8, 8), (9, 16), (24, 24), (600, 600)] {
            let (disk, file, end) = small(cut);
            disk.damage(&file, |bytes| {
                bytes.resize(bytes.len().max(end + written), 0);
                bytes[end..end + written].fill(0xff);
            });
            let note = format!("cut {cut}, {written} bytes");
            let report = inspect(&disk, Path::new(DIR)).expect("a directory");
            assert_eq!(report.logs[1].segments[0].torn_bytes, torn, "{note}");
            let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
            assert_eq!(recovery.logs[1].torn_bytes, torn, "{note}");
            assert_eq!(engine.shared().stats().bytes_torn, torn, "{note}");
            assert_eq!(disk.bytes(&file).len(), end, "{note}");
            assert_eq!(read_all(&engine.shared(), Class::Normal).frames.len(), 3);
        }
    }
}

/// A start names what it finds damaged in the last segment, as a reader will.
#[test]
fn a_loss_in_the_last_segment_is_told_at_the_start() {
    for (text, lost) in [("zero", 0..1), ("one", 1..2), ("two", 2..3)] {
        let (disk, file, _) = small(true);
        disk.damage(&file, |bytes| {
            let at = bytes.windows(text.len()).position(|b| b == text.as_bytes());
            bytes[at.expect("a frame")] ^= 1;
        });
        let (engine, recovery) = open(&disk, Policy::DropOldest).expect("a start");
        assert_eq!(recovery.logs[1].lost, std::slice::from_ref(&lost), "{text}");
        assert_eq!(recovery.logs[1].pending, 0..3, "{text}");
        let chunk = read_all(&engine.shared(), Class::Normal);
        assert_eq!(chunk.lost, [lost], "{text}");
    }
}

/// What was delivered before it rotted is no loss.
#[test]
fn damage_below_the_cursor_is_not_told() {
    for (released, lost) in [(0, Some(0..1)), (1, None)] {
        let disk = SimDisk::new();
        let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
        let two = batch(&["zero", "one"]);
        engine.append(Class::Normal, &two).expect("room");
        release(&engine.shared(), Class::Normal, released);
        engine.flush_cursors().expect("a cursor");
        engine.seal();
        drop(engine);
        disk.damage(&files(&disk, ".seg")[0], |bytes| bytes[64 + 16] ^= 1);
        let (_, recovery) = open(&disk, Policy::DropOldest).expect("a start");
        assert_eq!(recovery.logs[1].lost.first(), lost.as_ref());
    }
}

/// A disk that fails is not an empty one: nothing is taken for released, or new, that could not be read.
#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine
        .append(Class::Normal, &batch(&["a", "b"]))
        .expect("room");
    release(&engine.shared(), Class::Normal, 1);
    engine.flush_cursors().expect("a cursor");
    drop(engine);
    for name in ["format", "normal/uplink.cursor"] {
        let picky = Picky::new(&disk, move |call, path| {
            if call == Call::Open && path.ends_with(name) {
                return Err(errno(EIO));
            }
            Ok(())
        });
        let Err(error) = open(&picky, Policy::DropOldest) else {
            panic!("{name} cannot be opened, and was taken for none");
        };
        assert!(error.is_retryable());
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// A drop is done once it is committed: what could not be unlinked then is at the next start, and not read.
#[test]
fn what_is_below_the_floor_is_unlinked_at_the_next_start() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = is_broken.clone();
    let picky = Picky::new(&SimDisk::new(), move |call, path| {
        if call == Call::Remove && is_segment(path) && broken.load(Ordering::Relaxed) {
            return Err(errno(EIO));
        }
        Ok(())
    });
    let (mut engine, _) = open(&picky, Policy::DropOldest).expect("a new store");
    engine
        .append(Class::Normal, &batch(&["dropped"]))
        .expect("room");
    engine.seal();
    let large = "x".repeat(60_000);
    while engine.append(Class::Normal, &batch(&[&large])).is_ok() {}
    let first = files(&picky.disk, ".seg").remove(0);
    drop(engine);
    is_broken.store(false, Ordering::Relaxed);
    let (engine, _) = open(&picky, Policy::DropOldest).expect("a start");
    assert!(!picky.disk.has(&first));
    let chunk = read_all(&engine.shared(), Class::Normal);
    assert_eq!((chunk.frames[0].position, chunk.lost), (1, vec![]));
}

/// What another start left half written does not stand in the way, and what cannot be taken away is named.
#[test]
fn a_file_left_half_written_is_replaced() {
    for name in ["format.new", "normal/uplink.new"] {
        for code in [None, Some(EIO)] {
            let disk = SimDisk::new();
            let dir = Path::new(DIR);
            for made in [dir.to_owned(), dir.join("normal")] {
                disk.create_dir(&made).expect("a new directory");
            }
            disk.create(&dir.join(name)).expect("a new file");
            let picky = Picky::new(&disk, move |call, path| {
                let is_new = path.ends_with(name);
                code.filter(|_| call == Call::Remove && is_new)
                    .map_or(Ok(()), |code| Err(errno(code)))
            });
            let started = open(&picky, Policy::DropOldest).and_then(|(mut engine, _)| {
                engine.append(Class::Normal, &batch(&["a"]))?;
                release(&engine.shared(), Class::Normal, 1);
                engine.flush_cursors()
            });
            let said = started.map_err(|e| e.to_string());
            let why = said.err().map(|e| e.contains("os error 5"));
            assert_eq!(why, code.map(|_| true), "{name}");
            assert_eq!(disk.has(&dir.join(name)), code.is_some(), "{name}");
        }
    }
}

/// Lengths and positions at their bounds are read back; beyond them, nobody wrote it.
#[test]
fn a_record_is_read_back_up_to_its_bounds() {
    let most = u64::MAX / 2;
    for (position, is_one) in [
        (0, true),
        (most, true),
        (most + 1, false),
        (u64::MAX, false),
    ] {
        let mut bytes = Vec::new();
        format::encode(
            &mut bytes,
            64,
            3,
            format::RecordKind::Data,
            position,
            b"payload",
        );
        let record = format::parse(&bytes, 3, 64);
        assert_eq!(record.map(|r| r.position), is_one.then_some(position));
    }
    let longest = vec![0; super::super::PAYLOAD_BYTES_MAX];
    let packed = format::pack(&longest).expect("zeros are worth it");
    assert_eq!(
        format::unpack(&packed).map(|p| p.len()),
        Some(longest.len())
    );
}

/// From 64 bytes on, and where it saves an eighth.
#[test]
fn what_is_not_worth_packing_is_stored_as_it_is() {
    assert!(format::pack(&[7; 63]).is_none());
    assert!(format::pack(&[7; 64]).is_some());
    let mut random = super::super::fs::faulty::Random::new(5);
    let noise: Vec<u8> = (0..480)
        .map(|_| u8::try_from(random.below(256)).expect("a byte"))
        .collect();
    let with_zeros = |zeros: usize| [noise.clone(), vec![0; zeros]].concat();
    assert!(
        format::pack(&with_zeros(40)).is_none(),
        "it saves a sixteenth"
    );
    assert!(format::pack(&with_zeros(160)).is_some(), "it saves a fifth");
}
