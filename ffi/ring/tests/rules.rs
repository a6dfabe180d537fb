//! What a ring promises, one promise a test, on one thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use dunlin_ring::{
    Consumer, Error, Idle, MESSAGE_BYTES_MAX, Pages, Policy, Producer, Refused, ring,
};

/// A message of these fills a slab.
const WHOLE: usize = MESSAGE_BYTES_MAX;

fn one(slabs: usize, policy: Policy) -> (Producer, Consumer) {
    let (producer, mut consumers) = ring(slabs, &[policy]).expect("a ring");
    (producer, consumers.remove(0))
}

fn texts(consumer: &mut Consumer) -> Vec<String> {
    let batch = consumer.try_batch().into_iter().flatten();
    batch
        .map(|message| String::from_utf8_lossy(message).into_owned())
        .collect()
}

#[test]
fn nothing_is_seen_before_it_is_published() {
    let (mut producer, mut consumer) = one(3, Policy::Block);
    producer.push(b"one").expect("fits");
    assert_eq!(consumer.try_batch().err(), Some(Idle::Empty));
    producer.publish();
    producer.push(b"two").expect("fits");
    assert_eq!(texts(&mut consumer), ["one"]);
    assert_eq!(consumer.try_batch().err(), Some(Idle::Empty));
    drop(producer);
    assert_eq!(texts(&mut consumer), ["two"]);
    assert_eq!(consumer.try_batch().err(), Some(Idle::Closed));
    assert!(consumer.batch().is_none());
}

#[test]
fn the_producer_never_passes_who_blocks() {
    let (mut producer, mut consumer) = one(4, Policy::Block);
    for _ in 0..4 {
        producer
            .try_push(&vec![7; WHOLE])
            .expect("a window of slabs");
    }
    assert_eq!(producer.try_push(b""), Err(Refused::Full));
    let batch = consumer.try_batch().expect("the first slab");
    assert_eq!(batch.iter().map(<[u8]>::len).collect::<Vec<_>>(), [WHOLE]);
    // It is still lent.
    assert_eq!(producer.try_push(b""), Err(Refused::Full));
    assert!(consumer.try_batch().is_ok());
    producer.try_push(b"").expect("the first slab is free");
    drop(consumer);
    for _ in 0..100 {
        producer
            .try_push(&vec![7; WHOLE])
            .expect("nobody is left to wait for");
    }
}

#[test]
fn what_is_lost_is_counted_to_the_message() {
    let (mut producer, mut consumer) = one(4, Policy::Skip);
    // Slab 0 with three messages, of which two are read; then 40 slabs of two messages.
    producer.push(b"a").expect("fits");
    producer.push(b"b").expect("fits");
    producer.publish();
    assert_eq!(texts(&mut consumer), ["a", "b"]);
    producer.push(&vec![0; WHOLE / 2]).expect("fits");
    for number in 0..40_u8 {
        producer.push(&vec![number; WHOLE / 2]).expect("fits");
        producer.push(&vec![number; WHOLE / 2 - 2]).expect("fits");
    }
    producer.publish();
    // The slab that it holds was set aside, and is read to its end.
    let batch = consumer.try_batch().expect("the rest of slab 0");
    assert_eq!((batch.lost(), batch.iter().count()), (0, 1));
    let batch = consumer.try_batch().expect("what is in the window");
    let first = batch.iter().next().expect("a message")[0];
    // Half a window behind slab 40, which has message 39.
    assert_eq!(first, 37);
    assert_eq!(batch.lost(), 2 * u64::from(first));
    assert_eq!(consumer.lost(), 74);
}

#[test]
fn a_slab_that_is_held_stays_as_it_is() {
    let (mut producer, mut consumers) = ring(3, &[Policy::Skip; 3]).expect("a ring");
    producer.push(&vec![1; WHOLE]).expect("fits");
    producer.publish();
    let mut left = consumers.iter_mut();
    let held: Vec<&[u8]> = left
        .by_ref()
        .map(|consumer| {
            consumer
                .try_batch()
                .expect("slab 0")
                .iter()
                .next()
                .expect("a message")
        })
        .collect();
    let whole = vec![1; WHOLE];
    for _ in 0..50 {
        producer.push(&vec![2; WHOLE]).expect("fits");
        producer.publish();
        assert!(held.iter().all(|message| **message == whole));
    }
}

/// The table alone fills a slab: each message has two bytes of it, and what is on top two more.
#[test]
fn messages_without_a_byte_fill_slabs() {
    let (mut producer, mut consumer) = one(4, Policy::Block);
    for _ in 0..100_000 {
        producer.try_push(&[]).expect("a window of slabs");
    }
    drop(producer);
    let mut batches = Vec::new();
    while let Ok(batch) = consumer.try_batch() {
        assert!(batch.iter().all(<[u8]>::is_empty));
        batches.push(batch.iter().len());
    }
    assert_eq!(batches, [32_767, 32_767, 32_767, 1_699]);
}

#[test]
fn bounds_are_said() {
    for slabs in [0, 2, 16_385] {
        assert!(matches!(
            ring(slabs, &[Policy::Skip]),
            Err(Error::Slabs { .. })
        ));
    }
    assert!(matches!(
        ring(3, &[]),
        Err(Error::Consumers { consumers: 0 })
    ));
    assert!(matches!(
        ring(3, &[Policy::Skip; 65]),
        Err(Error::Consumers { .. })
    ));
    let (mut producer, mut consumers) = ring(3, &[Policy::Skip; 64]).expect("as many as may be");
    let long = Err(Refused::TooLong { bytes: WHOLE + 1 });
    assert_eq!(producer.push(&vec![0; WHOLE + 1]), long);
    assert_eq!(producer.wait_for_room(WHOLE + 1), long);
    producer.push(&vec![0; WHOLE]).expect("fits");
    producer.publish();
    assert!(
        consumers
            .iter_mut()
            .all(|consumer| consumer.try_batch().is_ok())
    );
}

#[test]
fn the_kind_of_pages_is_what_the_kernel_says() {
    let (producer, consumer) = one(64, Policy::Block);
    assert_eq!(producer.pages(), consumer.pages());
    let free = |name: &str| {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    if free("nr_hugepages") == 0 && free("nr_overcommit_hugepages") == 0 {
        assert_ne!(producer.pages(), Pages::Huge);
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn tasks_are_woken_once_for_what_they_wait_for() {
    let (mut producer, mut consumer) = one(3, Policy::Block);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let woken = || count.0.load(Ordering::Relaxed);
    // One that is asked for, and then given up, takes nothing with it.
    assert!(pin!(consumer.next()).poll(&mut context).is_pending());
    assert_eq!(woken(), 0);
    producer.push(b"x").expect("fits");
    producer.publish();
    assert_eq!(woken(), 1);
    assert!(matches!(
        pin!(consumer.next()).poll(&mut context),
        Poll::Ready(Some(_))
    ));
    producer.push(b"y").expect("fits");
    producer.publish();
    assert_eq!(woken(), 1, "nobody waits");
    for _ in 0..2 {
        producer.try_push(&vec![0; WHOLE]).expect("fits");
    }
    assert!(producer.poll_room(&mut context, WHOLE).is_pending());
    assert!(consumer.try_batch().is_ok());
    assert_eq!(woken(), 1, "the first slab is still held");
    assert!(consumer.try_batch().is_ok());
    assert_eq!(woken(), 2);
    assert_eq!(producer.poll_room(&mut context, WHOLE), Poll::Ready(Ok(())));
    while consumer.try_batch().is_ok() {}
    assert!(pin!(consumer.next()).poll(&mut context).is_pending());
    drop(producer);
    assert_eq!(woken(), 3, "the end is something to wake for");
    assert!(matches!(
        pin!(consumer.next()).poll(&mut context),
        Poll::Ready(None)
    ));
}
