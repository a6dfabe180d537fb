//! The pipeline: how batches flow from sources through transforms to sinks. Names no concrete node.

mod batch;

pub use batch::{Ack, Batch, Ledger};
