#![doc = include_str!("ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod agent;
pub mod buffer;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "identity")]
pub mod credential;
#[cfg(feature = "downlink")]
pub mod downlink;
pub mod exit;
#[cfg(feature = "identity")]
pub mod identity;
pub mod level;
pub mod payload;
pub mod pipeline;
pub mod record;
#[cfg(feature = "roughtime")]
pub mod roughtime;
pub mod sinks;
pub mod sources;
pub mod stats;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod transforms;
pub mod uplink;
