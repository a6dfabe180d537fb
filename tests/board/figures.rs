//! Start and memory of the agent, measured on the board itself, beside what Greengrass nucleus lite publishes.

use super::machine::{Boot, Machine};
use super::station::{FIRST_LIMIT, Station, time_now};
use std::time::{Duration, Instant};

/// Greengrass nucleus lite 2.5.0 on a Raspberry Pi 4: `docs/RESOURCE_LIMITS.md` and `benchmark/REPORT.md` of its
/// repository. Start to ready in seconds; PSS in MB, idle and at about 3 messages a second.
const PEER: (f64, f64, f64) = (1.70, 14.6, 15.8);
const STARTS: usize = 5;
/// Time for what starting needs to be given back, and over which the load is counted.
const SETTLE: Duration = Duration::from_secs(5);
/// What must have come of 1,000 records a second for the figure to be one of that load.
const RATE_LEAST: f64 = 900.0;
/// Measurements of the load that are made before a machine is called too busy.
const TRIES: usize = 4;

fn sim(rate_hz: u32) -> String {
    format!(
        "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
         options = {{ rate_hz = {rate_hz}, backlog = 100000, waves = [{{ name = \"n\", shape = \"sine\" }}] }}\n\n"
    )
}

/// Starts the agent: seconds from then to "running" in its log, both by the board's monotonic clock.
fn start(machine: &mut Machine) -> f64 {
    let begin = machine.sh(
        "rm -f /run/dunlin/log /run/dunlin/status.json; set -- $(cat /proc/uptime); echo $1; \
         (setsid dunlin run --log-format human /run/dunlin.toml 2>/run/dunlin/log &)",
    );
    machine.wait("grep -q ' running' /run/dunlin/log", FIRST_LIMIT);
    let stamp = machine.sh("sed -n '/ running/s/^\\[ *\\([0-9.]*\\)\\].*/\\1/p' /run/dunlin/log");
    stamp.parse::<f64>().expect("a stamp in seconds") - begin.parse::<f64>().unwrap()
}

fn stop(machine: &mut Machine) {
    let pid = machine.wait_status("the agent says its pid", FIRST_LIMIT, |status| {
        status["pid"].is_u64()
    })["pid"]
        .clone();
    machine.sh(&format!("kill {pid}"));
    machine.wait("! pidof dunlin", Duration::from_secs(30));
}

/// Proportional set size of the agent and its driver hosts, in MB: what they share counts once.
fn pss_mb(machine: &mut Machine) -> f64 {
    let kib = machine.sh(
        "for p in $(pidof dunlin); do cat /proc/$p/smaps_rollup; done | awk '/^Pss:/{s+=$2}END{print s}'",
    );
    kib.parse::<f64>().expect("a number of KiB") * 1024.0 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Records a second that the broker acknowledged, by the agent's own account and this machine's clock.
fn rate(machine: &mut Machine) -> f64 {
    let mut uplinked = || {
        let status = machine.status();
        let count = status["uplinked"].as_f64().unwrap_or(0.0);
        (count, status["uptime_ms"].as_f64().unwrap_or(0.0) / 1000.0)
    };
    let (first, begin) = uplinked();
    std::thread::sleep(SETTLE);
    let (last, end) = uplinked();
    (last - first) / (end - begin)
}

#[test]
fn board_virt_figures_of_start_and_memory() {
    let station = Station::start();
    let seed = station
        .seed(&sim(1), &["sim"])
        .file("load.toml", station.config(&sim(1000), &["sim"]))
        .without_agent();
    let mut machine = Boot::new("virt")
        .seed(seed)
        .option("--append", &time_now())
        .start();
    let mut starts = Vec::new();
    for turn in 0..STARTS {
        starts.push(start(&mut machine));
        if turn + 1 < STARTS {
            stop(&mut machine);
        }
    }
    std::thread::sleep(SETTLE);
    let idle = pss_mb(&mut machine);
    stop(&mut machine);

    machine.sh("ln -sf /run/seed/load.toml /run/dunlin.toml");
    start(&mut machine);
    let begin = Instant::now();
    std::thread::sleep(SETTLE);
    let (mut records_s, mut tries) = (rate(&mut machine), 1);
    while records_s < RATE_LEAST && tries < TRIES {
        (records_s, tries) = (rate(&mut machine), tries + 1);
    }
    let loaded = pss_mb(&mut machine);
    assert!(
        records_s >= RATE_LEAST,
        "the load was {records_s:.0} records/s and not 1,000: the figure would be of something else"
    );
    println!(
        "load: {records_s:.0} records/s after {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    stop(&mut machine);

    let started = median(starts);
    println!(
        "{:<26} {:>30} {:>10}\n{:<26} {:>30.2} {:>10.2}\n{:<26} {:>30.1} {:>10.1}\n{:<26} {:>30.1} {:>10.1}",
        "inside the board",
        "Greengrass nucleus lite 2.5.0",
        "dunlin",
        "start to ready, s",
        PEER.0,
        started,
        "PSS idle, MB",
        PEER.1,
        idle,
        "PSS at 1,000 records/s, MB",
        PEER.2,
        loaded,
    );
    println!(
        "The peer's are of a Raspberry Pi 4, its load about 3 messages/s. dunlin's are of QEMU's virt board: memory is \
         that of any aarch64 with pages of 4 KiB, time is that of an emulated CPU and says nothing of a real one."
    );
    assert!(idle < PEER.1, "idle: {idle:.1} MB");
    assert!(loaded < PEER.2, "at 1,000 records/s: {loaded:.1} MB");
}
