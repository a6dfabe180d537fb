//! The power goes at every operation of a workload, and again during the recovery from that, and again during the
//! recovery from that one. Nothing here is random but by seed: what a failure names happens again in the next run.

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

/// Crashes a workload at every operation, with each damage seed, and returns how many states were checked.
fn crashes(workload: u64) -> u64 {
    let mut states = 0;
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
    states
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_operation() {
    // The last one writes over released segments.
    let states: u64 = [1, 2, 10].map(crashes).into_iter().sum();
    println!("crash states {states}");
    assert!(
        states > 5000,
        "{states} crash states: the workload has become too short"
    );
}

/// Crashes a workload at every `stride`th operation, with each of `seeds` damage seeds; the start after that at each of
/// its operations; the start after that one at each of its own; and checks the start after those. Returns how many
/// such chains there were.
fn recoveries(workload: u64, stride: usize, seeds: u64) -> u64 {
    let mut states = 0;
    for at in (0..).step_by(stride) {
        let (disk, model, crashed) = run(workload, at);
        for seed in 0..seeds {
            for second in 0.. {
                let once = disk.after_crash(seed);
                once.fail(second, Fault::Crash);
                let survived = open(&once, Policy::DropOldest).is_ok();
                for third in 0.. {
                    let twice = once.after_crash(seed + 1);
                    twice.fail(third, Fault::Crash);
                    let again = open(&twice, Policy::DropOldest).is_ok();
                    let last = twice.after_crash(seed + 2);
                    let note = format!(
                        "workload {workload}, operation {at}, damage seed {seed}, recovery {second}, its recovery {third}"
                    );
                    let (engine, _) = open(&last, Policy::DropOldest).expect(&note);
                    model.check(&engine.shared(), &note);
                    states += 1;
                    if again {
                        break;
                    }
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
    states
}

#[test]
fn nothing_is_lost_by_a_crash_during_recovery() {
    let states = recoveries(5, 11, 3) + recoveries(10, 13, 3);
    println!("crash states {states}");
    assert!(
        states > 2000,
        "{states} crash states: the workload has become too short"
    );
}

/// The same at every operation, on all cores. Too slow for a build that is not optimised.
#[test]
fn campaign_crash_states() {
    let states: u64 = std::thread::scope(|scope| {
        let mut parts = vec![
            scope.spawn(|| recoveries(5, 1, SEEDS)),
            scope.spawn(|| recoveries(10, 1, SEEDS)),
        ];
        for workload in [1, 2, 3, 4, 5, 6, 10, 20, 30] {
            parts.push(scope.spawn(move || crashes(workload)));
        }
        let joined = parts.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|states| states.expect("no loss")).sum()
    });
    println!("crash states {states}");
    assert!(states > 50_000, "{states} crash states");
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
    let (mut engine, _) = open(&SimDisk::new(), Policy::DropOldest).expect("a new store");
    let mut model = Model::default();
    model.run(&mut engine, 10, STEPS).expect("no faults");
    let stats = engine.shared().stats();
    assert!(stats.segments_recycled >= 2, "{stats:?}");
}
