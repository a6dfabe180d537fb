//! `dunlin-driver-kit`: does a driver keep the rules of its header? For those who write one; needs no Rust.

mod bench;
mod check;
mod fuzz;
mod hosted;
mod inside;
mod process_state;
mod raw;
mod report;
mod starve;
mod symbols;
mod target;

use std::ffi::OsString;
use std::process::ExitCode;

use target::{Command, Target};

/// Exit codes: all is well; something was found; the command line is wrong (`EX_USAGE`, sysexits.h).
const EXIT_FOUND: u8 = 1;
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == "driver-host")
    {
        return dunlin_driver::host_main();
    }
    match Target::parse(arguments) {
        Ok(Command::Help) => {
            print!("{}", target::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Check(target)) => exit(check::run(&target)),
        Ok(Command::Bench(target)) => exit(bench::run(&target)),
        Ok(Command::Fuzz(target)) => exit(fuzz::run(&target)),
        Ok(Command::Inside {
            check,
            verdict,
            target,
        }) => exit(inside::run(&check, &verdict, &target)),
        Err(problem) => {
            eprintln!("dunlin-driver-kit: {problem}\n  Remedy: dunlin-driver-kit --help");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// True = nothing was found.
fn exit(outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FOUND),
        Err(problem) => {
            eprintln!("dunlin-driver-kit: {problem}");
            ExitCode::from(EXIT_FOUND)
        }
    }
}
