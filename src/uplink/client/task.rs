//! The task itself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::look_back::{Ahead, LookBack};
use super::shown::Shown;
use super::{Drained, QUEUE_MAX};
use crate::stats::{self, Breaker};
use crate::uplink::backoff::Backoff;
use crate::uplink::codec;
use crate::uplink::endpoint::Endpoint;
use crate::uplink::error::Lost;
use crate::uplink::event::{Event, Receipt};
use crate::uplink::lane::{Lane, Lanes};
use crate::uplink::reason::{Pace, ReasonCode};
use crate::uplink::session::{OUTPUT_MAX_BYTES, Session};
use crate::uplink::settings::Settings;
use crate::uplink::standby::{BreakerState, Outcome, Standby};
use crate::uplink::transport::{self, Progress, Security, Stream};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Events held by the session above which nothing is read.
const EVENTS_HELD_MAX: usize = 4096;
/// Bytes of messages held by the session above which nothing is read.
const MESSAGE_BYTES_HELD_MAX: usize = 1 << 20;
/// Longest time to get a DISCONNECT out.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) lane: Lane,
    pub(super) token: u64,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) correlation: Option<Bytes>,
}

#[derive(Debug)]
pub(super) struct Drain {
    pub(super) deadline: Instant,
    pub(super) reply: Option<oneshot::Sender<Drained>>,
}

pub(super) struct Task {
    settings: Settings,
    shown: Shown,
    session: Session,
    backoff: Backoff,
    standby: Standby,
    lanes: Lanes,
    outgoing: mpsc::Receiver<Outgoing>,
    confirmed: mpsc::Receiver<Receipt>,
    drains: mpsc::Receiver<Drain>,
    events: mpsc::Sender<Event>,
    drain: Option<Drain>,
    batch: Vec<Outgoing>,
    start: Instant,
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        shown: Shown,
        seed: u64,
        outgoing: mpsc::Receiver<Outgoing>,
        confirmed: mpsc::Receiver<Receipt>,
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
            standby: Standby::new(settings.endpoints.len(), settings.standby),
            lanes: Lanes::default(),
            settings,
            shown,
            backoff,
            outgoing,
            confirmed,
            drains,
            events,
            drain: None,
            batch: Vec::with_capacity(QUEUE_MAX),
            start: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut ahead = None;
        self.tell_standing(None);
        loop {
            let index = match &ahead {
                Some((index, _)) => *index,
                None => self.standby.choose(self.now_ms()),
            };
            let endpoint = self.settings.endpoints[index].clone();
            let dialled = match ahead.take() {
                Some((_, stream)) => Some(Ok(stream)),
                None => self.dial(&endpoint).await,
            };
            let lost = match dialled {
                Some(Ok(stream)) => {
                    let (lost, next) = self.converse(stream, index).await;
                    ahead = next;
                    lost
                }
                Some(Err(lost)) => lost,
                None => Lost::Drained,
            };
            if matches!(lost, Lost::Drained) {
                break;
            }
            let now_ms = self.now_ms();
            let proven = self.proven(now_ms);
            if proven {
                self.backoff.reset();
            }
            self.standby.ended(index, lost.outcome(proven), now_ms);
            self.tell_standing(None);
            // Where we leave by our own choice the next endpoint waits for us, or was not asked yet.
            let by_choice = lost.is_by_choice();
            // What one endpoint will not have is no reason to keep another waiting.
            let pace = if self.standby.choose(now_ms) == index {
                lost.pace()
            } else {
                Pace::Normal
            };
            let retry_in = if by_choice {
                Duration::ZERO
            } else {
                Duration::from_millis(self.backoff.next_ms(pace))
            };
            tracing::debug!(%endpoint, reason = %lost, retry_in_ms = millis(retry_in), "uplink down");
            self.session.close();
            self.session.push_event(Event::Disconnected {
                endpoint,
                reason: lost,
                retry_in,
            });
            if !by_choice && !self.wait(retry_in).await {
                break;
            }
        }
        self.end().await;
    }

    /// Tells the caller what is known of the endpoints; `connected`: to which the connection is that stands.
    fn tell_standing(&mut self, connected: Option<usize>) {
        let now_ms = self.now_ms();
        let endpoints = self.settings.endpoints.iter().enumerate();
        let known = endpoints.map(|(index, endpoint)| {
            let (state, failures) = self.standby.state(index, now_ms);
            stats::Endpoint {
                name: endpoint.to_string(),
                connected: connected == Some(index),
                breaker: match state {
                    BreakerState::Closed => Breaker::Closed,
                    BreakerState::Open { until_ms } => {
                        Breaker::Open(self.start + Duration::from_millis(until_ms))
                    }
                    BreakerState::HalfOpen => Breaker::HalfOpen,
                },
                failures,
            }
        });
        let known = known.collect();
        self.session.push_event(Event::Endpoints(known));
    }

    /// Whether the connection has shown that the endpoint works.
    fn proven(&self, now_ms: u64) -> bool {
        self.unproven_ms(now_ms) == 0
    }

    /// For how long it will not have shown it, if things stay as they are.
    fn unproven_ms(&self, now_ms: u64) -> u64 {
        let (lived_ms, useful) = self.session.usefulness(now_ms);
        let calm_ms = millis(self.settings.backoff.stable);
        // An idle connection proves itself by its age alone, but only by more than the longest wait.
        let age_ms = if useful {
            calm_ms
        } else {
            calm_ms.max(millis(self.settings.backoff.max))
        };
        age_ms.saturating_sub(lived_ms)
    }

    /// Connects within the bound; `None` where a drain ended meanwhile.
    async fn dial(&mut self, endpoint: &Endpoint) -> Option<Result<Stream, Lost>> {
        let bound = self.settings.connect_timeout;
        let security = match self.shown.security(&self.settings).await {
            Ok(security) => security,
            Err(lost) => return Some(Err(lost)),
        };
        let hello = self.hello(endpoint);
        let dialled = self
            .alongside(dial(endpoint, security.as_ref(), &hello, bound))
            .await;
        if let Some(Err(lost)) = &dialled {
            self.shown.failed(&self.settings, lost);
        }
        dialled
    }

    /// The CONNECT of the next connection, where it may go before the handshake is done: only where it asks for the
    /// session that the broker has. A clean start would discard that, and whoever recorded it could say it again.
    fn hello(&mut self, endpoint: &Endpoint) -> Vec<u8> {
        if !self.settings.early_connect {
            return Vec::new();
        }
        self.session.open(endpoint.clone(), self.now_ms());
        let hello = self.session.output().to_vec();
        self.session.close();
        if codec::keeps_session(&hello) {
            hello
        } else {
            Vec::new()
        }
    }

    /// Waits before the next attempt, but not on when there is another certificate; whether there is a next attempt.
    async fn wait(&mut self, retry_in: Duration) -> bool {
        let mut changed = self.shown.changes();
        let over = async {
            tokio::select! {
                () = sleep(retry_in) => {}
                () = changed.next() => {}
            }
        };
        self.alongside(over).await.is_some()
    }

    /// Moves bytes until the connection is lost, or left for a better one, which is then returned already dialled.
    async fn converse(&mut self, mut stream: Stream, index: usize) -> (Lost, Option<Ahead>) {
        let endpoint = self.settings.endpoints[index].clone();
        let (start, opened_ms) = (self.start, self.now_ms());
        if self.settings.streams && self.lanes.may_have(index) {
            stream.split(&self.lanes);
        }
        self.session.open(endpoint.clone(), opened_ms);
        if stream.said() {
            // The same bytes: nothing that CONNECT is made of has changed since `hello`.
            self.session.wrote(self.session.output().len());
        }
        let mut input = vec![0; READ_BYTES];
        let mut look_back = LookBack::default();
        let mut changed = self.shown.changes();
        let (mut connected, mut proven) = (false, false);
        loop {
            if !connected && self.session.is_connected() {
                connected = true;
                self.shown.connected(&self.settings);
                self.tell_standing(Some(index));
            }
            let now_ms = self.now_ms();
            if connected && !proven && self.proven(now_ms) {
                proven = true;
                self.standby.ended(index, Outcome::Proven, now_ms);
                self.tell_standing(Some(index));
            }
            let look_back_ms = if look_back.is_idle() {
                self.standby.look_back_ms(index, opened_ms)
            } else {
                None
            };
            let slow_ms = match self.settings.endpoints.len() {
                1 => None,
                _ => self
                    .session
                    .ack_passes_at_ms(self.settings.standby.ack_ms_max),
            };
            let proven_ms = (connected && !proven).then(|| now_ms + self.unproven_ms(now_ms));
            let look_at = [look_back_ms, slow_ms, proven_ms]
                .into_iter()
                .flatten()
                .filter(|at_ms| *at_ms > now_ms)
                .min()
                .map(|at_ms| start + Duration::from_millis(at_ms));
            let result = tokio::select! {
                biased;
                (better, dialled) = look_back.answer() => {
                    look_back = LookBack::default();
                    match dialled {
                        Ok(dialled) => {
                            let lost = Lost::WayBack(self.settings.endpoints[better].clone());
                            self.farewell(&mut stream, ReasonCode::SUCCESS).await;
                            return (lost, Some((better, dialled)));
                        }
                        Err(lost) => {
                            tracing::debug!(reason = %lost, "no way back yet");
                            let now_ms = self.now_ms();
                            self.standby.ended(better, lost.outcome(false), now_ms);
                            self.tell_standing(Some(index));
                            Ok(())
                        }
                    }
                }
                result = self.step(&mut stream, &mut input, &endpoint) => result,
                () = sleep_until(look_at.unwrap_or(start)), if look_at.is_some() => Ok(()),
                () = changed.next() => Ok(()),
            };
            let result = result
                .and_then(|()| self.slow(index))
                .and_then(|()| changed.judge(&self.shown, &self.settings));
            if let Err(lost) = result {
                let (split, failed) = stream.split_state();
                if failed || (split && matches!(lost, Lost::AckTimeout { .. })) {
                    tracing::warn!(%endpoint, "no data streams from now on: {lost}");
                    self.lanes.give_up(index);
                }
                if !connected {
                    self.shown.failed(&self.settings, &lost);
                }
                if let Some(reason) = lost.disconnect_code() {
                    self.farewell(&mut stream, reason).await;
                }
                return (lost, None);
            }
            if look_back.is_idle()
                && self.session.is_connected()
                && let Some(better) = self.standby.way_back(index, opened_ms, self.now_ms())
            {
                let endpoint = self.settings.endpoints[better].clone();
                look_back = LookBack::begin(
                    better,
                    endpoint,
                    self.shown.security.clone(),
                    self.settings.connect_timeout,
                );
            }
        }
    }

    /// Whether the connection is slower than is allowed.
    fn slow(&self, index: usize) -> Result<(), Lost> {
        let now_ms = self.now_ms();
        match self.session.ack_ms(now_ms) {
            Some(mean_ms) if self.standby.is_too_slow(index, mean_ms, now_ms) => {
                Err(Lost::Slow { mean_ms })
            }
            _ => Ok(()),
        }
    }

    async fn step(
        &mut self,
        stream: &mut Stream,
        input: &mut [u8],
        endpoint: &Endpoint,
    ) -> Result<(), Lost> {
        let now_ms = self.now_ms();
        self.session.pump(now_ms);
        self.hand_over();
        if self.drained() {
            return Err(Lost::Drained);
        }
        let paused = self.session.events_waiting() >= EVENTS_HELD_MAX
            || self.session.held_bytes() >= MESSAGE_BYTES_HELD_MAX
            || self.session.is_overrun();
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
                    self.visited(last, input, endpoint)?;
                }
                self.visited(progress, input, endpoint)?;
            }
            Some(receipt) = self.confirmed.recv() => self.session.confirm(receipt),
            count = self.outgoing.recv_many(&mut self.batch, room), if more => {
                debug_assert_eq!(count, self.batch.len());
                for Outgoing { lane, token, topic, payload, correlation } in self.batch.drain(..) {
                    if self.settings.streams {
                        self.lanes.assign(&topic, lane);
                    }
                    self.session.publish_reply(token, topic, payload, correlation);
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

    fn visited(
        &mut self,
        progress: Progress,
        input: &[u8],
        endpoint: &Endpoint,
    ) -> Result<(), Lost> {
        self.session.wrote(progress.wrote);
        if let Some(count) = progress.read
            && count > 0
        {
            let now_ms = self.now_ms();
            self.session.receive(&input[..count], now_ms)?;
        }
        if let Some((verb, source)) = progress.failed {
            return Err(match transport::refusal(&source, endpoint) {
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
            stream.finish().await;
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

/// Connects within a bound.
pub(super) async fn dial(
    endpoint: &Endpoint,
    security: Option<&Security>,
    hello: &[u8],
    bound: Duration,
) -> Result<Stream, Lost> {
    match timeout(bound, transport::dial(endpoint, security, hello)).await {
        Ok(result) => result,
        Err(_) => Err(Lost::ConnectTimeout {
            timeout_ms: millis(bound),
        }),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
