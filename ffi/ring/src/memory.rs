//! The pool: one mapping, cut into slabs. Made and touched once, so that writing to it later neither allocates nor faults.

use std::ptr::NonNull;

use nix::sys::mman::{self, MapFlags, MmapAdvise, ProtFlags};

/// Bits of an offset in a slab, which are more than its messages need. Small in models, where each word is watched.
pub(crate) const SLAB_BITS: u32 = if cfg!(loom) { 4 } else { 16 };
/// Bytes of a slab.
pub const SLAB_BYTES: usize = 1 << SLAB_BITS;
/// What is asked for as one huge page. Kernels whose huge pages have another size refuse it.
const HUGE_BYTES: usize = 2 << 20;

/// Bytes that loom watches as one: what models write begins and ends between two of these.
#[cfg(loom)]
const WORD_BYTES: usize = 2;

/// What the pool's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages that were set aside for programs that ask (`vm.nr_hugepages`).
    Huge,
    /// Pages that the kernel was advised to make huge, and does where it has some.
    Advised,
    /// Pages of the usual size.
    Plain,
}

/// Memory of a number of slabs.
#[derive(Debug)]
pub(crate) struct Pool {
    start: NonNull<u8>,
    mapped_bytes: usize,
    slabs: usize,
    pages: Pages,
    #[cfg(loom)]
    words: Vec<loom::cell::UnsafeCell<()>>,
}

// SAFETY: the mapping belongs to this value and to no thread. Whoever turns an address of it into a reference says why
// nobody else writes there.
unsafe impl Send for Pool {}
// SAFETY: as above; the other fields never change.
unsafe impl Sync for Pool {}

/// Where a slab of a pool lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slab(*mut u8);

// SAFETY: an address, of memory that belongs to no thread. Whoever makes a reference of it says why nobody else writes there.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Pool {
    pub(crate) fn new(slabs: usize) -> std::io::Result<Pool> {
        let bytes = slabs * SLAB_BYTES;
        let huge = bytes.next_multiple_of(HUGE_BYTES);
        let flags = MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB | MapFlags::MAP_POPULATE;
        // A pool that would leave most of a huge page empty takes none of the few there are.
        let granted = (bytes > HUGE_BYTES / 2).then(|| map(huge, flags).ok());
        let (start, mapped_bytes, pages) = if let Some(start) = granted.flatten() {
            (start, huge, Pages::Huge)
        } else {
            let start = map(bytes, MapFlags::empty())?;
            // SAFETY: advice on the whole of a mapping that was just made; its content stays what it is.
            let advised = unsafe { mman::madvise(start.cast(), bytes, MmapAdvise::MADV_HUGEPAGE) };
            let pages = if advised.is_ok() {
                Pages::Advised
            } else {
                Pages::Plain
            };
            // SAFETY: the whole of a mapping that can be written and that nobody else knows.
            unsafe { start.write_bytes(0, bytes) };
            (start, bytes, pages)
        };
        Ok(Pool {
            start,
            mapped_bytes,
            slabs,
            pages,
            #[cfg(loom)]
            words: (0..bytes / WORD_BYTES)
                .map(|_| loom::cell::UnsafeCell::new(()))
                .collect(),
        })
    }

    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }

    /// The place of a slab. Whoever looks there knows that there is such a slab, and that the pool is there as long.
    pub(crate) fn slab(&self, slab: usize) -> Slab {
        debug_assert!(slab < self.slabs);
        Slab(self.start.as_ptr().wrapping_add(slab * SLAB_BYTES))
    }

    /// Tells loom that bytes are written now.
    #[cfg(loom)]
    pub(crate) fn written(&self, slab: usize, from: usize, bytes: usize) {
        for word in self.watched(slab, from, bytes) {
            word.with_mut(|_| ());
        }
    }

    /// Tells loom that bytes are read now.
    #[cfg(loom)]
    pub(crate) fn read(&self, slab: usize, from: usize, bytes: usize) {
        for word in self.watched(slab, from, bytes) {
            word.with(|_| ());
        }
    }

    #[cfg(loom)]
    fn watched(&self, slab: usize, from: usize, bytes: usize) -> &[loom::cell::UnsafeCell<()>] {
        let first = (slab * SLAB_BYTES + from) / WORD_BYTES;
        &self.words[first..first + bytes.div_ceil(WORD_BYTES)]
    }
}

impl Slab {
    /// The address of bytes of it. Whoever makes a reference of it knows that the slab has these bytes, and that they may be
    /// read or written.
    #[inline]
    pub(crate) fn at(self, from: usize, bytes: usize) -> *mut [u8] {
        debug_assert!(from <= SLAB_BYTES && bytes <= SLAB_BYTES - from);
        std::ptr::slice_from_raw_parts_mut(self.0.wrapping_add(from), bytes)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole. Producer and consumers share the pool and are gone, and with them all references.
        let unmapped = unsafe { mman::munmap(self.start.cast(), self.mapped_bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Zeroed memory of this process alone.
fn map(bytes: usize, flags: MapFlags) -> std::io::Result<NonNull<u8>> {
    let bytes = std::num::NonZeroUsize::new(bytes).ok_or(std::io::ErrorKind::InvalidInput)?;
    let (access, flags) = (
        ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        MapFlags::MAP_PRIVATE | flags,
    );
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start = unsafe { mman::mmap_anonymous(None, bytes, access, flags) }?;
    Ok(start.cast())
}
