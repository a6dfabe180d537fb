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
    let network = dunlin_driver::network_grants();
    let mut table = Table::new(["source", "driver", "grant", "what", "held to"]);
    for source in plan
        .sources
        .iter()
        .filter_map(crate::sources::Settings::driver)
    {
        let spec = &source.spec;
        let driver = spec.library.file_stem().unwrap_or_default();
        let driver = driver.to_string_lossy().into_owned();
        for [grant, what, held] in rows(spec, &network) {
            table.row([spec.name.clone(), driver.clone(), grant, what, held]);
        }
    }
    print(&table.lines().join("\n"))
}

fn rows(spec: &Spec, network: &Result<(), String>) -> Vec<[String; 3]> {
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
        let held = network.as_ref().map_or_else(
            |lacking| format!("nothing, and the driver is not started: {lacking}"),
            |()| reach(address),
        );
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

/// What a network grant opens.
fn reach(address: &str) -> String {
    let (ip, port) = address.rsplit_once(':').unwrap_or((address, "*"));
    let whose = if ip.contains('/') {
        "this range of addresses"
    } else {
        "this address"
    };
    match port {
        "*" => format!("TCP, any port of {whose}"),
        _ => format!("TCP port {port} of {whose}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_grant_is_shown_as_far_as_it_is_held() {
        let mut spec = Spec::new("a", "/p".into(), "/d/modbus.so".into());
        spec.grants.network = ["192.0.2.1:502", "[2001:db8::/64]:*"]
            .map(str::to_owned)
            .into();
        let held = |network: Result<(), String>| -> Vec<String> {
            let rows = rows(&spec, &network).into_iter();
            rows.filter(|[grant, ..]| grant == "network")
                .map(|[_, _, held]| held)
                .collect()
        };
        assert_eq!(
            held(Ok(())),
            [
                "TCP port 502 of this address",
                "TCP, any port of this range of addresses"
            ]
        );
        let lacking = held(Err("Linux 5.9".into()));
        assert_eq!(
            lacking,
            ["nothing, and the driver is not started: Linux 5.9"; 2]
        );
    }
}
