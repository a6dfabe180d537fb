//! `dunlin run`: check, then run until told to stop.

use super::check::{Strictness, check_state, sound};
use super::{Failure, runtime};
use crate::agent::{self, Defaults};
use crate::exit::Exit;
use std::path::Path;

/// Runs the agent to its end.
pub(super) fn run(config: &Path, defaults: &Defaults) -> Result<Exit, Failure> {
    let plan = sound(config, defaults, Some(Strictness::Configuration))?;
    check_state(&plan)?;
    agent::run(plan, &runtime()?).map_err(|failure| Failure::new(failure.exit(), &failure))
}
