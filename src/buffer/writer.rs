//! The writer thread: takes what waits, commits it in groups, moves cursors. The only thread that blocks on the disk to
//! write.

use super::engine::Engine;
use super::format::COMMIT_BYTES;
use super::store::AppendError;
use super::wear::{Pressure, Wear};
use super::{Batch, Class, Commit, Error, Options};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// An append on its way to the writer.
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) done: oneshot::Sender<Result<Range<u64>, AppendError>>,
    /// Its share of `queue_bytes_max`, given back when it is answered.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) since: Instant,
}

type Flushed = oneshot::Sender<Result<(), Error>>;

/// What waits for the writer.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    room: [Arc<Semaphore>; 3],
    bytes_max: usize,
    cursor_frames_max: u64,
}

#[derive(Default)]
struct State {
    requests: [VecDeque<Request>; 3],
    flushes: Vec<Flushed>,
    /// When the oldest release that is not persisted happened.
    moved: Option<Instant>,
    /// Frames released since.
    moved_frames: u64,
    /// Classes whose next append found the store full. Cleared by what may have made space.
    stalled: [bool; 3],
    /// Something was released since space was last looked for.
    freed: bool,
    /// Nothing is held for the wear budget any more.
    hurried: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(options: &Options) -> Queue {
        let room = || Arc::new(Semaphore::new(options.queue_bytes_max));
        Queue {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: [room(), room(), room()],
            bytes_max: options.queue_bytes_max,
            cursor_frames_max: options.cursor_frames_max,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for a batch. A batch larger than the whole queue gets the whole queue.
    pub(super) async fn room(&self, class: Class, batch: &Batch) -> Option<OwnedSemaphorePermit> {
        let bytes = (batch.bytes() + 16 * batch.len()).min(self.bytes_max);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.room[class as usize].clone();
        room.acquire_many_owned(bytes).await.ok()
    }

    pub(super) fn push(&self, class: Class, request: Request) -> Result<(), Request> {
        let mut state = self.state();
        if state.closed {
            return Err(request);
        }
        state.requests[class as usize].push_back(request);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Notes released frames. The writer is woken when there is something to do at once, or a timer to arm.
    pub(super) fn released(&self, frames: u64) {
        let mut state = self.state();
        let first = state.moved.is_none();
        state.moved.get_or_insert_with(Instant::now);
        state.moved_frames += frames;
        state.freed = true;
        let due = state.moved_frames >= self.cursor_frames_max;
        let waited_for = state.stalled.contains(&true);
        drop(state);
        if first || due || waited_for {
            self.wake.notify_one();
        }
    }

    pub(super) fn flush(&self, done: Flushed) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        state.flushes.push(done);
        drop(state);
        self.wake.notify_one();
        true
    }

    pub(super) fn hurry(&self) {
        self.state().hurried = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.room.iter().for_each(|room| room.close());
        self.wake.notify_one();
    }
}

/// What the writer does next.
enum Work {
    Group(Class, Vec<Request>),
    Cursors(Vec<Flushed>),
    /// Something was released while a class waits for space.
    Space,
    /// What the time brings: frames that are too old, a budget that fills.
    Look,
    End(Vec<Request>),
}

pub(super) struct Writer {
    engine: Engine,
    queue: Arc<Queue>,
    commit: Commit,
    group_bytes_max: u64,
    cursor_frames_max: u64,
    cursor_age_max: Duration,
    /// How long a group takes to be written and synced, as of late.
    commit_takes: Duration,
    wear: Option<Wear>,
    wear_latency: Duration,
    pressure: Pressure,
    compress: bool,
    expires: bool,
    look_at: Instant,
}

/// How often the clock is looked at where a time to live or a budget is set.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) fn new(engine: Engine, queue: Arc<Queue>) -> Writer {
        let options = engine.options().clone();
        Writer {
            engine,
            queue,
            commit: options.commit,
            group_bytes_max: options.append_bytes_max(),
            cursor_frames_max: options.cursor_frames_max,
            cursor_age_max: Duration::from_millis(options.cursor_ms_max),
            commit_takes: Duration::ZERO,
            wear: Wear::new(options.wear_bytes_per_day, Instant::now()),
            wear_latency: Duration::from_millis(options.wear_latency_ms_max),
            pressure: Pressure::None,
            compress: options.compress,
            expires: options.ttl_ms.iter().any(|ttl_ms| *ttl_ms > 0),
            look_at: Instant::now(),
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            match self.next() {
                Work::Group(class, requests) => self.append(class, requests),
                Work::Cursors(flushes) => {
                    let outcome = self.engine.flush_cursors();
                    if let Err(e) = &outcome {
                        tracing::warn!(error = %e, "cursor not persisted: a restart repeats more");
                    }
                    for done in flushes {
                        // Nobody waits any more: fine.
                        let _ = done.send(outcome.clone());
                    }
                }
                Work::Space => {
                    if let Err(e) = self.engine.reclaim() {
                        tracing::warn!(error = %e, "released space not freed");
                    }
                }
                Work::Look => {
                    self.look_at = Instant::now() + LOOK_EVERY;
                    if let Err(e) = self.engine.expire() {
                        tracing::warn!(error = %e, "frames that are too old are not dropped yet");
                    }
                }
                Work::End(requests) => {
                    for request in requests {
                        answer(request, Err(Error::Closed));
                    }
                    break;
                }
            }
            self.weigh();
        }
        if let Err(e) = self.engine.flush_cursors() {
            tracing::warn!(error = %e, "cursor not persisted at the end: a restart repeats more");
        }
        self.engine.seal();
    }

    /// Does what the budget of the flash asks for.
    fn weigh(&mut self) {
        let Some(wear) = &mut self.wear else {
            return;
        };
        let shared = self.engine.shared();
        let written = shared.counters.page_bytes_written.get();
        let pressure = wear.pressure(written, Instant::now());
        if pressure == self.pressure {
            return;
        }
        tracing::info!(?pressure, "wear budget");
        self.pressure = pressure;
        self.engine
            .pack(self.compress || pressure >= Pressure::Pack);
        shared.hold_bulk(pressure == Pressure::Hold);
    }

    /// Waits for work. Groups come before cursors: an ack waits for the one and nobody for the other.
    fn next(&self) -> Work {
        let mut state = self.queue.state();
        loop {
            let now = Instant::now();
            let mut deadline: Option<Instant> = None;
            if self.expires || self.wear.is_some() {
                if now >= self.look_at {
                    return Work::Look;
                }
                deadline = Some(self.look_at);
            }
            if !state.flushes.is_empty() || state.moved_frames >= self.cursor_frames_max {
                return cursors(&mut state);
            }
            if let Some(moved) = state.moved {
                if state.freed && state.stalled.contains(&true) {
                    state.freed = false;
                    state.stalled = [false; 3];
                    return Work::Space;
                }
                if now >= moved + self.cursor_age_max {
                    return cursors(&mut state);
                }
                let due = moved + self.cursor_age_max;
                deadline = Some(deadline.map_or(due, |d| d.min(due)));
            }
            for class in Class::ALL.into_iter().rev() {
                let held = class == Class::Bulk && self.pressure == Pressure::Hold;
                let is_held = held && !state.closed && !state.hurried;
                if state.stalled[class as usize] || is_held {
                    continue;
                }
                match self.due(&state, class, now) {
                    Some(due) if due <= now => {
                        let requests = self.take(&mut state.requests[class as usize]);
                        return Work::Group(class, requests);
                    }
                    Some(due) => deadline = Some(deadline.map_or(due, |d| d.min(due))),
                    None => {}
                }
            }
            if state.closed {
                let left = state.requests.iter_mut().flat_map(|queue| queue.drain(..));
                return Work::End(left.collect());
            }
            let wait = deadline.map_or(Duration::from_hours(1), |d| d - now);
            let woken = self.queue.wake.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the group of a class is to be written.
    fn due(&self, state: &State, class: Class, now: Instant) -> Option<Instant> {
        let queue = &state.requests[class as usize];
        let first = queue.front()?;
        let mut records = 0;
        let mut bytes = 0;
        for request in queue {
            records += request.batch.len();
            bytes += request.batch.bytes();
            if records >= self.commit.records_max || bytes >= self.commit.bytes_max {
                return Some(now);
            }
        }
        if state.closed {
            return Some(now);
        }
        let mut latency = Duration::from_millis(self.commit.latency_ms_max);
        if self.pressure >= Pressure::Wait {
            latency = latency.max(self.wear_latency);
        }
        // The ack comes when the group is synced: what that takes is part of the latency.
        Some(first.since + latency.saturating_sub(self.commit_takes).max(latency / 2))
    }

    /// The requests of one group, at least one.
    fn take(&self, queue: &mut VecDeque<Request>) -> Vec<Request> {
        let mut group: Vec<Request> = Vec::new();
        let (mut records, mut bytes, mut encoded) = (0, 0, COMMIT_BYTES);
        while let Some(request) = queue.front() {
            records += request.batch.len();
            bytes += request.batch.bytes();
            encoded += request.batch.encoded_bytes();
            let over = records > self.commit.records_max
                || bytes > self.commit.bytes_max
                || encoded > self.group_bytes_max;
            if over && !group.is_empty() {
                break;
            }
            group.extend(queue.pop_front());
        }
        group
    }

    fn append(&mut self, class: Class, mut requests: Vec<Request>) {
        let batches: Vec<Batch> = requests
            .iter_mut()
            .map(|r| std::mem::take(&mut r.batch))
            .collect();
        let began = Instant::now();
        let outcome = self.engine.append(class, &batches);
        self.commit_takes = (7 * self.commit_takes + began.elapsed()) / 8;
        for (request, batch) in requests.iter_mut().zip(batches) {
            request.batch = batch;
        }
        match outcome {
            Ok(mut first) => {
                // It may have dropped something that another class waits for.
                self.queue.state().stalled = [false; 3];
                for request in requests {
                    let next = first + request.batch.len() as u64;
                    answer(request, Ok(first..next));
                    first = next;
                }
            }
            Err(Error::Full) => {
                let mut state = self.queue.state();
                for request in requests.into_iter().rev() {
                    state.requests[class as usize].push_front(request);
                }
                state.stalled[class as usize] = true;
            }
            Err(e) => {
                for request in requests {
                    answer(request, Err(e.clone()));
                }
            }
        }
    }
}

impl Drop for Writer {
    /// Also after a panic: nobody may wait for a thread that is gone.
    fn drop(&mut self) {
        self.queue.close();
        for log in &self.engine.shared().logs {
            log.durable.send_modify(|durable| durable.closed = true);
        }
        let mut state = self.queue.state();
        state.flushes.clear();
        state.requests.iter_mut().for_each(VecDeque::clear);
    }
}

fn cursors(state: &mut State) -> Work {
    state.moved = None;
    state.moved_frames = 0;
    // What is freed on the way may be what a class waits for.
    state.stalled = [false; 3];
    Work::Cursors(std::mem::take(&mut state.flushes))
}

fn answer(request: Request, outcome: Result<Range<u64>, Error>) {
    let Request {
        batch,
        done,
        permit,
        ..
    } = request;
    drop(permit);
    let outcome = outcome.map_err(|source| AppendError { source, batch });
    // Nobody waits any more: fine.
    let _ = done.send(outcome);
}
