//! A private key leaves nothing behind in the memory of the process that used it.
//!
//! The process searches its own memory for the key, so it must not know the key itself: the needle is kept with each byte
//! changed, and read a byte at a time.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use dunlin_crypto::{ClientTls, PrivateKey};

const MASK: u8 = 0xa5;
/// From this size on, memory is mapped, and not taken from what others freed: the search must not write over its finds.
const MAPPED_BYTES: usize = 1 << 20;
/// What is searched at once, no part of the heap either.
static PIECE: Mutex<[u8; 1 << 16]> = Mutex::new([0; 1 << 16]);

/// Bytes of a file, each changed by MASK, the plain ones never side by side.
fn masked(path: &Path, from: u64, count: usize) -> Vec<u8> {
    let file = File::open(path).unwrap();
    let mut out = Vec::with_capacity(count);
    for at in (from..).take(count) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        out.push(byte[0] ^ MASK);
        std::hint::black_box(&mut byte)[0] = 0;
    }
    out
}

/// How often a masked needle is in what this process can read of itself, its own piece excepted.
fn count(needle: &[u8]) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut piece = PIECE.lock().unwrap();
    let mut maps = String::with_capacity(MAPPED_BYTES);
    let mut list = File::open("/proc/self/maps").unwrap();
    list.read_to_string(&mut maps).unwrap();
    let own = piece.as_ptr() as u64..piece.as_ptr() as u64 + piece.len() as u64;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        // The shadow of a sanitizer is terabytes, and has no copy of anything.
        if to - from > 1 << 30 {
            continue;
        }
        let mut at = from;
        while at < to {
            let take = usize::try_from(to - at).unwrap().min(piece.len());
            let Ok(read) = memory.read_at(&mut piece[..take], at) else {
                break;
            };
            for start in 0..read.saturating_sub(needle.len() - 1) {
                let here = piece[start..]
                    .iter()
                    .zip(needle)
                    .all(|(a, b)| a ^ MASK == *b);
                found += usize::from(here && !own.contains(&(at + start as u64)));
            }
            if read < needle.len() || at + read as u64 >= to {
                break;
            }
            // Overlapping, so that none is missed at the border of two pieces.
            at += (read - needle.len() + 1) as u64;
        }
    }
    piece.fill(0);
    std::hint::black_box(&*piece);
    found
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}

#[test]
fn a_key_of_a_file_is_wiped() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    openssl(
        dir.path(),
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=a -keyout a.key -out a.pem",
    );
    // In SEC 1 the key itself begins at the eighth byte.
    openssl(
        dir.path(),
        "ec -in a.key -outform DER -out a.der -no_public",
    );
    let mut needle = masked(&path("a.der"), 7, 32);
    // The second line of the PEM text has the key.
    let text = masked(&path("a.key"), 40, 48);
    fs::set_permissions(path("a.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!((count(&needle), count(&text)), (0, 0));

    let tls = ClientTls::new(
        &path("a.pem"),
        &path("a.pem"),
        &PrivateKey::File(path("a.key")),
    );
    let tls = tls.unwrap();
    // As OpenSSL keeps numbers, so that this search is known to find.
    needle.reverse();
    assert!(count(&needle) > 0, "the key in use is not found");
    needle.reverse();
    assert_eq!(
        (count(&needle), count(&text)),
        (0, 0),
        "copies beside the key in use"
    );

    drop(tls);
    assert_eq!(count(&needle), 0, "the key as it is stored");
    needle.reverse();
    assert_eq!(count(&needle), 0, "the key as a number");
    assert_eq!(count(&text), 0, "the text of the file");
}
