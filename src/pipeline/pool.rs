//! A transform on threads of its own: records of one key stay in order, those of different keys are worked on side by side.
//!
//! The key of a record is its stream with its channel. A key belongs to one worker for good; a worker is a thread with a
//! transform that is its own, and takes records in the order in which they came and hands on what it makes of one batch
//! before it looks at the next. So the records of a key stay in order, whatever the threads do. Records of different keys may
//! pass each other. A gap passes nobody and nobody passes it, since it speaks of a whole stream: the workers are waited for.
//!
//! Bounded: [`QUEUE_JOBS`] batches wait before each worker. A worker that is behind holds up the pool when its queue is full,
//! and with it who feeds the pool.

use super::queue::{Inlet, Outlet};
use super::run::{Exit, hand_on};
use super::{Batch, Transform};
use crate::record::{Body, Record};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::iter;
use std::panic::resume_unwind;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

/// Most threads of one transform.
pub const WORKERS_MAX: usize = 16;

/// Batches that wait before each worker.
const QUEUE_JOBS: usize = 2;

enum Job {
    Batch(Batch),
    /// To be answered when all that came before is handed on.
    Pause(oneshot::Sender<()>),
}

/// The transform, and others like it, for so many workers; fewer where it can have no others.
pub(super) fn several<T: Transform>(first: T, workers: usize) -> Vec<T> {
    let others: Vec<T> = iter::from_fn(|| first.another())
        .take(workers.saturating_sub(1))
        .collect();
    iter::once(first).chain(others).collect()
}

/// Runs each transform on a thread.
pub(super) async fn run<T: Transform + 'static>(
    transforms: Vec<T>,
    mut inlet: Inlet,
    outlet: Outlet,
) -> Exit {
    let outlet = Arc::new(outlet);
    let mut threads = JoinSet::new();
    let mut queues = Vec::new();
    for transform in transforms {
        debug_assert!(transform.deadline_ns().is_none(), "nobody calls its tick");
        let (sender, jobs) = channel(QUEUE_JOBS);
        let (outlet, runtime) = (Arc::clone(&outlet), Handle::current());
        threads.spawn_blocking(move || work(transform, jobs, &outlet, &runtime));
        queues.push(sender);
    }
    loop {
        let batch = tokio::select! {
            batch = inlet.recv() => batch,
            // Nothing but a panic ends a thread whose queue is open.
            Some(ended) = threads.join_next() => {
                passed_on(ended);
                None
            }
        };
        let Some(batch) = batch else { break };
        if share_out(batch, &queues, &outlet).await.is_none() {
            break;
        }
    }
    drop(queues);
    while let Some(ended) = threads.join_next().await {
        passed_on(ended);
    }
    Ok(())
}

/// A panic of a worker is one of the node.
fn passed_on(ended: Result<(), JoinError>) {
    if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
        resume_unwind(panic);
    }
}

/// The life of a worker.
fn work(mut transform: impl Transform, mut jobs: Receiver<Job>, outlet: &Outlet, runtime: &Handle) {
    let mut out = Vec::new();
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Batch(batch) => transform.apply(batch, &mut out),
            // Who asked may be gone, with the pipeline.
            Job::Pause(answer) => drop(answer.send(())),
        }
        runtime.block_on(hand_on(&mut out, outlet));
    }
    transform.flush(&mut out);
    runtime.block_on(hand_on(&mut out, outlet));
}

/// Gives each record to the worker of its key. `None` where a worker is gone.
async fn share_out(batch: Batch, queues: &[Sender<Job>], outlet: &Outlet) -> Option<()> {
    for (worker, part) in parts(batch, queues.len()) {
        if let Some(worker) = worker {
            queues[worker].send(Job::Batch(part)).await.ok()?;
            continue;
        }
        let mut answers = Vec::with_capacity(queues.len());
        for queue in queues {
            let (ask, answer) = oneshot::channel();
            queue.send(Job::Pause(ask)).await.ok()?;
            answers.push(answer);
        }
        for answer in answers {
            answer.await.ok()?;
        }
        outlet.send(part).await;
    }
    Some(())
}

/// The worker of a record; none for a gap.
fn worker_of(stream: &str, record: &Record, workers: usize) -> Option<usize> {
    let (Body::Sample { channel, .. } | Body::Frame { channel, .. }) = &record.body else {
        return None;
    };
    let mut hasher = DefaultHasher::new();
    (stream, &channel.name).hash(&mut hasher);
    usize::try_from(hasher.finish() % workers as u64).ok()
}

/// A batch by workers, and its gaps in between; in each part the records are in their order.
fn parts(batch: Batch, workers: usize) -> Vec<(Option<usize>, Batch)> {
    let whose = |record: &Record| worker_of(&batch.stream, record, workers);
    let whose: Vec<Option<usize>> = batch.records.iter().map(whose).collect();
    let first = whose.first().copied().flatten();
    if whose.iter().all(|worker| *worker == first) {
        return vec![(first, batch)];
    }
    let Batch {
        stream,
        class,
        records,
        ack,
    } = batch;
    let records = Arc::try_unwrap(records).unwrap_or_else(|shared| Vec::clone(&shared));
    let mut parts: Vec<(Option<usize>, Vec<Record>)> = Vec::new();
    // Parts in front of it are closed by a gap.
    let mut open = 0;
    for (record, worker) in records.into_iter().zip(whose) {
        let part = parts[open..].iter_mut().find(|(of, _)| *of == worker);
        if let Some((_, part)) = part {
            part.push(record);
        } else {
            parts.push((worker, vec![record]));
        }
        if worker.is_none() {
            open = parts.len();
        }
    }
    let part = |(worker, records)| {
        let batch = Batch {
            stream: Arc::clone(&stream),
            class,
            records: Arc::new(records),
            ack: ack.clone(),
        };
        (worker, batch)
    };
    let parts = parts.into_iter().map(part).collect();
    ack.done();
    parts
}

#[cfg(test)]
mod tests;
