//! The same load through each of the peers. Where a peer has elements of one size, they are the size of the message.

use std::hint::black_box;
use std::time::Instant;

use disruptor::{BusySpin, EventPoller, SingleProducerBarrier, build_single_producer};
use dunlin_ring::{Claim, Consumer, Policy, Producer, SLAB_BYTES};

use crate::load::{Load, Offer, Outcome, Reader, Source, Take, alone, polled, race};

/// What is measured: both ends on one thread, or each on its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Alone,
    Polled,
}

fn run<C: Take + Send>(how: How, load: Load, ends: (impl Offer, Vec<C>)) -> Outcome {
    match how {
        How::Alone => alone(load, ends),
        How::Polled => polled(load, ends),
    }
}

// === the ring ===

fn both_ends(load: Load) -> (Producer, Vec<Consumer>) {
    let policies = vec![Policy::Block; load.consumers];
    // As many bytes as the elements of the others, which need not fill what there is for them.
    let slabs = (load.room() * load.bytes).div_ceil(SLAB_BYTES);
    dunlin_ring::ring(slabs, &policies).expect("a ring")
}

struct Slabs<const N: usize> {
    producer: Producer,
    batch: usize,
    left: usize,
}

/// Written in place, with a length that the compiler knows, as it knows that of the others' elements.
#[inline]
fn write<const N: usize>(mut claim: Claim<'_>, source: &mut Source) {
    let place: &mut [u8; N] = claim.first_chunk_mut().expect("as long as was asked for");
    source.write(place);
    claim.commit(N);
    source.next();
}

impl<const N: usize> Offer for Slabs<N> {
    #[inline]
    fn offer(&mut self, source: &mut Source) -> bool {
        // Counted in a register, as the others do.
        for left in (1..=self.left).rev() {
            let Ok(claim) = self.producer.try_claim(N) else {
                self.left = left;
                return false;
            };
            write::<N>(claim, source);
        }
        self.producer.publish();
        self.left = self.batch;
        true
    }
}

impl Take for Consumer {
    #[inline]
    fn take(&mut self, reader: &mut Reader) -> bool {
        let Ok(batch) = self.try_batch() else {
            return false;
        };
        for message in batch {
            reader.take(message);
        }
        true
    }
}

pub fn ring<const N: usize>(how: How, load: Load) -> Outcome {
    let (producer, consumers) = both_ends(load);
    let (batch, left) = (load.batch, load.batch);
    run(
        how,
        load,
        (
            Slabs::<N> {
                producer,
                batch,
                left,
            },
            consumers,
        ),
    )
}

/// The ring's own way to wait.
pub fn parked<const N: usize>(load: Load) -> Outcome {
    let (mut producer, consumers) = both_ends(load);
    race(
        load,
        consumers,
        |mut source| {
            while !source.done() {
                for _ in 0..load.batch {
                    producer.wait_for_room(N).expect("fits");
                    let claim = producer.try_claim(N).expect("there is room");
                    write::<N>(claim, &mut source);
                }
                producer.publish();
            }
            drop(producer);
        },
        |mut consumer, reader| {
            while let Some(batch) = consumer.batch() {
                for message in batch {
                    reader.take(message);
                }
            }
        },
    )
}

// === the disruptor crate ===

struct Events<P, const N: usize> {
    producer: P,
    batch: usize,
}

impl<const N: usize, P: disruptor::Producer<[u8; N]>> Offer for Events<P, N> {
    #[inline]
    fn offer(&mut self, source: &mut Source) -> bool {
        let Events { producer, batch } = self;
        if *batch == 1 {
            let done = producer.try_publish(|event| source.write(event));
            if done.is_ok() {
                source.next();
            }
            return done.is_ok();
        }
        let done = producer.try_batch_publish(*batch, |events| {
            for event in events {
                source.write(event);
                source.next();
            }
        });
        done.is_ok()
    }
}

impl<const N: usize> Take for EventPoller<[u8; N], SingleProducerBarrier> {
    #[inline]
    fn take(&mut self, reader: &mut Reader) -> bool {
        let Ok(mut events) = self.poll() else {
            return false;
        };
        for event in &mut events {
            reader.take(event);
        }
        true
    }
}

/// Its builder has another type for the first consumer, the second, and all others.
pub fn disruptor<const N: usize>(how: How, load: Load) -> Outcome {
    let builder = build_single_producer(load.room(), || [0_u8; N], BusySpin);
    let (first, builder) = builder.new_event_poller();
    let batch = load.batch;
    if load.consumers == 1 {
        let producer = builder.build();
        return run(how, load, (Events::<_, N> { producer, batch }, vec![first]));
    }
    let (second, mut builder) = builder.new_event_poller();
    let mut pollers = vec![first, second];
    for _ in 2..load.consumers {
        let (next, more) = builder.new_event_poller();
        pollers.push(next);
        builder = more;
    }
    let producer = builder.build();
    run(how, load, (Events::<_, N> { producer, batch }, pollers))
}

// === rtrb: a ring for each consumer, so a copy for each ===

struct Rings<const N: usize> {
    producers: Vec<rtrb::Producer<[u8; N]>>,
    messages: Vec<[u8; N]>,
}

impl<const N: usize> Offer for Rings<N> {
    #[inline]
    fn offer(&mut self, source: &mut Source) -> bool {
        let batch = self.messages.len();
        if self
            .producers
            .iter()
            .any(|producer| producer.slots() < batch)
        {
            return false;
        }
        for message in &mut self.messages {
            source.write(message);
            source.next();
        }
        for producer in &mut self.producers {
            producer
                .push_entire_slice(&self.messages)
                .expect("there is room");
        }
        true
    }
}

impl<const N: usize> Take for rtrb::Consumer<[u8; N]> {
    #[inline]
    fn take(&mut self, reader: &mut Reader) -> bool {
        let slots = self.slots();
        if slots == 0 {
            return false;
        }
        let chunk = self.read_chunk(slots).expect("as many as there are");
        let (head, tail) = chunk.as_slices();
        head.iter()
            .chain(tail)
            .for_each(|message| reader.take(message));
        chunk.commit_all();
        true
    }
}

pub fn rtrb<const N: usize>(how: How, load: Load) -> Outcome {
    let rings = (0..load.consumers).map(|_| rtrb::RingBuffer::new(load.room()));
    let (producers, consumers): (Vec<_>, Vec<_>) = rings.unzip();
    let messages = vec![[0; N]; load.batch];
    run(
        how,
        load,
        (
            Rings::<N> {
                producers,
                messages,
            },
            consumers,
        ),
    )
}

// === crossbeam-channel: a channel for each consumer; it has no batches, and a way to wait of its own ===

struct Senders<const N: usize>(Vec<crossbeam_channel::Sender<[u8; N]>>, usize);

impl<const N: usize> Offer for Senders<N> {
    #[inline]
    fn offer(&mut self, source: &mut Source) -> bool {
        for _ in 0..self.1 {
            let mut message = [0; N];
            source.write(&mut message);
            source.next();
            for sender in &self.0 {
                sender.send(message).expect("a receiver");
            }
        }
        true
    }
}

impl<const N: usize> Take for crossbeam_channel::Receiver<[u8; N]> {
    #[inline]
    fn take(&mut self, reader: &mut Reader) -> bool {
        let Ok(message) = self.try_recv() else {
            return false;
        };
        reader.take(&message);
        true
    }
}

pub fn crossbeam<const N: usize>(how: How, load: Load) -> Outcome {
    let channels = (0..load.consumers).map(|_| crossbeam_channel::bounded(load.room()));
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
    let mut senders = Senders::<N>(senders, load.batch);
    if how == How::Alone {
        return alone(load, (senders, receivers));
    }
    race(
        load,
        receivers,
        |mut source| {
            while !source.done() {
                senders.offer(&mut source);
            }
            drop(senders);
        },
        |receiver, reader| receiver.iter().for_each(|message| reader.take(&message)),
    )
}

/// The floor: each message is copied once, to memory as large as the ring's window, and nobody is told.
pub fn memcpy<const N: usize>(load: Load) -> f64 {
    // Touched before the clock runs, as the memory of the others is.
    let mut memory = vec![1_u8; load.room() * load.bytes];
    let start = Instant::now();
    let mut source = Source::new(Load { pace: None, ..load }, start);
    while !source.done() {
        let (places, _) = memory.as_chunks_mut::<N>();
        for place in places.iter_mut().take(load.messages) {
            source.write(place);
            source.next();
        }
        black_box(&mut memory);
    }
    source.made() as f64 / start.elapsed().as_secs_f64()
}
