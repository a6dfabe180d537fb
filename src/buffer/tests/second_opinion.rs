//! `lab/read_log.py`, written from `docs/buffer.md` alone, must say of any directory what the agent makes of it.

use super::super::fs::faulty::{Fault, Random, SimDisk};
use super::super::{Class, Policy};
use super::model::{DIR, Model, open, read_all};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a reader of the agent delivers, in the words of the other reader.
fn as_the_agent_reads(disk: &SimDisk) -> String {
    let (engine, _) = open(disk, Policy::DropOldest).expect("a start");
    let mut out = Vec::new();
    for class in Class::ALL {
        let shared = engine.shared();
        let view = {
            let view = shared.log(class).view();
            (view.released, view.floor, view.next)
        };
        let chunk = read_all(&shared, class);
        let frames: Vec<String> = chunk
            .frames
            .iter()
            .map(|frame| {
                let kind = if frame.payload.starts_with(b"GAP") {
                    "gap"
                } else {
                    "data"
                };
                let mut hex = String::new();
                for byte in &frame.payload {
                    write!(hex, "{byte:02x}").expect("memory");
                }
                format!("[{}, \"{kind}\", \"{hex}\"]", frame.position)
            })
            .collect();
        let lost: Vec<String> = joined(&chunk.lost)
            .iter()
            .map(|range| format!("[{}, {}]", range.start, range.end))
            .collect();
        out.push(format!(
            "\"{}\": {{\"released\": {}, \"floor\": {}, \"next\": {}, \"frames\": [{}], \"lost\": [{}]}}",
            class.name(),
            view.0,
            view.1,
            view.2,
            frames.join(", "),
            lost.join(", ")
        ));
    }
    format!("{{{}}}", out.join(", "))
}

fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => out.push(range.clone()),
        }
    }
    out
}

#[test]
fn another_reader_agrees() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut dirs: Vec<PathBuf> = Vec::new();
    let mut expected = Vec::new();
    let mut notes = Vec::new();
    let mut random = Random::new(3);
    for workload in [1, 2, 10] {
        for at in (15..).step_by(11) {
            let disk = SimDisk::new();
            disk.fail(at, Fault::Crash);
            let mut model = Model::default();
            let outcome = open(&disk, Policy::DropOldest).and_then(|(mut engine, _)| {
                // Every third directory has packed frames, until its agent is started again.
                engine.pack(at % 3 == 0);
                model.run(&mut engine, workload, 40)
            });
            let seed = random.below(1000);
            let after = disk.after_crash(seed);
            // Every other one with a bit flipped, in a segment or a cursor.
            let flip = dirs.len() % 2 == 1;
            let class = Class::ALL[usize::try_from(random.below(3)).expect("small")];
            let files = after.files(&Path::new(DIR).join(class.name()));
            if flip && !files.is_empty() {
                let file = &files[usize::try_from(random.below(files.len() as u64)).expect("few")];
                let size = after.bytes(file).len() as u64;
                if size > 0 {
                    let bit = usize::try_from(random.below(size.min(20_000) * 8)).expect("small");
                    after.damage(file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                }
            }
            if after.has(&Path::new(DIR).join("format")) {
                let dir = temporary.path().join(dirs.len().to_string());
                after.copy_to(Path::new(DIR), &dir).expect("a copy");
                dirs.push(dir);
                expected.push(as_the_agent_reads(&after));
                notes.push(format!("workload {workload}, operation {at}, seed {seed}"));
            }
            if outcome.is_ok() {
                break;
            }
        }
    }
    assert!(dirs.len() > 20, "{} directories", dirs.len());
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/read_log.py");
    let out = Command::new("python3").arg(reader).args(&dirs).output();
    let out = out.expect("python3 is installed (scripts/setup.sh)");
    let said = String::from_utf8_lossy(&out.stdout);
    let problems = String::from_utf8_lossy(&out.stderr);
    assert_eq!(said.lines().count(), dirs.len(), "{problems}");
    for ((theirs, ours), note) in said.lines().zip(&expected).zip(&notes) {
        assert!(
            theirs == ours,
            "{note}:\nthe agent  {}\nread_log   {}",
            brief(ours),
            brief(theirs)
        );
    }
    println!("{} directories read alike", dirs.len());
}

/// Payloads of a thousand letters tell nothing.
fn brief(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(at) = out.find("616161616161616161") {
        let end = out[at..].find('"').map_or(out.len(), |n| at + n);
        out.replace_range(at..end, "..");
    }
    out
}
