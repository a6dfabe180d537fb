//! A process that appends is killed at random moments; what it printed as acknowledged must be there.

use super::super::fs::Disk;
use super::super::fs::faulty::Random;
use super::super::{Batch, Class, Error, Options, Store, verify};
use super::model::read_all;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const DIR_VARIABLE: &str = "DUNLIN_TEST_BUFFER_DIR";
const KILLS: u64 = 20;

fn options() -> Options {
    Options {
        segment_bytes: 1 << 18,
        ..Options::default()
    }
}

/// Not a test by itself: the process that is killed. Prints each acknowledged range end after it is durable.
#[test]
fn child_appends_until_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE).map(PathBuf::from) else {
        return;
    };
    let mut tries = 0;
    // Another test of the program that started this one may have forked while that had the lock: until its child begins a program
    // of its own, the lock is held there too.
    let store = loop {
        match Store::open(Arc::new(Disk), &dir, options()) {
            Err(Error::Locked { .. }) if tries < 1000 => tries += 1,
            opened => break opened.expect("a store").0,
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        loop {
            let next = store.pending(Class::Normal).end;
            let batch: Batch = (next..next + 64).map(payload).collect();
            let range = store.append(Class::Normal, batch).await.expect("room");
            let mut out = std::io::stdout().lock();
            writeln!(out, "acked {}", range.end).expect("a parent");
            out.flush().expect("a parent");
        }
    });
}

fn payload(position: u64) -> Vec<u8> {
    let mut payload = position.to_le_bytes().to_vec();
    payload.resize(256, 3);
    payload
}

#[test]
fn what_was_acked_survives_sigkill() {
    let dir = tempfile::tempdir().expect("a directory");
    let buffer: &Path = &dir.path().join("buffer");
    let seed = 11;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut acked = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "buffer::tests::kill::child_appends_until_killed",
                "--nocapture",
            ])
            .env(DIR_VARIABLE, buffer)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (started, first) = std::sync::mpsc::sync_channel(1);
        let reader = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            let ends = lines.filter_map(|line| line.split("acked ").nth(1)?.parse::<u64>().ok());
            ends.inspect(|_| started.try_send(()).unwrap_or(())).last()
        });
        // From the first acknowledgement on, so that a slow machine kills a process that is at work too.
        first
            .recv_timeout(Duration::from_mins(1))
            .expect("an acknowledgement");
        std::thread::sleep(Duration::from_millis(random.below(150)));
        child.kill().expect("SIGKILL");
        child.wait().expect("a dead child");
        acked = acked.max(reader.join().expect("a reader").unwrap_or(0));

        let (engine, _) = super::super::engine::Engine::open(Arc::new(Disk), buffer, options())
            .expect("recovery");
        let chunk = read_all(&engine.shared(), Class::Normal);
        assert_eq!(chunk.lost, vec![], "kill {kill}");
        assert!(
            chunk.frames.len() as u64 >= acked,
            "kill {kill}: {acked} acknowledged"
        );
        for (expected, frame) in (0..).zip(&chunk.frames) {
            assert_eq!(frame.position, expected);
            assert_eq!(frame.payload, payload(expected), "kill {kill}");
        }
    }
    println!("{acked} acknowledged, {KILLS} kills");
    assert!(
        acked >= KILLS * 64,
        "only {acked} frames: the kills came too early"
    );
    assert!(verify(&Disk, buffer).expect("a directory").is_sound());
}
