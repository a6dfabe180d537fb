//! How a driver host ended, or what it answered instead of a result.

use crate::error::errno_text;
use crate::protocol::{Failure, FailureClass, LastWords};
use crate::regions::{Place, Region};

/// Why readings stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host died of a signal.
    Crash {
        /// Signal.
        signal: i32,
    },
    /// The host exited by itself: the driver called `exit`.
    Exit {
        /// Exit code.
        code: i32,
    },
    /// The driver did not return within its deadline and was killed.
    Hang {
        /// Call that hung.
        call: &'static str,
    },
    /// The host went over a limit and was ended.
    Limit {
        /// `memory`, `cpu` or `threads`.
        what: &'static str,
    },
    /// The driver broke the ABI contract, or the host sent what no host sends.
    Contract,
    /// The device answered with an error.
    Device {
        /// Errno.
        errno: i32,
    },
    /// The driver could not be started: no such file, another ABI, bad options, no sandbox.
    Start,
}

impl Cause {
    /// The cause's name in payloads and messages.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Crash { .. } | Cause::Exit { .. } => "crash",
            Cause::Hang { .. } => "hang",
            Cause::Limit { .. } => "limit",
            Cause::Contract => "contract",
            Cause::Device { .. } => "device",
            Cause::Start => "start",
        }
    }
}

/// Why a call to a host gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The host is gone, reaped or about to be.
    #[error("{}: {detail}", cause.name())]
    Ended {
        /// Why.
        cause: Cause,
        /// For a human.
        detail: String,
    },
    /// The host lives and answered with a failure.
    #[error("{}", .0.text)]
    Failed(Failure),
}

impl HostError {
    pub(crate) fn ended(cause: Cause, detail: impl Into<String>) -> HostError {
        HostError::Ended {
            cause,
            detail: detail.into(),
        }
    }

    /// The cause, were this error the reason for an outage.
    pub fn cause(&self) -> Cause {
        match self {
            HostError::Ended { cause, .. } => *cause,
            HostError::Failed(failure) => match failure.class {
                FailureClass::Contract => Cause::Contract,
                FailureClass::Os => Cause::Device {
                    errno: failure.errno,
                },
                FailureClass::Load
                | FailureClass::Abi
                | FailureClass::Options
                | FailureClass::Unsupported
                | FailureClass::Sandbox => Cause::Start,
            },
        }
    }

    /// What to tell a human about it.
    pub fn detail(&self) -> String {
        match self {
            HostError::Ended { detail, .. } => detail.clone(),
            HostError::Failed(failure) => failure.text.clone(),
        }
    }
}

/// The cause of a death, from how the process ended and what it said last.
pub(crate) fn of_exit(
    status: std::process::ExitStatus,
    words: Option<LastWords>,
    memory_limit_mb: Option<u32>,
) -> HostError {
    use std::os::unix::process::ExitStatusExt as _;
    let Some(signal) = status.signal() else {
        let code = status.code().unwrap_or(-1);
        return HostError::ended(
            Cause::Exit { code },
            format!("the host exited with code {code}"),
        );
    };
    let name = signal_name(signal);
    let Some(words) = words.filter(|words| words.signal == signal) else {
        return HostError::ended(Cause::Crash { signal }, format!("the host died of {name}"));
    };
    if let Some(region) = Region::from_number(words.region) {
        let place = match Place::from_number(words.place) {
            Some(Place::Before) => "in front of",
            Some(Place::Inside) => "wrongly into",
            Some(Place::After) | None => "past the end of",
        };
        let detail =
            format!("the driver reached {place} the `{region}` memory it was lent ({name})");
        return HostError::ended(Cause::Contract, detail);
    }
    if let Some(limit_mb) = memory_limit_mb {
        let used_mb = words.memory_kb / 1024;
        // Nine tenths: the allocation that failed is not counted, and nobody allocates to the last page.
        if used_mb * 10 >= u64::from(limit_mb) * 9 {
            let detail = format!("{name} with {used_mb} of {limit_mb} MiB of address space in use");
            return HostError::ended(Cause::Limit { what: "memory" }, detail);
        }
    }
    let detail = format!("the host died of {name} at address {:#x}", words.address);
    HostError::ended(Cause::Crash { signal }, detail)
}

/// The signal's name, or its number.
pub(crate) fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}

/// What a system error while running a host means.
pub(crate) fn of_system(what: &str, error: &std::io::Error) -> HostError {
    let text = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), errno_text);
    HostError::ended(Cause::Start, format!("{what}: {text}"))
}
