//! The ring under loom, which tries every order of steps and every value that a load may see, up to a number of
//! preemptions. Slabs have 16 bytes here: room for one message of eight bytes and two empty ones, which
//! leave nothing between messages and table. Each word of the pool is
//! watched: a write that does not come after all reads, or a read not after the write, fails.

use loom::thread;

use crate::batch::{ENTRY_BYTES, table};
use crate::shared::messages_of;
use crate::{Batch, Consumer, Policy, Producer, ring};

/// Runs a model in every order with up to so many preemptions.
fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

fn one(policy: Policy) -> (Producer, Consumer) {
    let (producer, mut consumers) = ring(3, &[policy]).expect("a ring");
    (producer, consumers.remove(0))
}

/// Messages that say which they are, each in a slab of its own, published one by one.
fn produce(producer: &mut Producer, messages: u64) {
    for number in 0..messages {
        producer.push(&number.to_ne_bytes()).expect("fits");
        producer.publish();
        producer.push(&[]).expect("fits");
        producer.push(&[]).expect("fits");
    }
}

/// The number of the message after these, of which the first would have had this number if nothing was lost.
fn check(batch: Batch<'_>, mut number: u64) -> u64 {
    number += batch.lost();
    for message in batch {
        if number.is_multiple_of(3) {
            let said = u64::from_ne_bytes(message.try_into().expect("eight bytes"));
            assert_eq!(said, number / 3);
        } else {
            assert!(message.is_empty());
        }
        number += 1;
    }
    number
}

/// What a batch lends, in bytes: the slab up to its last message, and its part of the table.
fn extent(batch: Batch<'_>) -> (usize, usize) {
    (batch.bytes.len(), batch.entries.len() * ENTRY_BYTES)
}

/// The batch of this extent that was read last was in use until here.
fn used(consumer: &Consumer, (bytes, entries_bytes): (usize, usize)) {
    let (pool, piece) = (&consumer.shared.pool, consumer.piece);
    pool.read(piece, 0, bytes);
    pool.read(piece, table(messages_of(consumer.position)), entries_bytes);
}

/// Takes what there is, and says the number of the next message.
fn take(consumer: &mut Consumer, number: u64) -> u64 {
    let Ok(batch) = consumer.try_batch() else {
        return number;
    };
    let (next, extent) = (check(batch, number), extent(batch));
    used(consumer, extent);
    next
}

/// Takes all there is until the producer is gone, waiting where there is nothing.
fn take_all(consumer: &mut Consumer) -> u64 {
    let mut number = 0;
    while let Some(batch) = consumer.batch() {
        let extent = extent(batch);
        number = check(batch, number);
        used(consumer, extent);
    }
    number
}

#[test]
fn what_is_published_is_read_whole() {
    model(3, || {
        let (mut producer, mut consumer) = one(Policy::Block);
        let reader = thread::spawn(move || {
            let mut number = 0;
            for _ in 0..3 {
                number = take(&mut consumer, number);
            }
            assert_eq!(consumer.lost(), 0);
        });
        produce(&mut producer, 2);
        drop(producer);
        reader.join().expect("no panic");
    });
}

#[test]
fn a_lapped_consumer_reads_no_byte_that_is_written() {
    model(3, || {
        let (mut producer, mut consumer) = one(Policy::Skip);
        let writer = thread::spawn(move || {
            // Nobody is waited for.
            produce(&mut producer, 7);
        });
        let mut number = 0;
        for _ in 0..3 {
            number = take(&mut consumer, number);
        }
        writer.join().expect("no panic");
        while let Some(batch) = consumer.batch() {
            number = check(batch, number);
        }
        assert_eq!(number, 21, "what was read and what was lost");
    });
}

#[test]
fn the_producer_waits_for_who_blocks_and_is_woken() {
    model(2, || {
        let (mut producer, mut consumer) = one(Policy::Block);
        let writer = thread::spawn(move || produce(&mut producer, 5));
        assert_eq!(take_all(&mut consumer), 15);
        assert_eq!(consumer.lost(), 0);
        writer.join().expect("no panic");
    });
}

#[test]
fn two_consumers_each_by_its_policy() {
    model(2, || {
        let (mut producer, mut consumers) =
            ring(3, &[Policy::Block, Policy::Skip]).expect("a ring");
        let mut skipping = consumers.remove(1);
        let mut blocking = consumers.remove(0);
        let first = thread::spawn(move || assert_eq!(take_all(&mut blocking), 12));
        let second = thread::spawn(move || take(&mut skipping, 0));
        produce(&mut producer, 4);
        drop(producer);
        first.join().expect("no panic");
        second.join().expect("no panic");
    });
}
