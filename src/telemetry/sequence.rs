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
    let length = bytes.len() as u64;
    let (Some((front, _)), Some((_, end))) = (
        bytes.split_first_chunk::<32>(),
        bytes.split_last_chunk::<16>(),
    ) else {
        let mut all = [0; 32];
        all[..bytes.len()].copy_from_slice(bytes);
        return mixed(&all, &[0; 16], length);
    };
    mixed(front, end, length)
}

fn mixed(front: &[u8; 32], end: &[u8; 16], length: u64) -> u64 {
    // Two words at a time, as wyhash does, so that the products do not wait for each other.
    const KEYS: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];
    let (front, end) = (front.as_chunks::<8>().0, end.as_chunks::<8>().0);
    let pairs = [(front[0], front[1]), (front[2], front[3]), (end[0], end[1])];
    let mut mixed = length.wrapping_mul(KEYS[0]);
    for (at, (a, b)) in (1..).zip(pairs) {
        let a = u64::from_le_bytes(a) ^ KEYS[0];
        let b = u64::from_le_bytes(b) ^ KEYS[1];
        let product = (u128::from(a) * u128::from(b)).to_le_bytes();
        let (low, high) = product.split_at(8);
        let half = |half: &[u8]| {
            half.first_chunk()
                .map_or(0, |half| u64::from_le_bytes(*half))
        };
        mixed ^= (half(low) ^ half(high)).rotate_left(at * 11);
    }
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
