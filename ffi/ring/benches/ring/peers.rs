//! The same load through each of the peers. Where a peer has elements of one size, they are the size of the message.

use std::hint::black_box;
use std::time::Instant;

use disruptor::{BusySpin, EventPoller, Polling, SingleProducerBarrier, build_single_producer};
use dunlin_ring::{Idle, Policy, Refused, SLAB_BYTES, ring};
use rtrb::chunks::ChunkError;

use crate::load::{Load, Outcome, Reader, Source, Wait, race};

/// The ring, as its users use it: its own way to wait.
pub fn parked(load: Load) -> Outcome {
    let (mut producer, consumers) = ring(
        crate::WINDOW_BYTES / SLAB_BYTES,
        &vec![Policy::Block; load.consumers],
    )
    .expect("a ring");
    race(
        load,
        consumers,
        |mut source| {
            for _ in 0..source.batches() {
                for _ in 0..load.batch {
                    producer.push(source.message()).expect("fits");
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

/// The ring, looked at again and again.
pub fn polled(load: Load) -> Outcome {
    let (mut producer, consumers) = ring(
        crate::WINDOW_BYTES / SLAB_BYTES,
        &vec![Policy::Block; load.consumers],
    )
    .expect("a ring");
    race(
        load,
        consumers,
        |mut source| {
            let mut wait = Wait::default();
            for _ in 0..source.batches() {
                for _ in 0..load.batch {
                    let message = source.message();
                    while let Err(refused) = producer.try_push(message) {
                        assert_eq!(refused, Refused::Full);
                        wait.once();
                    }
                }
                producer.publish();
            }
        },
        |mut consumer, reader| {
            let mut wait = Wait::default();
            while !reader.done() {
                match consumer.try_batch() {
                    Ok(batch) => batch.iter().for_each(|message| reader.take(message)),
                    Err(Idle::Empty) => wait.once(),
                    Err(Idle::Closed) => break,
                }
            }
        },
    )
}

type Poller<const N: usize> = EventPoller<[u8; N], SingleProducerBarrier>;

/// The disruptor crate, polled, its producer too. It has another type for each number of consumers up to two.
pub fn disruptor<const N: usize>(load: Load) -> Outcome {
    let (first, builder) =
        build_single_producer(load.room(), || [0_u8; N], BusySpin).new_event_poller();
    if load.consumers == 1 {
        return disrupted(load, vec![first], builder.build());
    }
    let (second, mut builder) = builder.new_event_poller();
    let mut pollers = vec![first, second];
    for _ in 2..load.consumers {
        let (next, more) = builder.new_event_poller();
        pollers.push(next);
        builder = more;
    }
    disrupted(load, pollers, builder.build())
}

fn disrupted<const N: usize>(
    load: Load,
    pollers: Vec<Poller<N>>,
    mut producer: impl disruptor::Producer<[u8; N]>,
) -> Outcome {
    race(
        load,
        pollers,
        |mut source| {
            let mut wait = Wait::default();
            for _ in 0..source.batches() {
                if load.batch == 1 {
                    let message = source.message();
                    while producer
                        .try_publish(|event| event.copy_from_slice(message))
                        .is_err()
                    {
                        wait.once();
                    }
                } else {
                    let mut fill = |events: &mut dyn Iterator<Item = &mut [u8; N]>| {
                        events.for_each(|event| event.copy_from_slice(source.message()));
                    };
                    while producer
                        .try_batch_publish(load.batch, |mut events| fill(&mut events))
                        .is_err()
                    {
                        wait.once();
                    }
                }
            }
        },
        |mut poller: Poller<N>, reader| {
            let mut wait = Wait::default();
            while !reader.done() {
                match poller.poll() {
                    Ok(mut events) => (&mut events).for_each(|event| reader.take(event)),
                    Err(Polling::NoEvents) => wait.once(),
                    Err(Polling::Shutdown) => break,
                }
            }
        },
    )
}

/// rtrb: a ring for each consumer, so a copy for each.
pub fn rtrb<const N: usize>(load: Load) -> Outcome {
    let rings = (0..load.consumers).map(|_| rtrb::RingBuffer::<[u8; N]>::new(load.room()));
    let (mut producers, consumers): (Vec<_>, Vec<_>) = rings.unzip();
    race(
        load,
        consumers,
        |mut source| {
            let mut wait = Wait::default();
            let mut messages = vec![[0_u8; N]; load.batch];
            for _ in 0..source.batches() {
                for message in &mut messages {
                    message.copy_from_slice(source.message());
                }
                for producer in &mut producers {
                    while let Err(ChunkError::TooFewSlots(_)) =
                        producer.push_entire_slice(&messages)
                    {
                        wait.once();
                    }
                }
            }
        },
        |mut consumer, reader| {
            let mut wait = Wait::default();
            while !reader.done() {
                let slots = consumer.slots();
                if slots == 0 {
                    wait.once();
                    continue;
                }
                let chunk = consumer.read_chunk(slots).expect("as many as there are");
                let (head, tail) = chunk.as_slices();
                head.iter()
                    .chain(tail)
                    .for_each(|message| reader.take(message));
                chunk.commit_all();
            }
        },
    )
}

/// crossbeam-channel: a bounded channel for each consumer, with its own way to wait. It has no batches.
pub fn crossbeam<const N: usize>(load: Load) -> Outcome {
    let channels = (0..load.consumers).map(|_| crossbeam_channel::bounded::<[u8; N]>(load.room()));
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
    race(
        load,
        receivers,
        |mut source: Source| {
            for _ in 0..source.batches() * load.batch {
                let message: [u8; N] = source.message().try_into().expect("of this length");
                for sender in &senders {
                    sender.send(message).expect("a receiver");
                }
            }
            drop(senders);
        },
        |receiver, reader: &mut Reader| {
            for message in receiver {
                reader.take(&message);
            }
        },
    )
}

/// The floor: each message is copied once, to memory as large as the ring's window, and nobody is told.
pub fn memcpy(load: Load) -> f64 {
    let start = Instant::now();
    let mut source = Source::new(Load { pace: None, ..load }, start);
    let mut memory = vec![0_u8; load.room() * load.bytes];
    let mut rounds = 0;
    while rounds < load.messages {
        for place in memory.chunks_exact_mut(load.bytes) {
            place.copy_from_slice(black_box(source.message()));
            rounds += 1;
        }
        black_box(&mut memory);
    }
    rounds as f64 / start.elapsed().as_secs_f64()
}
