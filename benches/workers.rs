//! What threads of its own give a transform, beside the same transform in a plain loop and on the agent's thread; and how
//! long the records of each key wait when one of them has most of the work.
//!
//! Eight channels. "heavy": `inflate` of frames of 16 KiB by deflate, eight a batch. "light": `check_crc` of frames of 64
//! bytes, one hundred a batch. Runs take turns; medians.

#[path = "support/nodes.rs"]
mod nodes;

use dunlin::pipeline::{Ack, Batch, Graph, Inlet, Ledger, Sink, Transform as _, start};
use dunlin::record::{Body, Channel, Class, Kind, Quality, Record};
use dunlin::transforms::Transform;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KEYS: usize = 8;
const ROUNDS: usize = 7;
const QUEUE_BATCHES: usize = 16;

/// What is worked on.
struct Load {
    name: &'static str,
    keys: &'static str,
    bytes: bytes::Bytes,
    batch: usize,
    batches: usize,
}

fn loads() -> [Load; 2] {
    // Text-like: half of it repeats.
    let plain: Vec<u8> = (0..16_384_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> (24 + n % 2 * 4)).to_le_bytes()[0])
        .collect();
    [
        Load {
            name: "heavy",
            keys: "type = 'inflate'\ncodec = 'deflate'",
            bytes: miniz_oxide::deflate::compress_to_vec(&plain, 6).into(),
            batch: 8,
            batches: 400,
        },
        Load {
            name: "light",
            keys: "type = 'check_crc'\nalgorithm = 'crc32'\non_failure = 'tag'",
            bytes: vec![7; 64].into(),
            batch: 100,
            batches: 4000,
        },
    ]
}

fn channels() -> Vec<Arc<Channel>> {
    let channel = |n| Channel {
        name: format!("channel{n}"),
        unit: "1".to_owned(),
        kind: Kind::Frame,
        calibration: None,
    };
    (0..KEYS).map(channel).map(Arc::new).collect()
}

/// When each record came out, in the order in which they did: key, and monotonic time of the sender in nanoseconds.
type Out = Arc<Mutex<Vec<(usize, u64, Instant)>>>;

struct Watch(Option<Out>);

impl Sink for Watch {
    type Error = Infallible;

    async fn run(self, mut inlet: Inlet) -> Result<(), Infallible> {
        while let Some(batch) = inlet.recv().await {
            if let Some(out) = &self.0 {
                let now = Instant::now();
                let each = batch
                    .records
                    .iter()
                    .filter_map(|record| match &record.body {
                        Body::Frame { channel, .. } => {
                            let key = channel.name["channel".len()..].parse();
                            Some((key.expect("a number"), record.monotonic_ns, now))
                        }
                        _ => None,
                    });
                out.lock().expect("no panic").extend(each);
            }
            batch.ack.done();
        }
        Ok(())
    }
}

fn nodes(load: &Load, workers: usize) -> (Graph, BTreeMap<String, Transform>) {
    let workers = match workers {
        0 => String::new(),
        count => format!("workers = {count}"),
    };
    let text = format!(
        "[sources.a]\n[transforms.t]\n{}\ninputs = ['a']\n{workers}\n[sinks.k]\ninputs = ['t']\n",
        load.keys
    );
    nodes::nodes(&text)
}

fn batch(
    load: &Load,
    channels: &[Arc<Channel>],
    ledger: &Arc<Ledger>,
    at_ns: u64,
    key: impl Fn(usize) -> usize,
) -> Batch {
    let record = |n| Record {
        monotonic_ns: at_ns,
        wall_ns: 0,
        reply: None,
        body: Body::Frame {
            channel: Arc::clone(&channels[key(n)]),
            bytes: load.bytes.clone(),
            quality: Quality::Good,
        },
    };
    Batch {
        stream: "a".into(),
        class: Class::Normal,
        records: Arc::new((0..load.batch).map(record).collect()),
        ack: Ack::new(ledger, load.batch as u64),
    }
}

fn plain(load: &Load, channels: &[Arc<Channel>]) -> Duration {
    let (_, mut made) = nodes(load, 0);
    let transform = made.get_mut("t").expect("configured");
    let ledger = Arc::default();
    let started = Instant::now();
    let mut out = Vec::new();
    for _ in 0..load.batches {
        transform.apply(batch(load, channels, &ledger, 0, |n| n % KEYS), &mut out);
        for batch in out.drain(..) {
            std::hint::black_box(&batch.records);
            batch.ack.done();
        }
    }
    started.elapsed()
}

/// With so many workers; 0: on the thread of the pipeline.
async fn pipeline(load: &Load, channels: &[Arc<Channel>], workers: usize) -> Duration {
    let (graph, made) = nodes(load, workers);
    let sinks = BTreeMap::from([("k".to_owned(), Watch(None))]);
    let ledger = Arc::default();
    let started = Instant::now();
    let mut running = start(&graph, made, sinks, QUEUE_BATCHES);
    let outlet = running.outlet("a").expect("the source");
    for _ in 0..load.batches {
        let batch = batch(load, channels, &ledger, 0, |n| n % KEYS);
        outlet.send(batch).await;
    }
    drop(outlet);
    let drained = running.drain(Duration::from_mins(1)).await;
    drained.expect("the sink does not fail");
    assert_eq!(ledger.released(), (load.batches * load.batch) as u64);
    started.elapsed()
}

/// How long records wait, by key, when key 0 has every second record: milliseconds, sorted.
async fn waits(load: &Load, channels: &[Arc<Channel>], workers: usize) -> Vec<Vec<f64>> {
    let (graph, made) = nodes(load, workers);
    let out = Out::default();
    let sinks = BTreeMap::from([("k".to_owned(), Watch(Some(Arc::clone(&out))))]);
    let ledger = Arc::default();
    let mut running = start(&graph, made, sinks, QUEUE_BATCHES);
    let outlet = running.outlet("a").expect("the source");
    let began = Instant::now();
    for number in 0..load.batches {
        let now_ns = u64::try_from(began.elapsed().as_nanos()).expect("a short run");
        let key = |n: usize| match n % 2 {
            0 => 0,
            _ => 1 + (number + n / 2) % (KEYS - 1),
        };
        let batch = batch(load, channels, &ledger, now_ns, key);
        outlet.send(batch).await;
    }
    drop(outlet);
    let drained = running.drain(Duration::from_mins(1)).await;
    drained.expect("the sink does not fail");
    let mut waits = vec![Vec::new(); KEYS];
    for (key, sent_ns, came) in out.lock().expect("no panic").iter() {
        let wait = came.duration_since(began + Duration::from_nanos(*sent_ns));
        waits[*key].push(wait.as_secs_f64() * 1e3);
    }
    for waits in &mut waits {
        waits.sort_unstable_by(f64::total_cmp);
    }
    waits
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_unstable_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime starts");
    let channels = channels();
    println!(
        "frames/s            plain loop  agent's thread     1 worker    2 workers    4 workers   2 / plain"
    );
    for load in loads() {
        let mut runs = vec![Vec::new(); 5];
        let rate = |time: Duration| (load.batches * load.batch) as f64 / time.as_secs_f64();
        for _ in 0..ROUNDS {
            runs[0].push(rate(plain(&load, &channels)));
            for (runs, workers) in runs[1..].iter_mut().zip([0, 1, 2, 4]) {
                runs.push(rate(runtime.block_on(pipeline(&load, &channels, workers))));
            }
        }
        let rates: Vec<f64> = runs.into_iter().map(median).collect();
        println!(
            "{:<18}{:>12.0}{:>16.0}{:>13.0}{:>13.0}{:>13.0}{:>12.2}",
            load.name,
            rates[0],
            rates[1],
            rates[2],
            rates[3],
            rates[4],
            rates[3] / rates[0]
        );
    }
    println!("\nheavy, key 0 has every second record, ms from the source to the sink, p50 and p99");
    println!("workers       key 0             the others, best and worst        worst / key 0");
    let [heavy, _] = loads();
    for workers in [0, 1, 2, 4] {
        let waits = runtime.block_on(waits(&heavy, &channels, workers));
        let at = |waits: &[f64], per_cent: usize| waits[(waits.len() - 1) * per_cent / 100];
        let mut others: Vec<(f64, f64)> = waits[1..]
            .iter()
            .map(|waits| (at(waits, 50), at(waits, 99)))
            .collect();
        others.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        let (best, worst) = (others[0], others[others.len() - 1]);
        let hot = (at(&waits[0], 50), at(&waits[0], 99));
        println!(
            "{workers:<10}{:>7.1}{:>8.1}{:>14.1}{:>8.1}{:>10.1}{:>8.1}{:>17.2}",
            hot.0,
            hot.1,
            best.0,
            best.1,
            worst.0,
            worst.1,
            worst.1 / hot.1
        );
    }
}
