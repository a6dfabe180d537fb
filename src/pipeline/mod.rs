//! The pipeline: how batches flow from sources through transforms to sinks. Names no concrete node.
//!
//! [`Graph::check`] finds everything that is wrong with a set of [`Node`]s; [`start`] runs what it passed: one task a
//! transform and a sink, bounded queues between them. Back-pressure is awaiting: a sink that cannot keep up fills its
//! queue, then the queue before it, then the source waits. Nothing is dropped on the way, but before a node that may be
//! skipped, where it is counted and told.

mod batch;
mod graph;
mod node;
#[cfg(feature = "telemetry")]
mod pool;
mod queue;
mod run;
#[cfg(test)]
pub(crate) mod testing;

pub use batch::{Ack, Batch, Ledger};
pub use graph::Graph;
pub use node::{Bodies, NODES_MAX, Node, Place, Role, WhenSlow};
#[cfg(feature = "telemetry")]
pub use pool::WORKERS_MAX;
pub use queue::{ClassInlet, Inlet, Outlet};
pub use run::{QUEUE_BATCHES_DEFAULT, QUEUE_BATCHES_MAX, RunError, Running, start};

use std::future::Future;

/// Works on batches in order, on one task or thread. Must not block.
///
/// Every batch that comes in either goes out, or its ack is done, or its ack is held for a batch that goes out later.
/// Gaps pass through every transform unchanged.
pub trait Transform: Send {
    /// Takes a batch and pushes what comes of it, in order.
    fn apply(&mut self, batch: Batch, out: &mut Vec<Batch>);

    /// Monotonic time, in nanoseconds, at which [`Transform::tick`] wants to be called if no batch comes before.
    fn deadline_ns(&self) -> Option<u64> {
        None
    }

    /// The monotonic time is `now_ns`, at or after the deadline.
    fn tick(&mut self, _now_ns: u64, _out: &mut Vec<Batch>) {}

    /// What it counts, where it counts anything.
    #[cfg(feature = "telemetry")]
    fn tally(&self) -> Option<std::sync::Arc<crate::stats::Tally>> {
        None
    }

    /// Another one, which has seen no record, for records of other keys on another thread; none where it must see all
    /// records of a stream. One that can have another never asks for a deadline.
    #[cfg(feature = "telemetry")]
    fn another(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// No batch comes any more: pushes all that was held back.
    fn flush(&mut self, _out: &mut Vec<Batch>) {}
}

/// Takes batches out of the pipeline.
pub trait Sink: Send {
    /// Why a sink gives up. It must retry by itself what can be retried: an error ends the agent.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes batches until the inlet is closed, and acknowledges each once it has it durably.
    fn run(self, inlet: Inlet) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
