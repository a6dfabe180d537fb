//! The inbox: from the broker's session into the log, and what is known of it.

use super::filter;
use super::frame::{self, Frame, Mark, Stored};
use super::known::{Id, Known};
use super::{SUBSCRIPTIONS_MAX, Settings};
use crate::buffer::{self, Batch, Policy, Store};
use crate::clock;
use crate::record::Class;
use crate::stats::DownlinkStats;
use crate::uplink::{self, Message, Qos, ReasonCode, Receipts, Subscription};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OnceCell};

/// The log of the store that is used.
pub(super) const LOG: Class = Class::Normal;
/// Messages and bytes that are stored, or handed over, together.
pub(super) const GROUP_MESSAGES_MAX: usize = 64;
pub(super) const GROUP_BYTES_MAX: usize = 256 << 10;
/// Bytes of messages appended together, where they are several. The smallest log takes twice that at once.
const APPEND_BYTES_MAX: usize = 128 << 10;
/// How long a log that cannot be written or read is left alone.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Messages between a broker's session and their consumer.
pub struct Inbox {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) stats: Arc<DownlinkStats>,
    arrived: Mutex<VecDeque<Message>>,
    books: Mutex<Books>,
    /// Something arrived, or there is room again.
    changed: Notify,
    recovered: OnceCell<()>,
}

/// What is known of the log.
#[derive(Debug, Default)]
pub(super) struct Books {
    known: Known,
    /// All messages below this position are handed over.
    pub(super) handed: u64,
    waiting_messages: u64,
    waiting_bytes: u64,
    /// What the broker's session may be subscribed to.
    filters: Vec<String>,
    /// Messages that an earlier start handed over without having heard that their consumers have them.
    pub(super) uncertain: u64,
    answers: BTreeMap<String, Result<Qos, ReasonCode>>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are whole between any two statements that could panic.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// Opens or creates the log in `dir`, whose parent exists. Blocking.
    pub fn open(
        settings: Settings,
        dir: &Path,
        stats: Arc<DownlinkStats>,
    ) -> Result<Inbox, buffer::Error> {
        let options = buffer::Options {
            size_max_bytes: settings.size_max_bytes,
            segment_bytes: settings.size_max_bytes / 8,
            // What is taken in is bounded here, so that a mark always finds room; never is a message dropped.
            policy: Policy::Block,
            commit: buffer::Commit {
                latency_ms_max: 0,
                ..buffer::Commit::default()
            },
            cursor: "downlink".to_owned(),
            ..buffer::Options::default()
        };
        let (store, _) = Store::open(Arc::new(buffer::fs::Disk), dir, options)?;
        Ok(Inbox {
            settings,
            store,
            stats,
            arrived: Mutex::default(),
            books: Mutex::default(),
            changed: Notify::new(),
            recovered: OnceCell::new(),
        })
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Learns from the log what an earlier start left, once.
    pub async fn recovered(&self) -> Result<(), buffer::Error> {
        self.recovered.get_or_try_init(|| self.recover()).await?;
        Ok(())
    }

    async fn recover(&self) -> Result<(), buffer::Error> {
        let mut reader = self.store.reader(LOG);
        let end = self.store.pending(LOG).end;
        let mut books = Books::default();
        let mut waiting: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut count, mut damage) = (0, Vec::new());
        while reader.position() < end {
            let chunk = match reader.next(GROUP_MESSAGES_MAX, GROUP_BYTES_MAX).await {
                Err(error) if error.is_retryable() => {
                    tracing::error!("cannot read the inbox, trying again: {error}");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                chunk => chunk?,
            };
            damage.extend(chunk.lost);
            for read in chunk.frames {
                match frame::read(&read.payload) {
                    Some(Frame::Message(message)) => {
                        message.id.into_iter().for_each(|id| books.known.push(id));
                        waiting.push_back((read.position, read.payload.len() as u64));
                    }
                    Some(Frame::Mark(mark)) => {
                        books.known.push_older(&mark.ids);
                        books.filters = mark.filters;
                        books.handed = books.handed.max(mark.handed);
                        count = u64::from(mark.count);
                    }
                    None => {}
                }
            }
        }
        // Where something is damaged a mark may have been: nothing before it is handed over, perhaps for the second time.
        let marked = books.handed;
        let sound = damage.iter().map(|lost| lost.end).max().unwrap_or(0);
        let open = waiting.iter().map(|(position, _)| *position);
        let open = open.filter(|position| (marked..sound).contains(position));
        let lost = damage
            .iter()
            .map(|lost| lost.end.saturating_sub(lost.start.max(marked)));
        let damaged = open.count() as u64 + lost.sum::<u64>();
        books.handed = marked.max(sound);
        waiting.retain(|(position, _)| *position >= books.handed);
        books.waiting_messages = waiting.len() as u64;
        books.waiting_bytes = waiting.iter().map(|(_, bytes)| bytes).sum();
        books.uncertain = count + damaged;
        let asked = self
            .settings
            .subscriptions
            .iter()
            .map(|asked| &asked.filter);
        let mut changed = false;
        for filter in asked {
            if !books.filters.contains(filter) {
                books.filters.push(filter.clone());
                changed = true;
            }
        }
        // More than can be unsubscribed in one start: the oldest stay with the broker until its session expires.
        let beyond = books.filters.len().saturating_sub(2 * SUBSCRIPTIONS_MAX);
        books.filters.drain(..beyond);
        if books.uncertain > 0 {
            let messages = books.uncertain;
            tracing::warn!(
                source = %self.settings.name,
                messages,
                "handed over before the last end, and not known to be with their consumers"
            );
        }
        self.stats.waiting.set(books.waiting_messages);
        self.stats.uncertain.add(books.uncertain);
        *self.books() = books;
        if changed {
            self.mark(None).await?;
        }
        Ok(())
    }

    /// Has a session ask for what the inbox wants, within its bounds.
    pub async fn ask(&self, settings: &mut uplink::Settings) -> Result<(), buffer::Error> {
        self.recovered().await?;
        settings
            .subscriptions
            .clone_from(&self.settings.subscriptions);
        settings.forgotten = self.forgotten();
        (settings.receive_max, settings.packet_max_bytes) = self.bounds();
        settings.confirm_messages = true;
        Ok(())
    }

    /// What the broker's session may still have and is to be given up. Known once recovered.
    pub(super) fn forgotten(&self) -> Vec<String> {
        let asked = |filter: &String| {
            self.settings
                .subscriptions
                .iter()
                .any(|s| s.filter == *filter)
        };
        let books = self.books();
        let forgotten = books.filters.iter().filter(|filter| !asked(filter));
        forgotten.take(SUBSCRIPTIONS_MAX).cloned().collect()
    }

    /// Bounds that the session announces: `QoS` 1 messages without PUBACK, and bytes of a packet.
    fn bounds(&self) -> (u16, u32) {
        /// Besides the payload: topics, correlation data and what the packet itself needs.
        const HEADING_BYTES: u32 = 4096;
        let packet = self.settings.message_bytes_max + HEADING_BYTES;
        (self.settings.receive_max, packet)
    }

    /// There is a connection.
    pub fn connected(&self, session_present: bool) {
        let mut arrived = lock(&self.arrived);
        if session_present {
            // Those without PUBACK come again.
            arrived.retain(|message| message.qos == Qos::AtMostOnce);
        } else {
            // Nobody else has them any more.
            arrived.truncate(usize::from(self.settings.receive_max));
        }
        drop(arrived);
        let mut books = self.books();
        if !session_present {
            books.known.clear();
        }
        books.answers.clear();
        self.stats.state.set("subscribing");
    }

    /// There is none any more.
    pub fn disconnected(&self) {
        self.stats.state.set("not connected");
    }

    /// The broker answered a subscription.
    pub fn subscribed(&self, filter: String, result: Result<Qos, ReasonCode>) {
        if let Err(reason) = result {
            tracing::error!(
                source = %self.settings.name,
                "the broker refuses the subscription {filter:?}: {reason}; it is asked again at the next connection"
            );
        }
        let mut books = self.books();
        books.answers.insert(filter, result);
        self.stats.state.set(self.said(&books.answers));
    }

    fn said(&self, answers: &BTreeMap<String, Result<Qos, ReasonCode>>) -> String {
        let mut words = Vec::new();
        let mut granted = 0;
        for asked in &self.settings.subscriptions {
            match answers.get(&asked.filter) {
                Some(Err(reason)) => words.push(format!("{:?} is refused: {reason}", asked.filter)),
                Some(Ok(qos)) => {
                    granted += 1;
                    if *qos != asked.qos {
                        words.push(format!("{:?} is granted at another QoS", asked.filter));
                    }
                }
                None => {}
            }
        }
        let all = self.settings.subscriptions.len();
        words.insert(0, format!("subscribed to {granted} of {all}"));
        words.join("; ")
    }

    /// The broker answered that a forgotten filter is unsubscribed.
    pub fn unsubscribed(&self, filter: &str, reason: ReasonCode) {
        if reason.is_error() {
            tracing::warn!(source = %self.settings.name, "cannot unsubscribe {filter:?}: {reason}");
        } else {
            self.books().filters.retain(|known| known != filter);
        }
    }

    /// A message came. Never waits: those of `QoS` 1 are bounded by the Receive Maximum, others are dropped where too many wait.
    pub fn offer(&self, message: Message) {
        let mut arrived = lock(&self.arrived);
        if message.qos == Qos::AtMostOnce && arrived.len() >= usize::from(self.settings.receive_max)
        {
            self.stats.dropped.add(1);
            return;
        }
        arrived.push_back(message);
        drop(arrived);
        self.changed.notify_one();
    }

    /// Stores what comes, and confirms it then. Ends with the uplink.
    pub async fn take_in(&self, receipts: Receipts) -> Result<(), buffer::Error> {
        self.recovered().await?;
        loop {
            let group = self.group().await;
            let mut frames = Batch::new();
            let (mut ids, mut bytes) = (Vec::new(), 0);
            for message in &group {
                if let Some(stored) = self.judge(message) {
                    frames.push_with(|out| {
                        let before = out.len();
                        frame::write_message(&stored, out);
                        bytes += (out.len() - before) as u64;
                    });
                    ids.push(stored.id);
                }
            }
            if !ids.is_empty() {
                self.append(frames).await?;
                let mut books = self.books();
                ids.iter().flatten().for_each(|id| books.known.push(*id));
                books.waiting_messages += ids.len() as u64;
                books.waiting_bytes += bytes;
                self.stats.waiting.set(books.waiting_messages);
                self.stats.received.add(ids.len() as u64);
            }
            for message in group {
                if receipts.confirm(message.receipt).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// The next messages for which there is room; waits for them.
    async fn group(&self) -> Vec<Message> {
        loop {
            let group = self.group_now();
            if !group.is_empty() {
                return group;
            }
            self.changed.notified().await;
        }
    }

    fn group_now(&self) -> Vec<Message> {
        let mut arrived = lock(&self.arrived);
        let books = self.books();
        let (mut messages, mut bytes) = (books.waiting_messages, books.waiting_bytes);
        let (mut group, mut own) = (Vec::new(), 0);
        while group.len() < GROUP_MESSAGES_MAX
            && messages < self.settings.messages_max
            && bytes < self.settings.size_max_bytes / 2
        {
            let fits = |next: &mut Message| own == 0 || own + next.bytes() <= APPEND_BYTES_MAX;
            let Some(message) = arrived.pop_front_if(fits) else {
                break;
            };
            messages += 1;
            own += message.bytes();
            bytes += message.bytes() as u64;
            group.push(message);
        }
        group
    }

    /// What is to be stored of a message: nothing of a repeat, and nothing on a topic that was not asked for.
    fn judge(&self, message: &Message) -> Option<Stored> {
        let id = Id::of(message);
        if message.duplicate && id.is_some_and(|id| self.books().known.has(id)) {
            self.stats.duplicates.add(1);
            return None;
        }
        let asked = |s: &Subscription| filter::matches(filter::unshared(&s.filter), &message.topic);
        if !self.settings.subscriptions.iter().any(asked) {
            self.stats.unasked.add(1);
            return None;
        }
        Some(Stored {
            topic: message.topic.as_ref().to_owned(),
            payload: message.payload.clone(),
            response_topic: message.response_topic.as_deref().map(str::to_owned),
            correlation: message.correlation.clone(),
            qos1: message.qos == Qos::AtLeastOnce,
            retained: message.retained,
            wall_ns: clock::wall_ns(),
            id,
        })
    }

    /// Makes a mark durable: with `handed`, that the messages below that position, so many of them new, are handed over
    /// now; without, that those handed over are with their consumers.
    pub(super) async fn mark(&self, handed: Option<(u64, u32)>) -> Result<(), buffer::Error> {
        let mark = {
            let books = self.books();
            Mark {
                handed: handed.map_or(books.handed, |(position, _)| position),
                count: handed.map_or(0, |(_, count)| count),
                ids: books.known.iter().collect(),
                filters: books.filters.clone(),
            }
        };
        let mut frames = Batch::new();
        frames.push_with(|out| frame::write_mark(&mark, out));
        self.append(frames).await?;
        self.books().handed = mark.handed;
        Ok(())
    }

    /// The consumers have messages.
    pub(super) fn finished(&self, messages: u64, bytes: u64) {
        let mut books = self.books();
        books.waiting_messages = books.waiting_messages.saturating_sub(messages);
        books.waiting_bytes = books.waiting_bytes.saturating_sub(bytes);
        self.stats.waiting.set(books.waiting_messages);
        self.stats.handed.add(messages);
        drop(books);
        self.changed.notify_one();
    }

    /// Appends, as often as it takes: nothing is given up for a full disk, and no PUBACK goes out before.
    async fn append(&self, frames: Batch) -> Result<(), buffer::Error> {
        let mut frames = frames;
        loop {
            let refused = match self.store.append(LOG, frames).await {
                Ok(_) => {
                    if !self.stats.fault.get().is_empty() {
                        self.stats.fault.set("");
                        tracing::info!(source = %self.settings.name, "the inbox writes again");
                    }
                    return Ok(());
                }
                Err(refused) if refused.is_retryable() => refused,
                Err(refused) => return Err(refused.source),
            };
            if self.stats.fault.get().is_empty() {
                tracing::error!(source = %self.settings.name, "the inbox cannot write, and confirms nothing: {}", refused.source);
            }
            self.stats.fault.set(refused.source.to_string());
            frames = refused.batch;
            tokio::time::sleep(RETRY).await;
        }
    }
}
