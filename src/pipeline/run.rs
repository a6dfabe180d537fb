//! Runs a pipeline: one task a transform and a sink, a bounded channel before each.
//!
//! Drain: the sources drop their outlets, so the channels close one after the other; a transform flushes what it held
//! back, a sink finishes what it has. A node that ends before its inlet is closed, by an error or a panic, fails the
//! batches it held and every batch sent to it later, and is reported by [`Running::failure`].

use super::{Batch, Graph, Role, Sink, Transform};
use crate::clock::monotonic_ns;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
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

/// Where a node takes its batches from: a queue for each class, so that one that is held up holds up no other.
#[derive(Debug)]
pub struct Inlet {
    batches: [Receiver<Batch>; 3],
}

impl Inlet {
    /// The next batch of any class; `None` when every node that feeds this one has ended. May be cancelled without loss.
    pub async fn recv(&mut self) -> Option<Batch> {
        let [bulk, normal, critical] = &mut self.batches;
        tokio::select! {
            Some(batch) = critical.recv() => Some(batch),
            Some(batch) = normal.recv() => Some(batch),
            Some(batch) = bulk.recv() => Some(batch),
            else => None,
        }
    }

    /// An inlet for each class, bulk first.
    pub fn by_class(self) -> [ClassInlet; 3] {
        self.batches.map(|batches| ClassInlet { batches })
    }
}

/// Where a node takes the batches of one class from.
#[derive(Debug)]
pub struct ClassInlet {
    batches: Receiver<Batch>,
}

impl ClassInlet {
    /// The next batch; `None` when every node that feeds this one has ended. May be cancelled without loss.
    pub async fn recv(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }

    /// The next batch, if one waits already.
    pub fn try_recv(&mut self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }
}

/// Where a source, or a transform, hands its batches to. Drop it to end the stream.
#[derive(Debug)]
pub struct Outlet {
    consumers: Vec<[Sender<Batch>; 3]>,
}

impl Outlet {
    /// Hands a batch to every consumer, in order; waits while their queue of its class is full. A consumer that has ended
    /// fails the batch. To cancel it fails the batch too, although some consumers may have it.
    pub async fn send(&self, batch: Batch) {
        let class = batch.class as usize;
        let Some((last, others)) = self.consumers.split_last() else {
            return;
        };
        for consumer in others {
            // An error gives the share back; dropping it fails the batch, as it should.
            drop(consumer[class].send(batch.share()).await);
        }
        // The last one gets the batch itself: where it is the only one, it owns the records and may change them in place.
        drop(last[class].send(batch).await);
    }
}

type Exit = Result<(), Box<dyn std::error::Error + Send + Sync>>;

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
    let mut senders = BTreeMap::new();
    let mut inlets = BTreeMap::new();
    for node in graph.nodes().iter().filter(|n| n.role != Role::Source) {
        let [bulk, normal, critical] = [(); 3].map(|()| channel(queue_batches.max(1)));
        senders.insert(node.name.as_str(), [bulk.0, normal.0, critical.0]);
        let batches = [bulk.1, normal.1, critical.1];
        inlets.insert(node.name.as_str(), Inlet { batches });
    }
    let mut running = Running {
        outlets: BTreeMap::new(),
        tasks: JoinSet::new(),
        names: BTreeMap::new(),
    };
    for node in graph.nodes() {
        let consumers = graph.consumers(&node.name);
        let outlet = Outlet {
            consumers: consumers
                .map(|c| senders[c.name.as_str()].clone())
                .collect(),
        };
        let inlet = inlets.remove(node.name.as_str());
        let task = match (node.role, inlet) {
            (Role::Source, _) | (_, None) => {
                running.outlets.insert(node.name.clone(), outlet);
                continue;
            }
            (Role::Transform, Some(inlet)) => {
                let transform = transforms.remove(&node.name);
                let transform = transform.expect("every transform of the graph is given");
                running.tasks.spawn(run_transform(transform, inlet, outlet))
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
        for batch in out.drain(..) {
            outlet.send(batch).await;
        }
    }
    transform.flush(&mut out);
    for batch in out.drain(..) {
        outlet.send(batch).await;
    }
    Ok(())
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
