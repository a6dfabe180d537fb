//! `dunlin drivers show`: what each driver of a configuration may reach and use up, and how far the kernel holds it to
//! that.

use super::table::Table;
use super::{Failure, check, print};
use crate::agent::Defaults;
use crate::exit::Exit;
use dunlin_driver::{Limits, Spec};
use std::path::Path;

/// Prints the grants and limits of every source. Loads no driver.
pub(super) fn show(config: &Path, defaults: &Defaults) -> Result<Exit, Failure> {
    let plan = check::sound(config, defaults, None)?;
    let mut table = Table::new(["source", "driver", "grant", "what", "held to"]);
    for source in &plan.sources {
        let spec = &source.spec;
        let driver = spec.library.file_stem().unwrap_or_default();
        let driver = driver.to_string_lossy().into_owned();
        for [grant, what, held] in rows(spec) {
            table.row([spec.name.clone(), driver.clone(), grant, what, held]);
        }
    }
    print(&table.lines().join("\n"))
}

fn rows(spec: &Spec) -> Vec<[String; 3]> {
    let row = |grant: &str, what: String, held: &str| [grant.to_owned(), what, held.to_owned()];
    let path = |path: &Path| path.display().to_string();
    let mut rows = Vec::new();
    for device in &spec.grants.devices {
        let held = if device.exists() {
            "this path: read, write, ioctl"
        } else {
            "nothing: it is not there now"
        };
        rows.push(row("device", path(device), held));
    }
    for read in &spec.grants.read {
        rows.push(row("read", path(read), "this path and below: read, load"));
    }
    for address in &spec.grants.network {
        let held = match address.rsplit_once(':') {
            Some((_, "*")) | None => "TCP, to any port of any address".to_owned(),
            Some((_, port)) => format!("TCP port {port}, of any address"),
        };
        rows.push(row("network", address.clone(), &held));
    }
    for interface in &spec.grants.can {
        rows.push(row(
            "can",
            interface.clone(),
            "raw CAN frames, of any interface",
        ));
    }
    if rows.is_empty() {
        let held = "system libraries and its own file";
        rows.push(row("none", "-".to_owned(), held));
    }
    rows.push(row("limits", limits(&spec.limits), "ended or refused"));
    rows
}

fn limits(limits: &Limits) -> String {
    let part = |name: &str, value: Option<u32>, unit: &str| match value {
        Some(value) => format!("{name} {value}{unit}"),
        None => format!("{name} without limit"),
    };
    [
        part("memory", limits.memory_mb, " MiB"),
        part("descriptors", limits.fds, ""),
        part("threads", limits.threads, ""),
        part("CPU", limits.cpu_percent, " %"),
    ]
    .join(", ")
}
