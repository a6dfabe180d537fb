//! Sources: where records come from. One file a kind, closed enum.

#[cfg(feature = "downlink")]
pub mod downlink;
pub mod driver;
