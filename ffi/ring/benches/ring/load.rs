//! What every peer is given to carry, and how it is looked at on the other side.

use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// One measurement.
#[derive(Clone, Copy)]
pub struct Load {
    /// Bytes of a message.
    pub bytes: usize,
    /// Messages that are published together.
    pub batch: usize,
    pub consumers: usize,
    pub messages: usize,
    /// Time between two messages; None where they come as fast as they can.
    pub pace: Option<Duration>,
}

impl Load {
    /// Messages that all peers have room for: the bytes of the ring's window.
    pub fn room(&self) -> usize {
        (crate::WINDOW_BYTES / self.bytes.next_power_of_two()).max(1)
    }
}

/// Makes messages, at their time where there is a pace.
pub struct Source {
    load: Load,
    message: Vec<u8>,
    made: usize,
    start: Instant,
}

impl Source {
    pub fn new(load: Load, start: Instant) -> Source {
        let message = vec![0x5a; load.bytes];
        Source {
            load,
            message,
            made: 0,
            start,
        }
    }

    /// Writes the next message. Its first bytes are its number or, with a pace, the time at which it was due: what comes late
    /// because its forerunner was stuck is late. They are written where they stay: a copy of bytes that were written just
    /// before, in other sizes, waits for them to reach the cache, which takes longer than all that is measured here.
    #[inline]
    pub fn write<const N: usize>(&mut self, place: &mut [u8; N]) {
        let stamp = match self.load.pace {
            None => self.made as u64,
            Some(pace) => self.due(pace),
        };
        *place = *self.message.first_chunk().expect("of this length");
        place[..8].copy_from_slice(&stamp.to_ne_bytes());
    }

    /// Waits until the next message is due, and says when that was. Out of the way of those that are not.
    #[cold]
    #[inline(never)]
    fn due(&self, pace: Duration) -> u64 {
        let due = pace * u32::try_from(self.made).expect("few");
        while self.start.elapsed() < due {
            spin_loop();
        }
        u64::try_from(due.as_nanos()).expect("soon")
    }

    /// It was taken.
    #[inline]
    pub fn next(&mut self) {
        self.made += 1;
    }

    pub fn made(&self) -> usize {
        self.made
    }

    pub fn done(&self) -> bool {
        self.made >= self.load.messages
    }
}

/// What a consumer does with each message: looks at its first eight bytes and its last; with a pace, at the clock.
pub struct Reader {
    paced: bool,
    last: usize,
    sum: u64,
    messages: usize,
    wanted: usize,
    start: Instant,
    late_ns: Vec<u64>,
}

impl Reader {
    fn new(load: Load, start: Instant) -> Reader {
        let paced = load.pace.is_some();
        Reader {
            paced,
            last: load.bytes - 1,
            sum: 0,
            messages: 0,
            wanted: load.messages,
            start,
            late_ns: Vec::with_capacity(if paced { load.messages } else { 0 }),
        }
    }

    #[inline]
    pub fn take(&mut self, message: &[u8]) {
        let (head, _) = message.split_first_chunk::<8>().expect("longer");
        let stamp = u64::from_ne_bytes(*head);
        self.sum = self.sum.wrapping_add(stamp ^ u64::from(message[self.last]));
        self.messages += 1;
        if self.paced {
            let now = u64::try_from(self.start.elapsed().as_nanos()).expect("soon");
            self.late_ns.push(now.saturating_sub(stamp));
        }
    }

    pub fn done(&self) -> bool {
        self.messages >= self.wanted
    }
}

/// The writing end of a peer.
pub trait Offer {
    /// Publishes a batch, or says that there is no room and is asked again.
    fn offer(&mut self, source: &mut Source) -> bool;
}

/// A reading end of a peer.
pub trait Take {
    /// Reads what there is, or says that there is nothing.
    fn take(&mut self, reader: &mut Reader) -> bool;
}

/// How a thread waits that has nothing to do, the same for all who leave that to their user: it looks again some times and
/// then lets others have the processor.
#[derive(Default)]
pub struct Wait(u32);

impl Wait {
    #[inline]
    pub fn once(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(64) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// What came out.
pub struct Outcome {
    /// Messages a second, from the first to the last consumer's last.
    pub rate: f64,
    /// How late each was at each consumer, sorted.
    pub late_ns: Vec<u64>,
}

/// Runs both ends of a peer, each on a thread, looking again and again.
pub fn polled<C: Take + Send>(
    load: Load,
    (mut producer, consumers): (impl Offer, Vec<C>),
) -> Outcome {
    race(
        load,
        consumers,
        |mut source| {
            let mut wait = Wait::default();
            while !source.done() {
                if !producer.offer(&mut source) {
                    wait.once();
                }
            }
        },
        |mut consumer, reader| {
            let mut wait = Wait::default();
            while !reader.done() {
                if !consumer.take(reader) {
                    wait.once();
                }
            }
        },
    )
}

/// Both ends of a peer on one thread, turn by turn: what it costs when nobody waits.
pub fn alone<C: Take>(load: Load, (mut producer, mut consumers): (impl Offer, Vec<C>)) -> Outcome {
    let start = Instant::now();
    let mut source = Source::new(load, start);
    let mut readers: Vec<Reader> = consumers.iter().map(|_| Reader::new(load, start)).collect();
    while !source.done() {
        assert!(producer.offer(&mut source), "there is room");
        for (consumer, reader) in consumers.iter_mut().zip(&mut readers) {
            while consumer.take(reader) {}
        }
    }
    assert!(readers.iter().all(Reader::done));
    let rate = load.messages as f64 / start.elapsed().as_secs_f64();
    Outcome {
        rate,
        late_ns: Vec::new(),
    }
}

/// Runs one producer and its consumers, each on a thread of its own, and looks whether all saw the same.
pub fn race<C: Send>(
    load: Load,
    consumers: Vec<C>,
    produce: impl FnOnce(Source),
    consume: impl Fn(C, &mut Reader) + Sync,
) -> Outcome {
    let ready = Barrier::new(consumers.len() + 1);
    // All threads are there by then; a pace counts from here.
    let start = Instant::now() + Duration::from_millis(if load.pace.is_some() { 20 } else { 0 });
    let (took, readers) = thread::scope(|scope| {
        let threads: Vec<_> = consumers
            .into_iter()
            .map(|consumer| {
                let (ready, consume) = (&ready, &consume);
                scope.spawn(move || {
                    let mut reader = Reader::new(load, start);
                    ready.wait();
                    consume(consumer, &mut reader);
                    (Instant::now(), reader)
                })
            })
            .collect();
        let source = Source::new(load, start);
        ready.wait();
        let from = Instant::now();
        produce(source);
        let ends: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();
        let last = ends.iter().map(|(end, _)| *end).max().expect("a consumer");
        let readers: Vec<Reader> = ends.into_iter().map(|(_, reader)| reader).collect();
        (last - from, readers)
    });
    let mut late_ns = Vec::new();
    for reader in &readers {
        assert_eq!(
            (reader.messages, reader.sum),
            (readers[0].wanted, readers[0].sum),
            "a message is missing"
        );
        late_ns.extend_from_slice(&reader.late_ns);
    }
    black_box(readers[0].sum);
    late_ns.sort_unstable();
    let rate = readers[0].wanted as f64 / took.as_secs_f64();
    Outcome { rate, late_ns }
}
