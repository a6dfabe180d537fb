//! Appends a second of 256-byte records, durable before the ack, beside a bare loop of write and fdatasync into a
//! preallocated file and beside `SQLite` (WAL, synchronous=FULL, through python3). Prints one table, ratios last. `steady` is
//! a log whose records are released as they are stored, as behind a connected uplink, so that segments are written over;
//! `fresh` is a new log that only grows. `SQLite` never deletes a row. After the table: acknowledgements at a steady 10,000
//! records a second, a backlog drained beside the rate it was taken in at, and the start on a log of 10 GB.
//!
//! `cargo bench --bench buffer [seconds a cell [frames of the backlog]]`. `cargo bench --bench buffer -- --start GB` writes a
//! log of that size instead, and opens it with the page cache emptied of it, and again. Works in a directory under target/,
//! never on a tmpfs.

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
    // cargo bench adds a flag of its own.
    let written = std::env::args().skip_while(|arg| arg != "--start").nth(1);
    if let Some(gigabytes) = written {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = tempfile::tempdir_in(target).expect("a directory under target/");
        start_written(&dir.path().join("written"), gigabytes.parse().expect("GB"));
        return;
    }
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let time = Duration::from_secs_f64(numbers.next().unwrap_or(3.0));
    let backlog = numbers.next().unwrap_or(512_000.0);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    println!(
        "{RECORD_BYTES} B records, fsync before ack, {time:?} a cell, in {}",
        target.display()
    );
    println!(
        "{:>9}  {:>12} {:>8} {:>6}  {:>12}  {:>12} {:>8}  {:>12}  {:>9} {:>9} {:>9}",
        "a commit",
        "steady/s",
        "p99 ms",
        "w.amp",
        "fresh/s",
        "raw/s",
        "p99 ms",
        "SQLite/s",
        "s/raw",
        "f/SQLite",
        "s/SQLite"
    );
    for records in [1, 64, 512] {
        let dir = tempfile::tempdir_in(target).expect("a directory under target/");
        let (steady, amplification) = dunlin(&dir.path().join("steady"), records, time, true);
        let (fresh, _) = dunlin(&dir.path().join("fresh"), records, time, false);
        let raw = raw(&dir.path().join("raw"), records, time);
        let sqlite = sqlite(&dir.path().join("sqlite"), records, time);
        let text = |n: Option<f64>, digits| n.map_or("-".to_owned(), |n| format!("{n:.digits$}"));
        println!(
            "{records:>9}  {:>12.0} {:>8.2} {amplification:>6.2}  {:>12.0}  {:>12.0} {:>8.2}  {:>12}  {:>9.2} {:>9} {:>9}",
            steady.per_s,
            steady.p99_ms,
            fresh.per_s,
            raw.per_s,
            raw.p99_ms,
            text(sqlite, 0),
            steady.per_s / raw.per_s,
            text(sqlite.map(|s| fresh.per_s / s), 2),
            text(sqlite.map(|s| steady.per_s / s), 2),
        );
    }
    let dir = tempfile::tempdir_in(target).expect("a directory under target/");
    steady(&dir.path().join("steady"), time);
    drain(&dir.path().join("backlog"), backlog);
    start(&dir.path().join("large"));
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

/// One append under way at a time: each waits for the sync of the one before. Where `released`, it begins when segments
/// are written over.
fn dunlin(dir: &Path, records: usize, time: Duration, released: bool) -> (Rate, f64) {
    let store = open(dir, records);
    let group = batch(records);
    let append = async |group: Batch| {
        let range = store.append(Class::Normal, group).await.expect("durable");
        if released {
            store.release(Class::Normal, range.end - 1);
        }
    };
    let (mut done, mut commits) = (0, Vec::new());
    let runtime = runtime();
    while released && store.stats().segments_recycled < 2 {
        runtime.block_on(append(batch(4096)));
    }
    let before = store.stats();
    let start = Instant::now();
    runtime.block_on(async {
        while start.elapsed() < time {
            let from = Instant::now();
            append(group.clone()).await;
            commits.push(from.elapsed());
            done += records;
        }
    });
    let rate = Rate::of(done, start.elapsed(), commits);
    let after = store.stats();
    let written = after.page_bytes_written - before.page_bytes_written;
    let appended = after.bytes_appended - before.bytes_appended;
    (rate, written as f64 / appended as f64)
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

/// Ten records each millisecond, with the options that an owner gets who sets none.
fn steady(dir: &Path, time: Duration) {
    let store = Arc::new(
        Store::open(Arc::new(Disk), dir, Options::default())
            .expect("a store")
            .0,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut acks: Vec<Duration> = runtime.block_on(async {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let mut waiting = Vec::new();
        let start = Instant::now();
        while start.elapsed() < time {
            tick.tick().await;
            let store = store.clone();
            waiting.push(tokio::spawn(async move {
                let from = Instant::now();
                store
                    .append(Class::Normal, batch(10))
                    .await
                    .expect("durable");
                from.elapsed()
            }));
        }
        let mut acks = Vec::new();
        for append in waiting {
            acks.push(append.await.expect("no panic"));
        }
        acks
    });
    acks.sort_unstable();
    let at = |share: usize| acks[(acks.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let stats = store.stats();
    println!(
        "steady: {} records, ack p50 {:.1} ms, p99 {:.1} ms, {:.2} bytes handed to the file system a payload byte",
        stats.frames_durable,
        at(50),
        at(99),
        stats.bytes_written as f64 / stats.bytes_appended as f64
    );
}

/// Takes a backlog in, 512 records a commit, then reads it in order through a reader, releasing as it goes.
fn drain(dir: &Path, frames: f64) {
    let store = open(dir, 512);
    let group = batch(512);
    let held = resident_mb();
    runtime().block_on(async {
        let start = Instant::now();
        let mut stored = 0;
        while (stored as f64) < frames {
            let range = store.append(Class::Normal, group.clone()).await.expect("durable");
            stored = range.end;
        }
        let taken_in = stored as f64 / start.elapsed().as_secs_f64();
        let mut reader = store.reader(Class::Normal);
        let (mut next, start) = (0, Instant::now());
        while next < stored {
            let chunk = reader.next(512, 1 << 20).await.expect("frames");
            assert!(chunk.lost.is_empty(), "{:?}", chunk.lost);
            for frame in &chunk.frames {
                assert_eq!(frame.position, next, "in order");
                next += 1;
            }
            store.release(Class::Normal, chunk.last().expect("a frame"));
        }
        let drained = next as f64 / start.elapsed().as_secs_f64();
        println!(
            "backlog: {stored} frames taken in at {taken_in:.0}/s, drained in order at {drained:.0}/s, {:.1} times as fast; \
             the process holds {:.1} MB, {held:.1} MB before",
            drained / taken_in,
            resident_mb()
        );
    });
}

/// Memory that this process holds, in millions of bytes.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("statistics");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kb = line.expect("VmRSS").trim().trim_end_matches(" kB");
    kb.parse::<f64>().expect("a number") * 1024.0 / 1e6
}

/// Writes a log of so many billion bytes, and opens it: first with none of it in the page cache, then with what a start reads.
fn start_written(dir: &Path, gigabytes: u64) {
    let options = Options {
        size_max_bytes: (gigabytes + 4) * 1_000_000_000,
        ..Options::default()
    };
    let open = || {
        let (store, recovery) = Store::open(Arc::new(Disk), dir, options.clone()).expect("a store");
        (store, recovery.logs[Class::Normal as usize].clone())
    };
    let (store, _) = open();
    let group = batch(4096);
    runtime().block_on(async {
        while store.stats().bytes_appended < gigabytes * 1_000_000_000 {
            let append = store.append(Class::Normal, group.clone());
            append.await.expect("durable");
        }
    });
    drop(store);
    for cold in [true, false] {
        let took: Vec<String> = (0..3)
            .map(|_| {
                if cold {
                    forget(dir);
                }
                let from = Instant::now();
                let (store, found) = open();
                let took = from.elapsed().as_secs_f64() * 1e3;
                drop(store);
                assert_eq!(found.lost, []);
                let held = found.pending.end - found.pending.start;
                format!("{took:.1} ms ({} segments, {held} frames)", found.segments)
            })
            .collect();
        let cache = if cold { "not in" } else { "in" };
        println!(
            "start on a written log, {cache} the page cache: {}",
            took.join(", ")
        );
    }
}

/// Empties the page cache of the files of a store.
fn forget(dir: &Path) {
    let mut command = Command::new("find");
    command.arg(dir).args(["-type", "f", "-exec", "dd"]);
    let done = command
        .args(["if={}", "iflag=nocache", "count=0", "status=none", ";"])
        .status()
        .expect("find and dd");
    assert!(done.success(), "dd takes a file out of the page cache");
}

/// Opens a log of 1280 segments of 8 MiB. Sparse files stand for all but the newest, of which a start reads the size alone.
fn start(dir: &Path) {
    const SEGMENTS: u64 = 1280;
    const SEGMENT_BYTES: u64 = 8 << 20;
    let log = dir.join("normal");
    std::fs::create_dir_all(&log).expect("a directory");
    for id in 0..SEGMENTS {
        let base = id * 30_000;
        let mut header = Vec::from(b"DUNLINSG\x01\x00\x40\x00\x01\x00\x00\x00");
        header.extend(id.to_le_bytes());
        header.extend(base.to_le_bytes());
        header.resize(60, 0);
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        let file = Disk.create(&log.join(format!("{id:016x}-{base:016x}.seg")));
        let file = file.expect("a new file");
        file.set_size(SEGMENT_BYTES).expect("a sparse file");
        assert_eq!(file.write_at(&header, 0).expect("written"), header.len());
    }
    let options = Options {
        size_max_bytes: 16 << 30,
        ..Options::default()
    };
    let open = || {
        Store::open(Arc::new(Disk), dir, options.clone())
            .expect("a store")
            .0
    };
    let store = open();
    let appended = runtime().block_on(store.append(Class::Normal, batch(512)));
    appended.expect("durable");
    drop(store);
    let mut took: Vec<Duration> = (0..5)
        .map(|_| {
            let from = Instant::now();
            drop(open());
            from.elapsed()
        })
        .collect();
    took.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    println!(
        "start on a log of {:.1} GB: opened and closed in {:.1} ms, {:.1} ms at worst, of {}",
        (SEGMENTS * SEGMENT_BYTES) as f64 / 1e9,
        ms(took[2]),
        ms(took[4]),
        took.len()
    );
}
