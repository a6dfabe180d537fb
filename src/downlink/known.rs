//! The packet ids by which a repeat is recognised.

use crate::uplink::Message;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;

/// How many of the last messages are known again. No Receive Maximum that we announce is larger.
pub const KNOWN_MAX: usize = 256;

/// A packet id and what came under it: an id alone is used again for other messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub packet_id: u16,
    /// Of topic, payload and what belongs to the answer.
    pub digest: u64,
}

impl Id {
    /// `None` at `QoS` 0, which is never repeated.
    pub(super) fn of(message: &Message) -> Option<Id> {
        let packet_id = message.receipt.packet_id();
        if packet_id == 0 {
            return None;
        }
        let mut hash = Sha256::new();
        let response = message.response_topic.as_deref().unwrap_or_default();
        let correlation = message.correlation.as_deref().unwrap_or_default();
        for part in [message.topic.as_bytes(), response.as_bytes(), correlation] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(&message.payload);
        let hash = hash.finalize();
        let digest = hash.first_chunk().expect("a SHA-256 has 32 bytes");
        Some(Id {
            packet_id,
            digest: u64::from_le_bytes(*digest),
        })
    }
}

/// The ids of the last messages, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known(VecDeque<Id>);

impl Known {
    pub(super) fn push(&mut self, id: Id) {
        if self.0.len() == KNOWN_MAX {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    /// Adds ids that are older than all, as far as there is room.
    pub(super) fn push_older(&mut self, ids: &[Id]) {
        for id in ids.iter().rev() {
            if self.0.len() < KNOWN_MAX && !self.0.contains(id) {
                self.0.push_front(*id);
            }
        }
    }

    pub(super) fn has(&self, id: Id) -> bool {
        self.0.contains(&id)
    }

    /// The broker's session is gone, and with it what it could repeat.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Id> + '_ {
        self.0.iter().copied()
    }
}
