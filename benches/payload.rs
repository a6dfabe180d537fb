//! Samples encoded a second, in messages of 256, beside `serde_json` on a tree of values.

use std::sync::Arc;
use std::time::Instant;

use dunlin::clock::BootId;
use dunlin::payload::{Encoding, Envelope};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record, Value};

const BATCH: u32 = 256;
const ROUNDS: u32 = 4_000;

fn main() {
    let channel = Arc::new(Channel {
        name: "temp".into(),
        unit: "Cel".into(),
        kind: Kind::Float,
        calibration: None,
    });
    let records: Vec<Record> = (0..BATCH)
        .map(|index| Record {
            monotonic_ns: 5_000_000_000 + u64::from(index) * 1_000_003,
            wall_ns: 1_790_000_000_000_000_000 + i64::from(index) * 1_000_003,
            reply: None,
            body: Body::Sample {
                channel: Arc::clone(&channel),
                value: Value::Float(20.0 + f64::from(index) / 7.0),
                quality: Quality::Good,
            },
        })
        .collect();
    let boot = BootId {
        number: 17,
        nonce: 7,
    };
    let envelope = Envelope {
        agent: "gw-7",
        boot,
        stream: "boiler",
        class: Class::Normal,
        seq: 1,
    };
    let mut out = Vec::new();
    Encoding::Json.encode(&envelope, &records, &mut out);
    let tree: serde_json::Value = serde_json::from_slice(&out).expect("it was just written");
    let peer = rate(
        |out| serde_json::to_writer(out, &tree).expect("memory"),
        &mut out,
    );
    println!(
        "{:<20}{:>14}{:>14}{:>8}",
        "", "samples/s", "bytes/sample", "ratio"
    );
    println!(
        "{:<20}{:>14.0}{:>14}{:>8}",
        "serde_json tree",
        peer,
        out.len() / BATCH as usize,
        1
    );
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let ours = rate(|out| encoding.encode(&envelope, &records, out), &mut out);
        let bytes = out.len() / BATCH as usize;
        println!(
            "{:<20}{ours:>14.0}{bytes:>14}{:>8.2}",
            encoding.name(),
            ours / peer
        );
    }
}

fn rate(mut encode: impl FnMut(&mut Vec<u8>), out: &mut Vec<u8>) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        out.clear();
        encode(out);
        std::hint::black_box(&*out);
    }
    f64::from(BATCH) * f64::from(ROUNDS) / start.elapsed().as_secs_f64()
}
