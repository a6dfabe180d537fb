//! What a host says when its driver kills it: which signal, where, and whether that was memory it had been lent.
//!
//! A signal handler, so it does only what signal-safety(7) lists: reads atomics and a file descriptor that is open
//! already, sends one message, puts the earlier handler back and returns; the instruction then faults again and the
//! process dies as it would have died without us, of the real signal.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::protocol::{LastWords, encode_last_words};
use crate::regions;

const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGILL,
    libc::SIGFPE,
];

static SOCKET: AtomicI32 = AtomicI32::new(-1);
static STATM: AtomicI32 = AtomicI32::new(-1);
static PAGE_KB: AtomicUsize = AtomicUsize::new(4);
static EARLIER: [OnceLock<libc::sigaction>; SIGNALS.len()] =
    [const { OnceLock::new() }; SIGNALS.len()];

/// Sends last words to `socket` from now on. `statm` is `/proc/self/statm`, opened before the sandbox; -1 = none.
pub(crate) fn listen(socket: RawFd, statm: RawFd) {
    SOCKET.store(socket, Ordering::Relaxed);
    STATM.store(statm, Ordering::Relaxed);
    PAGE_KB.store(crate::buffer::page_bytes() / 1024, Ordering::Relaxed);
    for (signal, earlier) in SIGNALS.into_iter().zip(&EARLIER) {
        let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zeroed bytes are a sigaction: integers, an empty set, a null pointer.
        let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
        new.sa_sigaction = handler as libc::sighandler_t;
        // ONSTACK: after a stack overflow there is no other stack to run on.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both structs are valid for the call; the handler is async-signal-safe, see above.
        let answer = unsafe { libc::sigaction(signal, &raw const new, old.as_mut_ptr()) };
        if answer == 0 {
            // SAFETY: sigaction has filled it in; it was initialised with zeroes before.
            let _ = earlier.set(unsafe { old.assume_init() });
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler.
    let code = unsafe { (*info).si_code };
    // Codes above zero come from the kernel and carry an address; raise and abort carry none.
    let from_kernel = code > 0 && code != libc::SI_KERNEL;
    let address = if from_kernel {
        // SAFETY: valid siginfo, as above; it lives until the handler returns.
        let info = unsafe { &*info };
        // SAFETY: a fault that the kernel reports carries an address.
        unsafe { info.si_addr() }.addr()
    } else {
        0
    };
    let found = if from_kernel {
        regions::find(address)
    } else {
        None
    };
    let words = LastWords {
        signal,
        region: found.map_or(0, |(region, _)| region.number()),
        place: found.map_or(0, |(_, place)| place.number()),
        address: address as u64,
        memory_kb: memory_kb(),
    };
    let message = encode_last_words(&words);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let socket = SOCKET.load(Ordering::Relaxed);
    // SAFETY: the message is a local of that length; a bad descriptor is an error that nobody needs.
    unsafe { libc::send(socket, message.as_ptr().cast(), message.len(), flags) };
    if code <= 0 {
        // Somebody sent it, so no instruction will fault again, and the earlier handler may count on that.
        // SAFETY: zeroed bytes are the default action: SIG_DFL is 0, signal.h.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the default action is always valid; sigaction is async-signal-safe.
        unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
        // SAFETY: raise has no preconditions; the signal is delivered when the handler returns.
        unsafe { libc::raise(signal) };
        return;
    }
    for (known, earlier) in SIGNALS.into_iter().zip(&EARLIER) {
        if known == signal
            && let Some(earlier) = earlier.get()
        {
            // SAFETY: an action that the system gave us for this very signal.
            unsafe { libc::sigaction(signal, earlier, std::ptr::null_mut()) };
        }
    }
}

/// Size of the address space in KiB: the first field of `/proc/self/statm`, in pages, proc(5). 0 where not known.
fn memory_kb() -> u64 {
    let mut text = [0u8; 64];
    let statm = STATM.load(Ordering::Relaxed);
    // SAFETY: the buffer is a local of that length; a bad descriptor is an error.
    let count = unsafe { libc::pread(statm, text.as_mut_ptr().cast(), text.len(), 0) };
    let mut pages: u64 = 0;
    for byte in text.iter().take(usize::try_from(count).unwrap_or(0)) {
        if !byte.is_ascii_digit() {
            break;
        }
        pages = pages.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
    }
    pages.wrapping_mul(PAGE_KB.load(Ordering::Relaxed) as u64)
}
