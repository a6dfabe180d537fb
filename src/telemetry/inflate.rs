//! Compressed bytes become what was compressed, up to a bound.

use lz4_flex::frame::FrameDecoder as Lz4;
use miniz_oxide::inflate::{
    DecompressError, TINFLStatus, decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit,
};
use ruzstd::decoding::StreamingDecoder as Zstd;
use ruzstd::decoding::errors::FrameDecoderError;
use std::io::Read;

/// Largest window of zstd, in bytes: what RFC 8878 asks every decoder to have, and so what a frame can make this one keep.
const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// How bytes were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard frames, RFC 8878.
    Zstd,
    /// LZ4 frames.
    Lz4,
    /// Deflate as it is, RFC 1951.
    Deflate,
    /// Deflate with a header and a checksum, RFC 1950.
    Zlib,
}

impl Codec {
    /// By name, for configurations.
    pub const NAMES: [(&'static str, Codec); 4] = [
        ("zstd", Codec::Zstd),
        ("lz4", Codec::Lz4),
        ("deflate", Codec::Deflate),
        ("zlib", Codec::Zlib),
    ];
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The bytes are not of this codec, or damaged.
    #[error("damaged")]
    Damaged,
    /// More than the bound comes of them, or they ask for too much memory.
    #[error("too large")]
    Large,
}

/// What was compressed, where it is no more than `bytes_max`.
pub fn inflate(codec: Codec, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    match codec {
        Codec::Zstd => zstd(bytes, bytes_max),
        Codec::Lz4 => read(Lz4::new(bytes), bytes_max),
        Codec::Deflate => decompress_to_vec_with_limit(bytes, bytes_max).map_err(|e| deflate(&e)),
        Codec::Zlib => decompress_to_vec_zlib_with_limit(bytes, bytes_max).map_err(|e| deflate(&e)),
    }
}

fn deflate(error: &DecompressError) -> InflateError {
    match error.status {
        TINFLStatus::HasMoreOutput => InflateError::Large,
        _ => InflateError::Damaged,
    }
}

fn zstd(mut bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    let mut decoder = Zstd::new_with_max_window_size(&mut bytes, WINDOW_BYTES_MAX).map_err(
        |error| match error {
            FrameDecoderError::WindowSizeTooBig { .. } => InflateError::Large,
            _ => InflateError::Damaged,
        },
    )?;
    let found = read(&mut decoder, bytes_max)?;
    let (wanted, computed) = (
        decoder.decoder.get_checksum_from_data(),
        decoder.decoder.get_calculated_checksum(),
    );
    if wanted.is_some() && wanted != computed {
        return Err(InflateError::Damaged);
    }
    Ok(found)
}

fn read(from: impl Read, bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    let mut found = Vec::new();
    let bound = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let bytes = from
        .take(bound)
        .read_to_end(&mut found)
        .map_err(|_| InflateError::Damaged)?;
    if bytes > bytes_max {
        return Err(InflateError::Large);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Chance;
    use lz4_flex::frame::FrameEncoder;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec as compress_zstd};
    use std::io::Write as _;

    fn compressed(codec: Codec, plain: &[u8]) -> Vec<u8> {
        match codec {
            Codec::Zstd => compress_zstd(plain, CompressionLevel::Fastest),
            Codec::Lz4 => {
                let mut encoder = FrameEncoder::new(Vec::new());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Codec::Deflate => compress_to_vec(plain, 6),
            Codec::Zlib => compress_to_vec_zlib(plain, 6),
        }
    }

    #[test]
    fn what_was_compressed_comes_back_up_to_the_bound() {
        let mut chance = Chance::new(2);
        for (_, codec) in Codec::NAMES {
            for length in [1, 100, 5000, 65_536] {
                let noise = chance.bytes(length);
                for plain in [vec![7; length], noise] {
                    let bytes = compressed(codec, &plain);
                    assert_eq!(
                        inflate(codec, &bytes, length),
                        Ok(plain),
                        "{codec:?} {length}"
                    );
                    assert_eq!(
                        inflate(codec, &bytes, length - 1),
                        Err(InflateError::Large),
                        "{codec:?} {length}"
                    );
                }
            }
        }
    }

    /// The same from other people's compressors, of `telemetry` four times over.
    #[test]
    fn bytes_of_others() {
        let plain = b"telemetrytelemetrytelemetrytelemetry".to_vec();
        for (codec, hex) in [
            // Python's zlib, raw and with its header; zstd and lz4 of their own command lines.
            (Codec::Zlib, ZLIB),
            (Codec::Deflate, &ZLIB[4..ZLIB.len() - 8]),
            (Codec::Zstd, ZSTD),
            (Codec::Lz4, LZ4),
        ] {
            let pairs = (0..hex.len()).step_by(2);
            let bytes: Vec<u8> = pairs
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(inflate(codec, &bytes, 100), Ok(plain.clone()), "{codec:?}");
        }
    }

    const ZLIB: &str = "78da2b49cd49cd4d2d29aa2cc1cd00001c550f6d";
    const ZSTD: &str = "28b52ffd04587d00004874656c656d6574727901000ccb1143cc5579";
    const LZ4: &str =
        "04224d186440a7130000009f74656c656d65747279090003506d6574727900000000f070b91e";

    #[test]
    fn bombs_and_damage_are_refused() {
        let mut chance = Chance::new(8);
        // Sixteen megabytes of zeros from a few kilobytes.
        let zeros = vec![0; 16 << 20];
        for codec in [Codec::Deflate, Codec::Lz4] {
            assert_eq!(
                inflate(codec, &compressed(codec, &zeros), 65_536),
                Err(InflateError::Large)
            );
        }
        // A window of two terabytes.
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x03, 0x00, 0x00];
        assert_eq!(
            inflate(Codec::Zstd, &window, 65_536),
            Err(InflateError::Large)
        );
        for (_, codec) in Codec::NAMES {
            let good = compressed(codec, &chance.bytes(300));
            for _ in 0..2000 {
                let mut bytes = good.clone();
                for _ in 0..=chance.below(3) {
                    let at = chance.below(bytes.len());
                    bytes[at] ^= chance.bytes(1)[0];
                }
                bytes.truncate(chance.below(bytes.len() + 1));
                let found = inflate(codec, &bytes, 1000);
                assert!(found.is_err() || found.is_ok_and(|found| found.len() <= 1000));
            }
            assert!(
                inflate(codec, &[], 1000).unwrap_or_default().is_empty(),
                "{codec:?}"
            );
        }
    }
}
