//! A producer and consumers of both policies, each on a thread of its own, for `scripts/tsan.sh` and
//! without. Every byte of a message is a function of its number, so that one that was overwritten is seen.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use dunlin_ring::{Batch, Consumer, Policy, Producer, ring};

const MESSAGES: u64 = 60_000;

/// Lengths of 8 to 2007 bytes: 2,000 slabs in all.
fn length(number: u64) -> usize {
    usize::try_from(8 + number * 7919 % 2000).expect("short")
}

fn fill(message: &mut [u8], number: u64) {
    let (head, rest) = message.split_at_mut(8);
    head.copy_from_slice(&number.to_le_bytes());
    rest.fill(number.to_le_bytes()[0]);
}

fn produce(producer: &mut Producer) {
    for number in 0..MESSAGES {
        producer.wait_for_room(length(number)).expect("fits");
        let mut claim = producer.try_claim(length(number)).expect("there is room");
        fill(&mut claim, number);
        claim.commit(length(number));
        if number % 17 == 0 {
            producer.publish();
        }
    }
}

/// Checks each byte, and says how many messages there were, with those before them that were lost.
fn check(batch: Batch<'_>, mut number: u64) -> u64 {
    let from = number;
    number += batch.lost();
    for message in batch {
        let (head, rest) = message.split_at(8);
        assert_eq!(head, number.to_le_bytes());
        assert_eq!(message.len(), length(number));
        assert!(rest.iter().all(|byte| *byte == head[0]), "message {number}");
        number += 1;
    }
    number - from
}

/// Reads to the end, with a nap every so many batches.
fn consume(mut consumer: Consumer, nap_every: u64) -> u64 {
    let (mut number, mut batches) = (0, 0);
    while let Some(batch) = consumer.batch() {
        number += check(batch, number);
        batches += 1;
        if batches % nap_every == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(number, MESSAGES, "all were read or lost");
    consumer.lost()
}

#[test]
fn who_blocks_loses_nothing_and_who_skips_knows_what() {
    let policies = [Policy::Block, Policy::Block, Policy::Skip, Policy::Skip];
    let (mut producer, consumers) = ring(4, &policies).expect("a ring");
    let naps = [u64::MAX, 500, u64::MAX, 3];
    let threads: Vec<_> = consumers
        .into_iter()
        .zip(naps)
        .map(|(consumer, nap)| thread::spawn(move || consume(consumer, nap)))
        .collect();
    produce(&mut producer);
    drop(producer);
    let lost: Vec<u64> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect();
    assert_eq!(lost[..2], [0, 0]);
}

#[test]
fn a_producer_that_waits_for_nobody_laps() {
    let (mut producer, mut consumers) = ring(4, &[Policy::Skip; 2]).expect("a ring");
    let fast = consumers.remove(0);
    let fast = thread::spawn(move || consume(fast, u64::MAX));
    let slow = consumers.remove(0);
    let slow = thread::spawn(move || consume(slow, 1));
    produce(&mut producer);
    drop(producer);
    fast.join().expect("no panic");
    assert!(slow.join().expect("no panic") > 0, "nothing was lapped");
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor there is.
fn block_on<T>(task: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut task = pin!(task);
    loop {
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn tasks_on_both_ends_lose_nothing() {
    let (mut producer, mut consumers) = ring(3, &[Policy::Block]).expect("a ring");
    let mut consumer = consumers.remove(0);
    let reader = thread::spawn(move || {
        let mut number = 0;
        block_on(async {
            while let Some(batch) = consumer.next().await {
                number += check(batch, number);
            }
            number
        })
    });
    block_on(async {
        for number in 0..MESSAGES {
            let room = poll_fn(|context| producer.poll_room(context, length(number)));
            room.await.expect("fits");
            let mut message = vec![0; length(number)];
            fill(&mut message, number);
            producer.try_push(&message).expect("there is room");
            if number % 5 == 0 {
                producer.publish();
            }
        }
    });
    drop(producer);
    assert_eq!(reader.join().expect("no panic"), MESSAGES);
}
