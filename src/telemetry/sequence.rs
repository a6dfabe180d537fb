//! Counters that wrap: what is missing, what came twice, what came late.

/// How far back a count may be and still belong to what was seen, and not to what comes after a long loss.
const BACK_MAX: u32 = 15;

/// What a count says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the first.
    First,
    /// It follows.
    Next,
    /// `lost` are missing before it, from `first` on. Exact as long as less than a whole round is missing.
    Gap {
        /// Count of the first that is missing.
        first: u32,
        /// How many are.
        lost: u32,
    },
    /// It was seen, with the same bytes.
    Duplicate,
    /// It comes after its successors, and was reported as missing.
    Late,
}

/// One counter of up to 28 bits.
#[derive(Clone, Debug)]
pub struct Sequence {
    mask: u32,
    /// The last counts that were taken, with what their bytes looked like; the newest at `newest`.
    recent: [(u32, u64); BACK_MAX as usize + 1],
    newest: usize,
    seen: usize,
}

impl Sequence {
    /// A counter of so many bits that has seen nothing.
    pub fn new(bits: u32) -> Sequence {
        Sequence {
            mask: (1 << bits) - 1,
            recent: [(0, 0); BACK_MAX as usize + 1],
            newest: 0,
            seen: 0,
        }
    }

    /// Takes the next count and the bytes it came with.
    pub fn step(&mut self, count: u32, bytes: &[u8]) -> Step {
        let look = look(bytes);
        let step = self.judge(count, look);
        if !matches!(step, Step::Duplicate | Step::Late) {
            self.newest = (self.newest + 1) % self.recent.len();
            self.recent[self.newest] = (count, look);
            self.seen = (self.seen + 1).min(self.recent.len());
        }
        step
    }

    fn judge(&self, count: u32, look: u64) -> Step {
        if self.seen == 0 {
            return Step::First;
        }
        let last = self.recent[self.newest].0;
        let ahead = count.wrapping_sub(last) & self.mask;
        if ahead == 1 {
            return Step::Next;
        }
        let back = last.wrapping_sub(count) & self.mask;
        if back <= BACK_MAX {
            let length = self.recent.len();
            let mut before =
                (0..self.seen).map(|age| self.recent[(self.newest + length - age) % length]);
            match before.find(|(known, _)| *known == count) {
                Some((_, same)) if same == look => return Step::Duplicate,
                // Seen, and now other bytes: a whole round later.
                Some(_) => {}
                None => return Step::Late,
            }
        }
        Step::Gap {
            first: last.wrapping_add(1) & self.mask,
            lost: ahead.wrapping_sub(1) & self.mask,
        }
    }
}

/// A few bytes of the front and of the end, mixed: where a header, a time and a checksum are, two that differ differ.
fn look(bytes: &[u8]) -> u64 {
    let mut mixed = bytes.len() as u64;
    let mut mix = |piece: &[u8]| {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        mixed = (mixed ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 29;
    };
    let front = bytes.len().min(32);
    bytes[..front].chunks(8).for_each(&mut mix);
    let end = bytes.len().saturating_sub(16).max(front);
    bytes[end..].chunks(8).for_each(&mut mix);
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(bits: u32, counts: &[u32]) -> Vec<Step> {
        let mut sequence = Sequence::new(bits);
        // Bytes that change with each round of the counter.
        let each = counts.iter().map(|count| {
            let mask = (1 << bits) - 1;
            sequence.step(count & mask, &count.to_be_bytes())
        });
        each.collect()
    }

    #[test]
    fn steps_of_a_counter() {
        use Step::{Duplicate, First, Late, Next};
        let gap = |first, lost| Step::Gap { first, lost };
        for (counts, wanted) in [
            (&[7, 8, 9][..], &[First, Next, Next][..]),
            (&[254, 255, 256, 257], &[First, Next, Next, Next]),
            (&[1, 3, 4], &[First, gap(2, 1), Next]),
            (&[250, 260], &[First, gap(251, 9)]),
            (&[1, 1, 2, 1, 3], &[First, Duplicate, Next, Duplicate, Next]),
            (&[1, 2, 4, 3, 5], &[First, Next, gap(3, 1), Late, Next]),
            // A whole round later: another frame with the same count, or a little less.
            (&[1, 257], &[First, gap(2, 255)]),
            (&[1, 2, 3, 258], &[First, Next, Next, gap(4, 254)]),
            (&[1, 2, 129 + 2], &[First, Next, gap(3, 128)]),
            (&[1, 2, 2 + 256 - 16], &[First, Next, gap(3, 239)]),
        ] {
            assert_eq!(steps(8, counts), wanted, "{counts:?}");
        }
        assert_eq!(steps(14, &[16_383, 16_384])[1], Next);
        assert_eq!(steps(28, &[(1 << 28) - 1, 1 << 28])[1], Next);
    }

    #[test]
    fn looks_differ_where_bytes_do() {
        let bytes: Vec<u8> = (0..100).collect();
        let other = |at: usize| {
            let mut other = bytes.clone();
            other[at] ^= 1;
            look(&other) != look(&bytes)
        };
        assert!((0..32).chain(84..100).all(other));
        assert!((0..40).all(|length| look(&bytes[..length]) != look(&bytes[..=length])));
    }
}
