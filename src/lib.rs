#![doc = include_str!("ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod buffer;
pub mod clock;
pub mod config;
pub mod payload;
pub mod pipeline;
pub mod record;
pub mod stats;
pub mod uplink;
pub mod transforms;
