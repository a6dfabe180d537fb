//! The keys of a `type = "driver"` source.

use crate::config::Section;
use crate::record::Class;
use dunlin_driver::{Backoff, Grants, Limits, Spec};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Longest time that a call may take, in milliseconds: ten minutes.
const DEADLINE_MS_MAX: u32 = 600_000;

/// A driver source as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to run, in what sandbox, and how patiently. Its name is the name of the source and of its stream.
    pub spec: Spec,
    /// What to drop first when the buffer is full.
    pub class: Class,
}

/// A whole number within bounds that fit 32 bits.
fn bounded(
    section: &mut Section<'_>,
    key: &'static str,
    bounds: RangeInclusive<u32>,
    default: u32,
) -> u32 {
    let wide = u64::from(*bounds.start())..=u64::from(*bounds.end());
    u32::try_from(section.integer(key, wide, u64::from(default))).unwrap_or(default)
}

impl Settings {
    /// Reads the table of a source. `None` where a key that it cannot do without is wrong; all problems are reported.
    /// `program` is the dunlin binary, which driver hosts run; `driver_hosts`, where given, holds the sockets of what
    /// starts them.
    pub fn configure(
        name: &str,
        section: &mut Section<'_>,
        driver_dir: &Path,
        program: &Path,
        driver_hosts: Option<&Path>,
    ) -> Option<Settings> {
        let library = library(section, driver_dir);
        let mut spec = Spec::new(
            name,
            program.to_owned(),
            library.clone().unwrap_or_default(),
        );
        spec.sha256 = sha256(section);
        let classes = Class::ALL.map(|class| (class.name(), class));
        let class = section.choice("class", &classes, Class::Normal);
        spec.interval_ms = Some(bounded(section, "interval_ms", 1..=86_400_000, 1000));
        spec.deadline_ms = bounded(section, "deadline_ms", 10..=DEADLINE_MS_MAX, 1000);
        spec.read_cap = bounded(section, "batch_records_max", 1..=4096, 1024);
        spec.read_timeout_ms =
            bounded(section, "read_timeout_ms", 1..=60_000, spec.read_timeout_ms);
        spec.slack_ms = bounded(section, "slack_ms", 1..=60_000, spec.slack_ms);
        spec.options = section
            .section("options")
            .map(Section::entries)
            .unwrap_or_default();
        let granted = grants(section);
        spec.grants = granted.clone().unwrap_or_default();
        spec.launcher = driver_hosts.map(|dir| dir.join(unit_for(&spec.grants)));
        limits(section, &mut spec.limits);
        restart(section, &mut spec.backoff);
        library.and(granted).map(|_| Settings { spec, class })
    }
}

fn library(section: &mut Section<'_>, driver_dir: &Path) -> Option<PathBuf> {
    let driver = section.required_text(
        "driver",
        "name a driver, such as \"sim\" (see `dunlin drivers list`), or give the path of a .so",
    )?;
    dunlin_driver::locate(&driver, driver_dir)
        .map_err(|error| {
            section.problem(
                "driver",
                error,
                "install the driver there, correct the name, or set agent.driver_dir; `dunlin drivers list` shows \
                 what there is",
            );
        })
        .ok()
}

/// The grants; `None` where one is wrong, so that nothing is tried with half of them.
fn grants(source: &mut Section<'_>) -> Option<Grants> {
    let Some(mut section) = source.section("grants") else {
        return Some(Grants::default());
    };
    let mut sound = true;
    let mut paths = |key| {
        let mut paths = Vec::new();
        for path in section.texts(key).into_iter().map(PathBuf::from) {
            if path.is_absolute() {
                paths.push(path);
            } else {
                sound = false;
                section.problem(
                    key,
                    format_args!("{} is not an absolute path", path.display()),
                    "write it from the root, such as /dev/i2c-1",
                );
            }
        }
        paths
    };
    let devices = paths("devices");
    let read = paths("read");
    let (network, can) = (section.texts("network"), section.texts("can"));
    for address in &network {
        if !is_address(address) {
            sound = false;
            section.problem(
                "network",
                format_args!("{address:?} is not an address"),
                "write a numeric address or range and a port, such as 192.0.2.17:502 or 192.0.2.0/24:502; names are not \
                 resolved, since what they mean may change under the grant",
            );
        }
    }
    for interface in can.iter().filter(|name| !Grants::is_interface(name)) {
        sound = false;
        section.problem(
            "can",
            format_args!("{interface:?} is not the name of an interface"),
            "write it as `ip link` shows it, such as can0",
        );
    }
    sound.then_some(Grants {
        devices,
        read,
        network,
        can,
    })
}

/// Whether a driver host would take it.
fn is_address(text: &str) -> bool {
    let network = vec![text.to_owned()];
    let grants = Grants {
        network,
        ..Grants::default()
    };
    grants.check().is_ok()
}

/// The socket of the unit that has what the grants open: a network, or devices. Who is granted both is where the network
/// is; there, devices are for a drop-in to open.
fn unit_for(grants: &Grants) -> &'static str {
    if grants.network.is_empty() {
        "devices"
    } else {
        "network"
    }
}

fn limits(source: &mut Section<'_>, limits: &mut Limits) {
    let Some(mut section) = source.section("limits") else {
        return;
    };
    let mut limit = |key, bounds: RangeInclusive<u32>, default: Option<u32>| {
        Some(bounded(
            &mut section,
            key,
            bounds,
            default.unwrap_or(u32::MAX),
        ))
    };
    limits.memory_mb = limit("memory_mb", 16..=65_536, limits.memory_mb);
    limits.fds = limit("fds", 16..=4096, limits.fds);
    limits.threads = limit("threads", 1..=1024, limits.threads);
    limits.cpu_percent = limit("cpu_percent", 1..=6400, limits.cpu_percent);
}

fn restart(source: &mut Section<'_>, backoff: &mut Backoff) {
    let Some(mut section) = source.section("restart") else {
        return;
    };
    backoff.base_ms = bounded(&mut section, "base_ms", 1..=60_000, backoff.base_ms);
    backoff.max_ms = bounded(&mut section, "max_ms", 1..=3_600_000, backoff.max_ms);
    backoff.stable_ms = bounded(&mut section, "stable_ms", 1..=3_600_000, backoff.stable_ms);
    if backoff.max_ms < backoff.base_ms {
        section.problem(
            "max_ms",
            format_args!("is {}, below base_ms {}", backoff.max_ms, backoff.base_ms),
            "make it the larger of the two",
        );
    }
}

fn sha256(section: &mut Section<'_>) -> Option<[u8; 32]> {
    let text = section.text("sha256")?;
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if hash.is_none() {
        section.problem(
            "sha256",
            "is not a SHA-256",
            "write the 64 hexadecimal digits that `sha256sum` prints for the .so",
        );
    }
    hash
}
