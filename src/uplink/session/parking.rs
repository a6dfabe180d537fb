//! Messages that the broker refuses for now, by topic, outside the window: one refused topic holds no other.
//!
//! A topic waits its own time, then its first message goes alone, as a probe. When the broker takes it the rest follow in
//! order, otherwise the topic waits longer. Later messages of a parked topic queue here behind the first, because order
//! is promised for each topic.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::window::Given;
use crate::uplink::backoff::Backoff;
use crate::uplink::reason::{Pace, ReasonCode, Verdict};

/// Messages parked above which no message of a refused topic is taken from those that were not sent yet. Refusals of
/// what is in flight then still come in: `inflight_max` more.
pub const PARKED_MAX: usize = 4096;
/// The same in bytes of topics and payloads; `inflight_max_bytes` more may come in.
pub const PARKED_MAX_BYTES: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is sent before this time, in milliseconds.
    Waiting { until_ms: u64 },
    /// The wait is over; the first message is the probe.
    Due,
    /// The probe is in flight.
    Probing,
    /// The broker takes them again.
    Open,
}

#[derive(Debug)]
struct Topic {
    /// In the order of publishing.
    queue: VecDeque<Given>,
    phase: Phase,
    backoff: Backoff,
    pace: Pace,
    /// What the caller was told.
    reason: Option<ReasonCode>,
}

#[derive(Debug)]
pub(super) struct Parking {
    /// Each has a message in its queue, or its probe in flight.
    topics: HashMap<Arc<str>, Topic>,
    /// Topics that are `Due` or `Open`, each once; they take turns.
    ready: VecDeque<Arc<str>>,
    /// Not after the first end of a wait.
    due_ms: Option<u64>,
    messages: usize,
    bytes: usize,
    base_ms: u64,
    max_ms: u64,
    seed: u64,
}

impl Parking {
    pub(super) fn new(base_ms: u64, max_ms: u64, seed: u64) -> Parking {
        Parking {
            topics: HashMap::new(),
            ready: VecDeque::new(),
            due_ms: None,
            messages: 0,
            bytes: 0,
            base_ms,
            max_ms,
            seed,
        }
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages >= PARKED_MAX || self.bytes >= PARKED_MAX_BYTES
    }

    /// When `wake` has something to do, in milliseconds; it may be early.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Topics that the broker does not take now.
    pub(super) fn refused_topics(&self) -> usize {
        self.topics
            .values()
            .filter(|topic| topic.phase != Phase::Open)
            .count()
    }

    /// Whether messages of this topic must queue here to keep their order.
    pub(super) fn holds(&self, topic: &Arc<str>) -> bool {
        !self.topics.is_empty() && self.topics.contains_key(topic)
    }

    /// Queues a message of a topic that is held.
    pub(super) fn park(&mut self, mut given: Given) {
        let Some(topic) = self.topics.get_mut(&given.topic) else {
            debug_assert!(false, "only messages of held topics are parked");
            return;
        };
        // A slice of what the caller read at once would keep all of that in memory for as long as this waits.
        given.payload = Bytes::copy_from_slice(&given.payload);
        given.correlation = given.correlation.as_deref().map(Bytes::copy_from_slice);
        self.messages += 1;
        self.bytes += given.bytes();
        let at = topic.queue.partition_point(|other| other.seq < given.seq);
        topic.queue.insert(at, given);
    }

    /// Takes out the oldest message of the topic that has most of them parked, and why it is.
    pub(super) fn shed(&mut self) -> Option<(Given, ReasonCode)> {
        let most = self
            .topics
            .values_mut()
            .max_by_key(|topic| topic.queue.len())?;
        // Where a probe is in flight it is older, and the queue has those behind it.
        let given = most.queue.pop_front()?;
        let reason = most.reason.unwrap_or(ReasonCode::UNSPECIFIED);
        let is_empty = most.queue.is_empty() && most.phase != Phase::Probing;
        self.messages -= 1;
        self.bytes -= given.bytes();
        if is_empty {
            self.topics.remove(&given.topic);
            self.ready.retain(|ready| *ready != given.topic);
        }
        Some((given, reason))
    }

    /// The broker refused a message for now. Returns the wait in milliseconds where the caller is to be told.
    pub(super) fn refused(
        &mut self,
        given: Given,
        probe: bool,
        reason: ReasonCode,
        now_ms: u64,
    ) -> Option<u64> {
        let pace = if reason.verdict() == Verdict::RetrySlowly {
            Pace::Slow
        } else {
            Pace::Normal
        };
        let name = Arc::clone(&given.topic);
        let mut starts = false;
        let topic = self.topics.entry(Arc::clone(&name)).or_insert_with(|| {
            self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            starts = true;
            Topic {
                queue: VecDeque::new(),
                phase: Phase::Open,
                backoff: Backoff::new(self.base_ms, self.max_ms, self.seed),
                pace,
                reason: None,
            }
        });
        let mut told = None;
        // Others were in flight with the first: their refusals say nothing new and do not make the wait longer.
        if topic.phase == Phase::Open || (probe && topic.phase == Phase::Probing) {
            if topic.phase == Phase::Open && !starts {
                self.ready.retain(|ready| *ready != name);
            }
            topic.pace = pace;
            let wait_ms = topic.wait(now_ms, &mut self.due_ms);
            if topic.reason != Some(reason) {
                topic.reason = Some(reason);
                told = Some(wait_ms);
            }
        }
        self.park(given);
        told
    }

    /// The probe of the topic was answered: what is parked may go. False where the topic was not probing.
    pub(super) fn opened(&mut self, name: &Arc<str>) -> bool {
        let Some(topic) = self.topics.get_mut(name) else {
            return false;
        };
        if topic.phase != Phase::Probing {
            return false;
        }
        if topic.queue.is_empty() {
            self.topics.remove(name);
        } else {
            topic.phase = Phase::Open;
            topic.backoff.reset();
            topic.reason = None;
            self.ready.push_back(Arc::clone(name));
        }
        true
    }

    /// The session that had the probes is gone; they are in the queues again. Perhaps they were what the broker closed
    /// the connection for, so they wait once more.
    pub(super) fn probes_lost(&mut self, now_ms: u64) {
        for topic in self.topics.values_mut() {
            if topic.phase == Phase::Probing {
                topic.wait(now_ms, &mut self.due_ms);
            }
        }
    }

    /// Makes topics ready whose wait is over.
    pub(super) fn wake(&mut self, now_ms: u64) {
        if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        self.due_ms = None;
        for (name, topic) in &mut self.topics {
            match topic.phase {
                Phase::Waiting { until_ms } if until_ms <= now_ms => {
                    topic.phase = Phase::Due;
                    self.ready.push_back(Arc::clone(name));
                }
                Phase::Waiting { until_ms } => {
                    self.due_ms = Some(self.due_ms.map_or(until_ms, |due_ms| due_ms.min(until_ms)));
                }
                _ => {}
            }
        }
    }

    /// The next parked message that may go, and whether it is a probe.
    pub(super) fn next(&mut self) -> Option<(Given, bool)> {
        let name = self.ready.pop_front()?;
        let topic = self.topics.get_mut(&name)?;
        let given = topic.queue.pop_front()?;
        self.messages -= 1;
        self.bytes -= given.bytes();
        let probe = topic.phase == Phase::Due;
        if probe {
            topic.phase = Phase::Probing;
        } else if topic.queue.is_empty() {
            self.topics.remove(&name);
        } else {
            self.ready.push_back(name);
        }
        Some((given, probe))
    }
}

impl Topic {
    /// Starts a wait; its length in milliseconds.
    fn wait(&mut self, now_ms: u64, due_ms: &mut Option<u64>) -> u64 {
        let wait_ms = self.backoff.next_ms(self.pace);
        let until_ms = now_ms.saturating_add(wait_ms);
        self.phase = Phase::Waiting { until_ms };
        *due_ms = Some(due_ms.map_or(until_ms, |due_ms| due_ms.min(until_ms)));
        wait_ms
    }
}
