//! Supervision of real hosts: restarts, outages that are accounted for once each, cancelled waits, writes, stops.

mod kit;

use std::time::{Duration, Instant};

use dunlin_driver::{Cause, Event, Outage, Sample, Spec, Supervisor, Value};
use nix::sys::signal::Signal::{SIGKILL, SIGSEGV};

use kit::{hostile, runtime, spec};

fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("the host lives");
}

/// What a source did until it was asked to stop.
#[derive(Default, Debug)]
struct Seen {
    samples: Vec<Sample>,
    outages: Vec<Outage>,
    downs: Vec<Cause>,
    device_errors: usize,
    ready: usize,
}

async fn watch(supervisor: &mut Supervisor, seen: &mut Seen, done: impl Fn(&Seen) -> bool) {
    let limit = Duration::from_secs(20);
    let all = async {
        while !done(seen) {
            match supervisor.next().await {
                Event::Ready(_) => seen.ready += 1,
                Event::Samples(samples) => seen.samples.extend_from_slice(samples),
                Event::Frames(_) => {}
                Event::DeviceError { .. } => seen.device_errors += 1,
                Event::Down { cause, .. } => seen.downs.push(cause),
                Event::Outage(outage) => seen.outages.push(outage),
            }
        }
    };
    tokio::time::timeout(limit, all).await.expect("in time");
}

fn quick(mut spec: Spec) -> Spec {
    spec.backoff.max_ms = 20;
    spec.interval_ms = Some(2);
    spec
}

#[test]
fn fifty_kills_leave_fifty_outages_and_the_readings_between_them() {
    runtime().block_on(async {
        let mut spec = quick(spec("template"));
        spec.backoff.stable_ms = 0;
        let mut supervisor = Supervisor::new(spec);
        let mut seen = Seen::default();
        let mut back = Vec::new();
        for round in 1..=50 {
            let before = seen.samples.len();
            watch(&mut supervisor, &mut seen, |seen| {
                seen.samples.len() > before
            })
            .await;
            let started = Instant::now();
            kill(
                supervisor.pid().expect("runs"),
                if round % 2 == 0 { SIGKILL } else { SIGSEGV },
            );
            watch(&mut supervisor, &mut seen, |seen| {
                seen.outages.len() == round
            })
            .await;
            back.push(started.elapsed());
        }
        back.sort();
        // Instrumented, a host needs longer to start, and how long is not what that run is to find out.
        let bound_ms = if cfg!(dunlin_asan) { 1000 } else { 100 };
        assert!(
            back[25] < Duration::from_millis(bound_ms),
            "median {:?}",
            back[25]
        );
        assert_eq!((seen.outages.len(), seen.downs.len()), (50, 50));
        for (index, outage) in seen.outages.iter().enumerate() {
            let signal = if index % 2 == 0 { 11 } else { 9 };
            assert_eq!(outage.cause, Cause::Crash { signal }, "{outage:?}");
            assert!(outage.from_ns < outage.to_ns, "{outage:?}");
            let inside =
                |s: &&Sample| s.monotonic_ns > outage.from_ns && s.monotonic_ns < outage.to_ns;
            assert_eq!(seen.samples.iter().filter(inside).count(), 0, "{outage:?}");
            let at = |ns: u64| seen.samples.iter().any(|s| s.monotonic_ns == ns);
            assert!(at(outage.from_ns), "{outage:?} begins at a reading");
        }
        let stopped = supervisor.stop().await;
        assert_eq!((stopped.outage, stopped.error), (None, None));
    });
}

#[test]
fn an_outage_of_many_failures_is_one_outage_and_an_open_one_is_handed_out() {
    runtime().block_on(async {
        // A process counts its readings anew, so each is good three times and each crash is an outage of its own.
        let mut supervisor = Supervisor::new(quick(hostile("crash", "3")));
        let mut seen = Seen::default();
        watch(&mut supervisor, &mut seen, |seen| seen.outages.len() == 3).await;
        let crash = |cause: &Cause| *cause == Cause::Crash { signal: 11 };
        assert!(seen.downs.iter().all(crash), "{:?}", seen.downs);

        // A source that never comes back: many failures, no outage event, one outage at the stop.
        let mut supervisor = Supervisor::new(quick(hostile("open-fails", "")));
        let mut seen = Seen::default();
        watch(&mut supervisor, &mut seen, |seen| seen.downs.len() == 5).await;
        assert_eq!((seen.outages.len(), seen.ready), (0, 0));
        let outage = supervisor.stop().await.outage.expect("open");
        assert_eq!(
            (outage.cause, outage.failures),
            (Cause::Device { errno: 6 }, 5)
        );
        assert!(outage.from_ns < outage.to_ns);
    });
}

#[test]
fn a_device_error_keeps_the_process_and_is_an_outage() {
    runtime().block_on(async {
        let mut supervisor = Supervisor::new(quick(hostile("eio-once", "2")));
        let mut seen = Seen::default();
        watch(&mut supervisor, &mut seen, |seen| seen.outages.len() == 1).await;
        assert_eq!(
            (seen.ready, seen.device_errors, seen.downs.len()),
            (1, 1, 0)
        );
        assert_eq!(seen.outages[0].cause, Cause::Device { errno: 5 });
        // ENODEV is different: the device is opened anew, in a new process.
        let mut supervisor = Supervisor::new(quick(hostile("enodev", "2")));
        let mut seen = Seen::default();
        watch(&mut supervisor, &mut seen, |seen| seen.outages.len() == 1).await;
        assert_eq!(
            (seen.ready, seen.downs.as_slice()),
            (2, &[Cause::Device { errno: 19 }][..])
        );
    });
}

#[test]
fn a_wait_that_is_cancelled_loses_nothing() {
    runtime().block_on(async {
        let mut supervisor = Supervisor::new(quick(spec("template")));
        let mut counts = Vec::new();
        let mut cancelled = 0;
        while counts.len() < 200 || cancelled < 60 {
            // Dropped at whatever await it has reached after a fraction of a millisecond.
            let wait = Duration::from_micros(50 * (cancelled % 40));
            match tokio::time::timeout(wait, supervisor.next()).await {
                Err(_) => cancelled += 1,
                Ok(Event::Samples(samples)) => {
                    counts.extend(samples.iter().filter(|s| s.channel == 0).map(|s| s.value));
                }
                Ok(Event::Ready(_)) => {}
                Ok(other) => panic!("{other:?}"),
            }
        }
        let expected: Vec<Value> = (1..).take(counts.len()).map(Value::Int).collect();
        assert_eq!(counts, expected);
    });
}

#[test]
fn a_write_lets_the_reading_under_way_through() {
    runtime().block_on(async {
        let mut supervisor = Supervisor::new(quick(spec("template")));
        assert!(
            supervisor.write(1, Value::Float(21.0)).await.is_err(),
            "not open yet"
        );
        let mut seen = Seen::default();
        watch(&mut supervisor, &mut seen, |seen| seen.samples.len() >= 2).await;
        for round in 0..20 {
            // Leave a read under way.
            let _ = tokio::time::timeout(Duration::from_micros(2300), supervisor.next())
                .await
                .map(|event| {
                    if let Event::Samples(samples) = event {
                        seen.samples.extend_from_slice(samples);
                    }
                });
            let value = Value::Float(20.0 + f64::from(round) / 10.0);
            supervisor.write(1, value).await.expect("in range");
            let written = |seen: &Seen| seen.samples.iter().any(|s| s.value == value);
            watch(&mut supervisor, &mut seen, written).await;
        }
        let counts: Vec<Value> = seen
            .samples
            .iter()
            .filter(|s| s.channel == 0)
            .map(|s| s.value)
            .collect();
        let expected: Vec<Value> = (1..).take(counts.len()).map(Value::Int).collect();
        assert_eq!(counts, expected, "no reading is lost to a write");
        let pid = supervisor.pid().expect("runs");
        drop(supervisor);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let gone = !std::path::Path::new(&format!("/proc/{pid}/stat")).exists();
        assert!(
            gone,
            "a dropped supervisor leaves no process, not even a zombie"
        );
    });
}

#[test]
fn a_stopped_process_is_a_hang_and_the_runtime_goes_on() {
    runtime().block_on(async {
        let mut spec = quick(hostile("stop", "2"));
        spec.deadline_ms = 200;
        let mut supervisor = Supervisor::new(spec);
        let mut seen = Seen::default();
        let mut worst = Duration::ZERO;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let mut last = Instant::now();
        {
            let watching = watch(&mut supervisor, &mut seen, |seen| seen.outages.len() == 3);
            tokio::pin!(watching);
            loop {
                tokio::select! {
                    () = &mut watching => break,
                    _ = ticks.tick() => {
                        worst = worst.max(last.elapsed());
                        last = Instant::now();
                    }
                }
            }
        }
        // A runtime that waited for the driver would stand still until the deadline, 200 ms. Instrumented code is
        // slower by a factor that is nobody's promise, so there the bound only tells the two apart.
        let bound_ms = if cfg!(dunlin_asan) { 180 } else { 50 };
        assert!(
            worst < Duration::from_millis(bound_ms),
            "the runtime stood still for {worst:?}"
        );
        assert!(
            seen.outages
                .iter()
                .all(|o| o.cause == Cause::Hang { call: "read" })
        );
    });
}
