//! What tests of pipelines share: nodes as a configuration makes them, and samples.

use super::{Ack, Batch, Bodies, Ledger, Node, Place, Role, WhenSlow};
use crate::record::{Body, Channel, Class, Kind, Quality, Record, Value};
use std::sync::Arc;

/// A node that waits for its consumers, on the thread of the runtime.
pub(crate) fn node(name: &str, role: Role, inputs: &[&str]) -> Node {
    Node {
        name: name.to_owned(),
        role,
        inputs: inputs.iter().map(ToString::to_string).collect(),
        takes: Bodies::ANY,
        gives: (role == Role::Source).then_some(Bodies::ANY),
        when_slow: WhenSlow::Block,
        workers: None,
        place: Place::default(),
        inputs_place: Place::default(),
    }
}

/// A batch of the stream `s`, as its source hands it over.
pub(crate) fn batch(ledger: &Arc<Ledger>, records: Vec<Record>) -> Batch {
    Batch {
        stream: "s".into(),
        class: Class::Normal,
        ack: Ack::new(ledger, records.len() as u64),
        records: Arc::new(records),
    }
}

/// A sample whose number is its monotonic time.
pub(super) fn sample(channel: &str, number: u64) -> Record {
    Record {
        monotonic_ns: number,
        wall_ns: 0,
        body: Body::Sample {
            channel: Arc::new(Channel {
                name: channel.to_owned(),
                unit: "1".to_owned(),
                kind: Kind::Int,
                calibration: None,
            }),
            value: Value::Int(0),
            quality: Quality::Good,
        },
        reply: None,
    }
}
