//! What a transform remembers of each channel of each stream.

use crate::record::Channel;
use std::collections::HashMap;
use std::sync::Arc;

/// Most channels of one stream that a transform remembers at once. A stream with more makes it forget all of them and
/// begin anew, which every transform survives by doing more work, never by losing a record.
pub(super) const CHANNELS_MAX: usize = 4096;

/// State of every stream; their number is bounded by that of the nodes.
#[derive(Debug)]
pub(super) struct PerChannel<T> {
    streams: HashMap<Arc<str>, Channels<T>>,
}

/// State of the channels of one stream.
#[derive(Debug)]
pub(super) struct Channels<T> {
    by_name: HashMap<String, (Arc<Channel>, T)>,
}

impl<T> PerChannel<T> {
    pub(super) fn new() -> PerChannel<T> {
        PerChannel {
            streams: HashMap::new(),
        }
    }

    /// The channels of a stream.
    pub(super) fn stream(&mut self, name: &Arc<str>) -> &mut Channels<T> {
        if !self.streams.contains_key(name) {
            let by_name = HashMap::new();
            self.streams.insert(Arc::clone(name), Channels { by_name });
        }
        self.streams.get_mut(name).expect("inserted above")
    }
}

impl<T> Channels<T> {
    /// The state of a channel; made by `make` for one that is new, or whose unit or kind has changed.
    pub(super) fn of(
        &mut self,
        channel: &Arc<Channel>,
        make: impl FnOnce(&Channel) -> T,
    ) -> &mut T {
        let known = self.by_name.get(&channel.name);
        let same = known.is_some_and(|(seen, _)| {
            Arc::ptr_eq(seen, channel) || (&seen.unit, seen.kind) == (&channel.unit, channel.kind)
        });
        if !same {
            if self.by_name.len() >= CHANNELS_MAX {
                self.by_name.clear();
            }
            let state = (Arc::clone(channel), make(channel));
            self.by_name.insert(channel.name.clone(), state);
        }
        &mut self
            .by_name
            .get_mut(&channel.name)
            .expect("inserted above")
            .1
    }
}
