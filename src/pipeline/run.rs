//! Runs a pipeline: one task a transform and a sink, bounded queues before each.
//!
//! Drain: the sources drop their outlets, so the channels close one after the other; a transform flushes what it held
//! back, a sink finishes what it has. A node that ends before its inlet is closed, by an error or a panic, fails the
//! batches it held and every batch sent to it later, and is reported by [`Running::failure`].

#[cfg(feature = "telemetry")]
use super::pool;
use super::queue::{Inlet, Outlet, queues};
use super::{Batch, Graph, Role, Sink, Transform};
use crate::clock::monotonic_ns;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};

/// Batches that wait before a node, unless configured.
pub const QUEUE_BATCHES_DEFAULT: u64 = 16;

/// Most batches that may wait before a node.
pub const QUEUE_BATCHES_MAX: u64 = 4096;

/// Why a pipeline did not run to its orderly end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A sink gave up.
    #[error("sink {node:?} gave up")]
    Sink {
        /// Its name.
        node: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A bug: a node panicked.
    #[error("node {node:?} panicked: {message}")]
    Panic {
        /// Its name.
        node: String,
        /// What the panic said.
        message: String,
    },
    /// A node ended although its inlet was still open.
    #[error("node {node:?} ended before its inputs did")]
    Early {
        /// Its name.
        node: String,
    },
    /// The pipeline was not empty within the bound of the drain.
    #[error("draining took longer than {bound_ms} ms; still busy: {}", nodes.join(", "))]
    DrainBound {
        /// The bound, in milliseconds.
        bound_ms: u128,
        /// The nodes that had not finished.
        nodes: Vec<String>,
    },
}

pub(super) type Exit = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A pipeline that runs. Dropping it stops every node at once; [`Running::drain`] is the orderly way.
#[derive(Debug)]
pub struct Running {
    outlets: BTreeMap<String, Outlet>,
    tasks: JoinSet<Exit>,
    names: BTreeMap<Id, String>,
}

/// Starts the nodes of a graph within the current tokio runtime, of either kind.
///
/// `transforms` and `sinks` are the nodes by name; every node of the graph but the sources must be among them.
/// `queue_batches` bounds the queue of each class before each node.
pub fn start<T, S>(
    graph: &Graph,
    mut transforms: BTreeMap<String, T>,
    mut sinks: BTreeMap<String, S>,
    queue_batches: usize,
) -> Running
where
    T: Transform + 'static,
    S: Sink + 'static,
{
    let mut lanes = BTreeMap::new();
    let mut inlets = BTreeMap::new();
    for node in graph.nodes().iter().filter(|n| n.role != Role::Source) {
        let name = node.name.as_str();
        let (to, from) = queues(name, queue_batches, graph.skipped().get(name));
        lanes.insert(name, to);
        inlets.insert(name, from);
    }
    let mut running = Running {
        outlets: BTreeMap::new(),
        tasks: JoinSet::new(),
        names: BTreeMap::new(),
    };
    for node in graph.nodes() {
        let consumers = graph.consumers(&node.name);
        let outlet = Outlet::new(consumers.map(|c| lanes[c.name.as_str()].clone()).collect());
        let inlet = inlets.remove(node.name.as_str());
        let task = match (node.role, inlet) {
            (Role::Source, _) | (_, None) => {
                running.outlets.insert(node.name.clone(), outlet);
                continue;
            }
            (Role::Transform, Some(inlet)) => {
                let transform = transforms.remove(&node.name);
                let transform = transform.expect("every transform of the graph is given");
                match node.workers {
                    #[cfg(feature = "telemetry")]
                    Some(workers) => {
                        let transforms = pool::several(transform, workers);
                        running.tasks.spawn(pool::run(transforms, inlet, outlet))
                    }
                    _ => running.tasks.spawn(run_transform(transform, inlet, outlet)),
                }
            }
            (Role::Sink, Some(inlet)) => {
                let sink = sinks.remove(&node.name);
                let sink = sink.expect("every sink of the graph is given");
                let run = async move { sink.run(inlet).await.map_err(Into::into) };
                running.tasks.spawn(run)
            }
        };
        running.names.insert(task.id(), node.name.clone());
    }
    running
}

impl Running {
    /// The outlet of a source, once. The stream of the source ends when it is dropped.
    pub fn outlet(&mut self, source: &str) -> Option<Outlet> {
        self.outlets.remove(source)
    }

    /// Waits until a node ends before its time, and says why. Pends for ever in a pipeline that works. May be cancelled.
    pub async fn failure(&mut self) -> RunError {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self
                .outcome(ended)
                .map_or_else(|error| error, |node| RunError::Early { node }),
            None => std::future::pending().await,
        }
    }

    /// Waits until every node has finished, at most `bound`; then stops those that have not, which fails the batches
    /// they hold. Call it when the sources were told to stop: it ends once their outlets are dropped. The first error
    /// is reported, but the other nodes still finish.
    pub async fn drain(mut self, bound: Duration) -> Result<(), RunError> {
        self.outlets.clear();
        let mut first = Ok(());
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                let outcome = match ended {
                    Ok((id, exit)) => outcome_of(&mut self.names, id, exit),
                    Err(error) => Err(panic_of(&mut self.names, error)),
                };
                if first.is_ok() {
                    first = outcome.map(drop);
                }
            }
        };
        if tokio::time::timeout(bound, all).await.is_err() && first.is_ok() {
            first = Err(RunError::DrainBound {
                bound_ms: bound.as_millis(),
                nodes: self.names.values().cloned().collect(),
            });
        }
        self.tasks.shutdown().await;
        first
    }

    fn outcome(&mut self, ended: Result<(Id, Exit), JoinError>) -> Result<String, RunError> {
        match ended {
            Ok((id, exit)) => outcome_of(&mut self.names, id, exit),
            Err(error) => Err(panic_of(&mut self.names, error)),
        }
    }
}

/// The node that ended well, or why it did not.
fn outcome_of(names: &mut BTreeMap<Id, String>, id: Id, exit: Exit) -> Result<String, RunError> {
    let node = names.remove(&id).unwrap_or_default();
    match exit {
        Ok(()) => Ok(node),
        Err(source) => Err(RunError::Sink { node, source }),
    }
}

fn panic_of(names: &mut BTreeMap<Id, String>, error: JoinError) -> RunError {
    let node = names.remove(&error.id()).unwrap_or_default();
    let message = match error.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned()),
        Err(error) => error.to_string(),
    };
    RunError::Panic { node, message }
}

async fn run_transform(mut transform: impl Transform, mut inlet: Inlet, outlet: Outlet) -> Exit {
    let mut out = Vec::new();
    loop {
        match next(&mut inlet, transform.deadline_ns()).await {
            Next::Batch(batch) => transform.apply(batch, &mut out),
            Next::Deadline => {}
            Next::End => break,
        }
        // Also after a batch: data that never pauses must not keep a deadline waiting.
        let now_ns = monotonic_ns();
        if transform.deadline_ns().is_some_and(|at| at <= now_ns) {
            transform.tick(now_ns, &mut out);
        }
        hand_on(&mut out, &outlet).await;
    }
    transform.flush(&mut out);
    hand_on(&mut out, &outlet).await;
    Ok(())
}

pub(super) async fn hand_on(out: &mut Vec<Batch>, outlet: &Outlet) {
    for batch in out.drain(..) {
        outlet.send(batch).await;
    }
}

enum Next {
    Batch(Batch),
    Deadline,
    End,
}

async fn next(inlet: &mut Inlet, deadline_ns: Option<u64>) -> Next {
    let received = match deadline_ns {
        None => inlet.recv().await,
        Some(at) => {
            let wait = Duration::from_nanos(at.saturating_sub(monotonic_ns()));
            match tokio::time::timeout(wait, inlet.recv()).await {
                Ok(received) => received,
                Err(_) => return Next::Deadline,
            }
        }
    };
    received.map_or(Next::End, Next::Batch)
}

#[cfg(test)]
mod tests;
