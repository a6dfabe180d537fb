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

/// Two writes with nothing but a relaxed flag between them, which orders nothing: the test finds its race each time.
#[test]
fn planted_race() {
    static SHARED: Shared = Shared(UnsafeCell::new(0));
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: none, see above; the value is never looked at.
            unsafe { *SHARED.0.get() = 1 };
            WRITTEN.store(1, Ordering::Relaxed);
        });
        while WRITTEN.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        // SAFETY: none, see above.
        unsafe { *SHARED.0.get() = 2 };
    });
}
