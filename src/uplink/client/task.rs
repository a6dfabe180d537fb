//! The task itself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_crypto::{ClientTls, HandshakeError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Drained, QUEUE_MAX};
use crate::uplink::backoff::Backoff;
use crate::uplink::endpoint::Endpoint;
use crate::uplink::error::Lost;
use crate::uplink::event::Event;
use crate::uplink::reason::ReasonCode;
use crate::uplink::session::{OUTPUT_MAX_BYTES, Session};
use crate::uplink::settings::Settings;
use crate::uplink::transport::{self, Progress, Stream};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Events held by the session above which nothing is read.
const EVENTS_HELD_MAX: usize = 4096;
/// Longest time to get a DISCONNECT out.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) token: u64,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
}

#[derive(Debug)]
pub(super) struct Drain {
    pub(super) deadline: Instant,
    pub(super) reply: Option<oneshot::Sender<Drained>>,
}

pub(super) struct Task {
    settings: Settings,
    tls: Option<Arc<ClientTls>>,
    session: Session,
    backoff: Backoff,
    outgoing: mpsc::Receiver<Outgoing>,
    drains: mpsc::Receiver<Drain>,
    events: mpsc::Sender<Event>,
    drain: Option<Drain>,
    batch: Vec<Outgoing>,
    start: Instant,
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        tls: Option<Arc<ClientTls>>,
        seed: u64,
        outgoing: mpsc::Receiver<Outgoing>,
        drains: mpsc::Receiver<Drain>,
        events: mpsc::Sender<Event>,
    ) -> Task {
        let backoff = Backoff::new(
            millis(settings.backoff.base),
            millis(settings.backoff.max),
            seed.rotate_left(32),
        );
        Task {
            session: Session::new(settings.clone(), seed),
            settings,
            tls,
            backoff,
            outgoing,
            drains,
            events,
            drain: None,
            batch: Vec::with_capacity(QUEUE_MAX),
            start: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        let endpoints = self.settings.endpoints.clone();
        for endpoint in endpoints.iter().cycle() {
            let lost = match self.dial(endpoint).await {
                Some(Ok(stream)) => self.converse(stream, endpoint).await,
                Some(Err(lost)) => lost,
                None => Lost::Drained,
            };
            if matches!(lost, Lost::Drained) {
                break;
            }
            let now_ms = self.now_ms();
            let (lived_ms, useful) = self.session.usefulness(now_ms);
            let calm_ms = millis(self.settings.backoff.stable);
            // An idle connection proves itself by its age alone, but only by more than the longest wait.
            let proven = (useful && lived_ms >= calm_ms)
                || lived_ms >= calm_ms.max(millis(self.settings.backoff.max));
            if proven {
                self.backoff.reset();
            }
            let retry_in = Duration::from_millis(self.backoff.next_ms(lost.pace()));
            tracing::debug!(%endpoint, reason = %lost, retry_in_ms = millis(retry_in), "uplink down");
            self.session.close();
            let endpoint = endpoint.clone();
            self.session.push_event(Event::Disconnected {
                endpoint,
                reason: lost,
                retry_in,
            });
            if self.alongside(sleep(retry_in)).await.is_none() {
                break;
            }
        }
        self.end().await;
    }

    /// Connects within the bound; `None` where a drain ended meanwhile.
    async fn dial(&mut self, endpoint: &Endpoint) -> Option<Result<Stream, Lost>> {
        let bound = self.settings.connect_timeout;
        let tls = self.tls.clone();
        let dial = async {
            match timeout(bound, transport::dial(endpoint, tls.as_deref())).await {
                Ok(result) => result,
                Err(_) => Err(Lost::ConnectTimeout {
                    timeout_ms: millis(bound),
                }),
            }
        };
        self.alongside(dial).await
    }

    /// Moves bytes until the connection is lost.
    async fn converse(&mut self, mut stream: Stream, endpoint: &Endpoint) -> Lost {
        self.session.open(endpoint.clone(), self.now_ms());
        let mut input = vec![0; READ_BYTES];
        loop {
            match self.step(&mut stream, &mut input).await {
                Ok(()) => {}
                Err(lost) => {
                    if let Some(reason) = lost.disconnect_code() {
                        self.farewell(&mut stream, reason).await;
                    }
                    return lost;
                }
            }
        }
    }

    async fn step(&mut self, stream: &mut Stream, input: &mut [u8]) -> Result<(), Lost> {
        let now_ms = self.now_ms();
        self.session.pump(now_ms);
        self.hand_over();
        if self.drained() {
            return Err(Lost::Drained);
        }
        let paused = self.session.events_waiting() >= EVENTS_HELD_MAX;
        if paused {
            self.session.excuse_silence(now_ms);
        }
        let room = if self.session.is_connected() && self.session.output().len() < OUTPUT_MAX_BYTES
        {
            self.session.room().min(QUEUE_MAX)
        } else {
            0
        };
        let more = room > 0 && !(self.outgoing.is_closed() && self.outgoing.is_empty());
        let telling = self.session.events_waiting() > 0;
        let mut wake = self.session.deadline_ms().map(|at_ms| {
            self.start + Duration::from_millis(at_ms.min(u64::from(u32::MAX) * 1_000))
        });
        if let Some(drain) = &self.drain {
            wake = Some(wake.map_or(drain.deadline, |at| at.min(drain.deadline)));
        }
        tokio::select! {
            biased;
            progress = transport::visit(stream, self.session.output(), (!paused).then_some(&mut *input)) => {
                // A refusal and the reset behind it race our first write: wait for the broker's last word.
                let last = match (&progress.failed, progress.read) {
                    (Some(("write", _)), None) => {
                        timeout(FAREWELL, transport::visit(stream, &[], Some(&mut *input))).await.ok()
                    }
                    _ => None,
                };
                if let Some(last) = last {
                    self.visited(last, input)?;
                }
                self.visited(progress, input)?;
            }
            count = self.outgoing.recv_many(&mut self.batch, room), if more => {
                debug_assert_eq!(count, self.batch.len());
                for Outgoing { token, topic, payload } in self.batch.drain(..) {
                    self.session.publish(token, topic, payload);
                }
            }
            _ = async { self.events.reserve().await.is_ok() }, if telling => self.hand_over(),
            request = self.drains.recv(), if self.drain.is_none() => self.begin_drain(request),
            () = sleep_until(wake.unwrap_or(self.start)), if wake.is_some() => {
                let now_ms = self.now_ms();
                self.session.tick(now_ms)?;
            }
        }
        Ok(())
    }

    fn visited(&mut self, progress: Progress, input: &[u8]) -> Result<(), Lost> {
        self.session.wrote(progress.wrote);
        if let Some(count) = progress.read
            && count > 0
        {
            let now_ms = self.now_ms();
            self.session.receive(&input[..count], now_ms)?;
        }
        if let Some((verb, source)) = progress.failed {
            return Err(match HandshakeError::from_read(&source) {
                Some(reason) => Lost::Tls(reason),
                None => Lost::Io { verb, source },
            });
        }
        if progress.read == Some(0) {
            Err(Lost::Closed)
        } else {
            Ok(())
        }
    }

    /// Gives events to the caller as far as there is room.
    fn hand_over(&mut self) {
        while self.session.events_waiting() > 0 {
            match self.events.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.session.next_event() {
                        permit.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return,
                Err(mpsc::error::TrySendError::Closed(())) => drop(self.session.next_event()),
            }
        }
    }

    /// Runs `work` while events are handed over and drains are heard; `None` where a drain ended.
    async fn alongside<F: Future>(&mut self, work: F) -> Option<F::Output> {
        tokio::pin!(work);
        loop {
            self.hand_over();
            if self.drained() {
                return None;
            }
            let telling = self.session.events_waiting() > 0;
            let drain_at = self.drain.as_ref().map(|drain| drain.deadline);
            tokio::select! {
                output = &mut work => return Some(output),
                _ = async { self.events.reserve().await.is_ok() }, if telling => self.hand_over(),
                request = self.drains.recv(), if self.drain.is_none() => self.begin_drain(request),
                () = sleep_until(drain_at.unwrap_or(self.start)), if drain_at.is_some() => {}
            }
        }
    }

    fn begin_drain(&mut self, request: Option<Drain>) {
        self.outgoing.close();
        // None: the Uplink was dropped, and nobody waits.
        self.drain = Some(request.unwrap_or_else(|| Drain {
            deadline: Instant::now(),
            reply: None,
        }));
    }

    /// Whether a drain was asked for and has nothing left to wait for.
    fn drained(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| {
            (self.session.is_idle() && self.outgoing.is_empty()) || Instant::now() >= drain.deadline
        })
    }

    /// Says goodbye, within a bound.
    async fn farewell(&mut self, stream: &mut Stream, reason: ReasonCode) {
        self.session.disconnect(reason);
        let session = &mut self.session;
        let write = async {
            while !session.output().is_empty() {
                let progress = transport::visit(stream, session.output(), None).await;
                session.wrote(progress.wrote);
                if progress.failed.is_some() {
                    return;
                }
            }
            // The broker may be gone by now: nothing depends on the end of the stream being heard.
            tokio::io::AsyncWriteExt::shutdown(stream).await.ok();
        };
        timeout(FAREWELL, write).await.ok();
    }

    async fn end(mut self) {
        let unacked = self.session.outstanding() + self.outgoing.len();
        let Some(Drain { deadline, reply }) = self.drain.take() else {
            return;
        };
        // The last events are handed over within the bound; a caller that takes none is not waited for beyond it.
        let last = async {
            while let Some(event) = self.session.next_event() {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout_at(deadline.max(Instant::now() + FAREWELL), last)
            .await
            .ok();
        if let Some(reply) = reply {
            reply.send(Drained { unacked }).ok();
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
