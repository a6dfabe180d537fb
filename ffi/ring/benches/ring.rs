//! Messages a second from one producer to its consumers, and how late they come, beside the disruptor crate, rtrb,
//! crossbeam-channel, and a copy of the same bytes. `scripts/bench.sh ring`
//!
//! Each figure is the median of five runs, in which the peers take turns. All have the same memory for what is under way.
//! "polled" waits in one way, the same for all: it looks 63 times and then yields; "parked" is the peer's own way to wait,
//! which lets the processor sleep. rtrb and crossbeam-channel have one queue a consumer, so the producer copies for each.
//! On a machine with fewer processors than threads consumers take turns, whatever carries the messages.

#[path = "ring/load.rs"]
mod load;
#[path = "ring/peers.rs"]
mod peers;

use std::time::Duration;

use load::{Load, Outcome};

/// What the ring has room for, and each of its peers.
pub const WINDOW_BYTES: usize = 1 << 20;
const ROUNDS: usize = 5;
const BATCH: usize = 64;
/// Messages a second for the measurement of time.
const PACED: u32 = 20_000;
/// What the published system reaches.
const RIVAL: f64 = 4.7e6;

type Peer = (&'static str, fn(Load) -> Outcome);

fn peers<const N: usize>() -> [Peer; 5] {
    [
        ("ring, polled", peers::polled),
        ("ring, parked", peers::parked),
        ("disruptor crate, polled", peers::disruptor::<N>),
        ("rtrb, polled", peers::rtrb::<N>),
        ("crossbeam-channel, parked", peers::crossbeam::<N>),
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A table of rates; those of the peers, in their order.
fn rates<const N: usize>(load: Load) -> Vec<f64> {
    println!(
        "\n{} bytes, 1 producer, {} consumers, {} a batch{:>24}{:>10}{:>10}",
        load.bytes, load.consumers, load.batch, "messages/s", "GB/s", "/ memcpy"
    );
    let peers = peers::<N>();
    let mut runs = vec![Vec::new(); peers.len()];
    let mut copies = Vec::new();
    for _ in 0..ROUNDS {
        copies.push(peers::memcpy(load));
        for ((_, peer), runs) in peers.iter().zip(&mut runs) {
            runs.push(peer(load).rate);
        }
    }
    let copy = median(copies);
    let line = |name: &str, rate: f64| {
        println!(
            "{name:<60}{rate:>14.0}{:>10.2}{:>10.3}",
            rate * load.bytes as f64 / 1e9,
            rate / copy
        );
    };
    line("memcpy", copy);
    let rates: Vec<f64> = runs.into_iter().map(median).collect();
    peers
        .iter()
        .zip(&rates)
        .for_each(|((name, _), rate)| line(name, *rate));
    rates
}

/// A table of times, all runs together; p99 of the first peer, in microseconds.
fn times<const N: usize>(consumers: usize) -> f64 {
    let load = Load {
        bytes: N,
        batch: 1,
        consumers,
        messages: PACED as usize / 2,
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
    let mut fast = Vec::new();
    for consumers in [1, 3] {
        for batch in [1, BATCH] {
            let load = |bytes, messages| Load {
                bytes,
                batch,
                consumers,
                messages,
                pace: None,
            };
            fast = rates::<64>(load(64, 1_000_000));
            rates::<1115>(load(1115, 200_000));
        }
    }
    times::<64>(1);
    let p99 = times::<64>(3);
    println!(
        "\nbatched, 64 bytes, 3 consumers: x{:.1} of the published 4.7 M packets/s",
        fast[0] / RIVAL
    );
    println!(
        "ring {:.0} packets/s, p99 {p99:.1} us, x{:.2} of the disruptor crate",
        fast[0],
        fast[0] / fast[2]
    );
}
