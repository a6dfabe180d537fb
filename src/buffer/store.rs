//! The store as its owner holds it.

use super::engine::Engine;
use super::fs::Storage;
use super::reader::Reader;
use super::recovery::Recovery;
use super::shared::{Shared, Stats};
use super::writer::{Queue, Request, Writer};
use super::{Batch, Class, Error, Options};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::oneshot;

/// Why an append is not durable, with its batch for another try. Nothing of it will be delivered, unless the process
/// ends before the next append to the class succeeds.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct AppendError {
    /// Why.
    pub source: Error,
    /// What was to be appended.
    pub batch: Batch,
}

impl AppendError {
    /// Whether the same append may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.source.is_retryable()
    }
}

/// The buffer of one agent: a log per class under one size limit. Share it in an `Arc`. Dropping it writes what was
/// queued, persists the cursors, and waits for the writer thread: drop it where blocking does no harm.
pub struct Store {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    append_bytes_max: u64,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens or creates the buffer in `dir`, whose parent exists. Blocking: call it before the runtime is
    /// busy.
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: Options,
    ) -> Result<(Store, Recovery), Error> {
        options.check()?;
        let (engine, recovery) = Engine::open(storage, dir, options)?;
        let shared = engine.shared();
        let queue = Arc::new(Queue::new(engine.options()));
        let append_bytes_max = engine.options().append_bytes_max();
        let writer = Writer::new(engine, queue.clone());
        let thread = std::thread::Builder::new()
            .name("buffer-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| Error::io("start the writer thread of", dir, e))?;
        let store = Store {
            shared,
            queue,
            append_bytes_max,
            thread: Some(thread),
        };
        Ok((store, recovery))
    }

    /// Appends the batch to the log of `class`, in order, and resolves with its positions once it is durable.
    ///
    /// Waits while the queue is full, and, under `Policy::Block`, while the store is full: bound it with a timeout if
    /// need be. Appends of one class are stored in the order in which their futures are first polled. A future dropped
    /// before it resolves leaves the outcome unknown: the batch may still be stored.
    pub async fn append(
        &self,
        class: Class,
        batch: impl Into<Batch>,
    ) -> Result<Range<u64>, AppendError> {
        let batch = batch.into();
        if let Err(source) = batch.check(self.append_bytes_max) {
            return Err(AppendError { source, batch });
        }
        if batch.is_empty() {
            let next = self.shared.log(class).view().next;
            return Ok(next..next);
        }
        let permit = self.queue.room(class, &batch).await;
        self.shared.counters.frames_appended.add(batch.len() as u64);
        self.shared
            .counters
            .bytes_appended
            .add(batch.bytes() as u64);
        let (done, outcome) = oneshot::channel();
        let request = Request {
            batch,
            done,
            permit,
            since: Instant::now(),
        };
        if let Err(request) = self.queue.push(class, request) {
            return Err(AppendError {
                source: Error::Closed,
                batch: request.batch,
            });
        }
        outcome.await.unwrap_or_else(|_| {
            Err(AppendError {
                source: Error::Closed,
                batch: Batch::new(),
            })
        })
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A reader of the log of `class`, at its cursor. Several may read; they do not disturb the writer.
    pub fn reader(&self, class: Class) -> Reader {
        Reader::new(self.shared.clone(), class)
    }

    /// Says that everything up to and including `position` is delivered. Never moves back. The cursor is persisted soon
    /// after, and the space reused after that.
    pub fn release(&self, class: Class, position: u64) {
        let mut view = self.shared.log(class).view();
        let released = (position.saturating_add(1)).min(view.next);
        if released > view.released {
            // What was dropped in between was not delivered.
            let from = view.released.max(view.floor).min(released);
            self.shared.counters.frames_released.add(released - from);
            view.released = released;
            drop(view);
            self.queue.released(released - from);
        }
    }

    /// Persists the cursors and frees what they release, for drain.
    pub async fn flush_cursor(&self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        if !self.queue.flush(done) {
            return Err(Error::Closed);
        }
        outcome.await.unwrap_or(Err(Error::Closed))
    }

    /// Counters and size.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// From now on nothing is held for the wear budget: what waits is stored, for drain.
    pub fn hurry(&self) {
        self.queue.hurry();
    }

    /// Bytes written since the store was opened to the block device that it is on, by everyone; 0 where it keeps no
    /// statistics. At most a second old.
    pub fn device_bytes_written(&self) -> u64 {
        self.shared.device_bytes_written()
    }

    /// Positions in the log of `class` that are neither released nor dropped.
    pub fn pending(&self, class: Class) -> Range<u64> {
        let view = self.shared.log(class).view();
        let from = view.released.max(view.floor).min(view.next);
        from..view.next
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was already printed by its hook; there is nothing left to save here.
            let _ = thread.join();
        }
    }
}
