//! The long part of a cyclic redundancy check, of any polynomial of up to 64 bits: all but the last bytes of a message are
//! folded into sixteen that have the same remainder, by the carry-less multiplication of the processor (PCLMULQDQ on
//! x86-64, PMULL on aarch64). What is left is for a table.
//!
//! A message is a polynomial over GF(2). Sixteen bytes of it, `high * x^64 + low`, that stand `n` bits before some others
//! may be added to those as `high * (x^(n + 64) mod P) + low * (x^n mod P)` without a change of the remainder by `P`.
//! Four lanes of sixteen bytes are folded at a time, over 512 bits, and at the end into one, over 128 bits each.
//!
//! Where bytes are taken with the lowest bit first, a word is its own mirror image, and a product of two such words stands
//! one bit lower: it is `x` times what was meant, so that keys are of one power less.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod processor;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod processor;

/// Bytes that are folded into.
pub const BLOCK_BYTES: usize = 16;
/// Fewer bytes than this are not folded.
pub const FOLDED_BYTES_MIN: usize = 4 * BLOCK_BYTES;

/// How to fold by one polynomial. Exists only where the processor can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    keys: Keys,
    reflect: bool,
}

/// Powers of x, what the lower and the upper half of a register are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keys {
    /// Over 512 bits.
    four: (u64, u64),
    /// Over 128 bits.
    one: (u64, u64),
}

impl Fold {
    /// For a polynomial of `width` bits (1 to 64) without its highest term, right-aligned; `reflect` says that bytes are
    /// taken with the lowest bit first. None where the processor has no carry-less multiplication.
    pub fn new(width: u32, poly: u64, reflect: bool) -> Option<Fold> {
        if !(1..=64).contains(&width) || !processor::can() {
            return None;
        }
        let power = |n: u32| power_of_x(n, width, poly);
        let over = |bits: u32| {
            if reflect {
                (
                    power(bits + 63).reverse_bits(),
                    power(bits - 1).reverse_bits(),
                )
            } else {
                (power(bits), power(bits + 64))
            }
        };
        let keys = Keys {
            four: over(512),
            one: over(128),
        };
        Some(Fold { keys, reflect })
    }

    /// Sixteen bytes with the remainder of the whole blocks of `bytes`, and the bytes behind those; `first` is added to the
    /// first sixteen bytes before. None where there are fewer than [`FOLDED_BYTES_MIN`].
    #[inline]
    pub fn of<'a>(
        &self,
        first: [u8; BLOCK_BYTES],
        bytes: &'a [u8],
    ) -> Option<([u8; BLOCK_BYTES], &'a [u8])> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let (head, blocks) = blocks.split_first_chunk::<4>()?;
        let folded = if self.reflect {
            // SAFETY: the function needs what `processor::can` asks for; a `Fold` exists only where that said yes.
            unsafe { processor::fold::<true>(&self.keys, first, head, blocks) }
        } else {
            // SAFETY: as above.
            unsafe { processor::fold::<false>(&self.keys, first, head, blocks) }
        };
        Some((folded, rest))
    }
}

/// The remainder of x^n.
fn power_of_x(n: u32, width: u32, poly: u64) -> u64 {
    let mask = u64::MAX >> (64 - width);
    (0..n).fold(1, |power, _| {
        let out = power >> (width - 1) & 1;
        power << 1 & mask ^ if out == 1 { poly } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The remainder of bytes times x^width, bit by bit.
    fn remainder(width: u32, poly: u64, reflect: bool, bytes: &[u8]) -> u64 {
        let mask = u64::MAX >> (64 - width);
        let mut register = 0;
        for byte in bytes {
            for at in 0..8 {
                let bit = if reflect {
                    byte >> at & 1
                } else {
                    byte >> (7 - at) & 1
                };
                let out = register >> (width - 1) & 1 ^ u64::from(bit);
                register = register << 1 & mask ^ if out == 1 { poly } else { 0 };
            }
        }
        register
    }

    fn chance(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *state ^ *state >> 31
    }

    #[test]
    fn what_is_folded_has_the_remainder_of_the_whole() {
        assert!(
            Fold::new(16, 0x1021, false).is_some(),
            "machines that build and test this can fold"
        );
        let mut state = 5;
        for round in 0..2000 {
            let width = 1 + u32::try_from(chance(&mut state) % 64).unwrap();
            let poly = chance(&mut state) & (u64::MAX >> (64 - width)) | 1;
            let reflect = round % 2 == 0;
            let fold = Fold::new(width, poly, reflect).unwrap();
            let length = usize::try_from(chance(&mut state) % 400).unwrap();
            let mut bytes: Vec<u8> = (0..length)
                .map(|_| chance(&mut state).to_le_bytes()[2])
                .collect();
            let first: [u8; 16] = std::array::from_fn(|_| chance(&mut state).to_le_bytes()[3]);
            let Some((block, rest)) = fold.of(first, &bytes) else {
                assert!(length < FOLDED_BYTES_MIN);
                continue;
            };
            assert!(rest.len() < BLOCK_BYTES && bytes.ends_with(rest));
            let folded = [&block[..], rest].concat();
            bytes
                .iter_mut()
                .zip(first)
                .for_each(|(byte, more)| *byte ^= more);
            assert_eq!(
                remainder(width, poly, reflect, &folded),
                remainder(width, poly, reflect, &bytes),
                "width {width}, polynomial {poly:#x}, reflect {reflect}, {length} bytes"
            );
        }
    }

    #[test]
    fn there_is_no_fold_without_a_width() {
        assert_eq!(Fold::new(0, 1, false), None);
        assert_eq!(Fold::new(65, 1, false), None);
    }
}
