//! The checks: each a name, a sentence, a remedy, and a process of its own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dunlin_driver::{Cause, HostError};

use crate::target::Target;
use crate::{hosted, inside, report};

/// How long a check in the kit's own process may take, in seconds. A thousand openings of a slow bus take a while.
const INSIDE_SECONDS: u64 = 60;

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The rule is kept; what was seen.
    Kept(String),
    /// It does not apply, and why.
    Skipped(String),
    /// It is broken, and how.
    Failed(String),
    /// The process died, of what.
    Crashed(String),
    /// Nothing came back within so many milliseconds.
    Hung(u64),
}

/// What stops a check.
#[derive(Debug)]
pub(crate) enum Trouble {
    Host(HostError),
    Said(String),
    /// The rule does not apply.
    Skip(String),
}

impl From<HostError> for Trouble {
    fn from(error: HostError) -> Trouble {
        Trouble::Host(error)
    }
}

impl From<String> for Trouble {
    fn from(said: String) -> Trouble {
        Trouble::Said(said)
    }
}

/// Where a check runs.
pub(crate) enum Place {
    /// In a driver host, sandboxed, as the agent runs it.
    Host(fn(&Target) -> Result<String, Trouble>),
    /// In a process of the kit's own, without the sandbox, which can look at itself.
    Inside,
}

/// One check.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) fix: &'static str,
    pub(crate) place: Place,
}

/// Every check, those in a host first: what does not load there need not be looked at from inside.
pub(crate) const CHECKS: &[Check] = &[
    Check {
        name: "exports-one-symbol",
        says: "It exports dunlin_driver_entry and nothing else.",
        fix: "compile with -fvisibility=hidden, and link static libraries with -Wl,--exclude-libs,ALL",
        place: Place::Inside,
    },
    Check {
        name: "loads",
        says: "It loads in the sandbox, and its table and options are whole.",
        fix: "the reason names the field; a library beside the driver needs --read-path",
        place: Place::Host(hosted::loads),
    },
    Check {
        name: "opens",
        says: "It opens with these options and declares sane channels.",
        fix: "give its options with -o, its device with --device; names, units and kinds are described in driver.h",
        place: Place::Host(hosted::opens),
    },
    Check {
        name: "reads",
        says: "Fifty reads keep the contract: counts, channels, values, stamps, memory.",
        fix: "the reason names what the read did; driver.h says at `read` what it may do",
        place: Place::Host(hosted::reads),
    },
    Check {
        name: "reads-any-capacity",
        says: "A read writes no more than it has room for, whether for 1, 2 or 4096.",
        fix: "compare with cap before each write, and keep the rest for the next call",
        place: Place::Host(hosted::reads_any_capacity),
    },
    Check {
        name: "returns-in-time",
        says: "A read with a timeout of 0 and of 50 ms returns within it, plus the slack of 250 ms.",
        fix: "wait with poll or a timed wait, and for no longer than timeout_ms in all",
        place: Place::Host(hosted::returns_in_time),
    },
    Check {
        name: "stamps-in-order",
        says: "Stamps are CLOCK_MONOTONIC, never later than now and never in decline.",
        fix: "clock_gettime(CLOCK_MONOTONIC) when the value was taken, or 0",
        place: Place::Host(hosted::stamps_in_order),
    },
    Check {
        name: "frames",
        says: "Frames lie inside the buffer, in order, of their declared length.",
        fix: "ext/frames.h; a frame that does not fit is kept for the next call",
        place: Place::Host(hosted::frames),
    },
    Check {
        name: "writes",
        says: "A write inside the range is taken, one outside is refused with ERANGE.",
        fix: "ext/actuate.h; compare as !(value >= min && value <= max), so that NaN is refused too",
        place: Place::Host(hosted::writes),
    },
    Check {
        name: "refuses-bad-options",
        says: "Values that make no sense are refused with an errno, and leave nothing behind.",
        fix: "return -EINVAL and say in why which option is wrong; release what was taken",
        place: Place::Host(hosted::refuses_bad_options),
    },
    Check {
        name: "closes",
        says: "It closes in time, and the process ends well.",
        fix: "stop threads, close descriptors, free memory; return 0",
        place: Place::Host(hosted::closes),
    },
    Check {
        name: "asks-for-channels-twice",
        says: "channels answers the same with room for none and for all.",
        fix: "return how many channels there are, whatever cap is, and write only where cap is enough",
        place: Place::Inside,
    },
    Check {
        name: "opens-a-thousand-times",
        says: "A thousand openings leave no memory, no descriptor and no thread.",
        fix: "free in close what open took; valgrind names the place",
        place: Place::Inside,
    },
    Check {
        name: "opens-twice-at-once",
        says: "Two devices at once work, or the second is refused with an errno.",
        fix: "keep state in the device, none in static variables",
        place: Place::Inside,
    },
    Check {
        name: "lives-on-any-thread",
        says: "A device may live on another thread than the one that loaded the library.",
        fix: "no thread-local state that is set up by a constructor or by another device",
        place: Place::Inside,
    },
    Check {
        name: "leaves-the-process-alone",
        says: "Signals, locale, directory, umask, environment and descriptors are as before.",
        fix: "driver.h, Process state; use pthread_sigmask, newlocale and O_CLOEXEC",
        place: Place::Inside,
    },
    Check {
        name: "survives-no-memory",
        says: "Each allocation of open, read and close may fail: an errno, no crash.",
        fix: "check every malloc; return -ENOMEM and release what was taken before",
        place: Place::Inside,
    },
];

/// What must find nothing before a driver runs in a process without a sandbox: one that kills every process of its user
/// is refused that in a host, and fails there.
const BEFORE_INSIDE: [&str; 3] = ["loads", "opens", "reads"];

/// Runs the checks and reports; true where nothing was found.
pub(crate) fn run(target: &Target) -> Result<bool, String> {
    for name in &target.only {
        if !CHECKS.iter().any(|check| check.name == name) {
            let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
            return Err(format!(
                "there is no check {name:?}; there are {}",
                names.join(", ")
            ));
        }
    }
    let wanted = |check: &&Check| {
        target.only.is_empty() || target.only.iter().any(|name| name == check.name)
    };
    let mut results: Vec<report::Result> = Vec::new();
    for check in CHECKS.iter().filter(wanted) {
        let started = Instant::now();
        let before = results
            .iter()
            .find(|result| BEFORE_INSIDE.contains(&result.check.name) && result.is_found());
        let verdict = match (&check.place, before) {
            (Place::Host(body), _) => of_host(body(target)),
            (Place::Inside, Some(found)) => Verdict::Skipped(format!(
                "it would run outside the sandbox, and {:?} found something inside",
                found.check.name
            )),
            (Place::Inside, None) => in_a_child(check.name, target)?,
        };
        let result = report::Result {
            check,
            verdict,
            took: started.elapsed(),
        };
        report::line(&result);
        results.push(result);
    }
    report::finish(target, &results)
}

/// The verdict of what came out of a host.
fn of_host(outcome: Result<String, Trouble>) -> Verdict {
    match outcome {
        Ok(note) => Verdict::Kept(note),
        Err(Trouble::Skip(why)) => Verdict::Skipped(why),
        Err(Trouble::Said(why)) => Verdict::Failed(why),
        Err(Trouble::Host(error)) => match error.cause() {
            Cause::Crash { .. } => Verdict::Crashed(error.detail()),
            _ => Verdict::Failed(error.detail()),
        },
    }
}

/// Runs one check in a child of this program, and waits for it.
fn in_a_child(name: &'static str, target: &Target) -> Result<Verdict, String> {
    let failed = |error: std::io::Error| format!("starting the check {name}: {error}");
    let verdict = tempfile::NamedTempFile::new().map_err(failed)?;
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("inside")
        .args(["--check", name, "--verdict"])
        .arg(verdict.path())
        .args(&target.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let started = Instant::now();
    let limit = Duration::from_secs(INSIDE_SECONDS);
    let mut said = None;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            use std::os::unix::process::ExitStatusExt as _;
            let words = std::fs::read_to_string(verdict.path()).map_err(failed)?;
            return Ok(match (inside::parse(&words), status.signal()) {
                (Some(verdict), _) => verdict,
                (None, Some(signal)) => {
                    let name = nix::sys::signal::Signal::try_from(signal);
                    Verdict::Crashed(
                        name.map_or_else(|_| format!("signal {signal}"), |s| s.to_string()),
                    )
                }
                (None, None) => {
                    let code = status.code().unwrap_or(-1);
                    Verdict::Crashed(format!("it ended the process with code {code}"))
                }
            });
        }
        let over = match said {
            None if inside::parse(&std::fs::read_to_string(verdict.path()).map_err(failed)?)
                .is_some() =>
            {
                said = Some(Instant::now());
                false
            }
            None => started.elapsed() > limit,
            Some(since) => since.elapsed() > Duration::from_millis(target.deadline_ms.into()),
        };
        if over {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Ok(match said {
                None => Verdict::Hung(INSIDE_SECONDS * 1000),
                Some(_) => Verdict::Failed(
                    "its process does not end: a destructor or an exit function waits".to_owned(),
                ),
            });
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
