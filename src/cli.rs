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
#[cfg(feature = "identity")]
mod identity;
mod log;
mod run;
mod status;
#[cfg(feature = "tools")]
mod sub;
mod table;
#[cfg(all(feature = "tools", feature = "telemetry"))]
mod telemetry;

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
    /// Directory of the credentials that the service manager gave.
    pub credentials_dir: Option<PathBuf>,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether terminals are to have no colours.
    pub no_colours: bool,
    /// Primitive whose self-test is to fail; `None` but in tests.
    pub wrong_answer: Option<String>,
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
    #[cfg(feature = "tokens")]
    if let Command::KeyHost = command {
        return Ok(Exit::Host(dunlin_crypto::key_host_main()));
    }
    log::start(logging, process.stderr_is_terminal);
    let defaults = Defaults {
        runtime_dir: process.runtime_dir,
        program: process.program,
        credentials_dir: process.credentials_dir,
        driver_hosts: None,
    };
    match command {
        Command::Help(text) => print(text),
        Command::Version { self_test: false } => print(&version()),
        Command::Version { self_test: true } => {
            print(&tested_version(process.wrong_answer.as_deref())?)
        }
        Command::Run {
            config,
            driver_hosts,
        } => {
            let tested = self_test(process.wrong_answer.as_deref())?;
            tracing::debug!("{tested}");
            let defaults = Defaults {
                driver_hosts,
                ..defaults
            };
            run::run(&config, &defaults)
        }
        Command::DriverHosts => hosts::hosts(&defaults.program),
        Command::Check { config, drivers } => check::check(&config, &defaults, drivers),
        Command::Status { config, json } => status::status(&config, &defaults, json),
        #[cfg(feature = "identity")]
        Command::Identity { action, config } => identity::identity(action, &config, &defaults),
        #[cfg(feature = "tools")]
        Command::Drivers(request) => {
            drivers::drivers(request, &defaults, process.stdout_is_terminal)
        }
        #[cfg(feature = "tools")]
        Command::Buffer { action, dir } => buffer::buffer(action, &dir),
        #[cfg(feature = "tools")]
        Command::Sub(request) => {
            let terminal = process.stdout_is_terminal;
            sub::sub(&request, &defaults, terminal, !process.no_colours)
        }
        #[cfg(all(feature = "tools", feature = "telemetry"))]
        Command::Telemetry(request) => telemetry::decode(&request),
        #[cfg(all(feature = "tools", feature = "telemetry"))]
        Command::TelemetryCheck(file) => telemetry::check(&file),
        Command::DriverHost => unreachable!("returned above"),
        #[cfg(feature = "tokens")]
        Command::KeyHost => unreachable!("returned above"),
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

/// Asks OpenSSL what is known; says how much of it and how long that took.
fn self_test(wrong: Option<&str>) -> Result<String, Failure> {
    let start = std::time::Instant::now();
    match dunlin_crypto::self_test_with(wrong) {
        Ok(passed) => Ok(format!(
            "self-test of {}: {} known answers right in {} us: {}",
            dunlin_crypto::openssl_version(),
            passed.len(),
            start.elapsed().as_micros(),
            passed.join(", ")
        )),
        Err(error) => Err(Failure::new(
            Exit::SelfTest,
            format_args!(
                "the self-test of cryptography failed: {error}. Nothing was started, because no connection of this \
                 machine could be trusted.\n  Remedy: run `dunlin version --self-test` again; where it fails again, \
                 install dunlin and its OpenSSL anew, and if that does not help, replace the machine."
            ),
        )),
    }
}

fn tested_version(wrong: Option<&str>) -> Result<String, Failure> {
    Ok(format!("{}\n{}", version(), self_test(wrong)?))
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
