//! Random bits of a large log on the real disk are flipped.

use super::super::fs::Disk;
use super::super::fs::faulty::Random;
use super::super::reader::{Chunk, Place};
use super::super::{Batch, Class, Options, Store, verify};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const MB_VARIABLE: &str = "DUNLIN_TEST_FLIPS_MB";
const SEGMENT_BYTES: u64 = 4 << 20;
const FRAME_BYTES: usize = 1000;
/// One flip for each so many bytes.
const BYTES_A_FLIP: u64 = 128 << 10;

fn payload(position: u64) -> Vec<u8> {
    let mut random = Random::new(position);
    let mut payload = position.to_le_bytes().to_vec();
    while payload.len() < FRAME_BYTES {
        payload.extend(random.below(1 << 40).to_le_bytes());
    }
    payload
}

fn options(log_bytes: u64) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        size_max_bytes: log_bytes + 32 * SEGMENT_BYTES,
        ..Options::default()
    }
}

/// Writes a log, flips bits all over it, and reads it: whatever is delivered is what was appended, and the rest is
/// reported to the position. Returns flips and positions lost.
fn flip(dir: &Path, log_bytes: u64, seed: u64) -> (u64, u64) {
    let open = || {
        Store::open(Arc::new(Disk), dir, options(log_bytes))
            .expect("a store")
            .0
    };
    let store = open();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime");
    let mut stored = 0;
    while stored * FRAME_BYTES as u64 <= log_bytes {
        let batch: Batch = (stored..stored + 512).map(payload).collect();
        let range = runtime.block_on(store.append(Class::Normal, batch));
        stored = range.expect("room").end;
    }
    drop(store);
    let files = std::fs::read_dir(dir.join("normal")).expect("a log");
    let mut files: Vec<_> = files.map(|e| e.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    files.sort();
    // At the very end what is damaged cannot be told from what was never written.
    files.pop();
    let mut random = Random::new(seed);
    let flips = log_bytes / BYTES_A_FLIP;
    for _ in 0..flips {
        let path = &files[usize::try_from(random.below(files.len() as u64)).expect("few")];
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("a segment");
        let at = random.below(file.metadata().expect("a size").len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte");
        byte[0] ^= 1 << random.below(8);
        file.write_all_at(&byte, at).expect("a byte");
    }
    assert!(!verify(&Disk, dir).expect("a directory").is_sound());
    let store = open();
    let (mut next, mut lost, mut seen) = (0, 0, 0);
    let mut place = Place::default();
    while next < stored {
        let mut chunk = Chunk::default();
        let from = next;
        let read = place.read(
            store.shared(),
            Class::Normal,
            from,
            (512, 1 << 20),
            &mut chunk,
        );
        next = read.expect("a readable disk");
        for frame in &chunk.frames {
            assert!(
                frame.payload == payload(frame.position),
                "{}",
                frame.position
            );
        }
        seen += chunk.frames.len() as u64;
        lost += chunk.lost.iter().map(|r| r.end - r.start).sum::<u64>();
        assert_eq!(seen + lost, next, "every position is delivered or reported");
    }
    (flips, lost)
}

#[test]
fn random_flips_of_a_log_cost_a_frame_each_at_most() {
    let dir = tempfile::tempdir().expect("a directory");
    let (flips, lost) = flip(&dir.path().join("buffer"), 16 << 20, 5);
    assert!(
        lost > flips / 2 && lost <= flips,
        "{flips} flips, {lost} lost"
    );
}

/// The same at a size that a script chooses, in MiB.
#[test]
fn campaign_flips() {
    let mb = std::env::var(MB_VARIABLE).map_or(64, |mb| mb.parse().expect("a number of MiB"));
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target");
    let dir = dir.expect("a directory on a disk");
    let (flips, lost) = flip(&dir.path().join("buffer"), mb << 20, 6);
    assert!(
        lost > flips / 2 && lost <= flips,
        "{flips} flips, {lost} lost"
    );
    println!("flips {flips}, log of {mb} MiB, positions reported {lost}, wrong 0");
}
