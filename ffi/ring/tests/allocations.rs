//! Zero allocations after the start, on any thread, and zero copies: consumers get the very bytes that the producer wrote.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use dunlin_ring::{MESSAGE_BYTES_MAX, Policy, ring};

struct Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all is passed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one that is asked for; the memory came from `alloc` above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Of one test alone, for the counter is the process's.
#[test]
fn nothing_is_allocated_and_nothing_is_copied() {
    let policies = [Policy::Block, Policy::Skip, Policy::Skip];
    let (mut producer, consumers) = ring(4, &policies).expect("a ring");
    let (started, done, counted) = (Barrier::new(4), Barrier::new(4), Barrier::new(4));
    let allocated = thread::scope(|scope| {
        for (which, mut consumer) in consumers.into_iter().enumerate() {
            let (started, done, counted) = (&started, &done, &counted);
            scope.spawn(move || {
                // A thread's first wait makes its handle.
                drop(thread::current());
                started.wait();
                let (mut messages, mut bytes) = (0_u64, 0);
                while let Some(batch) = consumer.batch() {
                    messages += batch.lost();
                    for message in batch {
                        // Each message is its own address, as the producer saw it.
                        assert_eq!(message[..8], message.as_ptr().addr().to_ne_bytes());
                        messages += 1;
                        bytes += message.len();
                    }
                    if which == 2 {
                        thread::yield_now();
                    }
                    if messages == 200_000 {
                        break;
                    }
                }
                done.wait();
                counted.wait();
                assert!(bytes > 0);
            });
        }
        started.wait();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for number in 0..200_000 {
            let length = 8 + number % 120;
            producer.wait_for_room(length).expect("fits");
            let mut claim = producer.try_claim(length).expect("there is room");
            let address = claim.as_ptr().addr().to_ne_bytes();
            claim[..8].copy_from_slice(&address);
            claim.commit(length);
            if number % 32 == 0 {
                producer.publish();
            }
        }
        producer.publish();
        done.wait();
        let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
        counted.wait();
        allocated
    });
    assert_eq!(allocated, 0);
    // The counter counts.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(vec![0_u8; MESSAGE_BYTES_MAX]);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1);
}
