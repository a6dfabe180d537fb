//! Names of the streams that a transform makes of others, each made once.

use std::collections::HashMap;
use std::sync::Arc;

/// The streams `SOURCE.ENDING` of all streams that come; their number is bounded by that of the nodes.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    ending: String,
    made: HashMap<Arc<str>, Arc<str>>,
}

impl Streams {
    pub(super) fn new(ending: impl Into<String>) -> Streams {
        Streams {
            ending: ending.into(),
            made: HashMap::new(),
        }
    }

    /// The one of a stream.
    pub(super) fn of(&mut self, stream: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.made.get(stream) {
            return Arc::clone(known);
        }
        let made: Arc<str> = format!("{stream}.{}", self.ending).into();
        self.made.insert(Arc::clone(stream), Arc::clone(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_name_which_is_made_once() {
        let mut streams = Streams::new("t");
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = streams.of(&a);
        assert_eq!((&*first, &*streams.of(&b)), ("a.t", "b.t"));
        assert!(Arc::ptr_eq(&first, &streams.of(&"a".into())));
    }
}
