//! Frames a second from one source to three sinks that read each of them, as an agent runs it: on one thread, as slices of
//! slabs, with times, channels and acknowledgements. Beside it the same copies and reads in a plain loop, without records.
//! `scripts/bench.sh fanout`; what a ring without records does is `scripts/bench.sh ring`.

#[path = "support/nodes.rs"]
mod nodes;

use dunlin::pipeline::{Ack, Batch, Inlet, Ledger, Outlet, Sink, start};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record};
use dunlin::slabs::Slabs;
use nodes::nodes;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FRAMES: usize = 1 << 20;
const QUEUE_BATCHES: usize = 4;
const ROUNDS: usize = 9;
const SLAB_BYTES: usize = 1 << 16;

const CONFIG: &str = "
[sources.radio]
[sinks.store]
inputs = ['radio']
[sinks.rules]
inputs = ['radio']
[sinks.view]
inputs = ['radio']
";

/// Looks at the first eight bytes of a frame and its last.
fn look(sum: &mut u64, frame: &[u8]) {
    let (head, _) = frame.split_first_chunk::<8>().expect("longer");
    let last = frame.last().expect("longer");
    *sum = sum.wrapping_add(u64::from_ne_bytes(*head) ^ u64::from(*last));
}

#[derive(Default)]
struct Read {
    sum: u64,
}

impl Sink for Read {
    type Error = Infallible;

    async fn run(mut self, mut inlet: Inlet) -> Result<(), Infallible> {
        while let Some(batch) = inlet.recv().await {
            for record in batch.records.iter() {
                if let Body::Frame { bytes, .. } = &record.body {
                    look(&mut self.sum, bytes);
                }
            }
            batch.ack.done();
        }
        black_box(self.sum);
        Ok(())
    }
}

/// Numbers a frame.
fn number(frame: &mut [u8], n: usize) {
    frame[..8].copy_from_slice(&(n as u64).to_ne_bytes());
}

async fn produce(outlet: Outlet, ledger: Arc<Ledger>, bytes: usize, size: usize) {
    let (mut slabs, mut frame) = (Slabs::default(), vec![0x5a; bytes]);
    let channel = Arc::new(Channel {
        name: "rf".to_owned(),
        unit: "1".to_owned(),
        kind: Kind::Frame,
        calibration: None,
    });
    let stream: Arc<str> = "radio".into();
    for first in (0..FRAMES).step_by(size) {
        let record = |n: usize| {
            number(&mut frame, n);
            Record {
                monotonic_ns: n as u64,
                wall_ns: 0,
                body: Body::Frame {
                    channel: Arc::clone(&channel),
                    bytes: slabs.put(&frame),
                    quality: Quality::Good,
                },
                reply: None,
            }
        };
        let records: Vec<Record> = (first..first + size).map(record).collect();
        let batch = Batch {
            stream: Arc::clone(&stream),
            class: Class::Normal,
            ack: Ack::new(&ledger, records.len() as u64),
            records: Arc::new(records),
        };
        outlet.send(batch).await;
    }
}

async fn pipeline(bytes: usize, size: usize) -> Duration {
    let (graph, transforms) = nodes(CONFIG);
    let sinks = ["store", "rules", "view"].map(|name| (name.to_owned(), Read::default()));
    let ledger = Arc::default();
    let mut running = start(&graph, transforms, sinks.into(), QUEUE_BATCHES);
    let outlet = running.outlet("radio").expect("the source");
    let started = Instant::now();
    let source = tokio::spawn(produce(outlet, Arc::clone(&ledger), bytes, size));
    let drained = running.drain(Duration::from_mins(1)).await;
    drained.expect("the sinks do not fail");
    let took = started.elapsed();
    source.await.expect("no panic");
    assert_eq!(ledger.released(), FRAMES as u64);
    took
}

/// A slab is filled, and read three times.
fn plain(bytes: usize) -> Duration {
    let (mut slab, mut frame) = (vec![0_u8; SLAB_BYTES / bytes * bytes], vec![0x5a; bytes]);
    let mut sums = [0; 3];
    let started = Instant::now();
    let mut n = 0;
    while n < FRAMES {
        for place in slab.chunks_exact_mut(bytes) {
            number(&mut frame, n);
            place.copy_from_slice(&frame);
            n += 1;
        }
        for sum in &mut sums {
            slab.chunks_exact(bytes).for_each(|frame| look(sum, frame));
        }
        black_box(sums);
    }
    started.elapsed().mul_f64(FRAMES as f64 / n as f64)
}

fn median(mut runs: [Duration; ROUNDS]) -> f64 {
    runs.sort_unstable();
    FRAMES as f64 / runs[ROUNDS / 2].as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime starts");
    println!("claim                                     plain loop      pipeline   ratio");
    println!("                                            frames/s      frames/s");
    for (bytes, size) in [(64, 64), (64, 1024), (1115, 64)] {
        // In turns: what other work on the machine disturbs is both.
        let pairs = [(); ROUNDS].map(|()| (plain(bytes), runtime.block_on(pipeline(bytes, size))));
        let (peer, dunlin) = (
            median(pairs.map(|pair| pair.0)),
            median(pairs.map(|pair| pair.1)),
        );
        let claim = format!("{bytes} bytes, batches of {size}, three sinks");
        println!(
            "{claim:<38} {peer:>13.0} {dunlin:>13.0} {:>7.2}",
            dunlin / peer
        );
    }
}
