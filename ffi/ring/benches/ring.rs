//! Messages a second from one producer to its consumers, and how late they come, beside the disruptor crate, rtrb,
//! crossbeam-channel, and a copy of the same bytes. `scripts/bench.sh ring`
//!
//! Each figure is the median of 31 runs, in which the peers take turns, beside the best of them. All have the same memory for what is under way.
//! "polled" waits in one way, the same for all: it looks 63 times and then yields; "parked" is the peer's own way to wait,
//! which lets the processor sleep. "one thread" has producer and consumers take turns on one: what it costs when nobody waits. rtrb and crossbeam-channel have one queue a consumer, so the producer copies for each.
//! On a machine with fewer processors than threads consumers take turns, whatever carries the messages.

#[path = "ring/load.rs"]
mod load;
#[path = "ring/peers.rs"]
mod peers;

use std::time::Duration;

use load::{Load, Outcome};
use peers::How;

/// What each peer has room for at most: as many elements as a power of two, in which they fit.
pub const WINDOW_BYTES: usize = 1 << 20;
const ROUNDS: usize = 31;
/// Sizes of batches: messages one by one, a few, and more than fill a slab.
const BATCHES: [usize; 3] = [1, 64, 1024];
/// Messages of a run, short ones and frames: whole batches of every size.
const SHORT: usize = 250 * 1024;
const FRAMES: usize = 64 * 1024;
/// Messages a second for the measurement of time.
const PACED: u32 = 20_000;
/// What the published system reaches.
const RIVAL: f64 = 4.7e6;

type Peer = (&'static str, fn(Load) -> Outcome);

fn peers<const N: usize>() -> [Peer; 5] {
    [
        ("ring, polled", |load| peers::ring::<N>(How::Polled, load)),
        ("ring, parked", peers::parked::<N>),
        ("disruptor crate, polled", |load| {
            peers::disruptor::<N>(How::Polled, load)
        }),
        ("rtrb, polled", |load| peers::rtrb::<N>(How::Polled, load)),
        ("crossbeam-channel, parked", |load| {
            peers::crossbeam::<N>(How::Polled, load)
        }),
    ]
}

fn alone<const N: usize>() -> [Peer; 4] {
    [
        ("ring", |load| peers::ring::<N>(How::Alone, load)),
        ("disruptor crate", |load| {
            peers::disruptor::<N>(How::Alone, load)
        }),
        ("rtrb", |load| peers::rtrb::<N>(How::Alone, load)),
        ("crossbeam-channel", |load| {
            peers::crossbeam::<N>(How::Alone, load)
        }),
    ]
}

fn median(runs: &[f64]) -> f64 {
    let mut runs = runs.to_vec();
    runs.sort_unstable_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// A table of rates; those of the peers, in their order.
fn rates<const N: usize>(what: &str, load: Load, peers: &[Peer]) -> Vec<f64> {
    let title = format!(
        "{} bytes, {what}, {} consumers, batches of {}",
        load.bytes, load.consumers, load.batch
    );
    println!(
        "\n{title:<60}{:>14}{:>14}{:>8}{:>10}",
        "messages/s", "best", "GB/s", "/ memcpy"
    );
    let mut runs = vec![Vec::new(); peers.len()];
    let mut copies = Vec::new();
    for _ in 0..ROUNDS {
        copies.push(peers::memcpy::<N>(load));
        for ((_, peer), runs) in peers.iter().zip(&mut runs) {
            runs.push(peer(load).rate);
        }
    }
    let copy = median(&copies);
    let line = |name: &str, runs: &[f64]| {
        let (rate, best) = (median(runs), runs.iter().copied().fold(0.0, f64::max));
        let bytes = rate * load.bytes as f64 / 1e9;
        println!(
            "{name:<60}{rate:>14.0}{best:>14.0}{bytes:>8.2}{:>10.3}",
            rate / copy
        );
    };
    line("memcpy", &copies);
    for ((name, _), runs) in peers.iter().zip(&runs) {
        line(name, runs);
    }
    runs.iter().map(|runs| median(runs)).collect()
}

/// A table of times, all runs together; p99 of the first peer, in microseconds.
fn times<const N: usize>(consumers: usize) -> f64 {
    let load = Load {
        bytes: N,
        batch: 1,
        consumers,
        messages: PACED as usize / 5,
        pace: Some(Duration::from_secs(1) / PACED),
    };
    println!(
        "\n{N} bytes, 1 producer, {consumers} consumers, {PACED} messages/s, us after each was due{:>6}{:>10}{:>10}{:>10}",
        "p50", "p99", "p99.9", "max"
    );
    let mut first = None;
    for (name, peer) in peers::<N>() {
        let mut late_ns: Vec<u64> = (0..ROUNDS).flat_map(|_| peer(load).late_ns).collect();
        late_ns.sort_unstable();
        let at = |per_mille: usize| late_ns[(late_ns.len() - 1) * per_mille / 1000] as f64 / 1e3;
        println!(
            "{name:<74}{:>6.1}{:>10.1}{:>10.1}{:>10.1}",
            at(500),
            at(990),
            at(999),
            at(1000)
        );
        first.get_or_insert(at(990));
    }
    first.expect("a peer")
}

fn main() {
    let memory = dunlin_ring::ring(
        WINDOW_BYTES / dunlin_ring::SLAB_BYTES,
        &[dunlin_ring::Policy::Block],
    );
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{processors} processors, pages of the ring: {:?}",
        memory.expect("a ring").0.pages()
    );
    // With a size of batches: only that one, short messages, and three consumers.
    let only = std::env::args().nth(1).and_then(|size| size.parse().ok());
    let load = |bytes, batch, consumers, messages| Load {
        bytes,
        batch,
        consumers,
        messages,
        pace: None,
    };
    if let Some(batch) = only {
        let short = load(64, batch, 3, SHORT);
        rates::<64>("one thread", short, &alone::<64>());
        rates::<64>("one thread each", short, &peers::<64>());
        return;
    }
    let mut fast = Vec::new();
    for consumers in [1, 3] {
        for batch in BATCHES {
            let short = load(64, batch, consumers, SHORT);
            rates::<64>("one thread", short, &alone::<64>());
            fast = rates::<64>("one thread each", short, &peers::<64>());
            let frames = load(1115, batch, consumers, FRAMES);
            // Whole batches of these have to fit into what all peers have room for.
            if 2 * batch <= frames.room() {
                rates::<1115>("one thread", frames, &alone::<1115>());
                rates::<1115>("one thread each", frames, &peers::<1115>());
            }
        }
    }
    times::<64>(1);
    let p99 = times::<64>(3);
    println!(
        "\nbatches of 1024, 64 bytes, 3 consumers: x{:.1} of the published 4.7 M packets/s",
        fast[0] / RIVAL
    );
    println!(
        "ring {:.0} packets/s, p99 {p99:.1} us, x{:.2} of the disruptor crate",
        fast[0],
        fast[0] / fast[2]
    );
}
