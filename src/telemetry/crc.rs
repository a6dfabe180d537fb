//! Cyclic redundancy checks of any polynomial of 8 to 64 bits, in whole bytes: folded by carry-less multiplication where
//! the processor has it, and else by tables that are made when the algorithm is.
//!
//! The register has 64 bits whatever the width. Where bytes are taken with the highest bit first, a CRC stands in its upper
//! bits; where they are taken with the lowest first, it is mirrored and stands in the lower ones.

use dunlin_crc::Fold;
use std::sync::Arc;

/// The algorithms that have a name here.
pub const NAMES: [&str; 3] = ["crc32", "crc32c", "crc16-ccitt"];

/// Widths that a polynomial may have, in bits.
pub const WIDTHS: [u32; 5] = [8, 16, 24, 32, 64];

/// An algorithm, by the parameters of the Rocksoft model. All values are right-aligned in `width` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polynomial {
    /// Bits of the register: one of [`WIDTHS`].
    pub width: u32,
    /// The polynomial without its highest term, the term of x^0 in the lowest bit.
    pub poly: u64,
    /// The register before the first byte.
    pub init: u64,
    /// Whether bytes are taken, and the register is given, with the lowest bit first.
    pub reflect: bool,
    /// What the register is combined with at the end.
    pub xor_out: u64,
}

/// Why there is no such algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolynomialError {
    /// The width is none of [`WIDTHS`].
    #[error("is of {0} bits")]
    Width(u32),
    /// A value has bits above the width.
    #[error("has a value of more than {0} bits")]
    Wide(u32),
    /// Without the lowest term a burst of errors goes unseen.
    #[error("has no term of x^0")]
    Even,
}

/// Bytes that the tables take at once.
const SLICES: usize = 16;

/// A CRC that is ready to use.
#[derive(Clone, Debug)]
pub struct Crc {
    /// `tables[n][byte]`: what the register becomes of `byte` and `n` zeros behind it. 32 KiB.
    tables: Arc<[[u64; 256]]>,
    fold: Option<Fold>,
    /// The register before the first byte.
    init: u64,
    width: u32,
    reflect: bool,
    xor_out: u64,
}

impl Crc {
    /// One of [`NAMES`].
    pub fn named(name: &str) -> Option<Crc> {
        let polynomial = match name {
            "crc32" => Polynomial {
                width: 32,
                poly: 0x04c1_1db7,
                init: 0xffff_ffff,
                reflect: true,
                xor_out: 0xffff_ffff,
            },
            "crc32c" => Polynomial {
                width: 32,
                poly: 0x1edc_6f41,
                init: 0xffff_ffff,
                reflect: true,
                xor_out: 0xffff_ffff,
            },
            "crc16-ccitt" => Polynomial {
                width: 16,
                poly: 0x1021,
                init: 0xffff,
                reflect: false,
                xor_out: 0,
            },
            _ => return None,
        };
        Crc::new(polynomial).ok()
    }

    /// The CRC of these parameters.
    pub fn new(polynomial: Polynomial) -> Result<Crc, PolynomialError> {
        let Polynomial {
            width,
            poly,
            init,
            reflect,
            xor_out,
        } = polynomial;
        if !WIDTHS.contains(&width) {
            return Err(PolynomialError::Width(width));
        }
        if width < 64
            && [poly, init, xor_out]
                .iter()
                .any(|value| value >> width != 0)
        {
            return Err(PolynomialError::Wide(width));
        }
        if poly & 1 == 0 {
            return Err(PolynomialError::Even);
        }
        Ok(Crc {
            tables: tables(width, poly, reflect).into(),
            fold: Fold::new(width, poly, reflect),
            init: register(width, init, reflect),
            width,
            reflect,
            xor_out,
        })
    }

    /// The CRC of these bytes, right-aligned.
    pub fn of(&self, bytes: &[u8]) -> u64 {
        let register = if self.reflect {
            self.register::<true>(bytes)
        } else {
            self.register::<false>(bytes) >> (64 - self.width)
        };
        register ^ self.xor_out
    }

    fn register<const REFLECT: bool>(&self, bytes: &[u8]) -> u64 {
        let mut first = [0; dunlin_crc::BLOCK_BYTES];
        first[..8].copy_from_slice(&if REFLECT {
            self.init.to_le_bytes()
        } else {
            self.init.to_be_bytes()
        });
        match self.fold.as_ref().and_then(|fold| fold.of(first, bytes)) {
            Some((block, rest)) => self.more::<REFLECT>(self.more::<REFLECT>(0, &block), rest),
            None => self.more::<REFLECT>(self.init, bytes),
        }
    }

    /// The register after more bytes, by tables.
    fn more<const REFLECT: bool>(&self, mut register: u64, bytes: &[u8]) -> u64 {
        let (blocks, rest) = bytes.as_chunks::<SLICES>();
        for block in blocks {
            let mut mixed = *block;
            let eight = if REFLECT {
                register.to_le_bytes()
            } else {
                register.to_be_bytes()
            };
            for (byte, more) in mixed.iter_mut().zip(eight) {
                *byte ^= more;
            }
            register = 0;
            for (byte, table) in mixed.iter().zip(self.tables.iter().rev()) {
                register ^= table[usize::from(*byte)];
            }
        }
        for byte in rest {
            register = one::<REFLECT>(register, &self.tables[0], *byte);
        }
        register
    }

    /// Length of the CRC, in bytes.
    pub fn length_bytes(&self) -> usize {
        match self.width {
            8 => 1,
            16 => 2,
            24 => 3,
            32 => 4,
            _ => 8,
        }
    }

    /// What the catalogues call `check`: the CRC of the nine characters `123456789`.
    pub fn check(&self) -> u64 {
        self.of(b"123456789")
    }
}

/// A value of `width` bits as it stands in the register.
fn register(width: u32, value: u64, reflect: bool) -> u64 {
    let upper = value << (64 - width);
    if reflect { upper.reverse_bits() } else { upper }
}

/// The register after one byte.
fn one<const REFLECT: bool>(register: u64, table: &[u64; 256], byte: u8) -> u64 {
    if REFLECT {
        register >> 8 ^ table[usize::from(register.to_le_bytes()[0] ^ byte)]
    } else {
        register << 8 ^ table[usize::from(register.to_be_bytes()[0] ^ byte)]
    }
}

fn tables(width: u32, poly: u64, reflect: bool) -> Vec<[u64; 256]> {
    let poly = register(width, poly, reflect);
    let mut tables = vec![[0; 256]; SLICES];
    for (byte, entry) in (0_u64..).zip(&mut tables[0]) {
        *entry = if reflect { byte } else { byte << 56 };
        for _ in 0..8 {
            *entry = match (reflect, *entry & 1, *entry >> 63) {
                (true, out, _) => (*entry >> 1) ^ (poly * out),
                (false, _, out) => (*entry << 1) ^ (poly * out),
            };
        }
    }
    for at in 1..SLICES {
        for byte in 0..256 {
            let before = tables[at - 1][byte];
            tables[at][byte] = if reflect {
                one::<true>(before, &tables[0], 0)
            } else {
                one::<false>(before, &tables[0], 0)
            };
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, bit by bit, for whatever width.
    fn by_definition(p: Polynomial, bytes: &[u8]) -> u64 {
        let mask = u64::MAX >> (64 - p.width);
        let flip = |value: u64| value.reverse_bits() >> (64 - p.width);
        let mut register = p.init;
        for byte in bytes {
            let byte = if p.reflect {
                byte.reverse_bits()
            } else {
                *byte
            };
            for at in (0..8).rev() {
                let out = (register >> (p.width - 1)) & 1;
                register = (register << 1) & mask;
                if out ^ u64::from(byte >> at & 1) == 1 {
                    register ^= p.poly;
                }
            }
        }
        (if p.reflect { flip(register) } else { register }) ^ p.xor_out
    }

    /// Published algorithms, by the `crc` crate's copy of the `RevEng` catalogue, and its own arithmetic as a second opinion.
    #[test]
    fn algorithms_of_the_catalogue() {
        let bytes: Vec<u8> = (0..1200_u32)
            .map(|n| (n * n % 251).to_le_bytes()[0])
            .collect();
        macro_rules! agree {
            ($($name:ident: $word:ty),*) => {$(
                let theirs = ::crc::$name;
                let ours = Crc::new(Polynomial {
                    width: u32::from(theirs.width),
                    poly: u64::from(theirs.poly),
                    init: u64::from(theirs.init),
                    reflect: theirs.refin,
                    xor_out: u64::from(theirs.xorout),
                }).unwrap();
                assert_eq!(ours.check(), u64::from(theirs.check), stringify!($name));
                let peer = ::crc::Crc::<$word>::new(&::crc::$name);
                for length in (0..40).chain([63, 64, 127, 128, 255, 256, 257, 1024, 1115, 1200]) {
                    let wanted = u64::from(peer.checksum(&bytes[..length]));
                    assert_eq!(ours.of(&bytes[..length]), wanted, "{} of {length}", stringify!($name));
                }
            )*};
        }
        agree!(
            CRC_32_ISO_HDLC: u32, CRC_32_ISCSI: u32, CRC_32_BZIP2: u32, CRC_32_MPEG_2: u32, CRC_32_AUTOSAR: u32,
            CRC_16_IBM_3740: u16, CRC_16_XMODEM: u16, CRC_16_IBM_SDLC: u16, CRC_16_KERMIT: u16, CRC_16_MODBUS: u16,
            CRC_16_USB: u16, CRC_16_DNP: u16, CRC_16_ARC: u16, CRC_16_GENIBUS: u16,
            CRC_8_SMBUS: u8, CRC_8_MAXIM_DOW: u8, CRC_8_AUTOSAR: u8, CRC_8_DARC: u8, CRC_8_I_432_1: u8,
            CRC_24_OPENPGP: u32, CRC_24_BLE: u32, CRC_24_FLEXRAY_A: u32,
            CRC_64_XZ: u64, CRC_64_ECMA_182: u64, CRC_64_NVME: u64
        );
    }

    #[test]
    fn polynomials_of_nobody() {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        for round in 0..400 {
            let width = WIDTHS[round % WIDTHS.len()];
            let mask = u64::MAX >> (64 - width);
            let polynomial = Polynomial {
                width,
                poly: next() & mask | 1,
                init: next() & mask,
                reflect: next() & 4 == 0,
                xor_out: next() & mask,
            };
            let length = usize::try_from(next() >> 8 & 0x1ff).unwrap();
            let bytes: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[3]).collect();
            let wanted = by_definition(polynomial, &bytes);
            let folded = Crc::new(polynomial).unwrap();
            let tables = Crc {
                fold: None,
                ..folded.clone()
            };
            for crc in [folded, tables] {
                assert_eq!(
                    crc.of(&bytes),
                    wanted,
                    "{:?}, {polynomial:?} of {bytes:02x?}",
                    crc.fold
                );
            }
        }
    }

    #[test]
    fn names_are_what_the_standards_call_them() {
        let check = |name| Crc::named(name).unwrap().check();
        assert_eq!(check("crc32"), 0xcbf4_3926, "IEEE 802.3");
        assert_eq!(check("crc32c"), 0xe306_9283, "RFC 3720");
        assert_eq!(check("crc16-ccitt"), 0x29b1, "CCSDS 132.0-B");
        assert!(NAMES.iter().all(|name| Crc::named(name).is_some()));
        assert!(Crc::named("crc-32").is_none());
    }

    #[test]
    fn what_is_no_polynomial() {
        let right = Polynomial {
            width: 16,
            poly: 0x1021,
            init: 0,
            reflect: false,
            xor_out: 0,
        };
        for (wrong, wanted) in [
            (
                Polynomial { width: 12, ..right },
                PolynomialError::Width(12),
            ),
            (
                Polynomial {
                    poly: 0x1_1021,
                    ..right
                },
                PolynomialError::Wide(16),
            ),
            (
                Polynomial {
                    init: 0x1_0000,
                    ..right
                },
                PolynomialError::Wide(16),
            ),
            (
                Polynomial {
                    xor_out: 1 << 63,
                    ..right
                },
                PolynomialError::Wide(16),
            ),
            (
                Polynomial {
                    poly: 0x1020,
                    ..right
                },
                PolynomialError::Even,
            ),
        ] {
            assert_eq!(Crc::new(wrong).unwrap_err(), wanted);
        }
    }
}
