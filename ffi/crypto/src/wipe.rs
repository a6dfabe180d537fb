//! Memory of OpenSSL's is wiped when it is freed. OpenSSL wipes what it knows to be secret, but not every copy: reading a
//! private key from PEM leaves one behind, in 3.0 as in 4.0.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Once;

type Malloc = unsafe extern "C" fn(usize, *const c_char, c_int) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void, *const c_char, c_int);

unsafe extern "C" {
    fn CRYPTO_set_mem_functions(malloc: Malloc, realloc: Realloc, free: Free) -> c_int;
}

/// Called before anything else of OpenSSL, which changes its allocator only before its first allocation. Where other code
/// in the process was faster, OpenSSL stays as it is.
pub(crate) fn on_free() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // SAFETY: the three are those of the C library, but for the wiping, and OpenSSL allocates by them only from here on.
        unsafe { CRYPTO_set_mem_functions(malloc, realloc, free) };
    });
}

unsafe extern "C" fn malloc(bytes: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // SAFETY: malloc has no preconditions.
    unsafe { libc::malloc(bytes) }
}

unsafe extern "C" fn free(block: *mut c_void, _file: *const c_char, _line: c_int) {
    if block.is_null() {
        return;
    }
    // SAFETY: OpenSSL frees what it allocated by `malloc` or `realloc` here, once.
    unsafe { wipe(block) };
    // SAFETY: as above.
    unsafe { libc::free(block) };
}

/// Always moves: the C library's own would leave the old bytes behind where it moves.
unsafe extern "C" fn realloc(
    block: *mut c_void,
    bytes: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    // SAFETY: malloc has no preconditions.
    let new = unsafe { libc::malloc(bytes) };
    if block.is_null() || new.is_null() {
        return new;
    }
    // SAFETY: OpenSSL hands back a block that it has.
    let old_bytes = unsafe { libc::malloc_usable_size(block) };
    // SAFETY: both blocks have that many bytes, and are two.
    unsafe { ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast(), old_bytes.min(bytes)) };
    // SAFETY: OpenSSL uses the new block from here on.
    unsafe { free(block, file, line) };
    new
}

/// # Safety
/// `block` is one that the C library allocated, and nobody reads it any more.
unsafe fn wipe(block: *mut c_void) {
    // SAFETY: the caller's promise.
    let bytes = unsafe { libc::malloc_usable_size(block) };
    // Not left out by the compiler, although the block is freed next.
    // SAFETY: the block has that many bytes, and they are ours to use.
    unsafe { libc::explicit_bzero(block, bytes) };
}
