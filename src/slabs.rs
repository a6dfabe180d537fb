//! Memory for byte frames: slabs of 64 KiB, filled from front to back, and filled anew when nobody has a frame of one any
//! more.
//!
//! A frame is a [`Bytes`] into its slab: to hand it to several nodes copies nothing, and it is given back when the last of
//! them drops it. So a source whose frames are used up as fast as they come allocates nothing for them. A frame that is
//! kept keeps its slab: nothing in a pipeline keeps frames for longer than its bounded queues do.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes of a slab: the longest frame of a driver.
pub const SLAB_BYTES: usize = 65_536;

/// Most full slabs that are kept to be filled anew. The memory of others is freed with their last frame.
const KEPT_SLABS_MAX: usize = 8;

/// The slabs of one source or transform.
#[derive(Debug, Default)]
pub struct Slabs {
    open: Option<BytesMut>,
    /// Oldest first. Each is what was left of it, and through that the whole.
    full: VecDeque<BytesMut>,
    #[cfg(test)]
    made: usize,
}

impl Slabs {
    /// A copy of these bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Bytes {
        let room = self.room(bytes.len());
        room.extend_from_slice(bytes);
        room.split().freeze()
    }

    /// Empty room for so many bytes or more, to be filled and split off.
    pub fn room(&mut self, bytes: usize) -> &mut BytesMut {
        let open = match self.open.take() {
            Some(open) if open.capacity() >= bytes => open,
            full => self.next(full, bytes.max(SLAB_BYTES)),
        };
        self.open.insert(open)
    }

    #[cold]
    fn next(&mut self, full: Option<BytesMut>, bytes: usize) -> BytesMut {
        self.full.extend(full);
        if let Some(mut oldest) = self.full.pop_front() {
            if oldest.try_reclaim(bytes) {
                return oldest;
            }
            // Its frames will be dropped before those of the others; where they are kept, it is forgotten.
            if self.full.len() < KEPT_SLABS_MAX {
                self.full.push_front(oldest);
            }
        }
        #[cfg(test)]
        {
            self.made += 1;
        }
        BytesMut::with_capacity(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_what_was_put_and_lie_in_one_slab() {
        let mut slabs = Slabs::default();
        let frames: Vec<Bytes> = (0..100_u8).map(|n| slabs.put(&[n; 600])).collect();
        for (n, frame) in (0_u8..).zip(&frames) {
            assert_eq!(frame[..], [n; 600]);
        }
        let apart = |a: &Bytes, b: &Bytes| b.as_ptr().addr() - a.as_ptr().addr();
        assert!(frames.windows(2).all(|two| apart(&two[0], &two[1]) == 600));
    }

    #[test]
    fn a_slab_is_used_again_when_its_last_frame_is_dropped() {
        for keep in [0, 1, 9, 25] {
            let mut slabs = Slabs::default();
            let mut kept = VecDeque::new();
            for _ in 0..400 {
                kept.push_back(slabs.put(&[7; SLAB_BYTES / 4]));
                if kept.len() > keep {
                    kept.pop_front();
                }
            }
            // As many as hold what is kept, the open one, and one that is half dropped.
            assert!(slabs.made <= keep / 4 + 2, "{} for {keep}", slabs.made);
        }
    }

    #[test]
    fn what_is_kept_for_ever_costs_memory_and_no_frame() {
        let mut slabs = Slabs::default();
        let frames: Vec<Bytes> = (0..100_u8).map(|n| slabs.put(&vec![n; 50_000])).collect();
        assert!(slabs.full.len() <= KEPT_SLABS_MAX);
        assert!(
            (0..)
                .zip(&frames)
                .all(|(n, frame)| frame[..] == vec![n; 50_000])
        );
    }

    #[test]
    fn longer_than_a_slab_is_a_slab_of_its_own() {
        let mut slabs = Slabs::default();
        assert_eq!(slabs.put(&vec![1; 3 * SLAB_BYTES]).len(), 3 * SLAB_BYTES);
        assert_eq!(slabs.put(&[]).len(), 0);
        assert_eq!(slabs.put(&[2; 10])[..], [2; 10]);
    }
}
