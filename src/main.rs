//! The dunlin agent: one binary for the agent, its driver hosts and its tools.
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result};
use dunlin::cli::{Failure, Process};
use dunlin::exit::Exit;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = start().unwrap_or_else(|error| {
        // Not eprintln!, which panics where nobody can be told.
        let _ = writeln!(std::io::stderr(), "dunlin: {error:#}");
        error
            .downcast_ref::<Failure>()
            .map_or(Exit::Internal, |failure| failure.exit)
    });
    exit.code()
}

fn start() -> Result<Exit> {
    let process = Process {
        args: std::env::args_os().skip(1).collect(),
        program: std::env::current_exe().context("cannot find the path of this program")?,
        runtime_dir: std::env::var_os("RUNTIME_DIRECTORY").map(Into::into),
        credentials_dir: std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        // Whoever wants no colours says so (no-color.org).
        no_colours: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
        wrong_answer: wrong_answer(),
    };
    Ok(dunlin::cli::run(process)?)
}

/// A primitive whose known answer is to be made wrong, so that tests see a failing self-test. Not in what is released.
#[cfg(debug_assertions)]
fn wrong_answer() -> Option<String> {
    std::env::var("DUNLIN_WRONG_ANSWER").ok()
}

#[cfg(not(debug_assertions))]
fn wrong_answer() -> Option<String> {
    None
}
