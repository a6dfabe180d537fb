//! Driver hosts die in five ways, again and again: the agent lives, other sources keep their rate, each death leaves
//! exactly one gap record, and after a crash readings flow again within milliseconds. What a busy machine can spoil, the two
//! times, is looked at last, and a failure of it begins with "late", so that scripts/driver-kills.sh can tell it apart.

use crate::size;
use crate::support::{Agent, Broker, hostile, kill, wait_for};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Sources of a way of dying. All die equally often. A driver that spins burns a core until its deadline: fewer of them, so
/// that the load of the test's own making is not what it measures.
fn sources(way: &str) -> u64 {
    if way == "spin" { 2 } else { 4 }
}
/// How long a host must have read well to be killed again, in milliseconds; its back-off begins anew before that.
const LIFE_MS: u64 = 400;
/// Time between two kills of this test. The status that it looks at is written once a second, and without this all that it
/// kills would die in the same instant: what was measured would be how long a volley queues for the cores.
const SPACING: Duration = Duration::from_millis(65);
/// Longest time from the last reading before a crash to the first one after it, 99th percentile, in milliseconds.
const READY_P99_MS: u64 = 50;

/// A way of dying: its name, and how the test brings it about.
enum Way {
    /// The test sends a signal to a `sim` host.
    Signal(&'static str),
    /// The driver does it by itself after so many readings.
    Itself,
}

const WAYS: [(&str, Way, &str); 5] = [
    ("kill", Way::Signal("KILL"), "crash"),
    ("segv", Way::Signal("SEGV"), "crash"),
    ("stop", Way::Signal("STOP"), "hang"),
    ("spin", Way::Itself, "hang"),
    ("leak", Way::Itself, "limit"),
];

fn config(endpoint: &str, hostile: &str) -> String {
    let mut text = String::new();
    let mut inputs = vec!["\"steady\"".to_owned()];
    for (way, how, cause) in &WAYS {
        // A driver that spins burns a core until its deadline; a short one leaves the machine to the other sources. Who dies
        // otherwise, or not at all, has time: there a deadline that a busy machine misses would be an outage of another cause.
        let slack_ms = if *cause == "hang" { 100 } else { 5000 };
        let common = format!(
            "slack_ms = {slack_ms}\nread_timeout_ms = 50\nrestart = {{ base_ms = 5, stable_ms = 200 }}\n"
        );
        for index in 0..sources(way) {
            let name = format!("{way}{index}");
            let driver = match how {
                Way::Signal(_) => "driver = \"sim\"\n\
                     options = { rate_hz = 200, batch_ms = 1, waves = [{ name = \"n\", shape = \"counter\" }] }"
                    .to_owned(),
                Way::Itself => format!(
                    "driver = \"{hostile}\"\ninterval_ms = 20\ndeadline_ms = {}\nlimits = {{ memory_mb = 16 }}\n\
                     options = {{ mode = \"{way}\", arg = \"{}\" }}",
                    if *cause == "hang" { 60 } else { 1000 },
                    LIFE_MS / 20
                ),
            };
            text += &format!("[sources.{name}]\ntype = \"driver\"\n{common}{driver}\n\n");
            inputs.push(format!("\"{name}\""));
        }
    }
    text += "[sources.steady]\ntype = \"driver\"\ndriver = \"sim\"\nslack_ms = 5000\n\
             options = { rate_hz = 1000, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n";
    text + &format!(
        "[sinks.cloud]\ntype = \"uplink\"\ninputs = [{}]\nendpoint = \"{endpoint}\"\n",
        inputs.join(", ")
    )
}

/// Whether this is the process of a host still: the status is a moment old.
fn is_host(pid: i64) -> bool {
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
    arguments.is_ok_and(|text| text.split('\0').any(|word| word == "driver-host"))
}

/// Until every source died so often. Signals are this test's; the other ways are the drivers' own.
fn kill_until(agent: &mut Agent, per_source: u64) {
    // Of each source: kills, outages before the last of them, and when that was.
    let mut killed: BTreeMap<String, (u64, Option<u64>, Instant)> = BTreeMap::new();
    let mut last_of_any = Instant::now();
    let limit = Duration::from_secs(60 + per_source * 4);
    wait_for("every source died often enough", limit, || {
        agent.assert_alive();
        let status = agent.status();
        let mut finished = true;
        for (way, how, _) in &WAYS {
            for index in 0..sources(way) {
                let name = format!("{way}{index}");
                let source = &status["sources"][&name];
                let outages = source["outages"].as_u64().unwrap_or(0);
                let Way::Signal(signal) = how else {
                    finished &= outages >= per_source;
                    continue;
                };
                let (count, before, last) = killed.entry(name).or_insert((0, None, Instant::now()));
                let rested = last.elapsed() >= Duration::from_millis(LIFE_MS)
                    && last_of_any.elapsed() >= SPACING;
                let host = source["host_pid"].as_i64().unwrap_or(0);
                // Only a host that has recovered from the last kill is killed again, so that each kill is one outage.
                let recovered = before.is_none_or(|before| outages > before);
                if *count < per_source && recovered && rested && is_host(host) {
                    kill(i32::try_from(host).unwrap(), signal);
                    last_of_any = Instant::now();
                    (*count, *before, *last) = (*count + 1, Some(outages), last_of_any);
                }
                finished &= *count >= per_source && before.is_some_and(|before| outages > before);
            }
        }
        finished
    });
}

#[test]
fn campaign_driver_kills() {
    let kills = size("DUNLIN_DRIVER_KILLS", 1_000);
    let per_source = kills.div_ceil(WAYS.iter().map(|(way, ..)| sources(way)).sum());
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let witness = broker.subscribe();
    let hostile = hostile(dir.path());
    let mut agent = Agent::new(dir.path(), &config(&broker.endpoint(), &hostile));
    agent.start();
    let pid = agent.pid();
    agent.wait_count("/sources/steady/readings", 1, Duration::from_secs(30));
    let begun = Instant::now();

    kill_until(&mut agent, per_source);
    let elapsed = begun.elapsed();
    assert_eq!(agent.pid(), pid);
    agent.stop();
    let total = agent.count("/produced");
    // Each look parses all that came.
    wait_for("every record arrives", Duration::from_mins(2), || {
        witness.received().records.len() as u64 >= total
    });

    let received = witness.received();
    received.assert_dense_and_ordered();
    let mut ready_ms = Vec::new();
    let mut deaths = 0;
    for (way, how, cause) in &WAYS {
        let mut of_way = 0;
        for index in 0..sources(way) {
            let name = format!("{way}{index}");
            let gaps = received.gaps(&name);
            let outages = agent.count(&format!("/sources/{name}/outages"));
            assert_eq!(
                gaps.len() as u64,
                outages,
                "{name}: one gap record an outage"
            );
            // A busy machine can make a host miss the short deadline of a hang that nobody asked for, and so be killed once
            // more; nothing else can.
            let wanted = if matches!(how, Way::Signal(_)) && *cause == "hang" {
                outages.max(per_source)
            } else if matches!(how, Way::Signal(_)) {
                per_source
            } else {
                outages
            };
            assert_eq!(outages, wanted, "{name}: one gap record a kill");
            of_way += outages;
            for gap in gaps {
                assert_eq!(gap["cause"], *cause, "{name}: {gap}");
                let ns = gap["to_ns"].as_u64().unwrap() - gap["from_ns"].as_u64().unwrap();
                if *cause == "crash" {
                    ready_ms.push(ns / 1_000_000);
                }
            }
        }
        println!("way {way}: {of_way}");
        deaths += of_way;
    }
    assert_eq!(
        received.gaps("steady").len(),
        0,
        "a source that nobody killed has no gap"
    );
    let rate = received.stream("steady").count() as f64 / elapsed.as_secs_f64();
    ready_ms.sort_unstable();
    let at = |percent: usize| ready_ms[(ready_ms.len() - 1) * percent / 100];
    println!("steady source {rate:.0} records/s of 1000");
    println!(
        "kills {deaths}, agent restarts 0, ready p50 {} p99 {} ms, records lost {}",
        at(50),
        at(99),
        total - received.records.len() as u64
    );
    assert!(
        at(99) <= READY_P99_MS && (980.0..1100.0).contains(&rate),
        "late: ready p99 {} ms of {} crashes, steady {rate:.0} records/s of 1000",
        at(99),
        ready_ms.len()
    );
}
