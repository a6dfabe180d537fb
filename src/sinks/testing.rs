//! What the tests of sinks share.

use crate::pipeline::{Batch, Transform};

/// The transform of pipelines that have none.
#[derive(Debug)]
pub(super) enum NoTransform {}

impl Transform for NoTransform {
    fn apply(&mut self, _: Batch, _: &mut Vec<Batch>) {
        match *self {}
    }
}
