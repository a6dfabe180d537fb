//! `dunlin run`: check, then run until told to stop.

use super::check::{Strictness, check_state, sound};
use super::{Failure, runtime};
use crate::agent::{self, Defaults};
use crate::exit::Exit;
use std::path::Path;
use std::time::Duration;

/// How long threads that block on a disk may hold up the end of the process.
const RUNTIME_END: Duration = Duration::from_secs(1);

/// Runs the agent to its end.
pub(super) fn run(config: &Path, defaults: &Defaults) -> Result<Exit, Failure> {
    let plan = sound(config, defaults, Some(Strictness::Configuration))?;
    check_state(&plan)?;
    let runtime = runtime()?;
    let outcome = agent::run(plan, &runtime);
    // A disk that hangs holds a blocking thread; it must not hold the end of the process as well.
    runtime.shutdown_timeout(RUNTIME_END);
    outcome.map_err(|failure| Failure::new(failure.exit(), &failure))
}
