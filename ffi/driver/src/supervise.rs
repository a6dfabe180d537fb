//! Keeps one driver running: starts it, reads it, notices when it fails, starts it again, and accounts for the time in
//! between.
//!
//! **Outages.** An outage begins when readings stop for whatever reason and ends with the first read that succeeds
//! again, however many restarts lie between. When it begins `Event::Down` says so at once (and again at each failed
//! restart), for logs and metrics; when it is over `Event::Outage` comes exactly once, directly before the readings
//! that ended it, with everything that a gap record needs. A source that never comes back still reports: `stop` hands
//! out the outage that is open.
//!
//! **Cancelling.** `next` may be dropped at any await, as `tokio::select!` does: all state is in the supervisor, so a
//! reading that was received is delivered by the next call, and a request that was sent is waited for by the next call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::backoff::Retry;
use crate::device::FRAMES_CAP_MAX;
use crate::library::Description;
use crate::outcome::{Cause, HostError};
use crate::process::Host;
use crate::protocol::{Expect, FailureClass};
use crate::reading::{Batch, Channel, Frames, Kind, Sample, Value};
use crate::spec::Spec;

/// Longest wait in milliseconds of each call where a device has samples and frames, which are asked for in turn.
const IN_TURN_MS: u32 = 20;
/// Shortest time between two reads of a paced driver that returned at once with nothing.
const EMPTY_PAUSE: Duration = Duration::from_millis(1);

/// What happened to a source.
#[derive(Debug)]
pub enum Event<'a> {
    /// The device is open and about to be read.
    Ready(Box<Started>),
    /// Readings, oldest first, never empty.
    Samples(&'a [Sample]),
    /// Byte frames, oldest first, never empty.
    Frames(Frames<'a>),
    /// The device answered with an error; the host lives and asks again. Part of an outage.
    DeviceError {
        /// Errno.
        errno: i32,
        /// For a human.
        text: String,
    },
    /// The host is gone; it is started again in `retry_in`. Part of an outage.
    Down {
        /// Why this time.
        cause: Cause,
        /// For a human.
        detail: String,
        /// When the next start is.
        retry_in: Duration,
    },
    /// An outage is over; readings follow.
    Outage(Outage),
}

/// A device that has been opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// What the driver says about itself.
    pub driver: Description,
    /// The channels of the device; samples name them by index.
    pub channels: Vec<Channel>,
    /// Process id of the host.
    pub pid: u32,
    /// From the start of the process until now.
    pub started_in: Duration,
    /// Each part of the sandbox that this kernel could not put on, and each grant that names nothing.
    pub missing_sandbox: Vec<String>,
}

/// A stretch of time without readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Monotonic time of the last good reading before it, in nanoseconds.
    pub from_ns: u64,
    /// Monotonic time when readings flow again, in nanoseconds.
    pub to_ns: u64,
    /// What began it.
    pub cause: Cause,
    /// For a human: what began it, and how many failures it had.
    pub detail: String,
    /// Failures in it.
    pub failures: u32,
}

/// Why a value was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The device is not open now.
    #[error("writing to {name}: the device is not open")]
    Down {
        /// The source.
        name: String,
    },
    /// The device or the driver refused it, or died of it.
    #[error("writing to {name}")]
    Host {
        /// The source.
        name: String,
        /// Why.
        source: HostError,
    },
}

/// What is left when a source is stopped.
#[derive(Debug)]
pub struct Stopped {
    /// The outage that was open.
    pub outage: Option<Outage>,
    /// Readings that had been asked for.
    pub last: Batch,
    /// Why the device was not closed in good order.
    pub error: Option<HostError>,
}

#[derive(Debug)]
enum Step {
    Ready(Box<Started>),
    Samples,
    Frames,
    DeviceError {
        errno: i32,
        text: String,
    },
    Down {
        cause: Cause,
        detail: String,
        retry_in: Duration,
    },
    Outage(Outage),
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Opening { host: Box<Host>, since: Instant },
    Running { host: Box<Host>, plan: Plan },
}

/// What to ask next, and when.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four independent facts about a device"
)]
struct Plan {
    next: Instant,
    samples: bool,
    frames: bool,
    paced: bool,
    /// Whether frames are next, where there are both.
    turn_frames: bool,
    asked: Instant,
}

/// Keeps one driver running.
#[derive(Debug)]
pub struct Supervisor {
    spec: Arc<Spec>,
    state: State,
    retry: Retry,
    steps: VecDeque<Step>,
    batch: Batch,
    last_good_ns: u64,
    outage: Option<Outage>,
}

impl Supervisor {
    /// A supervisor that starts its driver when `next` is called first.
    pub fn new(spec: Spec) -> Supervisor {
        Supervisor {
            retry: Retry::new(spec.backoff.clone()),
            spec: Arc::new(spec),
            state: State::Waiting {
                until: Instant::now(),
            },
            steps: VecDeque::new(),
            batch: Batch::default(),
            last_good_ns: crate::monotonic_ns(),
            outage: None,
        }
    }

    /// What it runs.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Process id of the host, where one runs.
    pub fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Waiting { .. } => None,
            State::Opening { host, .. } | State::Running { host, .. } => {
                Some(host.pid()).filter(|pid| *pid != 0)
            }
        }
    }

    /// Waits for the next event. Safe to cancel.
    pub async fn next(&mut self) -> Event<'_> {
        match self.step().await {
            Step::Ready(started) => Event::Ready(started),
            Step::Samples => Event::Samples(&self.batch.samples),
            Step::Frames => Event::Frames(self.batch.frames()),
            Step::DeviceError { errno, text } => Event::DeviceError { errno, text },
            Step::Down {
                cause,
                detail,
                retry_in,
            } => Event::Down {
                cause,
                detail,
                retry_in,
            },
            Step::Outage(outage) => Event::Outage(outage),
        }
    }

    /// Writes one value. Waits for the read that is under way first, so up to `read_timeout_ms` longer than the device
    /// takes; what that read brings is delivered by `next`.
    pub async fn write(&mut self, channel: u32, value: Value) -> Result<(), WriteError> {
        let name = self.spec.name.clone();
        if let State::Running { host, plan } = &mut self.state
            && host.is_pending()
        {
            let settled = host.settle().await;
            plan.took(&self.spec, &settled, &host.batch);
            self.absorb(settled);
        }
        let State::Running { host, .. } = &mut self.state else {
            return Err(WriteError::Down { name });
        };
        match host.write(channel, value).await {
            Ok(()) => Ok(()),
            Err(source) => {
                if let HostError::Ended { .. } = &source {
                    self.fail(&source);
                }
                Err(WriteError::Host { name, source })
            }
        }
    }

    /// Stops: takes the reading that is under way, closes the device, ends the host. Ends within the read's deadline
    /// plus twice `deadline_ms`.
    pub async fn stop(mut self) -> Stopped {
        let mut error = None;
        let idle = State::Waiting {
            until: Instant::now(),
        };
        let undelivered = self
            .steps
            .iter()
            .any(|step| matches!(step, Step::Samples | Step::Frames));
        if !undelivered {
            self.batch = Batch::default();
        }
        if let State::Running { mut host, .. } = std::mem::replace(&mut self.state, idle) {
            let settled = if host.is_pending() {
                host.settle().await
            } else {
                Ok(Expect::Nothing)
            };
            if matches!(settled, Ok(Expect::Samples | Expect::Frames)) {
                std::mem::swap(&mut self.batch, &mut host.batch);
                if has_readings(&self.batch) {
                    self.good();
                }
            }
            error = match settled {
                Err(ended @ HostError::Ended { .. }) => Some(ended),
                Ok(_) | Err(HostError::Failed(_)) => host.close().await.err(),
            };
        }
        let closed = self.steps.drain(..).find_map(|step| match step {
            Step::Outage(outage) => Some(outage),
            _ => None,
        });
        let open = self.outage.take().map(|mut outage| {
            outage.to_ns = crate::monotonic_ns();
            outage
        });
        Stopped {
            outage: closed.or(open),
            last: self.batch,
            error,
        }
    }

    async fn step(&mut self) -> Step {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return step;
            }
            match &mut self.state {
                State::Waiting { until } => {
                    sleep_until(*until).await;
                    match Host::spawn_shared(Arc::clone(&self.spec)) {
                        Ok(host) => {
                            self.state = State::Opening {
                                host: Box::new(host),
                                since: Instant::now(),
                            }
                        }
                        Err(error) => self.fail(&error),
                    }
                }
                State::Opening { host, .. } => match host.advance_opening().await {
                    Ok(false) => {}
                    Ok(true) => self.opened(),
                    Err(error) => self.fail(&error),
                },
                State::Running { host, plan } => {
                    if !host.is_pending() {
                        if let Err(error) = host.idle(plan.next).await {
                            self.fail(&error);
                            continue;
                        }
                        if let Err(error) = plan.ask(&self.spec, host) {
                            self.fail(&error);
                            continue;
                        }
                    }
                    let settled = host.settle().await;
                    plan.took(&self.spec, &settled, &host.batch);
                    self.absorb(settled);
                }
            }
        }
    }

    fn opened(&mut self) {
        let idle = State::Waiting {
            until: Instant::now(),
        };
        let State::Opening { host, since } = std::mem::replace(&mut self.state, idle) else {
            return;
        };
        let Some(ready) = host.ready() else { return };
        let has = |kind| host.channels().iter().any(|channel| channel.kind == kind);
        let frames = ready.description.frame_max.is_some() && has(Kind::Frame);
        let samples = host
            .channels()
            .iter()
            .any(|channel| channel.kind != Kind::Frame);
        let now = Instant::now();
        let plan = Plan {
            next: now,
            // A device without channels is read all the same, so that it can say what is wrong with it.
            samples: samples || !frames,
            frames,
            paced: ready.description.paced,
            turn_frames: false,
            asked: now,
        };
        self.steps.push_back(Step::Ready(Box::new(Started {
            driver: ready.description.clone(),
            channels: host.channels().to_vec(),
            pid: host.pid(),
            started_in: now.duration_since(since),
            missing_sandbox: ready.missing_sandbox.clone(),
        })));
        self.state = State::Running { host, plan };
    }

    /// Takes what a read brought.
    fn absorb(&mut self, settled: Result<Expect, HostError>) {
        match settled {
            Ok(expect @ (Expect::Samples | Expect::Frames)) => {
                if let State::Running { host, .. } = &mut self.state {
                    std::mem::swap(&mut self.batch, &mut host.batch);
                }
                // Of the two kinds of reading the batch holds only what was asked for, see `decode_reply`.
                self.good();
                if has_readings(&self.batch) {
                    let frames = expect == Expect::Frames;
                    self.steps
                        .push_back(if frames { Step::Frames } else { Step::Samples });
                }
            }
            Ok(_) => {}
            Err(HostError::Failed(failure)) if stays(failure.class, failure.errno) => {
                let cause = Cause::Device {
                    errno: failure.errno,
                };
                self.begin_outage(cause, &failure.text);
                let wait = self.retry.failed();
                if let State::Running { plan, .. } = &mut self.state {
                    plan.next = plan.next.max(Instant::now() + wait);
                }
                self.steps.push_back(Step::DeviceError {
                    errno: failure.errno,
                    text: failure.text,
                });
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Readings flow: ends the outage, where there is one.
    fn good(&mut self) {
        let now_ns = crate::monotonic_ns();
        let stamps = self.batch.samples.iter().map(|sample| sample.monotonic_ns);
        let stamps = stamps.chain(self.batch.spans.iter().map(|span| span.monotonic_ns));
        let (first, last) = stamps.fold((None, None), |(first, last): (Option<u64>, _), ns| {
            (
                Some(first.map_or(ns, |first| first.min(ns))),
                last.max(Some(ns)),
            )
        });
        self.retry.succeeded(Instant::now());
        if let Some(mut outage) = self.outage.take() {
            outage.to_ns = first.unwrap_or(now_ns).max(outage.from_ns);
            if outage.failures > 1 {
                let more = format!(" ({} failures until it came back)", outage.failures);
                outage.detail.push_str(&more);
            }
            self.steps.push_back(Step::Outage(outage));
        }
        self.last_good_ns = last.unwrap_or(now_ns).min(now_ns);
    }

    fn begin_outage(&mut self, cause: Cause, detail: &str) {
        let from_ns = self.last_good_ns;
        let outage = self.outage.get_or_insert_with(|| Outage {
            from_ns,
            to_ns: from_ns,
            cause,
            detail: detail.to_owned(),
            failures: 0,
        });
        outage.failures = outage.failures.saturating_add(1);
    }

    /// The host is of no use any more: it is closed or killed, and started again later.
    fn fail(&mut self, error: &HostError) {
        let (cause, detail) = (error.cause(), error.detail());
        self.begin_outage(cause, &detail);
        let retry_in = self.retry.failed();
        let waiting = State::Waiting {
            until: Instant::now() + retry_in,
        };
        let before = std::mem::replace(&mut self.state, waiting);
        if let (State::Running { host, .. }, HostError::Failed(_)) = (before, error) {
            // The device is gone but its host lives: it may leave the device in good order, within its deadline.
            tokio::spawn(host.close());
        }
        self.steps.push_back(Step::Down {
            cause,
            detail,
            retry_in,
        });
    }
}

impl Plan {
    fn ask(&mut self, spec: &Spec, host: &mut Host) -> Result<(), HostError> {
        self.asked = Instant::now();
        let frames = self.frames && (!self.samples || self.turn_frames);
        let mut timeout_ms = if self.paced {
            spec.read_timeout_ms
        } else {
            spec.deadline_ms
        };
        if self.paced && self.samples && self.frames {
            timeout_ms = timeout_ms.min(IN_TURN_MS);
        }
        let cap = if frames {
            spec.read_cap.min(FRAMES_CAP_MAX)
        } else {
            spec.read_cap
        };
        host.ask_read(frames, cap.max(1), timeout_ms)
    }

    /// Sets when the next read is due, from how this one went.
    fn took(&mut self, spec: &Spec, settled: &Result<Expect, HostError>, batch: &Batch) {
        let now = Instant::now();
        let both = self.samples && self.frames;
        let round_over = !both || self.turn_frames;
        self.turn_frames = both && !self.turn_frames;
        if self.paced {
            let hurried = now.duration_since(self.asked) < EMPTY_PAUSE;
            let empty = settled.is_ok() && !has_readings(batch);
            self.next = if hurried && empty {
                now + EMPTY_PAUSE
            } else {
                now
            };
        } else if round_over {
            let interval_ms = spec.interval_ms.unwrap_or(1000).max(1);
            self.next += Duration::from_millis(u64::from(interval_ms));
            // Late readings are not made up for: the next one is due now, and the grid starts over from it.
            self.next = self.next.max(now);
        }
    }
}

fn has_readings(batch: &Batch) -> bool {
    !batch.samples.is_empty() || !batch.spans.is_empty()
}

/// Whether a device that answered so is asked again as it is. `ENODEV` means that it is gone; it is opened anew in a
/// new process, because a grant names the device node that was there when the sandbox was built.
fn stays(class: FailureClass, errno: i32) -> bool {
    class == FailureClass::Os && errno != libc::ENODEV
}
