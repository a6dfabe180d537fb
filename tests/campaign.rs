//! The long tests, at the size that CI runs: `cargo nextest run --profile campaign`. `scripts/test.sh campaign` runs them,
//! larger through the variables named in each.

mod support;

#[path = "campaign/agent_kills.rs"]
mod agent_kills;
#[path = "campaign/broker_away.rs"]
mod broker_away;
#[path = "campaign/driver_kills.rs"]
mod driver_kills;

/// The size of a campaign: `variable`, or what CI runs.
fn size(variable: &str, ci: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(ci, |text| text.parse().expect("a whole number"))
}
