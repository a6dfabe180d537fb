//! The messages in flight: a ring in the order of publishing, whose packet ids follow each other.
//!
//! A message's id tells its place, so that a PUBACK is found without a map. A place is given back only from the front:
//! one message that waits holds the window, and with it the order.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

/// Largest packet id of a PUBLISH; those above are for SUBSCRIBE.
pub(super) const PUBLISH_ID_MAX: u16 = 65_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not sent on this connection.
    Waiting,
    /// Sent on this connection; no PUBACK yet.
    Sent,
    /// Refused for now.
    Deferred,
    /// Acknowledged or rejected.
    Done,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) token: u64,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) state: State,
    /// Sent, and not answered, in the session that the broker holds: the next time it carries DUP.
    pub(super) unanswered: bool,
}

#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// Of the front.
    first_id: u16,
    /// No slot before this index is `Waiting`.
    unsent: usize,
    sent: usize,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

impl Window {
    pub(super) fn new(max: u16, max_bytes: usize) -> Window {
        Window {
            slots: VecDeque::new(),
            first_id: 1,
            unsent: 0,
            sent: 0,
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
            self.max - self.slots.len()
        }
    }

    /// Messages not yet done.
    pub(super) fn outstanding(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.state != State::Done)
            .count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Sent on this connection and not acknowledged.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn push(&mut self, token: u64, topic: Arc<str>, payload: Bytes) {
        self.bytes += payload.len() + topic.len();
        self.slots.push_back(Slot {
            token,
            topic,
            payload,
            state: State::Waiting,
            unanswered: false,
        });
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
        (self.slots.get(index)?.state == State::Sent).then_some(index)
    }

    /// The first message to send, with its id; `None` where all are sent.
    pub(super) fn next_waiting(&mut self) -> Option<(usize, u16)> {
        while self.slots.get(self.unsent)?.state != State::Waiting {
            self.unsent += 1;
        }
        Some((self.unsent, self.id_of(self.unsent)))
    }

    pub(super) fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    pub(super) fn mark_sent(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.state = State::Sent;
        slot.unanswered = true;
        self.sent += 1;
    }

    pub(super) fn mark_deferred(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.sent -= usize::from(slot.state == State::Sent);
        slot.state = State::Deferred;
        // The broker has answered for this id: what comes next under it is a new message.
        slot.unanswered = false;
    }

    /// Marks done, frees what it held, and gives places back from the front; true where the front moved.
    pub(super) fn mark_done(&mut self, index: usize) -> bool {
        let slot = &mut self.slots[index];
        self.sent -= usize::from(slot.state == State::Sent);
        slot.state = State::Done;
        self.bytes -= slot.payload.len() + slot.topic.len();
        slot.payload = Bytes::new();
        let mut moved = false;
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.state == State::Done)
        {
            self.slots.pop_front();
            self.first_id = self.id_of(1);
            self.unsent = self.unsent.saturating_sub(1);
            moved = true;
        }
        moved
    }

    /// Sends the deferred ones again, from the first.
    pub(super) fn resume_deferred(&mut self) {
        for slot in &mut self.slots {
            if slot.state == State::Deferred {
                slot.state = State::Waiting;
            }
        }
        self.unsent = 0;
    }

    /// The connection ended: everything not done waits again.
    pub(super) fn rewind(&mut self) {
        for slot in &mut self.slots {
            if slot.state != State::Done {
                slot.state = State::Waiting;
            }
        }
        self.sent = 0;
        self.unsent = 0;
    }

    /// The broker has no session: what was sent to the old one goes as new.
    pub(super) fn forget_session(&mut self) {
        for slot in &mut self.slots {
            slot.unanswered = false;
        }
    }
}
