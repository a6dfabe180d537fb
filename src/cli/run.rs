//! `dunlin run`: check, then run until told to stop.

use super::check::{Strictness, check_drivers, check_state};
use super::{Failure, load, runtime};
use crate::agent::{self, Defaults};
use crate::exit::Exit;
use std::path::Path;

/// Runs the agent to its end.
pub(super) fn run(config: &Path, defaults: &Defaults) -> Result<Exit, Failure> {
    let plan = load(config, defaults)?;
    check_state(&plan)?;
    check_drivers(config, &plan, Strictness::Configuration)?;
    agent::run(plan, &runtime()?).map_err(|failure| Failure::new(failure.exit(), &failure))
}
