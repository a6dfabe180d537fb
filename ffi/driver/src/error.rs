//! What can go wrong between Rust and a driver, by who is at fault.

use std::path::PathBuf;

use crate::options::Problem;

/// An error of a library or a device.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The library could not be loaded: not there, not readable, not an ELF for this machine, a symbol is missing.
    #[error("loading the driver {}: {detail}", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        detail: String,
    },
    /// The library is not a driver of this ABI.
    #[error("the driver {} does not fit: {detail}", path.display())]
    Abi {
        /// The library.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The driver broke the contract of the header.
    #[error("the driver broke its contract in {call}: {detail}")]
    Contract {
        /// Function of the table.
        call: &'static str,
        /// What it did.
        detail: String,
    },
    /// The driver, or the system underneath, answered with an errno.
    #[error("{call}: {}{}", errno_text(*errno), explained(why))]
    Os {
        /// Function of the table.
        call: &'static str,
        /// The errno, positive.
        errno: i32,
        /// The driver's own words; empty where it had none.
        why: String,
    },
    /// The configured options do not fit what the driver declares.
    #[error("{}", listed(.0))]
    Options(Vec<Problem>),
    /// The driver does not have the extension, or the channel does not accept the operation.
    #[error("{call}: {detail}")]
    Unsupported {
        /// Function of the table.
        call: &'static str,
        /// What is missing.
        detail: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change of the driver or of the configuration.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Os { .. })
    }
}

/// The errno's name and meaning, as `EIO: I/O error`.
pub fn errno_text(errno: i32) -> String {
    let known = nix::errno::Errno::from_raw(errno);
    if known == nix::errno::Errno::UnknownErrno {
        format!("errno {errno}")
    } else {
        format!("{known:?}: {}", known.desc())
    }
}

fn explained(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({why})")
    }
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
