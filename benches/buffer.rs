//! Appends a second of 256-byte records, durable before the ack, beside a bare loop of write and fdatasync into a
//! preallocated file and beside `SQLite` (WAL, synchronous=FULL, through python3). Prints one table, ratios last.
//!
//! `cargo bench --bench buffer [seconds a cell]`. Works in a directory under target/, never on a tmpfs.

#![forbid(unsafe_code)]

use dunlin::buffer::fs::{Disk, Storage};
use dunlin::buffer::{Batch, Commit, Options, Store};
use dunlin::record::Class;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECORD_BYTES: usize = 256;

/// One cell: records a second, and the 99th percentile of the commits.
struct Rate {
    per_s: f64,
    p99_ms: f64,
}

impl Rate {
    fn of(records: usize, took: Duration, mut commits: Vec<Duration>) -> Rate {
        commits.sort_unstable();
        let p99 = commits
            .get(commits.len() * 99 / 100)
            .copied()
            .unwrap_or_default();
        Rate {
            per_s: records as f64 / took.as_secs_f64(),
            p99_ms: p99.as_secs_f64() * 1e3,
        }
    }
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(3.0));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    println!(
        "{RECORD_BYTES} B records, fsync before ack, {time:?} a cell, in {}",
        target.display()
    );
    println!(
        "{:>9}  {:>12} {:>8} {:>6}  {:>12} {:>8}  {:>12}  {:>9} {:>9}",
        "a commit",
        "dunlin/s",
        "p99 ms",
        "w.amp",
        "raw/s",
        "p99 ms",
        "SQLite/s",
        "d/raw",
        "d/SQLite"
    );
    for records in [1, 64, 512] {
        let dir = tempfile::tempdir_in(target).expect("a directory under target/");
        let (dunlin, amplification) = dunlin(&dir.path().join("buffer"), records, time);
        let raw = raw(&dir.path().join("raw"), records, time);
        let sqlite = sqlite(&dir.path().join("sqlite"), records, time);
        let text = |n: Option<f64>, digits| n.map_or("-".to_owned(), |n| format!("{n:.digits$}"));
        println!(
            "{records:>9}  {:>12.0} {:>8.2} {amplification:>6.2}  {:>12.0} {:>8.2}  {:>12}  {:>9.2} {:>9}",
            dunlin.per_s,
            dunlin.p99_ms,
            raw.per_s,
            raw.p99_ms,
            text(sqlite, 0),
            dunlin.per_s / raw.per_s,
            text(sqlite.map(|s| dunlin.per_s / s), 2),
        );
    }
    let dir = tempfile::tempdir_in(target).expect("a directory under target/");
    read(&dir.path().join("buffer"));
}

fn batch(records: usize) -> Batch {
    std::iter::repeat_n([0x5a; RECORD_BYTES], records).collect()
}

fn open(dir: &Path, records: usize) -> Store {
    let options = Options {
        segment_bytes: 64 << 20,
        size_max_bytes: 4 << 30,
        commit: Commit {
            records_max: records,
            latency_ms_max: 0,
            ..Commit::default()
        },
        ..Options::default()
    };
    Store::open(Arc::new(Disk), dir, options)
        .expect("a store")
        .0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// One append under way at a time: each waits for the sync of the one before.
fn dunlin(dir: &Path, records: usize, time: Duration) -> (Rate, f64) {
    let store = open(dir, records);
    let group = batch(records);
    let (mut done, mut commits) = (0, Vec::new());
    let start = Instant::now();
    runtime().block_on(async {
        while start.elapsed() < time {
            let from = Instant::now();
            store
                .append(Class::Normal, group.clone())
                .await
                .expect("durable");
            commits.push(from.elapsed());
            done += records;
        }
    });
    let rate = Rate::of(done, start.elapsed(), commits);
    let stats = store.stats();
    (
        rate,
        stats.bytes_written as f64 / stats.bytes_appended as f64,
    )
}

/// The floor: the same bytes into preallocated files of the same size, and fdatasync.
fn raw(path: &Path, records: usize, time: Duration) -> Rate {
    const FILE_BYTES: u64 = 64 << 20;
    let group = vec![0x5a; records * RECORD_BYTES];
    let create = |number: u64| {
        let file = Disk
            .create(&path.with_extension(number.to_string()))
            .expect("a new file");
        file.allocate(FILE_BYTES).expect("space");
        file
    };
    let (mut done, mut commits, mut offset, mut files) = (0, Vec::new(), 0, 0);
    let mut file = create(0);
    let start = Instant::now();
    while start.elapsed() < time {
        let from = Instant::now();
        if offset + group.len() as u64 > FILE_BYTES {
            files += 1;
            file = create(files);
            offset = 0;
        }
        let written = file.write_at(&group, offset).expect("written");
        assert_eq!(written, group.len());
        file.sync().expect("synced");
        offset += written as u64;
        commits.push(from.elapsed());
        done += records;
    }
    Rate::of(done, start.elapsed(), commits)
}

const SQLITE: &str = "
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('pragma journal_mode=wal')
db.execute('pragma synchronous=full')
db.execute('create table log (position integer primary key, payload blob)')
n, seconds, payload, done = int(sys.argv[2]), float(sys.argv[3]), bytes(256), 0
rows = [(payload,)] * n
start = time.monotonic()
while time.monotonic() - start < seconds:
    db.execute('begin')
    db.executemany('insert into log (payload) values (?)', rows)
    db.execute('commit')
    done += n
print(done / (time.monotonic() - start))
";

/// Records a second through python3's sqlite3, where python3 is installed. The interpreter costs `SQLite` some of its
/// speed at 64 and 512; a peer in C belongs in the durability report.
fn sqlite(path: &Path, records: usize, time: Duration) -> Option<f64> {
    let mut command = Command::new("python3");
    command
        .args(["-c", SQLITE])
        .arg(path)
        .arg(records.to_string());
    let out = command.arg(time.as_secs_f64().to_string()).output().ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

/// Reads a backlog through a reader, releasing as it goes.
fn read(dir: &Path) {
    const FRAMES: u64 = 512 * 1000;
    let store = open(dir, 512);
    let group = batch(512);
    runtime().block_on(async {
        for _ in 0..FRAMES / 512 {
            store
                .append(Class::Normal, group.clone())
                .await
                .expect("durable");
        }
        let mut reader = store.reader(Class::Normal);
        let (mut frames, start) = (0, Instant::now());
        while frames < FRAMES {
            let chunk = reader.next(512, 1 << 20).await.expect("frames");
            frames += chunk.frames.len() as u64;
            store.release(Class::Normal, chunk.last().expect("a frame"));
        }
        let per_s = frames as f64 / start.elapsed().as_secs_f64();
        println!("read back: {frames} frames, {per_s:.0}/s, one reader, released as read");
    });
}
