//! The `[agent]` table.

use crate::clock;
use crate::config::Section;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What concerns the agent as a whole.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name in topics and record ids, `[A-Za-z0-9_-]{1,63}`; the host name by default.
    pub name: String,
    /// Where durable state lies.
    pub state_dir: PathBuf,
    /// Where the status file lies, best on a tmpfs, because it is rewritten every second.
    pub runtime_dir: PathBuf,
    /// Where drivers are looked up by name.
    pub driver_dir: PathBuf,
    /// What secure connections do while the clock is wrong.
    pub clock: clock::Policy,
    /// Longest orderly stop.
    pub drain_timeout: Duration,
}

/// Where things are when the configuration does not say.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Runtime directory that the service manager gave.
    pub runtime_dir: Option<PathBuf>,
    /// The running program.
    pub program: PathBuf,
    /// Directory of the credentials that the service manager gave.
    pub credentials_dir: Option<PathBuf>,
    /// Directory with the sockets of what starts driver hosts; `None` = they are children of the agent.
    pub driver_hosts: Option<PathBuf>,
}

impl Defaults {
    /// Drivers beside the program (a build tree), else where packages put them.
    pub fn driver_dir(&self) -> PathBuf {
        let beside = self
            .program
            .parent()
            .unwrap_or(Path::new("/"))
            .join("drivers");
        if beside.is_dir() {
            beside
        } else {
            PathBuf::from("/usr/lib/dunlin/drivers")
        }
    }
}

impl Settings {
    /// Reads `[agent]`, which may be absent.
    pub fn configure(root: &mut Section<'_>, defaults: &Defaults) -> Settings {
        let mut section = root.section("agent");
        let mut text = |key| section.as_mut().and_then(|section| section.text(key));
        let name = text("name");
        let state_dir = text("state_dir");
        let runtime_dir = text("runtime_dir");
        let driver_dir = text("driver_dir");
        let drain_timeout_ms = section.as_mut().map_or(10_000, |s| {
            s.integer("drain_timeout_ms", 100..=600_000, 10_000)
        });

        let policies = [
            ("floor", clock::Policy::Floor),
            ("wait", clock::Policy::Wait),
        ];
        let clock = section.as_mut().map_or(clock::Policy::Floor, |s| {
            s.choice("clock", &policies, clock::Policy::Floor)
        });
        if let (Some(section), Some(name)) = (&section, &name)
            && !is_name(name)
        {
            section.problem(
                "name",
                format_args!("is {name:?}, which cannot stand in a topic"),
                "use 1 to 63 letters, digits, dashes and underscores",
            );
        }
        if let (Some(section), Some(dir)) = (&section, &driver_dir)
            && !Path::new(dir).is_dir()
        {
            section.problem(
                "driver_dir",
                format_args!("{dir} is not a directory"),
                "name the directory that holds the drivers' .so files",
            );
        }
        Settings {
            name: name.unwrap_or_else(host_name),
            state_dir: state_dir.map_or_else(|| PathBuf::from("/var/lib/dunlin"), PathBuf::from),
            runtime_dir: runtime_dir
                .map(PathBuf::from)
                .or_else(|| defaults.runtime_dir.clone())
                .unwrap_or_else(|| PathBuf::from("/run/dunlin")),
            driver_dir: driver_dir.map_or_else(|| defaults.driver_dir(), PathBuf::from),
            clock,
            drain_timeout: Duration::from_millis(drain_timeout_ms),
        }
    }

    /// Where the status file lies.
    pub fn status_file(&self) -> PathBuf {
        self.runtime_dir.join("status.json")
    }
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The kernel's host name, with what cannot stand in a topic replaced; `gateway` where there is none.
fn host_name() -> String {
    let raw = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = raw
        .trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    if is_name(&name) {
        name
    } else {
        "gateway".to_owned()
    }
}
