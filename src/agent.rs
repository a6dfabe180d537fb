//! The agent: a configuration becomes a running pipeline, and ends in order.

mod plan;
mod run;
mod settings;
mod state_dir;
mod status;

pub use plan::{Draft, Plan, draft, draft_of};
pub use run::{RunFailure, run};
pub use settings::{Defaults, Settings};
#[cfg(feature = "identity")]
pub use state_dir::start_clock;
pub use state_dir::{StateError, check as check_state};
