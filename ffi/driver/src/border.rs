//! The border between Rust and a driver: nothing unwinds over it.
//!
//! A C++ exception, or a thread that ends itself, unwinds frame after frame and would run through ours. The functions of
//! the table are declared as such that may do that (`C-unwind`), so that it is defined what happens, and what happens is
//! the end of the process before a single frame of ours is left: here, or, where panics abort (the release profile),
//! in what the compiler puts around such a call.

/// Exit code of a host whose driver let something unwind, `EX_SOFTWARE` of sysexits.h.
const EXIT_UNWOUND: i32 = 70;

struct Unwound;

impl Drop for Unwound {
    fn drop(&mut self) {
        eprintln!("driver-host: an exception left the driver");
        // SAFETY: _exit has no preconditions, and runs no code of the driver.
        unsafe { libc::_exit(EXIT_UNWOUND) }
    }
}

/// Makes a call into the driver. Returns only where the driver did.
pub(crate) fn bordered<R>(call: impl FnOnce() -> R) -> R {
    let unwound = Unwound;
    let answer = call();
    // The driver returned, so the guard has nothing to guard.
    let _ = std::mem::ManuallyDrop::new(unwound);
    answer
}
