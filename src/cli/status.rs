//! `dunlin status`: the status file, for people.

use super::check::placed;
use super::table::Table;
use super::{Failure, print};
use crate::agent::Defaults;
use crate::exit::Exit;
use serde_json::Value;
use std::path::Path;

/// Prints what a running agent is doing.
pub(super) fn status(config: &Path, defaults: &Defaults, json: bool) -> Result<Exit, Failure> {
    let file = placed(config, defaults)?.settings.status_file();
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let message = format!(
            "cannot read {}: {error}.\n  Remedy: start the agent with this configuration, or correct agent.runtime_dir.",
            file.display()
        );
        Failure::new(Exit::Unavailable, message)
    })?;
    let status: Value = serde_json::from_str(&text).map_err(|error| {
        let message = format!(
            "{} is not a status file: {error}.\n  Remedy: remove it.",
            file.display()
        );
        Failure::new(Exit::Data, message)
    })?;
    if json {
        print(text.trim_end())?;
    } else {
        print(&render(&status))?;
    }
    if runs(&status) {
        return Ok(Exit::Ok);
    }
    let message = format!(
        "the agent does not run: {} is what process {} wrote last.\n  Remedy: start the agent with this configuration.",
        file.display(),
        status["pid"]
    );
    Err(Failure::new(Exit::Unavailable, message))
}

/// Whether the process that wrote the file is still there. A pid alone may belong to another program by now; one that
/// has our name as well is the agent.
fn runs(status: &Value) -> bool {
    let name = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let Ok(own) = name("self") else {
        // Without /proc nothing can be said.
        return true;
    };
    name(&status["pid"].to_string()).is_ok_and(|its| its == own)
}

/// Bytes written to flash, in whole pages, for each byte of the messages stored.
fn wear(sink: &Value) -> String {
    let bytes = |key: &str| sink[key].as_u64().unwrap_or(0);
    match (bytes("page_bytes"), bytes("payload_bytes")) {
        (0, _) | (_, 0) => String::new(),
        (pages, payload) => format!("{:.2}", pages as f64 / payload as f64),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What inboxes do, where there are any.
fn downlinks(status: &Value) -> Option<Table> {
    let mut downlinks = Table::new([
        "downlink",
        "state",
        "received",
        "repeats",
        "handed",
        "waiting",
        "uncertain",
        "dropped",
    ]);
    let inboxes = status["downlinks"].as_object()?;
    for (name, inbox) in inboxes {
        let fault = match inbox["fault"].as_str() {
            None | Some("") => String::new(),
            Some(fault) => format!("degraded, {fault}; "),
        };
        downlinks.row([
            name.clone(),
            format!("{fault}{}", text(&inbox["state"])),
            text(&inbox["received"]),
            text(&inbox["duplicates"]),
            text(&inbox["handed"]),
            text(&inbox["waiting"]),
            text(&inbox["uncertain"]),
            text(&inbox["dropped"]),
        ]);
    }
    Some(downlinks)
}

/// What transforms count, where any does.
fn transforms(status: &Value) -> Option<Table> {
    let counting = status["transforms"].as_object()?;
    let mut table = Table::new(["transform", "counts"]);
    for (name, counts) in counting {
        let counts = counts.as_object().into_iter().flatten();
        let each = counts.map(|(what, count)| format!("{what} {}", text(count)));
        let each: Vec<String> = each.collect();
        table.row([name.clone(), each.join(", ")]);
    }
    (!counting.is_empty()).then_some(table)
}

/// What is known of the endpoints of uplinks, where there are any.
fn endpoints(status: &Value) -> Option<Table> {
    let mut table = Table::new(["endpoint", "of", "breaker", "failures", "connected"]);
    let sinks = status["sinks"].as_object().into_iter().flatten();
    let mut any = false;
    for (name, sink) in sinks {
        for endpoint in sink["endpoints"].as_array().into_iter().flatten() {
            any = true;
            let breaker = match endpoint["open_ms"].as_u64() {
                None | Some(0) => text(&endpoint["breaker"]),
                Some(open_ms) => format!("open for {} s", open_ms.div_ceil(1000)),
            };
            table.row([
                text(&endpoint["endpoint"]),
                name.clone(),
                breaker,
                text(&endpoint["failures"]),
                if endpoint["connected"] == true {
                    "yes".to_owned()
                } else {
                    String::new()
                },
            ]);
        }
    }
    any.then_some(table)
}

fn render(status: &Value) -> String {
    let mut lines = vec![format!(
        "agent {} (boot {}, pid {}), up {} s",
        text(&status["agent"]),
        text(&status["boot"]),
        text(&status["pid"]),
        status["uptime_ms"].as_u64().unwrap_or(0) / 1000
    )];
    lines.push(format!(
        "records: produced {}, durable {}, uplinked {}, dropped {}, failed {}",
        text(&status["produced"]),
        text(&status["durable"]),
        text(&status["uplinked"]),
        text(&status["dropped"]),
        text(&status["failed"])
    ));
    if let Some(skipped) = status["skipped"].as_object() {
        let each = skipped
            .iter()
            .map(|(name, count)| format!("{name} {count}"));
        let each: Vec<String> = each.collect();
        lines.push(format!("skipped, being slow: {}", each.join(", ")));
    }
    if let Some(clock) = status["clock"].as_str() {
        lines.push(format!("clock: {clock}"));
    }
    if let Some(time) = status["time"].as_object() {
        lines.push(format!("time: {}", text(&time["state"])));
    }
    if let Some(identity) = status["identity"].as_object() {
        let line = [
            ("certificate", "subject"),
            ("ends", "expires"),
            ("next one", "renews"),
        ]
        .map(|(word, key)| format!("{word} {}", text(&identity[key])))
        .join(", ");
        lines.push(format!("identity: {}; {line}", text(&identity["state"])));
    }
    let mut sources = Table::new([
        "source", "state", "produced", "pending", "outages", "overruns",
    ]);
    for (name, source) in status["sources"].as_object().into_iter().flatten() {
        sources.row([
            name.clone(),
            text(&source["state"]),
            text(&source["produced"]),
            text(&source["pending"]),
            text(&source["outages"]),
            text(&source["overruns"]),
        ]);
    }
    let mut sinks = Table::new([
        "sink", "state", "durable", "uplinked", "dropped", "connects", "wear",
    ]);
    for (name, sink) in status["sinks"].as_object().into_iter().flatten() {
        let degraded = if sink["degraded"] == true {
            format!("degraded, {}; ", text(&sink["fault"]))
        } else {
            String::new()
        };
        sinks.row([
            name.clone(),
            format!("{degraded}{}", text(&sink["state"])),
            text(&sink["durable"]),
            text(&sink["uplinked"]),
            text(&sink["dropped"]),
            text(&sink["connects"]),
            wear(sink),
        ]);
    }
    let tables = [
        Some(sources),
        downlinks(status),
        transforms(status),
        Some(sinks),
        endpoints(status),
    ];
    for table in tables.into_iter().flatten() {
        lines.push(String::new());
        lines.extend(table.lines());
    }
    lines.join("\n")
}
