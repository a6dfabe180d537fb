//! The messages given and not parked: a queue of those never sent, and a ring of those in flight, whose packet ids follow
//! each other in the order of sending.
//!
//! An id tells its place in the ring, so that a PUBACK is found without a map. A place is given back only from the
//! front: what is refused for now leaves the ring (see `parking`), or it would hold every other message.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

/// Largest packet id of a PUBLISH; those above are for SUBSCRIBE.
pub(super) const PUBLISH_ID_MAX: u16 = 65_000;
/// Places for each message that may be in flight: so many are answered behind one that is not before all wait for it.
const RING_FACTOR: usize = 8;

/// A message of the caller.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Its place in the order of publishing.
    pub(super) seq: u64,
    pub(super) token: u64,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    /// Of the request that it answers.
    pub(super) correlation: Option<Bytes>,
}

impl Given {
    pub(super) fn bytes(&self) -> usize {
        let correlation = self.correlation.as_ref().map_or(0, Bytes::len);
        self.payload.len() + self.topic.len() + correlation
    }
}

#[derive(Debug)]
enum Slot {
    /// Sent on an earlier connection to the session that the broker still has; goes again with DUP.
    Again(Given, bool),
    /// Sent on this connection; no PUBACK yet. The flag marks a probe.
    Sent(Given, bool),
    /// Answered.
    Done,
}

#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// Never sent, or sent only to a session that is gone.
    new: VecDeque<Given>,
    /// Of the front slot.
    first_id: u16,
    /// No slot before this index is `Again`.
    unsent: usize,
    sent: usize,
    /// Answered and not yet given back, behind one that waits: a lane that stands still must not stop the others.
    done: usize,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

impl Window {
    pub(super) fn new(max: u16, max_bytes: usize) -> Window {
        Window {
            slots: VecDeque::new(),
            new: VecDeque::new(),
            first_id: 1,
            unsent: 0,
            sent: 0,
            done: 0,
            bytes: 0,
            max: usize::from(max.clamp(1, PUBLISH_ID_MAX)),
            max_bytes,
        }
    }

    /// How many more messages may be pushed. One is taken whatever its size where none is held.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= self.max_bytes {
            0
        } else {
            let open = self.slots.len() - self.done + self.new.len();
            let places = self
                .places()
                .saturating_sub(self.slots.len() + self.new.len());
            self.max.saturating_sub(open).min(places)
        }
    }

    /// Messages not yet answered.
    pub(super) fn outstanding(&self) -> usize {
        self.unanswered().count() + self.new.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.new.is_empty()
    }

    /// Sent on this connection and not acknowledged.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Messages that the broker has seen and not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Given> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Again(given, _) | Slot::Sent(given, _) => Some(given),
            Slot::Done => None,
        })
    }

    pub(super) fn push(&mut self, given: Given) {
        self.bytes += given.bytes();
        self.new.push_back(given);
    }

    /// Puts a message in front of those never sent.
    pub(super) fn put_back(&mut self, given: Given) {
        self.bytes += given.bytes();
        self.new.push_front(given);
    }

    pub(super) fn first_new(&self) -> Option<&Given> {
        self.new.front()
    }

    pub(super) fn take_new(&mut self) -> Option<Given> {
        let given = self.new.pop_front()?;
        self.bytes -= given.bytes();
        Some(given)
    }

    /// The packet id of the next message that is sent for the first time; `None` where the ring is full.
    pub(super) fn next_id(&self) -> Option<u16> {
        (self.slots.len() < self.places()).then(|| self.id_of(self.slots.len()))
    }

    /// Places in the ring.
    fn places(&self) -> usize {
        (RING_FACTOR * self.max).min(usize::from(PUBLISH_ID_MAX))
    }

    /// A message was sent under `next_id`.
    pub(super) fn sent_first(&mut self, given: Given, probe: bool) {
        self.bytes += given.bytes();
        self.slots.push_back(Slot::Sent(given, probe));
        self.sent += 1;
    }

    fn id_of(&self, index: usize) -> u16 {
        let ring = usize::from(PUBLISH_ID_MAX);
        let zero_based = (usize::from(self.first_id) - 1 + index) % ring;
        u16::try_from(zero_based + 1).expect("at most PUBLISH_ID_MAX")
    }

    /// The slot of a packet id that is sent and not acknowledged.
    pub(super) fn find_sent(&mut self, packet_id: u16) -> Option<usize> {
        if packet_id == 0 || packet_id > PUBLISH_ID_MAX {
            return None;
        }
        let ring = usize::from(PUBLISH_ID_MAX);
        let index = (usize::from(packet_id) + ring - usize::from(self.first_id)) % ring;
        matches!(self.slots.get(index)?, Slot::Sent(..)).then_some(index)
    }

    /// The first message to send again, with its id; `None` where all are sent.
    pub(super) fn next_again(&mut self) -> Option<(usize, u16)> {
        while !matches!(self.slots.get(self.unsent)?, Slot::Again(..)) {
            self.unsent += 1;
        }
        Some((self.unsent, self.id_of(self.unsent)))
    }

    /// The message of a slot that `next_again` named.
    pub(super) fn given(&self, index: usize) -> &Given {
        match &self.slots[index] {
            Slot::Again(given, _) | Slot::Sent(given, _) => given,
            Slot::Done => unreachable!("only open slots are named"),
        }
    }

    pub(super) fn mark_sent(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if let Slot::Again(given, probe) = std::mem::replace(slot, Slot::Done) {
            *slot = Slot::Sent(given, probe);
            self.sent += 1;
        }
    }

    /// Takes out the message of a slot that `find_sent` or `next_again` named, and whether it is a probe. Gives places
    /// back from the front.
    pub(super) fn take(&mut self, index: usize) -> (Given, bool) {
        let (given, probe) = match std::mem::replace(&mut self.slots[index], Slot::Done) {
            Slot::Sent(given, probe) => {
                self.sent -= 1;
                (given, probe)
            }
            Slot::Again(given, probe) => (given, probe),
            Slot::Done => unreachable!("only open slots are named"),
        };
        self.bytes -= given.bytes();
        self.done += 1;
        while matches!(self.slots.front(), Some(Slot::Done)) {
            self.slots.pop_front();
            self.done -= 1;
            self.first_id = self.id_of(1);
            self.unsent = self.unsent.saturating_sub(1);
        }
        (given, probe)
    }

    /// The connection ended: everything not answered goes again.
    pub(super) fn rewind(&mut self) {
        for slot in &mut self.slots {
            *slot = match std::mem::replace(slot, Slot::Done) {
                Slot::Sent(given, probe) | Slot::Again(given, probe) => Slot::Again(given, probe),
                Slot::Done => Slot::Done,
            };
        }
        self.sent = 0;
        self.unsent = 0;
    }

    /// The broker has no session: empties the ring, in its order.
    pub(super) fn forget_session(&mut self) -> Vec<Given> {
        self.first_id = self.id_of(self.slots.len());
        self.unsent = 0;
        self.sent = 0;
        self.done = 0;
        let mut open = Vec::new();
        for slot in self.slots.drain(..) {
            if let Slot::Sent(given, _) | Slot::Again(given, _) = slot {
                self.bytes -= given.bytes();
                open.push(given);
            }
        }
        // Ids follow the order of sending, in which a message that was parked comes late.
        open.sort_by_key(|given| given.seq);
        open
    }
}
