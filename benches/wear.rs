//! Bytes that reach the disk for each byte appended, by the block statistics of a loop device with an ext4 made for the
//! purpose, its journal included; beside them what the kernel accounts to the process, and what the store counts itself.
//!
//! `cargo bench --bench wear [seconds a cell]`, as root: it mounts. Records come every 10 ms and are released as they are
//! stored, as behind a connected uplink. A payload is one record of 256 bytes, or a message of JSON as the agent makes them.

#![forbid(unsafe_code)]

use dunlin::buffer::fs::Disk;
use dunlin::buffer::{Batch, Commit, Options, Store};
use dunlin::record::Class;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(10);

/// An ext4 on a loop device.
struct Mounted {
    dir: tempfile::TempDir,
    device: String,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        out.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

impl Mounted {
    fn new(target: &Path) -> Mounted {
        let dir = tempfile::tempdir_in(target).expect("a directory under target/");
        let image = dir.path().join("image");
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(1 << 30).expect("a sparse image");
        let image = image.to_str().expect("UTF-8");
        // Nothing is left for the kernel to write later on its own.
        let eager = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-E", eager, image]);
        let device = run("losetup", &["--find", "--show", image]);
        let disk = dir.path().join("disk");
        std::fs::create_dir(&disk).expect("a directory");
        let mounted = Mounted { dir, device };
        run("mount", &[&mounted.device, disk.to_str().expect("UTF-8")]);
        mounted
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Bytes written to the device so far, all that is dirty included.
    fn written(&self) -> u64 {
        run("sync", &["-f", self.disk().to_str().expect("UTF-8")]);
        let name = self.device.trim_start_matches("/dev/");
        let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("statistics");
        let sectors = stat.split_whitespace().nth(6).expect("sectors written");
        512 * sectors.parse::<u64>().expect("a number")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The bench is at its end, or fails already.
        for (program, what) in [
            ("umount", self.disk()),
            ("losetup", PathBuf::from(&self.device)),
        ] {
            let mut command = Command::new(program);
            if program == "losetup" {
                command.arg("--detach");
            }
            let _ = command.arg(what).status();
        }
    }
}

/// What the kernel accounts to this process.
fn own_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("accounting");
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    line.expect("write_bytes").parse().expect("a number")
}

/// Records of 256 bytes that nothing compresses.
fn noise(records: u64, seed: u64) -> Batch {
    let mut state = seed | 1;
    let mut record = || {
        let bytes: Vec<u8> = (0..32)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        bytes
    };
    (0..records).map(|_| record()).collect()
}

/// A message of samples of five channels, each wandering a little, as the agent writes them in JSON.
fn message(records: u64, seed: u64) -> Batch {
    let mut text =
        format!("{{\"boot\":\"17-3fa9c2d1\",\"stream\":\"plant\",\"seq\":{seed},\"records\":[");
    for n in 0..records {
        let at = seed * 1000 + n;
        let noise = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let value = 20.0 + (at % 977) as f64 / 50.0 + (noise % 1000) as f64 / 1000.0;
        let channel = ["temperature", "pressure", "humidity", "current", "voltage"];
        let channel = channel[usize::try_from(n % 5).expect("small")];
        let comma = if n == 0 { "" } else { "," };
        write!(
            text,
            "{comma}{{\"t\":{},\"mono\":{},\"channel\":\"{channel}\",\"value\":{value:.3},\"unit\":\"x\",\"quality\":\"good\"}}",
            1_764_000_000_000_000_000_u64 + at * 1_000_013,
            at * 1_000_013
        )
        .expect("memory");
    }
    text.push_str("]}");
    [text].into_iter().collect()
}

struct Case {
    name: &'static str,
    per_s: u64,
    latency_ms: u64,
    compress: bool,
    payload: fn(u64, u64) -> Batch,
}

fn main() {
    // cargo bench adds a flag of its own.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let time = Duration::from_secs_f64(numbers.next().unwrap_or(10.0));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut cases = Vec::new();
    for per_s in [1000, 10_000] {
        for (latency_ms, compress, name, payload) in [
            (5, false, "256 B", noise as fn(u64, u64) -> Batch),
            (100, false, "256 B", noise),
            (500, false, "256 B", noise),
            (100, false, "messages", message),
            (100, true, "messages", message),
        ] {
            cases.push(Case {
                name,
                per_s,
                latency_ms,
                compress,
                payload,
            });
        }
    }
    println!("{time:?} a cell, bytes written for each byte appended");
    println!(
        "{:>9} {:>9} {:>9} {:>5}  {:>9} {:>9} {:>9}  {:>9} {:>9} {:>9}",
        "records/s",
        "payload",
        "wait ms",
        "lz4",
        "device",
        "process",
        "store",
        "p50 ms",
        "p99 ms",
        "cpu %"
    );
    for case in cases {
        cell(&Mounted::new(target), &case, time);
    }
}

/// Clock ticks of CPU that this process took.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("statistics");
    let after = stat.rsplit(')').next().expect("fields");
    let fields = after.split_whitespace().skip(11).take(2);
    fields.map(|f| f.parse::<u64>().expect("ticks")).sum()
}

fn cell(mounted: &Mounted, case: &Case, time: Duration) {
    let options = Options {
        segment_bytes: 4 << 20,
        size_max_bytes: 256 << 20,
        compress: case.compress,
        commit: Commit {
            records_max: 1 << 16,
            bytes_max: 1 << 21,
            latency_ms_max: case.latency_ms,
        },
        cursor_frames_max: 1 << 16,
        cursor_ms_max: 1000,
        ..Options::default()
    };
    let store = Store::open(Arc::new(Disk), &mounted.disk().join("buffer"), options);
    let store = Arc::new(store.expect("a store").0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut acks: Vec<Duration> = runtime.block_on(async {
        // Until segments are written over.
        while store.stats().segments_recycled < 2 {
            let range = store.append(Class::Normal, noise(2048, 7)).await;
            store.release(Class::Normal, range.expect("durable").end - 1);
        }
        store.flush_cursor().await.expect("a cursor");
        Vec::new()
    });
    let before = (mounted.written(), own_written(), store.stats(), cpu_ticks());
    runtime.block_on(async {
        let mut tick = tokio::time::interval(TICK);
        let mut waiting = Vec::new();
        let start = Instant::now();
        let mut number = 0;
        while start.elapsed() < time {
            tick.tick().await;
            number += 1;
            let batch = (case.payload)(case.per_s / 100, number);
            let store = store.clone();
            waiting.push(tokio::spawn(async move {
                let from = Instant::now();
                let range = store.append(Class::Normal, batch).await.expect("durable");
                store.release(Class::Normal, range.end - 1);
                from.elapsed()
            }));
        }
        for append in waiting {
            acks.push(append.await.expect("no panic"));
        }
    });
    let took_s = time.as_secs_f64();
    let after = (mounted.written(), own_written(), store.stats(), cpu_ticks());
    let appended = (after.2.bytes_appended - before.2.bytes_appended) as f64;
    acks.sort_unstable();
    let at = |share: usize| acks[(acks.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!(
        "{:>9} {:>9} {:>9} {:>5}  {:>9.3} {:>9.3} {:>9.3}  {:>9.1} {:>9.1} {:>9.1}",
        case.per_s,
        case.name,
        case.latency_ms,
        if case.compress { "yes" } else { "no" },
        (after.0 - before.0) as f64 / appended,
        (after.1 - before.1) as f64 / appended,
        (after.2.page_bytes_written - before.2.page_bytes_written) as f64 / appended,
        at(50),
        at(99),
        // 100 ticks a second.
        (after.3 - before.3) as f64 / took_s,
    );
}
