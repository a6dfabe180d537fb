//! The command line: what the user typed becomes one of a closed set of commands, each in a file of its own.

mod args;
#[cfg(feature = "tools")]
mod buffer;
mod check;
#[cfg(feature = "tools")]
mod drivers;
#[cfg(feature = "tools")]
mod grants;
mod help;
mod hosts;
mod log;
mod run;
mod status;
#[cfg(feature = "tools")]
mod sub;
mod table;

use crate::agent::Defaults;
use crate::exit::Exit;
use args::Command;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// What the process was given. Only `main` reads it from the environment.
#[derive(Debug)]
pub struct Process {
    /// Arguments without the program's name.
    pub args: Vec<OsString>,
    /// Path of the running program, which is started again for driver hosts.
    pub program: PathBuf,
    /// Runtime directory that the service manager gave.
    pub runtime_dir: Option<PathBuf>,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
}

/// Why a command did not do what was asked, and the exit code that says so.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// One paragraph for the user.
    pub message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl std::fmt::Display) -> Failure {
        Failure {
            exit,
            message: message.to_string(),
        }
    }
}

/// Runs one command line to its end.
pub fn run(process: Process) -> Result<Exit, Failure> {
    let (command, logging) =
        args::parse(process.args).map_err(|message| Failure::new(Exit::Usage, message))?;
    if let Command::DriverHost = command {
        // Its standard error is the agent's log already; it has no use for a subscriber of its own.
        return Ok(Exit::Host(dunlin_driver::host_main()));
    }
    log::start(logging, process.stderr_is_terminal);
    let defaults = Defaults {
        runtime_dir: process.runtime_dir,
        program: process.program,
        driver_hosts: None,
    };
    match command {
        Command::Help(text) => print(text),
        Command::Version => print(&version()),
        Command::Run {
            config,
            driver_hosts,
        } => {
            let defaults = Defaults {
                driver_hosts,
                ..defaults
            };
            run::run(&config, &defaults)
        }
        Command::DriverHosts => hosts::hosts(&defaults.program),
        Command::Check { config, drivers } => check::check(&config, &defaults, drivers),
        Command::Status { config, json } => status::status(&config, &defaults, json),
        #[cfg(feature = "tools")]
        Command::Drivers(request) => {
            drivers::drivers(request, &defaults, process.stdout_is_terminal)
        }
        #[cfg(feature = "tools")]
        Command::Buffer { action, dir } => buffer::buffer(action, &dir),
        #[cfg(feature = "tools")]
        Command::Sub(request) => sub::sub(&request, &defaults, process.stdout_is_terminal),
        Command::DriverHost => unreachable!("returned above"),
    }
}

fn version() -> String {
    format!(
        "dunlin {} (driver ABI 1.0, {}{})",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        if cfg!(feature = "tools") {
            ""
        } else {
            ", core"
        }
    )
}

/// Prints a text and a new line. A reader that closed its end has seen enough.
fn print(text: &str) -> Result<Exit, Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Internal,
            format_args!("cannot write to standard output: {error}"),
        )),
        _ => Ok(Exit::Ok),
    }
}

/// A runtime for one command. One thread suffices: disks have threads of their own, and devices processes.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                Exit::Internal,
                format_args!("cannot start the runtime: {error}"),
            )
        })
}
