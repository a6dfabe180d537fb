//! A pipeline over sim gives the values at the broker that arithmetic predicts.

use crate::support::{Agent, Received};
use crate::{SOON, arrived, broker, counter, counts, uplink};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn samples<'a>(received: &'a Received, stream: &'a str) -> Vec<&'a Value> {
    received
        .stream(stream)
        .filter_map(|(_, record)| record.get("sample"))
        .collect()
}

#[test]
fn filter_scale_deadband_and_rename_give_the_predicted_values() {
    let (dir, broker, witness) = broker();
    let config = counter("sim", 2000, 1000)
        + r#"
[transforms.upper]
type = "filter"
inputs = ["sim"]
channels = ["n"]
min = 500

[transforms.celsius]
type = "scale"
inputs = ["upper"]
factor = 0.5
offset = -10
unit = "Cel"

[transforms.coarse]
type = "deadband"
inputs = ["celsius"]
absolute = 24.9

[transforms.named]
type = "rename"
inputs = ["coarse"]
prefix = "hall."
channels = { n = "temperature" }

"# + &uplink(&["named"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    // From 500 on in steps of 50 (25 Cel): 240, 265, ... 465.
    agent.wait_count("/sources/sim/released", 1000, SOON);
    agent.stop();
    assert_eq!(
        agent.count("/produced"),
        1000,
        "what a transform left out is produced and released"
    );
    let received = arrived(&witness, 10);
    let streams: BTreeSet<&String> = received
        .records
        .keys()
        .map(|(_, stream, _)| stream)
        .collect();
    assert_eq!(streams.len(), 1, "{streams:?}");
    let stream = streams.first().unwrap();
    let values: Vec<f64> = samples(&received, stream)
        .iter()
        .map(|sample| {
            assert_eq!(sample["ch"], "hall.temperature");
            assert_eq!(sample["unit"], "Cel");
            sample["v"].as_f64().unwrap()
        })
        .collect();
    let expected: Vec<f64> = (0..10).map(|i| 240.0 + 25.0 * f64::from(i)).collect();
    assert_eq!(values, expected);
}

#[test]
fn window_counts_every_reading_once() {
    let (dir, broker, witness) = broker();
    let config = counter("sim", 1000, 1500)
        + r#"
[transforms.summary]
type = "window"
inputs = ["sim"]
length_ms = 100
grace_ms = 100
functions = ["min", "max", "mean", "sum", "count", "last"]

"# + &uplink(&["summary"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/sim/released", 1500, SOON);
    agent.stop();
    let received = arrived(&witness, agent.count("/uplinked"));
    let of = |function: &str| -> Vec<f64> {
        samples(&received, "sim.summary")
            .iter()
            .filter(|sample| sample["ch"] == format!("n.{function}"))
            .map(|sample| sample["v"].as_f64().unwrap())
            .collect()
    };
    let (min, max, count) = (of("min"), of("max"), of("count"));
    assert!(count.len() >= 15, "{count:?}");
    // The windows tile the readings: each begins where the last one ended.
    let mut next = 0.0;
    for i in 0..count.len() {
        assert_eq!(
            (min[i], max[i]),
            (next, next + count[i] - 1.0),
            "window {i}"
        );
        let same = |what: &str, found: f64, expected: f64| {
            assert!(
                (found - expected).abs() < 1e-9,
                "window {i}: {what} {found} is not {expected}"
            );
        };
        same("mean", of("mean")[i], f64::midpoint(min[i], max[i]));
        same("sum", of("sum")[i], of("mean")[i] * count[i]);
        same("last", of("last")[i], max[i]);
        next += count[i];
    }
    assert!(
        (next - 1500.0).abs() < 0.5,
        "the windows hold {next} readings of 1500"
    );
}

#[test]
fn a_file_and_an_uplink_both_get_all() {
    let (dir, broker, witness) = broker();
    let file = dir.path().join("records.jsonl");
    let config = counter("sim", 2000, 2000)
        + &uplink(&["sim"], &broker.endpoint())
        + &format!(
            "\n[sinks.disk]\ntype = \"file\"\ninputs = [\"sim\"]\npath = \"{}\"\nsync_ms = 50\n",
            file.display()
        );
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    agent.wait_count("/sources/sim/released", 2000, SOON);
    agent.stop();
    let received = arrived(&witness, 2000);
    assert!(counts(&received, "sim").into_iter().eq(0..2000));
    let lines: Vec<Value> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2000);
    for (n, line) in (0u64..).zip(&lines) {
        assert_eq!(line["value"], n);
        assert_eq!(line["seq"], n);
        assert_eq!(line["channel"], "n");
    }
    let ids = |received: &Received| -> BTreeSet<(String, u64)> {
        let keys = received.records.keys();
        keys.map(|(boot, _, seq)| (boot.clone(), *seq)).collect()
    };
    let in_file: BTreeSet<(String, u64)> = lines
        .iter()
        .map(|line| {
            let boot = line["boot"].as_str().unwrap().to_owned();
            (boot, line["seq"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(ids(&received), in_file, "one record has one id everywhere");
}
