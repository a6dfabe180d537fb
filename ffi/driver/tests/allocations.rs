//! The steady state allocates nothing: counted, on both sides of the process border.

mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dunlin_driver::{Device, Host, Library};
use kit::{driver, hostile, runtime};

struct Counting;

thread_local! {
    /// Of this thread: the harness has another one, which allocates when it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A number with no destructor: to look at it allocates nothing, and works while a thread begins and ends.
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

fn counted() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: hands everything on to the system's allocator, with the arguments that it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const READS: u32 = 5_000;

#[test]
fn reads_allocate_nothing_in_the_host_and_nothing_in_the_agent() {
    // In this process, as the host calls it: the only Rust code that runs is that of the layer.
    // SAFETY: our own example in a mode that keeps the rules.
    let library = unsafe { Library::open(&driver("hostile")) }.expect("loads");
    let options = [("mode".to_owned(), "good".to_owned())];
    let mut device = Device::open(&library, &options).expect("opens");
    let before_the_first = counted();
    device.read(8, 0).expect("reads");
    device.read_frames(4, 0).expect("reads");
    let warm = counted();
    assert!(
        warm > before_the_first,
        "the count counts: buffers grow once"
    );
    for _ in 0..READS {
        assert_eq!(device.read(8, 0).expect("reads").len(), 3);
        assert_eq!(device.read_frames(4, 0).expect("reads").len(), 1);
    }
    assert_eq!(counted() - warm, 0, "host");
    device.close().expect("closes");

    // The agent's side: request, reply and batch are kept from call to call.
    let mut spec = hostile("good", "");
    spec.limits.cpu_percent = None;
    spec.limits.threads = None;
    let grown = runtime().block_on(async {
        let mut host = Host::spawn(&spec).expect("starts");
        host.open().await.expect("opens");
        for _ in 0..100 {
            host.read(8, 500).await.expect("reads");
        }
        // Where each reply is there at once the task's budget runs out, and the first time tokio's list of tasks that
        // yielded grows by one. That it happens here does not depend on how fast the host is.
        for _ in 0..1_000 {
            tokio::task::consume_budget().await;
        }
        let warm = counted();
        for _ in 0..READS {
            assert_eq!(host.read(8, 500).await.expect("reads").len(), 3);
        }
        counted() - warm
    });
    assert_eq!(grown, 0, "agent");
}
