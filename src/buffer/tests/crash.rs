//! The power goes at every operation of a workload, and again during the recovery from that.

use super::super::Policy;
use super::super::fs::faulty::{Fault, Op, SimDisk};
use super::model::{Model, open};

const SEEDS: u64 = 16;
const STEPS: u64 = 60;

/// Runs the workload on a disk that loses power at operation `at`.
fn run(workload: u64, at: usize) -> (SimDisk, Model, bool) {
    let disk = SimDisk::new();
    disk.fail(at, Fault::Crash);
    let mut model = Model::default();
    let outcome = open(&disk, Policy::DropOldest)
        .and_then(|(mut engine, _)| model.run(&mut engine, workload, STEPS));
    (disk, model, outcome.is_err())
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_operation() {
    let mut states = 0;
    for workload in 1..=3 {
        for at in 0.. {
            let (disk, mut model, crashed) = run(workload, at);
            for seed in 0..SEEDS {
                let note = format!("workload {workload}, operation {at}, damage seed {seed}");
                let after = disk.after_crash(seed);
                let (mut engine, _) = open(&after, Policy::DropOldest).expect(&note);
                model.check(&engine.shared(), &note);
                states += 1;
                // It goes on, and nothing of before is overwritten.
                if seed == 0 {
                    model.run(&mut engine, 100 + seed, 4).expect(&note);
                    model.check(&engine.shared(), &format!("{note}, then four steps"));
                    drop(engine);
                    let (again, _) = open(&after, Policy::DropOldest).expect(&note);
                    model.check(&again.shared(), &format!("{note}, then opened again"));
                    model = run(workload, at).1;
                }
            }
            if !crashed {
                break;
            }
        }
    }
    println!("{states} crash states");
    assert!(
        states > 5000,
        "{states} crash states: the workload has become too short"
    );
}

#[test]
fn nothing_is_lost_by_a_crash_during_recovery() {
    let mut states = 0;
    for at in (0..).step_by(7) {
        let (disk, model, crashed) = run(5, at);
        for seed in 0..4 {
            for second in 0.. {
                let after = disk.after_crash(seed);
                after.fail(second, Fault::Crash);
                let survived = open(&after, Policy::DropOldest).is_ok();
                for third in 0..4 {
                    let last = after.after_crash(third);
                    last.fail(usize::try_from(third).expect("small") * 2, Fault::Crash);
                    // Depth three: this one is interrupted too, or not.
                    let _ = open(&last, Policy::DropOldest);
                    let last = last.after_crash(seed + third);
                    let note = format!("operation {at}, seeds {seed} {third}, recovery {second}");
                    let (engine, _) = open(&last, Policy::DropOldest).expect(&note);
                    model.check(&engine.shared(), &note);
                    states += 1;
                }
                if survived {
                    break;
                }
            }
        }
        if !crashed {
            break;
        }
    }
    println!("{states} crash states");
    assert!(
        states > 1000,
        "{states} crash states: the workload has become too short"
    );
}

#[test]
fn the_workload_reaches_drops_rotation_and_cursors() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    let mut model = Model::default();
    model.run(&mut engine, 1, STEPS).expect("no faults");
    let stats = engine.shared().stats();
    assert!(stats.frames_dropped > 0, "{stats:?}");
    assert!(stats.disk_bytes <= 8 << 16, "{stats:?}");
    let ops = disk.ops();
    for op in [Op::Rename, Op::Remove, Op::SyncDir, Op::Sync, Op::Create] {
        assert!(ops.iter().filter(|o| **o == op).count() > 2, "{op:?}");
    }
}
