//! Not tests of ours but of the watch: what is wrong here must be found, or a script that sees nothing says so.
//! scripts/asan.sh and scripts/tsan.sh run a test each, past the filter of their profile, and want to see it fail.
#![cfg(dunlin_asan)]

mod kit;

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};

use dunlin_driver::{Device, Library};

/// Memory that C loses, in a driver that a test in Rust opens and closes.
#[test]
fn planted_leak() {
    // SAFETY: our own example; this mode neither crashes nor writes where it must not.
    let library = unsafe { Library::open(&kit::driver("hostile")) }.expect("loads");
    let options = [("mode".to_owned(), "leak-a-little".to_owned())];
    // The driver remembers 4096 of its allocations, which are then no leak.
    for _ in 0..5000 {
        let device = Device::open(&library, &options).expect("opens");
        device.close().expect("closes");
    }
}

struct Shared(UnsafeCell<u32>);

// SAFETY: false, which is the point: two threads write to it without an order between them.
unsafe impl Sync for Shared {}

/// Two threads write in turn with nothing but a relaxed count between them, which orders nothing: the test finds its race
/// each time. Neither ends before the other has written, because the watch tells no race with a thread whose trace is gone.
#[test]
fn planted_race() {
    static SHARED: Shared = Shared(UnsafeCell::new(0));
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let write = |turn| {
        for at in 0..20 {
            while WRITES.load(Ordering::Relaxed) < 2 * at + turn {
                std::thread::yield_now();
            }
            // SAFETY: none, see above; the value is never looked at.
            unsafe { *SHARED.0.get() = at };
            WRITES.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(0));
        write(1);
    });
}
