#![doc = include_str!("ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod pipeline;
pub mod record;
pub mod sinks;
pub mod stats;
pub mod transforms;
