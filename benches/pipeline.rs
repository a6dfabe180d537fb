//! Records a second through source -> filter -> scale -> deadband -> two sinks, beside the same work in a plain loop.
//! Batches of 100; the sinks count and acknowledge.

#[path = "support/nodes.rs"]
mod nodes;

use dunlin::pipeline::{Ack, Batch, Inlet, Ledger, Sink, Transform as _, start};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record, Value};
use nodes::nodes;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BATCHES: u64 = 5_000;
const BATCH_RECORDS: u64 = 100;
const RECORDS: u64 = BATCHES * BATCH_RECORDS;
const CHANNELS: u64 = 10;
const QUEUE_BATCHES: usize = 16;

const CONFIG: &str = "
[sources.a]
[transforms.f]
type = 'filter'
inputs = ['a']
min = -1000
[transforms.s]
type = 'scale'
inputs = ['f']
from = 'Cel'
to = 'K'
[transforms.d]
type = 'deadband'
inputs = ['s']
absolute = 0.5
[sinks.k]
inputs = ['d']
[sinks.l]
inputs = ['d']
";

#[derive(Default)]
struct Count {
    batches: u64,
}

impl Sink for Count {
    type Error = Infallible;

    async fn run(mut self, mut inlet: Inlet) -> Result<(), Infallible> {
        while let Some(batch) = inlet.recv().await {
            self.batches += 1;
            std::hint::black_box(batch.records.len());
            batch.ack.done();
        }
        Ok(())
    }
}

fn batch(channels: &[Arc<Channel>], ledger: &Arc<Ledger>, number: u64) -> Batch {
    let record = |n: u64| Record {
        monotonic_ns: n,
        wall_ns: 0,
        reply: None,
        body: Body::Sample {
            channel: Arc::clone(&channels[usize::try_from(n % CHANNELS).expect("small")]),
            value: Value::Float((n % 97) as f64),
            quality: Quality::Good,
        },
    };
    let first = number * BATCH_RECORDS;
    Batch {
        stream: "a".into(),
        class: Class::Normal,
        records: Arc::new((first..first + BATCH_RECORDS).map(record).collect()),
        ack: Ack::new(ledger, BATCH_RECORDS),
    }
}

/// The transforms one after the other on each batch, without tasks and channels.
fn plain(channels: &[Arc<Channel>]) -> Duration {
    let (_, mut made) = nodes(CONFIG);
    let mut chain = ["f", "s", "d"].map(|name| made.remove(name).expect("configured"));
    let ledger = Arc::default();
    let started = Instant::now();
    for number in 0..BATCHES {
        let mut batches = vec![batch(channels, &ledger, number)];
        for transform in &mut chain {
            let mut out = Vec::new();
            for batch in batches {
                transform.apply(batch, &mut out);
            }
            batches = out;
        }
        for batch in batches {
            std::hint::black_box(batch.share().records.len());
            std::hint::black_box(batch.records.len());
            batch.ack.done();
        }
    }
    started.elapsed()
}

async fn pipeline(channels: &[Arc<Channel>]) -> Duration {
    let (graph, made) = nodes(CONFIG);
    let sinks = BTreeMap::from([
        ("k".to_owned(), Count::default()),
        ("l".to_owned(), Count::default()),
    ]);
    let ledger = Arc::default();
    let started = Instant::now();
    let mut running = start(&graph, made, sinks, QUEUE_BATCHES);
    let outlet = running.outlet("a").expect("the source");
    for number in 0..BATCHES {
        outlet.send(batch(channels, &ledger, number)).await;
    }
    drop(outlet);
    let drained = running.drain(Duration::from_mins(1)).await;
    drained.expect("the sinks do not fail");
    assert_eq!(ledger.released(), RECORDS);
    started.elapsed()
}

fn main() {
    let channel = |n: u64| {
        Arc::new(Channel {
            name: format!("channel{n}"),
            unit: "Cel".to_owned(),
            kind: Kind::Float,
            calibration: None,
        })
    };
    let channels: Vec<_> = (0..CHANNELS).map(channel).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime starts");
    let (mut loop_best, mut pipeline_best) = (Duration::MAX, Duration::MAX);
    // Alternating, the best of each: what other work on the machine disturbs least.
    for _ in 0..5 {
        loop_best = loop_best.min(plain(&channels));
        pipeline_best = pipeline_best.min(runtime.block_on(pipeline(&channels)));
    }
    let rate = |time: Duration| RECORDS as f64 / time.as_secs_f64();
    let (peer, dunlin) = (rate(loop_best), rate(pipeline_best));
    println!("claim                                     plain loop      pipeline   ratio");
    println!("                                           records/s     records/s");
    let claim = "filter, scale, deadband, two sinks";
    println!(
        "{claim:<38} {peer:>13.0} {dunlin:>13.0} {:>7.2}",
        dunlin / peer
    );
}
