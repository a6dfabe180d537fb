//! The bounded queues between nodes: one for each class before each node, so that one that is held up holds up no other.
//!
//! A full queue holds up who feeds it, unless its node may be skipped: then the batch is left out there, and is not held up
//! anywhere else. A node that has had no turn since its queue filled is not slow: it gets one first. What was left out is counted, and told as a gap in the place where it is missing: behind what waited in
//! the queue then, before what comes next. The gap is made where it is taken out, so that it needs no room in the queue, and
//! nobody has to come back to say it.

use super::{Ack, Batch};
use crate::record::{Body, Cause, Class, Gap, Record};
use crate::stats::Count;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::yield_now;

/// What the sending and the taking side of a queue that may be skipped both know.
#[derive(Debug)]
struct Skips {
    state: Mutex<SkipState>,
    /// Name of the node.
    node: Arc<str>,
    /// Records, over all queues of the node.
    count: Arc<Count>,
}

#[derive(Debug, Default)]
struct SkipState {
    /// Batches that were put into the queue, and taken out of it.
    sent: u64,
    taken: u64,
    /// Monotonic time of the last record of each stream that was put into it, in nanoseconds.
    last_ns: BTreeMap<Arc<str>, u64>,
    /// What was left out, in order. At most as many as the queue is long, for each stream that comes here.
    left_out: VecDeque<LeftOut>,
}

/// What is missing in one place of one stream.
#[derive(Debug)]
struct LeftOut {
    /// The batches before it.
    behind: u64,
    stream: Arc<str>,
    class: Class,
    from_ns: u64,
    to_ns: u64,
    to_wall_ns: i64,
    records: u64,
    /// Whether a gap among them did not say how many records it stands for.
    uncounted: bool,
}

impl Skips {
    fn lock(&self) -> MutexGuard<'_, SkipState> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SkipState {
    /// A batch was put into the queue.
    fn sent(&mut self, stream: &Arc<str>, last_ns: u64) {
        self.sent += 1;
        if let Some(seen_ns) = self.last_ns.get_mut(stream) {
            *seen_ns = last_ns;
        } else {
            self.last_ns.insert(Arc::clone(stream), last_ns);
        }
    }

    fn leave_out(&mut self, batch: &Batch) -> u64 {
        let mut records = 0;
        let mut uncounted = false;
        for record in batch.records.iter() {
            match &record.body {
                Body::Gap(gap) => {
                    records += gap.lost.unwrap_or(0);
                    uncounted |= gap.lost.is_none();
                }
                Body::Sample { .. } | Body::Frame { .. } => records += 1,
            }
        }
        let behind = self.sent;
        let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) else {
            return 0;
        };
        let newest = self.left_out.iter_mut().rev();
        let mut here = newest.take_while(|gap| gap.behind == behind);
        if let Some(open) = here.find(|gap| gap.stream == batch.stream) {
            (open.to_ns, open.to_wall_ns) = (last.monotonic_ns, last.wall_ns);
            open.records += records;
            open.uncounted |= uncounted;
        } else {
            let from_ns = match (self.last_ns.get(&batch.stream), &first.body) {
                (Some(last_ns), _) => *last_ns,
                (None, Body::Gap(gap)) => gap.from_ns,
                (None, _) => first.monotonic_ns,
            };
            self.left_out.push_back(LeftOut {
                behind,
                stream: Arc::clone(&batch.stream),
                class: batch.class,
                from_ns,
                to_ns: last.monotonic_ns,
                to_wall_ns: last.wall_ns,
                records,
                uncounted,
            });
        }
        records
    }

    /// What is missing here, where something is.
    fn due(&mut self) -> Option<LeftOut> {
        let is_due = self.left_out.front()?.behind <= self.taken;
        is_due.then(|| self.left_out.pop_front())?
    }
}

impl LeftOut {
    fn told(self, node: &str) -> Batch {
        let records = self.records;
        let known = if self.uncounted { "at least " } else { "" };
        let gap = Gap {
            from_ns: self.from_ns,
            to_ns: self.to_ns,
            cause: Cause::Overrun,
            lost: (!self.uncounted).then_some(records),
            detail: format!("{known}{records} records: {node} was slow and may be skipped"),
        };
        let record = Record {
            monotonic_ns: self.to_ns,
            wall_ns: self.to_wall_ns,
            body: Body::Gap(gap),
            reply: None,
        };
        Batch {
            stream: self.stream,
            class: self.class,
            records: Arc::new(vec![record]),
            // Nobody waits for it: what it stands for is acknowledged.
            ack: Ack::all([]),
        }
    }
}

/// Where a node takes its batches from: a queue for each class.
#[derive(Debug)]
pub struct Inlet {
    classes: [ClassInlet; 3],
}

impl Inlet {
    /// The next batch of any class; `None` when every node that feeds this one has ended. May be cancelled without loss.
    pub async fn recv(&mut self) -> Option<Batch> {
        let [bulk, normal, critical] = &mut self.classes;
        tokio::select! {
            Some(batch) = critical.recv() => Some(batch),
            Some(batch) = normal.recv() => Some(batch),
            Some(batch) = bulk.recv() => Some(batch),
            else => None,
        }
    }

    /// An inlet for each class, bulk first.
    pub fn by_class(self) -> [ClassInlet; 3] {
        self.classes
    }
}

/// Where a node takes the batches of one class from.
#[derive(Debug)]
pub struct ClassInlet {
    batches: Receiver<Batch>,
    skips: Option<Arc<Skips>>,
}

impl ClassInlet {
    /// The next batch; `None` when every node that feeds this one has ended. May be cancelled without loss.
    pub async fn recv(&mut self) -> Option<Batch> {
        if let Some(gap) = self.due() {
            return Some(gap);
        }
        let batch = self.batches.recv().await;
        self.take(batch)
    }

    /// The next batch, if one waits already.
    pub fn try_recv(&mut self) -> Option<Batch> {
        if let Some(gap) = self.due() {
            return Some(gap);
        }
        let batch = self.batches.try_recv().ok();
        self.take(batch)
    }

    fn due(&self) -> Option<Batch> {
        let skips = self.skips.as_ref()?;
        let left_out = skips.lock().due()?;
        Some(left_out.told(&skips.node))
    }

    fn take(&self, batch: Option<Batch>) -> Option<Batch> {
        if let (Some(_), Some(skips)) = (&batch, &self.skips) {
            skips.lock().taken += 1;
        }
        batch
    }
}

/// The sending side of the queues of a node.
#[derive(Clone, Debug)]
pub(super) struct Lanes([Lane; 3]);

#[derive(Clone, Debug)]
struct Lane {
    batches: Sender<Batch>,
    skips: Option<Arc<Skips>>,
}

impl Lane {
    /// An error gives the batch back; dropping it fails the batch, as it should.
    async fn send(&self, batch: Batch) {
        let Some(skips) = &self.skips else {
            drop(self.batches.send(batch).await);
            return;
        };
        let Some(batch) = self.offer(skips, batch, false) else {
            return;
        };
        // Its turn, before it is called slow. And a source that is never held up must not keep others from the thread.
        yield_now().await;
        if let Some(batch) = self.offer(skips, batch, true) {
            batch.ack.done();
        }
    }

    /// Gives the batch back where the queue is full. With `leave_out` it is counted then, and has its place among what is
    /// sent, whoever else feeds the queue, since this is under the lock.
    fn offer(&self, skips: &Skips, batch: Batch, leave_out: bool) -> Option<Batch> {
        let last_ns = batch.records.last().map_or(0, |last| last.monotonic_ns);
        let stream = Arc::clone(&batch.stream);
        let mut state = skips.lock();
        match self.batches.try_send(batch) {
            Ok(()) => state.sent(&stream, last_ns),
            Err(TrySendError::Full(batch)) => {
                if leave_out {
                    skips.count.add(state.leave_out(&batch));
                }
                return Some(batch);
            }
            Err(TrySendError::Closed(_)) => {}
        }
        None
    }
}

/// The queues of a node, each with room for so many batches. With `skipped` a full one is skipped, and the records counted.
pub(super) fn queues(node: &str, room: usize, skipped: Option<&Arc<Count>>) -> (Lanes, Inlet) {
    let [bulk, normal, critical] = [(); 3].map(|()| {
        let (sender, receiver) = channel(room.max(1));
        let skips = skipped.map(|count| {
            Arc::new(Skips {
                state: Mutex::default(),
                node: node.into(),
                count: Arc::clone(count),
            })
        });
        let lane = Lane {
            batches: sender,
            skips: skips.clone(),
        };
        let inlet = ClassInlet {
            batches: receiver,
            skips,
        };
        (lane, inlet)
    });
    let inlet = Inlet {
        classes: [bulk.1, normal.1, critical.1],
    };
    (Lanes([bulk.0, normal.0, critical.0]), inlet)
}

/// Where a source, or a transform, hands its batches to. Drop it to end the stream.
#[derive(Debug)]
pub struct Outlet {
    consumers: Vec<Lanes>,
}

impl Outlet {
    pub(super) fn new(consumers: Vec<Lanes>) -> Outlet {
        Outlet { consumers }
    }

    /// Hands a batch to every consumer, in order; waits while a queue of its class is full that may not be skipped. A
    /// consumer that has ended fails the batch. To cancel it fails the batch too, although some consumers may have it.
    pub async fn send(&self, batch: Batch) {
        let class = batch.class as usize;
        let Some((last, others)) = self.consumers.split_last() else {
            return;
        };
        for consumer in others {
            consumer.0[class].send(batch.share()).await;
        }
        // The last one gets the batch itself: where it is the only one, it owns the records and may change them in place.
        last.0[class].send(batch).await;
    }
}

#[cfg(test)]
mod tests;
