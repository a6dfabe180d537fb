//! From the buffer to the broker: stored messages go out in order, and are released when the broker has them.

mod parts;

use super::gaps::{GAP_STREAM, GapStream};
use super::ledger::{self, Ledger};
use super::message;
use super::quarantine::Quarantine;
use crate::buffer::{self, Chunk, Frame, Reader, Store};
#[cfg(feature = "downlink")]
use crate::downlink::Inbox;
use crate::payload;
use crate::record::Class;
use crate::stats::SinkStats;
use crate::uplink::{Event, Events, Lane, Refused as Policy, Uplink, UplinkError};
use bytes::Bytes;
use parts::Part;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Messages read from the buffer at once.
const CHUNK_FRAMES_MAX: usize = 256;
/// Bytes read from the buffer at once.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Topics remembered, so that each message shares its text.
const TOPICS_MAX: usize = 1024;
/// Bytes of a PUBLISH beside topic, correlation data and payload, at most.
const PACKET_BYTES: usize = 20;
/// Refused messages that wait to be set aside above which no more are sent.
const ASIDE_MAX: usize = 256;
/// While draining: how long a lost connection is waited for. What is stored is sent at the next start.
const DRAIN_OFFLINE: Duration = Duration::from_secs(1);
/// While draining: how often it is looked whether all is done.
const DRAIN_TICK: Duration = Duration::from_millis(10);
/// How long a quarantine that cannot be written is left alone.
const ASIDE_RETRY: Duration = Duration::from_secs(1);
/// How long a buffer that cannot be read is left alone.
const READ_RETRY: Duration = Duration::from_secs(1);
/// At the very end: how long the uplink may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// What can end the delivery. A broker that is away cannot.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliverError {
    /// The buffer cannot be read.
    #[error("cannot deliver from the buffer")]
    Buffer(#[from] buffer::Error),
    /// The uplink ended by itself.
    #[error("the uplink ended by itself")]
    Uplink(#[from] UplinkError),
}

/// What a delivery works with.
pub(super) struct Parts {
    /// Where messages come from.
    pub store: Arc<Store>,
    /// Where messages go.
    pub uplink: Uplink,
    /// What becomes of them.
    pub events: Events,
    /// Counters.
    pub stats: Arc<SinkStats>,
    /// Tells consumers of damage.
    pub gaps: Arc<GapStream>,
    /// Takes what the broker sends.
    #[cfg(feature = "downlink")]
    pub inbox: Option<Arc<Inbox>>,
    /// Takes what the broker refuses for ever.
    pub quarantine: Arc<Quarantine>,
    /// What becomes of messages that are refused for now where there are too many.
    pub refused: Policy,
    /// Longest delivery once nothing more is stored.
    pub drain: Duration,
    /// Each class has a stream of its own, and a share of what may be in flight.
    pub streams: bool,
    /// Most bytes in flight.
    pub inflight_max_bytes: usize,
}

/// Moves messages from a store to a broker.
pub(super) struct Delivery {
    parts: Parts,
    /// By class.
    ledgers: [Ledger; 3],
    /// By class: chunks that were read ahead, one at most.
    chunks: [mpsc::Receiver<Result<Chunk, buffer::Error>>; 3],
    /// By class: frames of the chunk that goes out now. Without streams, of one class at a time.
    outgoing: [VecDeque<Frame>; 3],
    /// By class: parts of messages that are larger than the broker takes, ahead of everything else of their class.
    parts_out: [VecDeque<Part>; 3],
    /// Most messages in flight on the last connection.
    inflight_max: usize,
    /// Largest packet that the broker takes, in bytes.
    packet_max_bytes: usize,
    topics: HashSet<Arc<str>>,
    connected: bool,
    connection_changed: Instant,
    /// Messages that the broker refuses for ever, still to be set aside. Bounded: each is in a ledger, unsettled.
    aside: VecDeque<Refused>,
    aside_at: Instant,
    /// Why the last one is.
    last_reason: String,
}

/// A message that the broker refuses for ever.
struct Refused {
    class: Class,
    position: u64,
    topic: Arc<str>,
    payload: Bytes,
    reason: String,
}

enum Step {
    Event(Option<Event>),
    Room(Class),
    Chunk(Class, Result<Chunk, buffer::Error>),
    Aside,
    Stored,
    Tick,
}

impl Delivery {
    /// A delivery that has not begun. Starts reading ahead on the current runtime.
    pub(super) fn new(parts: Parts) -> Delivery {
        let chunks = Class::ALL.map(|class| read_ahead(parts.store.reader(class)));
        Delivery {
            parts,
            ledgers: Default::default(),
            chunks,
            outgoing: Default::default(),
            parts_out: Default::default(),
            inflight_max: 1,
            packet_max_bytes: usize::MAX,
            topics: HashSet::new(),
            connected: false,
            connection_changed: Instant::now(),
            aside: VecDeque::new(),
            aside_at: Instant::now(),
            last_reason: String::new(),
        }
    }

    /// Delivers. Once `stored` says that nothing more will be stored, ends when everything is delivered, or the bound is
    /// reached, or the broker is away.
    pub(super) async fn run(
        mut self,
        mut stored: oneshot::Receiver<()>,
    ) -> Result<(), DeliverError> {
        let mut deadline = None;
        loop {
            match self.step(&mut stored, deadline.is_some()).await? {
                Step::Event(Some(event)) => self.take(event),
                Step::Event(None) => return Err(UplinkError::Ended.into()),
                Step::Room(class) => self.fill(class)?,
                Step::Aside => self.set_aside().await,
                Step::Chunk(class, chunk) => self.begin(class, chunk?),
                Step::Stored => deadline = Some(Instant::now() + self.parts.drain),
                Step::Tick => {}
            }
            if deadline.is_some_and(|deadline| self.is_drained(deadline)) {
                break;
            }
        }
        let Parts {
            uplink, mut events, ..
        } = self.parts;
        // The events of the goodbye tell nothing new, but they must be taken for it to go on.
        let goodbye = uplink.drain(GOODBYE);
        let watch = async { while events.recv().await.is_some() {} };
        tokio::join!(goodbye, watch);
        Ok(())
    }

    /// Waits for the next thing to do. What came in goes before what goes out, higher classes before lower ones.
    async fn step(
        &mut self,
        stored: &mut oneshot::Receiver<()>,
        draining: bool,
    ) -> Result<Step, UplinkError> {
        let idle = self.outgoing.iter().all(VecDeque::is_empty);
        let [no_bulk, no_normal, no_critical] = Class::ALL
            .map(|class| idle || (self.parts.streams && self.outgoing[class as usize].is_empty()));
        // Without a connection messages stay in the store, where the policy may still drop them: what is handed over
        // is sent some day, and a record must not be both reported as dropped and sent.
        let sending = self.connected && self.aside.len() < ASIDE_MAX;
        let next = if sending { self.next() } else { None };
        let [bulk, normal, critical] = &mut self.chunks;
        tokio::select! {
            biased;
            event = self.parts.events.recv() => Ok(Step::Event(event)),
            Some(chunk) = critical.recv(), if no_critical => Ok(Step::Chunk(Class::Critical, chunk)),
            Some(chunk) = normal.recv(), if no_normal => Ok(Step::Chunk(Class::Normal, chunk)),
            Some(chunk) = bulk.recv(), if no_bulk => Ok(Step::Chunk(Class::Bulk, chunk)),
            permit = self.parts.uplink.reserve(), if next.is_some() => {
                permit.map(|_| next.map_or(Step::Tick, Step::Room))
            }
            () = tokio::time::sleep_until(self.aside_at), if !self.aside.is_empty() => Ok(Step::Aside),
            _ = stored, if !draining => Ok(Step::Stored),
            () = tokio::time::sleep(DRAIN_TICK), if draining => Ok(Step::Tick),
        }
    }

    /// The highest class that has a message to hand over now.
    fn next(&self) -> Option<Class> {
        let mut down = Class::ALL.into_iter().rev();
        // Parts are of a message that has its share already.
        down.find(|class| {
            !self.parts_out[*class as usize].is_empty()
                || (!self.outgoing[*class as usize].is_empty() && self.has_share(*class))
        })
    }

    /// Whether one more message of a class may be under way: a stream that stands still must not take all that may be in
    /// flight. Bulk has a quarter, normal a half, critical all of it.
    fn has_share(&self, class: Class) -> bool {
        let part = match class {
            _ if !self.parts.streams => return true,
            Class::Critical => return true,
            Class::Normal => 2,
            Class::Bulk => 4,
        };
        let (messages, bytes) = self.ledgers[class as usize].open();
        messages < (self.inflight_max / part).max(1) && bytes < self.parts.inflight_max_bytes / part
    }

    /// Hands over messages while there is room.
    fn fill(&mut self, class: Class) -> Result<(), UplinkError> {
        let lane = match class {
            Class::Bulk => Lane::Bulk,
            Class::Normal => Lane::Normal,
            Class::Critical => Lane::Critical,
        };
        let at = class as usize;
        // What was read ahead and has been dropped since is in a gap record already.
        let kept = self.parts.store.pending(class).start;
        while let Some(gone) = self.outgoing[at].pop_front_if(|frame| frame.position < kept) {
            self.ledgers[at].skipped_to(gone.position);
        }
        self.release(class);
        while let Some(Part {
            token,
            topic,
            payload,
        }) = self.parts_out[at].pop_front()
        {
            let Some(permit) = self.parts.uplink.try_reserve()? else {
                let part = Part {
                    token,
                    topic,
                    payload,
                };
                self.parts_out[at].push_front(part);
                return Ok(());
            };
            permit.publish_on(lane, token, topic, payload, None);
        }
        while !self.outgoing[at].is_empty() && self.has_share(class) {
            let Some(permit) = self.parts.uplink.try_reserve()? else {
                break;
            };
            let Some(Frame {
                position,
                payload: stored,
            }) = self.outgoing[at].pop_front()
            else {
                break;
            };
            match message::read(&stored) {
                Ok(message) => {
                    let payload = stored.slice_ref(message.payload);
                    let correlation = message.correlation.map(|data| stored.slice_ref(data));
                    let topic = shared(&mut self.topics, message.topic);
                    // The sink's own gap records are no records of a source: counted as uplinked, sums would not add up.
                    let own = message.stream == GAP_STREAM;
                    let records = if own { 0 } else { u64::from(message.records) };
                    self.ledgers[at].sent(position, records, payload.len());
                    let token = ledger::token(class, position);
                    let heading = topic.len() + correlation.as_ref().map_or(0, Bytes::len);
                    if payload.len() + heading + PACKET_BYTES > self.packet_max_bytes
                        && message.records > 1
                    {
                        drop(permit);
                        self.send_in_parts(token, &topic, payload);
                        return self.fill(class);
                    }
                    permit.publish_on(lane, token, topic, payload, correlation);
                }
                Err(error) => {
                    drop(permit);
                    // Its checksum held, so it was stored like this: by another version.
                    self.ledgers[at].sent(position, 0, 0);
                    self.refused((class, position), "".into(), stored, error.to_string());
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, class: Class, chunk: Chunk) {
        for lost in &chunk.lost {
            let gap = self.parts.gaps.damaged(class, lost);
            self.tell(class, gap);
        }
        if let (Some(last), true) = (chunk.last(), chunk.frames.is_empty()) {
            self.ledgers[class as usize].skipped_to(last);
            self.release(class);
        }
        self.outgoing[class as usize] = chunk.frames.into();
    }

    fn take(&mut self, event: Event) {
        let stats = &self.parts.stats;
        match event {
            Event::Acked { first, last } => {
                let (class, first) = ledger::of_token(first);
                let (_, last) = ledger::of_token(last);
                let (messages, records) = self.ledgers[class as usize].settled(first, last);
                stats.messages.add(messages);
                stats.uplinked.add(records);
                self.release(class);
            }
            Event::Rejected {
                token,
                topic,
                payload,
                reason,
                detail,
            } => {
                self.rejected(token, topic, payload, (reason, &detail));
            }
            Event::Connected {
                endpoint,
                session_present,
                packet_max_bytes,
                inflight_max,
                ..
            } => {
                self.packet_max_bytes = packet_max_bytes;
                self.inflight_max = usize::from(inflight_max);
                stats.connects.add(1);
                stats.state.set(format!("connected to {endpoint}"));
                tracing::info!(%endpoint, session_present, "uplink connected");
                #[cfg(feature = "downlink")]
                if let Some(inbox) = &self.parts.inbox {
                    inbox.connected(session_present);
                }
                self.connection(true);
            }
            Event::Endpoints(endpoints) => stats.endpoints.set(endpoints),
            Event::Disconnected {
                endpoint,
                reason,
                retry_in,
            } => {
                let retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
                stats
                    .state
                    .set(format!("not connected to {endpoint}: {reason}"));
                tracing::warn!(%endpoint, retry_ms, "uplink not connected: {reason}");
                #[cfg(feature = "downlink")]
                if let Some(inbox) = &self.parts.inbox {
                    inbox.disconnected();
                }
                self.connection(false);
            }
            Event::Deferred {
                topic,
                reason,
                retry_in,
                ..
            } => {
                let retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
                let words = format!("the broker refuses messages of {topic} for now: {reason}");
                tracing::warn!(retry_ms, "{words}; the other topics go on");
                stats.state.set(words);
            }
            Event::Resumed {
                topic,
                still_refused,
            } => {
                tracing::info!(still_refused, "the broker takes messages of {topic} again");
                stats.state.set(if still_refused == 0 {
                    "connected".to_owned()
                } else {
                    format!("the broker refuses messages of {still_refused} topics for now")
                });
            }
            Event::ParkingFull { messages, bytes } => {
                let words = match self.parts.refused {
                    Policy::Wait => {
                        "every topic waits: too many messages of topics that the broker refuses"
                    }
                    Policy::SetAside => {
                        "too many messages of topics that the broker refuses: the oldest are set aside"
                    }
                };
                tracing::error!(messages, bytes, "{words}");
                stats.state.set(words);
            }
            Event::Subscribed { .. } | Event::Unsubscribed { .. } | Event::Message(_) => {
                #[cfg(feature = "downlink")]
                self.bring(event);
            }
        }
    }

    /// Gives the inbox what is for it.
    #[cfg(feature = "downlink")]
    fn bring(&self, event: Event) {
        let Some(inbox) = &self.parts.inbox else {
            return;
        };
        match event {
            Event::Subscribed { filter, result } => inbox.subscribed(filter, result),
            Event::Unsubscribed { filter, reason } => inbox.unsubscribed(&filter, reason),
            Event::Message(message) => inbox.offer(message),
            _ => {}
        }
    }

    fn connection(&mut self, connected: bool) {
        if self.connected != connected {
            self.connected = connected;
            self.connection_changed = Instant::now();
        }
    }

    /// Appends a gap message. Not awaited: under the policy `block` there may be no room before this very delivery makes
    /// some.
    fn tell(&self, class: Class, gap: Vec<u8>) {
        let store = Arc::clone(&self.parts.store);
        tokio::spawn(async move {
            if let Err(refused) = store.append(class, vec![gap]).await {
                tracing::error!("cannot store a gap record: {}", refused.source);
            }
        });
    }

    /// The broker refuses a message for ever: it is to be set aside, and stays in the store until it is.
    fn refused(
        &mut self,
        (class, position): (Class, u64),
        topic: Arc<str>,
        payload: Bytes,
        reason: String,
    ) {
        // Once for a reason: thousands of messages of a topic must not flood a flash disk with logs.
        if self.last_reason == reason {
            tracing::debug!("the broker refuses a message: {reason}");
        } else {
            tracing::error!("the broker refuses a message: {reason}; it is set aside");
            self.last_reason.clone_from(&reason);
        }
        self.aside.push_back(Refused {
            class,
            position,
            topic,
            payload,
            reason,
        });
    }

    /// Keeps the oldest refused message durably in the quarantine, or, where that is full, tells of its loss; then lets
    /// the rest go on. A quarantine that cannot be written is tried again: what was acknowledged is not given up for a
    /// full disk.
    async fn set_aside(&mut self) {
        let Some(refused) = self.aside.pop_front() else {
            return;
        };
        let (class, position) = (refused.class, refused.position);
        let ledger = &mut self.ledgers[class as usize];
        let Some(mut records) = ledger.records(position) else {
            return;
        };
        if ledger.is_split(position) {
            let part = payload::decode(&refused.payload);
            records = part.map_or(0, |part| part.records.len() as u64);
        }
        let quarantine = Arc::clone(&self.parts.quarantine);
        let (words, topic) = (refused.reason.clone(), Arc::clone(&refused.topic));
        let payload = refused.payload.clone();
        let kept = tokio::task::spawn_blocking(move || quarantine.keep(&words, &topic, &payload))
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        match kept {
            Ok(true) => self.parts.stats.rejected.add(records),
            Ok(false) => {
                tracing::error!(records, "the quarantine is full: dropped");
                let gap = self
                    .parts
                    .gaps
                    .refused(class, &refused.payload, &refused.reason);
                self.tell(class, gap);
            }
            Err(error) => {
                tracing::error!("the quarantine cannot be written, trying again: {error}");
                self.aside_at = Instant::now() + ASIDE_RETRY;
                self.aside.push_front(refused);
                return;
            }
        }
        let ledger = &mut self.ledgers[class as usize];
        ledger.refused(position, records);
        let (_, taken) = ledger.settled(position, position);
        self.parts.stats.uplinked.add(taken);
        self.release(class);
    }

    fn release(&mut self, class: Class) {
        if let Some(position) = self.ledgers[class as usize].release() {
            self.parts.store.release(class, position);
        }
    }

    /// Whether a drain ends now.
    fn is_drained(&self, deadline: Instant) -> bool {
        let now = Instant::now();
        let offline = !self.connected && now - self.connection_changed >= DRAIN_OFFLINE;
        if offline || now >= deadline {
            return true;
        }
        let nothing_under_way = self.outgoing.iter().all(VecDeque::is_empty)
            && self.parts_out.iter().all(VecDeque::is_empty)
            && self.ledgers.iter().all(Ledger::is_empty);
        nothing_under_way
            && Class::ALL
                .iter()
                .all(|class| self.parts.store.pending(*class).is_empty())
    }
}

/// Reads one chunk ahead, so that reading and sending go on side by side. Ends with its receiver.
fn read_ahead(mut reader: Reader) -> mpsc::Receiver<Result<Chunk, buffer::Error>> {
    let (chunks, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let chunk = reader.next(CHUNK_FRAMES_MAX, CHUNK_BYTES_MAX).await;
            if let Err(error) = &chunk
                && error.is_retryable()
            {
                // A disk that cannot be read now must not end the agent, whose sources and other sinks work.
                tracing::error!("cannot read the buffer, trying again: {error}");
                tokio::time::sleep(READ_RETRY).await;
                continue;
            }
            let ended = chunk.is_err();
            if chunks.send(chunk).await.is_err() || ended {
                return;
            }
        }
    });
    receiver
}

/// The one shared text of a topic.
fn shared(topics: &mut HashSet<Arc<str>>, topic: &str) -> Arc<str> {
    if let Some(known) = topics.get(topic) {
        return Arc::clone(known);
    }
    if topics.len() == TOPICS_MAX {
        topics.clear();
    }
    let topic: Arc<str> = topic.into();
    topics.insert(Arc::clone(&topic));
    topic
}
