//! What the tests of sinks share.

use crate::pipeline::{Batch, Transform};

/// The transform of pipelines that have none.
#[derive(Debug)]
pub(super) struct NoTransform {
    _name: &'static str,
}

impl Transform for NoTransform {
    fn apply(&mut self, batch: Batch, out: &mut Vec<Batch>) {
        out.push(batch);
    }
}
