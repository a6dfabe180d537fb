//! What to look at: the command line, parsed into one closed enum.

use std::ffi::OsString;
use std::path::PathBuf;

use dunlin_driver::{Grants, Spec};
use lexopt::prelude::{Long, Short, Value, ValueExt as _};

pub(crate) const HELP: &str = "\
dunlin-driver-kit: does a driver keep the rules of dunlin/driver.h?

  dunlin-driver-kit check DRIVER.so [OPTIONS]   every check, each in a process of its own
  dunlin-driver-kit bench DRIVER.so [OPTIONS]   how long a read takes, as a histogram
  dunlin-driver-kit fuzz  DRIVER.so [OPTIONS]   options and writes at random

  -o KEY=VALUE           an option of the driver, as in a configuration; may be given again
  --device PATH          grants a device node; --read-path PATH a file; --network IP:PORT an address;
                         --can INTERFACE a CAN interface
  --only CHECK           this check only; may be given again
  --allow-writes         writes to the device's writable channels: only where that harms nobody
  --deadline-ms N        deadline of open, channels, write and close (2000)
  --json FILE            the verdicts as JSON; --junit FILE as JUnit XML
  --seconds N            how long bench measures (2)
  --svg FILE             the histogram of bench as a picture
  --runs N               how often fuzz tries (200)
  --seed N               where fuzz begins (1); a finding prints the seed that repeats it

Exit status: 0 nothing found, 1 something found, 64 wrong command line.
";

/// What the user asked for.
pub(crate) enum Command {
    Help,
    Check(Target),
    Bench(Target),
    Fuzz(Target),
    /// The kit itself, as the process of one check.
    Inside {
        check: String,
        verdict: PathBuf,
        target: Target,
    },
}

/// A driver and how to treat it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) library: PathBuf,
    pub(crate) options: Vec<(String, String)>,
    pub(crate) grants: Grants,
    pub(crate) only: Vec<String>,
    pub(crate) allow_writes: bool,
    pub(crate) deadline_ms: u32,
    pub(crate) json: Option<PathBuf>,
    pub(crate) junit: Option<PathBuf>,
    pub(crate) seconds: u32,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) runs: u32,
    pub(crate) seed: u64,
    /// The arguments that a child process needs to look at the same driver.
    pub(crate) arguments: Vec<OsString>,
}

impl Target {
    pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Command, String> {
        let kept: Vec<OsString> = arguments.iter().skip(1).cloned().collect();
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut command = None;
        let mut inside = (String::new(), PathBuf::new());
        let mut target = Target {
            library: PathBuf::new(),
            options: Vec::new(),
            grants: Grants::default(),
            only: Vec::new(),
            allow_writes: false,
            deadline_ms: 2000,
            json: None,
            junit: None,
            seconds: 2,
            svg: None,
            runs: 200,
            seed: 1,
            arguments: kept,
        };
        let failed = |error: lexopt::Error| error.to_string();
        while let Some(argument) = parser.next().map_err(failed)? {
            match argument {
                Short('h') | Long("help") => return Ok(Command::Help),
                Short('o') => {
                    let option = parser.value().map_err(failed)?.string().map_err(failed)?;
                    let (key, text) = option
                        .split_once('=')
                        .ok_or_else(|| format!("-o {option:?} is not KEY=VALUE"))?;
                    target.options.push((key.to_owned(), text.to_owned()));
                }
                Long("device") => target
                    .grants
                    .devices
                    .push(parser.value().map_err(failed)?.into()),
                Long("read-path") => target
                    .grants
                    .read
                    .push(parser.value().map_err(failed)?.into()),
                Long("network") => {
                    let address = parser.value().map_err(failed)?.string().map_err(failed)?;
                    target.grants.network.push(address);
                }
                Long("can") => {
                    let name = parser.value().map_err(failed)?.string().map_err(failed)?;
                    target.grants.can.push(name);
                }
                Long("only") => target
                    .only
                    .push(parser.value().map_err(failed)?.string().map_err(failed)?),
                Long("allow-writes") => target.allow_writes = true,
                Long("deadline-ms") => {
                    target.deadline_ms = parser.value().map_err(failed)?.parse().map_err(failed)?;
                }
                Long("json") => target.json = Some(parser.value().map_err(failed)?.into()),
                Long("junit") => target.junit = Some(parser.value().map_err(failed)?.into()),
                Long("svg") => target.svg = Some(parser.value().map_err(failed)?.into()),
                Long("seconds") => {
                    target.seconds = parser.value().map_err(failed)?.parse().map_err(failed)?;
                }
                Long("runs") => {
                    target.runs = parser.value().map_err(failed)?.parse().map_err(failed)?;
                }
                Long("seed") => {
                    target.seed = parser.value().map_err(failed)?.parse().map_err(failed)?;
                }
                Long("verdict") => inside.1 = parser.value().map_err(failed)?.into(),
                Long("check") => {
                    inside.0 = parser.value().map_err(failed)?.string().map_err(failed)?;
                }
                Value(word) if command.is_none() => {
                    command = Some(word.string().map_err(failed)?);
                }
                Value(path) if target.library.as_os_str().is_empty() => {
                    target.library = PathBuf::from(path);
                }
                other => return Err(other.unexpected().to_string()),
            }
        }
        let command = command.ok_or("no command")?;
        if target.library.as_os_str().is_empty() {
            return Err(format!("{command} needs a driver, DRIVER.so"));
        }
        target.library = std::fs::canonicalize(&target.library)
            .map_err(|error| format!("{}: {error}", target.library.display()))?;
        target.grants.check()?;
        match command.as_str() {
            "check" => Ok(Command::Check(target)),
            "bench" => Ok(Command::Bench(target)),
            "fuzz" => Ok(Command::Fuzz(target)),
            "inside" => Ok(Command::Inside {
                check: inside.0,
                verdict: inside.1,
                target,
            }),
            other => Err(format!("there is no command {other:?}")),
        }
    }

    /// How long a read may wait: so many milliseconds where the driver paces itself. Any other measures now, and has its
    /// deadline for that, as it has under the agent.
    pub(crate) fn wait_ms(&self, paced: bool, paced_ms: u32) -> u32 {
        if paced { paced_ms } else { self.deadline_ms }
    }

    /// The driver in a host of this very program, as the agent runs it.
    pub(crate) fn spec(&self) -> Result<Spec, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut spec = Spec::new("kit", program, self.library.clone());
        spec.options.clone_from(&self.options);
        spec.grants.clone_from(&self.grants);
        spec.deadline_ms = self.deadline_ms;
        Ok(spec)
    }
}
