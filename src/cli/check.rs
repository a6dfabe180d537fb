//! `dunlin check`: everything that can be known to be wrong before the agent starts.

use super::{Failure, runtime};
use crate::agent::{self, Defaults, Draft, Plan};
use crate::config::{Problem, Problems};
use crate::exit::Exit;
use dunlin_driver::{Cause, Host, HostError};
use std::path::Path;

/// How strictly drivers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Whatever keeps a driver from describing itself is a problem.
    All,
    /// Only what a change of the configuration mends. A driver that crashes or hangs must not keep the agent from
    /// starting: its supervisor deals with that, and the other sources read.
    Configuration,
}

/// Checks a file and says that it is good, or all that is wrong with it.
pub fn check(config: &Path, defaults: &Defaults, drivers: bool) -> Result<Exit, Failure> {
    let plan = sound(config, defaults, drivers.then_some(Strictness::All))?;
    check_state(&plan)?;
    let checked = if drivers {
        "drivers loaded and their options checked"
    } else {
        "drivers not loaded"
    };
    super::print(&format!(
        "{} is good: sources {}, transforms {}, sinks {} ({checked})",
        config.display(),
        plan.sources.len() + plan.keeping_sources().len(),
        plan.transforms.len(),
        plan.sinks.len()
    ))
}

/// The plan that a file describes, for who wants to know where things are: a certificate that cannot be read here must not
/// hide what the agent does.
pub(super) fn placed(config: &Path, defaults: &Defaults) -> Result<Plan, Failure> {
    match agent::draft(config, defaults).plan {
        Some(plan) => Ok(plan),
        None => sound(config, defaults, None),
    }
}

/// The plan that a file describes, or everything that is wrong with the file. Where `drivers` says how strictly, each
/// driver is loaded into its sandbox and its options are held against the configuration; no device is opened.
pub fn sound(
    config: &Path,
    defaults: &Defaults,
    drivers: Option<Strictness>,
) -> Result<Plan, Failure> {
    let Draft {
        plan,
        sources,
        problems: mut list,
    } = agent::draft(config, defaults);
    if let Some(strictness) = drivers {
        runtime()?.block_on(async {
            let drivers = sources
                .iter()
                .filter_map(|(line, source)| Some((line, source.driver()?)));
            for (line, source) in drivers {
                list.extend(check_driver(*line, source, strictness).await);
            }
        });
    }
    list.sort_by_key(|problem| problem.line);
    match plan {
        Some(plan) if list.is_empty() => Ok(plan),
        _ => Err(Failure::new(
            Exit::Config,
            Problems {
                file: config.to_owned(),
                list,
            },
        )),
    }
}

/// Refuses a state directory that cannot be one, or that a later dunlin wrote. Changes nothing.
pub(super) fn check_state(plan: &Plan) -> Result<(), Failure> {
    let (sinks, sources) = (plan.sinks.keys(), plan.keeping_sources());
    agent::check_state(&plan.settings.state_dir, sinks, sources.into_iter())
        .map_err(|error| Failure::new(Exit::State, error))
}

async fn check_driver(
    line: usize,
    source: &crate::sources::driver::Settings,
    strictness: Strictness,
) -> Vec<Problem> {
    let spec = &source.spec;
    let name = &spec.name;
    let problem = |key: &str, what: String, remedy: &str| Problem {
        line,
        key: format!("sources.{name}.{key}"),
        what,
        remedy: remedy.to_owned(),
    };
    if !spec.grants.network.is_empty()
        && let Err(lacking) = dunlin_driver::network_grants()
    {
        let remedy = "run Linux 5.9 or later, outside of a sandbox that keeps system call filters from dunlin";
        return vec![problem("grants.network", lacking, remedy)];
    }
    let described = match Host::spawn(spec) {
        Ok(mut host) => host.describe().await.cloned(),
        Err(error) => Err(error),
    };
    match described {
        Ok(description) => dunlin_driver::check_options(&description.options, &spec.options)
            .into_iter()
            .map(|wrong| {
                let key = format!("options.{}", wrong.key);
                problem(
                    &key,
                    wrong.detail,
                    "correct it; `dunlin drivers probe` lists the driver's options",
                )
            })
            .collect(),
        Err(error) if is_hash(&error) => {
            vec![problem(
                "sha256",
                format!("{}: {}", spec.library.display(), error.detail()),
                "install the library that was meant, or write the hash of this one if it is trusted",
            )]
        }
        Err(error) if strictness == Strictness::All || error.cause() == Cause::Start => {
            vec![problem(
                "driver",
                format!(
                    "{} cannot be used: {}",
                    spec.library.display(),
                    error.detail()
                ),
                "install a library that was built for this machine and for driver ABI 1",
            )]
        }
        Err(error) => {
            tracing::warn!(source = %name, "the driver could not be checked, its source will try again: {}", error.detail());
            Vec::new()
        }
    }
}

fn is_hash(error: &HostError) -> bool {
    error.detail().contains("SHA-256")
}
