//! What to run, in what sandbox, and how patiently.

use std::path::PathBuf;

/// What a driver may reach beyond its own code and the system's libraries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Device nodes, or directories of them, to read, write and control.
    pub devices: Vec<PathBuf>,
    /// Files and directories to read.
    pub read: Vec<PathBuf>,
    /// TCP addresses to connect to: `ip:port`, `[ip6]:port`, `ip/bits:port`, or the same with `*` for every port.
    pub network: Vec<String>,
    /// CAN interfaces to read and write raw frames of. The kernel can hold a driver to CAN and not to the interface.
    pub can: Vec<String>,
}

/// Longest name of a network interface in bytes: `IFNAMSIZ` with its NUL, linux/if.h.
const INTERFACE_MAX: usize = 15;

impl Grants {
    /// Whether every network and CAN grant can be read; says which one cannot. Paths and interfaces are not looked at: a
    /// device may come later.
    pub fn check(&self) -> Result<(), String> {
        crate::sandbox::Addresses::parse(&self.network)?;
        match self.can.iter().find(|name| !Grants::is_interface(name)) {
            Some(name) => Err(format!(
                "CAN grant {name:?} is not the name of an interface"
            )),
            None => Ok(()),
        }
    }

    /// Whether a network interface may have this name.
    #[must_use]
    pub fn is_interface(name: &str) -> bool {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        (1..=INTERFACE_MAX).contains(&name.len()) && name.bytes().all(known)
    }
}

/// What a driver may use up. `None` = no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space of the host process in MiB (`RLIMIT_AS`). Must be `None` under the address sanitizer, whose shadow
    /// memory alone is terabytes.
    pub memory_mb: Option<u32>,
    /// Open file descriptors.
    pub fds: Option<u32>,
    /// Threads, the host's own included, counted every half second.
    pub threads: Option<u32>,
    /// Share of one CPU in percent, averaged over `cpu_window_ms`.
    pub cpu_percent: Option<u32>,
    /// Window of the CPU limit in milliseconds.
    pub cpu_window_ms: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_mb: Some(256),
            fds: Some(64),
            threads: Some(32),
            cpu_percent: Some(90),
            cpu_window_ms: 5000,
        }
    }
}

/// How long to wait before a driver is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first restart comes after 0 to this many milliseconds; each further one doubles the upper end.
    pub base_ms: u32,
    /// No wait is longer than this many milliseconds.
    pub max_ms: u32,
    /// After this many milliseconds of good readings the doubling starts over.
    pub stable_ms: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            base_ms: 10,
            max_ms: 30_000,
            stable_ms: 10_000,
        }
    }
}

/// One driver instance: everything that is needed to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Name for logs, as configured: the source's name.
    pub name: String,
    /// The dunlin binary, run as `program driver-host`.
    pub program: PathBuf,
    /// The socket of what starts hosts instead of the agent, see `launch`; `None` = a host is a child of the agent.
    pub launcher: Option<PathBuf>,
    /// The driver, absolute; see `locate`.
    pub library: PathBuf,
    /// SHA-256 that the library must have. Where given, the very bytes that were hashed are the bytes that are loaded.
    pub sha256: Option<[u8; 32]>,
    /// Configured options in order.
    pub options: Vec<(String, String)>,
    /// What it may reach.
    pub grants: Grants,
    /// What it may use up.
    pub limits: Limits,
    /// Period of readings of a driver that is not paced, in milliseconds; `None` = 1000.
    pub interval_ms: Option<u32>,
    /// Deadline of start, open, channels, write and close, and of read for a driver that is not paced, in milliseconds.
    pub deadline_ms: u32,
    /// Most samples of one read, 1 to `READ_CAP_MAX`.
    pub read_cap: u32,
    /// How long a paced driver may wait for a sample, in milliseconds. Bounds how long a write waits, too.
    pub read_timeout_ms: u32,
    /// How much later than its timeout a call may return, in milliseconds.
    pub slack_ms: u32,
    /// Waits between restarts.
    pub backoff: Backoff,
}

impl Spec {
    /// A driver with the defaults: 1 s between readings, 5 s deadline, 4096 samples a read.
    pub fn new(name: &str, program: PathBuf, library: PathBuf) -> Spec {
        Spec {
            name: name.to_owned(),
            program,
            launcher: None,
            library,
            sha256: None,
            options: Vec::new(),
            grants: Grants::default(),
            limits: Limits::default(),
            interval_ms: None,
            deadline_ms: 5000,
            read_cap: crate::device::READ_CAP_MAX,
            read_timeout_ms: 200,
            slack_ms: 250,
            backoff: Backoff::default(),
        }
    }
}
