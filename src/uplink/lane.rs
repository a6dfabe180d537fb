//! Which of several streams a message goes on, where the transport has several.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Topics that are remembered; those beyond go on the control stream.
const TOPICS_MAX: usize = 4096;

/// A stream of its own beside that of control packets. Later ones go first where the path is narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What may wait for everything else.
    Bulk,
    /// The default.
    #[default]
    Normal,
    /// What waits for nothing else.
    Critical,
}

/// How many there are.
#[cfg(feature = "quic")]
pub(super) const LANES: usize = 3;

/// The lane of each topic. A topic keeps the lane of its first message, so that its order is that of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Arc<str>, Lane>,
    /// Places of endpoints that refuse, close or do not answer such streams.
    single: HashSet<usize>,
}

impl Lanes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of the topic is to go on the lane.
    pub(super) fn assign(&self, topic: &Arc<str>, lane: Lane) {
        let mut state = self.state();
        if state.topics.len() < TOPICS_MAX && !state.topics.contains_key(topic) {
            state.topics.insert(Arc::clone(topic), lane);
        }
    }

    /// The lane of a topic; `None` is the control stream.
    #[cfg(feature = "quic")]
    pub(super) fn of(&self, topic: &str) -> Option<Lane> {
        self.state().topics.get(topic).copied()
    }

    /// The endpoint at that place gets one stream from now on.
    pub(super) fn give_up(&self, endpoint: usize) {
        self.state().single.insert(endpoint);
    }

    /// Whether the endpoint at that place may get several streams.
    pub(super) fn may_have(&self, endpoint: usize) -> bool {
        !self.state().single.contains(&endpoint)
    }
}
