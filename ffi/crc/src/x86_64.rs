//! Folding by PCLMULQDQ.

use crate::{BLOCK_BYTES, Keys};
use std::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi8, _mm_set_epi64x,
    _mm_shuffle_epi8, _mm_unpackhi_epi64, _mm_xor_si128,
};

/// Whether the processor can.
pub(crate) fn can() -> bool {
    is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("ssse3")
}

#[target_feature(enable = "pclmulqdq,ssse3")]
pub(crate) fn fold<const REFLECT: bool>(
    keys: &Keys,
    first: [u8; BLOCK_BYTES],
    head: &[[u8; BLOCK_BYTES]; 4],
    blocks: &[[u8; BLOCK_BYTES]],
) -> [u8; BLOCK_BYTES] {
    let [a, b, c, d] = head;
    let mut a = _mm_xor_si128(load::<REFLECT>(a), load::<REFLECT>(&first));
    let (mut b, mut c, mut d) = (load::<REFLECT>(b), load::<REFLECT>(c), load::<REFLECT>(d));
    let (fours, ones) = blocks.as_chunks::<4>();
    let key = key(keys.four);
    for four in fours {
        a = step(a, key, load::<REFLECT>(&four[0]));
        b = step(b, key, load::<REFLECT>(&four[1]));
        c = step(c, key, load::<REFLECT>(&four[2]));
        d = step(d, key, load::<REFLECT>(&four[3]));
    }
    let key = self::key(keys.one);
    let mut all = step(step(step(a, key, b), key, c), key, d);
    for one in ones {
        all = step(all, key, load::<REFLECT>(one));
    }
    store::<REFLECT>(all)
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn step(register: __m128i, key: __m128i, next: __m128i) -> __m128i {
    let low = _mm_clmulepi64_si128::<0x00>(register, key);
    let high = _mm_clmulepi64_si128::<0x11>(register, key);
    _mm_xor_si128(_mm_xor_si128(low, high), next)
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn key((low, high): (u64, u64)) -> __m128i {
    _mm_set_epi64x(high.cast_signed(), low.cast_signed())
}

/// The bytes as one number: the first is the lowest, or, where it has the highest terms, the highest.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn load<const REFLECT: bool>(block: &[u8; BLOCK_BYTES]) -> __m128i {
    let as_it_is = key(halves(u128::from_le_bytes(*block)));
    if REFLECT { as_it_is } else { turned(as_it_is) }
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn store<const REFLECT: bool>(register: __m128i) -> [u8; BLOCK_BYTES] {
    let out = if REFLECT { register } else { turned(register) };
    let low = _mm_cvtsi128_si64(out).cast_unsigned();
    let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(out, out)).cast_unsigned();
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}

/// The bytes in the other order.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn turned(register: __m128i) -> __m128i {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm_shuffle_epi8(register, order)
}

#[expect(clippy::cast_possible_truncation, reason = "each half on purpose")]
fn halves(all: u128) -> (u64, u64) {
    (all as u64, (all >> 64) as u64)
}
