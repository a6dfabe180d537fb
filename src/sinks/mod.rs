//! Sinks: where records go. One file or folder a kind.

pub mod uplink;
