//! What arrived at the broker, record by record, told apart by its id.

use serde_json::Value;
use std::collections::BTreeMap;

/// Identity of a record: boot id, stream, sequence.
pub type Id = (String, String, u64);

/// Records as a consumer sees them.
#[derive(Default)]
pub struct Received {
    /// Each record once.
    pub records: BTreeMap<Id, Value>,
    /// Records that came again, with the same content.
    pub duplicates: u64,
    /// First arrivals, per boot and stream, in order of arrival.
    pub arrivals: BTreeMap<(String, String), Vec<u64>>,
}

impl Received {
    /// Takes the lines of `mosquitto_sub`, a payload each. Panics where a duplicate differs from the first.
    pub fn parse(text: &str) -> Received {
        let mut received = Received::default();
        for line in text.lines() {
            let message: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let boot = message["boot"].as_str().unwrap().to_owned();
            let stream = message["stream"].as_str().unwrap().to_owned();
            let first = message["seq"].as_u64().unwrap();
            for (seq, record) in (first..).zip(message["records"].as_array().unwrap()) {
                let id = (boot.clone(), stream.clone(), seq);
                if let Some(before) = received.records.get(&id) {
                    assert_eq!(before, record, "a duplicate of {id:?} differs");
                    received.duplicates += 1;
                } else {
                    received.records.insert(id, record.clone());
                    let key = (boot.clone(), stream.clone());
                    received.arrivals.entry(key).or_default().push(seq);
                }
            }
        }
        received
    }

    /// Records of one stream over all boots, in order of id.
    pub fn stream<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = (&'a Id, &'a Value)> {
        self.records
            .iter()
            .filter(move |((_, name, _), _)| name == stream)
    }

    /// Gap records of one stream.
    pub fn gaps<'a>(&'a self, stream: &'a str) -> Vec<&'a Value> {
        self.stream(stream)
            .filter_map(|(_, record)| record.get("gap"))
            .collect()
    }

    /// Panics unless every stream of every boot is dense from 0 and its first arrivals were in order.
    pub fn assert_dense_and_ordered(&self) {
        for ((boot, stream), seqs) in &self.arrivals {
            for (expected, seq) in (0..).zip(seqs) {
                assert_eq!(
                    *seq, expected,
                    "boot {boot} stream {stream}: hole or disorder"
                );
            }
        }
    }
}
