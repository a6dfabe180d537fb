//! Guarded memory that is lent to a driver for one call.
//!
//! ```text
//!   guard page | lead-in (canary) | lent bytes | guard page
//!    PROT_NONE |          body: read and write | PROT_NONE
//! ```
//! The lent bytes end flush with the second guard page, so that the first byte past them faults. The lead-in, less than
//! a page, is filled with a canary and checked after the call; everything before it is `PROT_NONE`. While nothing is lent the body is `PROT_NONE` as well: a pointer that a driver kept faults when it is used.
//! A mapping is made once and lent again and again, so that the steady state allocates nothing.
//!
//! After the call the body is made read-only *before* it is looked at. A thread of the driver that still writes then
//! faults, and what was checked cannot change between check and use; that is also why slices into it are sound.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use dunlin_driver_sys as sys;
use nix::sys::mman::{self, MapFlags, ProtFlags};

use crate::regions::{self, Region};

/// Byte that fills the lead-in.
const CANARY: u8 = 0xC5;
/// Byte that fills what is lent for results, so that what the driver did not write is seen.
pub(crate) const POISON: u8 = 0xA5;

/// A driver wrote in front of what it was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrote {bytes_before} bytes in front of the `{region}` buffer")]
pub(crate) struct Trespass {
    pub(crate) region: Region,
    pub(crate) bytes_before: usize,
}

/// Types that are valid for every bit pattern, so that bytes of a driver can be read as one.
///
/// # Safety
/// Every bit pattern of the type's size is a value of it.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: integers, a union of numbers; every bit pattern is a value.
unsafe impl Plain for sys::Sample {}
// SAFETY: byte arrays, integers and floats; every bit pattern is a value.
unsafe impl Plain for sys::Channel {}
// SAFETY: integers only.
unsafe impl Plain for sys::Frame {}
// SAFETY: a raw pointer may hold any bits as long as nobody follows it.
unsafe impl Plain for *mut sys::Device {}

/// A mapping that can be lent.
#[derive(Debug)]
pub(crate) struct Guarded {
    region: Region,
    /// Start of the body.
    body: NonNull<u8>,
    body_bytes: usize,
    page_bytes: usize,
    slot: usize,
}

impl Guarded {
    /// A mapping that can lend up to `bytes`.
    pub(crate) fn new(region: Region, bytes: usize) -> nix::Result<Guarded> {
        let page_bytes = page_bytes();
        let body_bytes = bytes.max(1).next_multiple_of(page_bytes);
        let whole = NonZeroUsize::new(body_bytes + 2 * page_bytes).ok_or(nix::Error::EINVAL)?;
        let flags = MapFlags::MAP_PRIVATE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mman::mmap_anonymous(None, whole, ProtFlags::PROT_NONE, flags) }?;
        // SAFETY: the mapping is longer than one page.
        let body = unsafe { start.cast::<u8>().add(page_bytes) };
        let first = start.as_ptr().addr();
        let slot = regions::register(region, first, body.as_ptr().addr(), body_bytes, page_bytes);
        Ok(Guarded {
            region,
            body,
            body_bytes,
            page_bytes,
            slot,
        })
    }

    /// Makes `bytes` at the end writable, filled with `fill`.
    pub(crate) fn lend(&mut self, bytes: usize, fill: u8) -> nix::Result<Lent<'_>> {
        if bytes > self.body_bytes {
            return Err(nix::Error::EINVAL);
        }
        let lead_in = self.body_bytes - bytes;
        // The pages in front of the first lent byte's own stay hidden, so the lead-in is less than a page.
        let from = lead_in - lead_in % self.page_bytes;
        self.protect(from, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        // SAFETY: `from <= lead_in <= body_bytes`, inside the body.
        let canary = unsafe { self.body.add(from) };
        // SAFETY: from here to the end of the body was just made writable; nothing is lent now, so nobody else uses it.
        unsafe { canary.write_bytes(CANARY, lead_in - from) };
        // SAFETY: `lead_in <= body_bytes`.
        let start = unsafe { self.body.add(lead_in) };
        // SAFETY: `bytes` bytes from `lead_in` end with the body, which is writable.
        unsafe { start.write_bytes(fill, bytes) };
        Ok(Lent {
            owner: self,
            start,
            bytes,
            from,
        })
    }

    /// Changes the access to the pages of the body from the offset `from`, a whole number of pages, on.
    fn protect(&self, from: usize, access: ProtFlags) -> nix::Result<()> {
        if from == self.body_bytes {
            return Ok(());
        }
        // SAFETY: the callers pass an offset inside the body.
        let start = unsafe { self.body.add(from) };
        // SAFETY: whole pages of our own mapping; references into it exist only while a `Lent` or `Returned` borrows
        // `self`, and those give up their bytes before they change the access.
        unsafe { mman::mprotect(start.cast(), self.body_bytes - from, access) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        regions::forget(self.slot);
        // SAFETY: the body starts one page behind the start of the mapping.
        let start = unsafe { self.body.sub(self.page_bytes) };
        // SAFETY: our own mapping; `&mut self` shows that nothing is lent.
        let unmapped = unsafe { mman::munmap(start.cast(), self.body_bytes + 2 * self.page_bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of a whole mapping cannot fail");
    }
}

/// Bytes that a driver may write, until they are taken back.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    owner: &'a mut Guarded,
    start: NonNull<u8>,
    bytes: usize,
    /// Offset of the first page that is not hidden.
    from: usize,
}

impl<'a> Lent<'a> {
    /// Copies `content` into the lent bytes, from `offset`.
    pub(crate) fn put(&mut self, offset: usize, content: &[u8]) {
        let end = offset.checked_add(content.len());
        assert!(
            end.is_some_and(|end| end <= self.bytes),
            "the caller sized the buffer"
        );
        // SAFETY: `offset` is inside the lent bytes, by the assertion.
        let target = unsafe { self.start.add(offset) };
        // SAFETY: the target is writable for `content.len()` bytes by the assertion, and `content` is Rust memory,
        // which the mapping cannot overlap.
        unsafe { target.copy_from_nonoverlapping(NonNull::from(content).cast(), content.len()) };
    }

    /// Lets the driver read only.
    pub(crate) fn freeze(&mut self) -> nix::Result<()> {
        self.owner.protect(self.from, ProtFlags::PROT_READ)
    }

    /// The pointer to hand over: to the first lent byte, aligned for any `T` whose size is a multiple of its alignment
    /// where the length is a multiple of that size, because the end is page-aligned.
    pub(crate) fn pointer<T>(&self) -> *mut T {
        let pointer = self.start.as_ptr().cast::<T>();
        debug_assert!(pointer.is_aligned());
        pointer
    }

    /// Ends the loan: nothing can write any more, and the lead-in is whole.
    pub(crate) fn take_back(self) -> Result<Returned<'a>, TakeBack> {
        self.owner
            .protect(self.from, ProtFlags::PROT_READ)
            .map_err(TakeBack::System)?;
        let canary_bytes = self.owner.body_bytes - self.bytes - self.from;
        // SAFETY: the canary lies inside the body, directly in front of the lent bytes.
        let canary = unsafe { self.start.sub(canary_bytes) };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the guarded buffer's view: the length is the buffer's own, not the driver's"
        )]
        // SAFETY: readable; read-only since `protect` above, so that nobody writes while the slice lives.
        let canary = unsafe { std::slice::from_raw_parts(canary.as_ptr(), canary_bytes) };
        if let Some(first) = canary.iter().position(|byte| *byte != CANARY) {
            return Err(TakeBack::Trespass(Trespass {
                region: self.owner.region,
                bytes_before: canary_bytes - first,
            }));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the guarded buffer's view: the length is the buffer's own, not the driver's"
        )]
        // SAFETY: as for the canary: inside the body, initialised by `lend`, read-only until `Returned` is dropped,
        // which `self` outlives because it moves into it.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) };
        Ok(Returned { bytes, _lent: self })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // Cannot fail for a whole mapping; if it did, the next loan would still reset the bytes.
        let hidden = self.owner.protect(self.from, ProtFlags::PROT_NONE);
        debug_assert!(hidden.is_ok(), "mprotect of a whole mapping cannot fail");
    }
}

/// Why a loan could not be ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeBack {
    /// The driver wrote where it must not.
    Trespass(Trespass),
    /// `mprotect` failed.
    System(nix::Error),
}

/// Bytes that came back. Hidden again when dropped.
#[derive(Debug)]
pub(crate) struct Returned<'a> {
    bytes: &'a [u8],
    _lent: Lent<'a>,
}

impl Returned<'_> {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// A copy of element `index`, `None` where it does not lie wholly inside.
    pub(crate) fn element<T: Plain>(&self, index: usize) -> Option<T> {
        let start = index.checked_mul(size_of::<T>())?;
        let bytes = self.bytes.get(start..start.checked_add(size_of::<T>())?)?;
        // SAFETY: the slice has the size of T, every bit pattern is a T (`Plain`), and no alignment is assumed.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

/// The size of a page in bytes: 4096 on most systems, up to 65536 on some aarch64 kernels.
pub(crate) fn page_bytes() -> usize {
    let asked = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    asked
        .ok()
        .flatten()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_flush_and_the_content_comes_back() {
        let mut guarded = Guarded::new(Region::Text, 256).expect("memory");
        let page = page_bytes();
        for bytes in [0, 8, 256, page] {
            let mut lent = guarded.lend(bytes, POISON).expect("fits");
            assert_eq!((lent.pointer::<u8>().addr() + bytes) % page, 0);
            lent.put(0, &vec![7; bytes / 2]);
            let back = lent.take_back().expect("whole");
            assert_eq!(back.bytes().len(), bytes);
            assert!(back.bytes()[..bytes / 2].iter().all(|b| *b == 7));
            assert!(back.bytes()[bytes / 2..].iter().all(|b| *b == POISON));
        }
        assert!(guarded.lend(page + 1, 0).is_err());
    }

    #[test]
    fn a_write_in_front_is_found() {
        let mut guarded = Guarded::new(Region::Text, 256).expect("memory");
        let lent = guarded.lend(256, 0).expect("fits");
        let before = lent.pointer::<u8>().wrapping_sub(3);
        // SAFETY: three bytes in front lie in the lead-in of the same mapping, which is writable now.
        unsafe { before.write(1) };
        let error = lent.take_back().expect_err("canary is dead");
        let expected = Trespass {
            region: Region::Text,
            bytes_before: 3,
        };
        assert_eq!(error, TakeBack::Trespass(expected));
    }

    /// How the kernel protects the page that an address lies in: `rw-p` and the like, proc(5).
    fn protection(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
        let line = maps.lines().find(|line| {
            let range = line.split(' ').next().unwrap_or_default();
            let mut ends = range.split('-').map(|end| usize::from_str_radix(end, 16));
            match (ends.next(), ends.next()) {
                (Some(Ok(start)), Some(Ok(end))) => (start..end).contains(&address),
                _ => false,
            }
        });
        let line = line.expect("a mapping");
        line.split(' ').nth(1).expect("its protection").to_owned()
    }

    #[test]
    fn what_came_back_can_no_longer_be_written() {
        let mut guarded = Guarded::new(Region::Text, 3 * page_bytes()).expect("memory");
        let lent = guarded.lend(256, POISON).expect("fits");
        let at = lent.pointer::<u8>().addr();
        assert_eq!(protection(at), "rw-p");
        assert_eq!(protection(at + 256), "---p", "the guard behind");
        assert_eq!(protection(at - page_bytes()), "---p", "the pages in front");
        let back = lent.take_back().expect("whole");
        assert_eq!(protection(at), "r--p");
        drop(back);
        assert_eq!(protection(at), "---p", "nothing is lent");
        // The same mapping, whole: its guards are there for each size that is lent.
        let lent = guarded.lend(3 * page_bytes(), POISON).expect("fits");
        let start = lent.pointer::<u8>().addr();
        assert_eq!(protection(start - 1), "---p", "the guard in front");
        assert_eq!(protection(start + 3 * page_bytes()), "---p");
    }
}
