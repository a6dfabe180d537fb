//! Sources: where records come from. One file a kind, closed enum.

pub mod driver;
