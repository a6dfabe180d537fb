//! Folding by PMULL.

use crate::{BLOCK_BYTES, Keys};
use std::arch::aarch64::vmull_p64;
use std::arch::is_aarch64_feature_detected;

/// Whether the processor can.
pub(crate) fn can() -> bool {
    is_aarch64_feature_detected!("aes") && is_aarch64_feature_detected!("pmull")
}

#[target_feature(enable = "neon,aes")]
pub(crate) fn fold<const REFLECT: bool>(
    keys: &Keys,
    first: [u8; BLOCK_BYTES],
    head: &[[u8; BLOCK_BYTES]; 4],
    blocks: &[[u8; BLOCK_BYTES]],
) -> [u8; BLOCK_BYTES] {
    let [a, b, c, d] = head;
    let mut a = load::<REFLECT>(a) ^ load::<REFLECT>(&first);
    let (mut b, mut c, mut d) = (load::<REFLECT>(b), load::<REFLECT>(c), load::<REFLECT>(d));
    let (fours, ones) = blocks.as_chunks::<4>();
    for four in fours {
        a = step(a, keys.four, load::<REFLECT>(&four[0]));
        b = step(b, keys.four, load::<REFLECT>(&four[1]));
        c = step(c, keys.four, load::<REFLECT>(&four[2]));
        d = step(d, keys.four, load::<REFLECT>(&four[3]));
    }
    let mut all = step(step(step(a, keys.one, b), keys.one, c), keys.one, d);
    for one in ones {
        all = step(all, keys.one, load::<REFLECT>(one));
    }
    if REFLECT {
        all.to_le_bytes()
    } else {
        all.to_be_bytes()
    }
}

#[inline]
#[target_feature(enable = "neon,aes")]
#[expect(clippy::cast_possible_truncation, reason = "each half on purpose")]
fn step(register: u128, (low, high): (u64, u64), next: u128) -> u128 {
    vmull_p64(register as u64, low) ^ vmull_p64((register >> 64) as u64, high) ^ next
}

/// The bytes as one number: the first is the lowest, or, where it has the highest terms, the highest.
#[inline]
fn load<const REFLECT: bool>(block: &[u8; BLOCK_BYTES]) -> u128 {
    if REFLECT {
        u128::from_le_bytes(*block)
    } else {
        u128::from_be_bytes(*block)
    }
}
