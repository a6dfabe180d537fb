//! Cyclic redundancy checks of any polynomial of 8 to 64 bits, in whole bytes, by carry-less multiplication where the
//! processor has it.

use crc_fast::{CrcParams, checksum_with_params};

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

/// A CRC that is ready to use.
#[derive(Clone, Debug)]
pub struct Crc {
    /// Boxed: a few hundred bytes of folding keys.
    params: Box<CrcParams>,
    width: u32,
    /// Zeros below the polynomial, where the register of the library is wider.
    shift: u32,
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
        // The library's registers have 16, 32 or 64 bits. A narrower one lives in the upper bits of the next: its
        // polynomial times a power of x. Where bits are taken lowest first, the upper bits are the lower ones.
        let (register, bits) = match width {
            8 | 16 => (16_u8, 16),
            24 | 32 => (32, 32),
            _ => (64, 64),
        };
        let shift = bits - width;
        // Where bits are taken lowest first, the library turns the first register round in 16 bits and in no others.
        let init = if reflect && bits > 16 {
            init.reverse_bits() >> (64 - width)
        } else {
            init << shift
        };
        let params = CrcParams::new("dunlin", register, poly << shift, init, reflect, 0, 0);
        Ok(Crc {
            params: Box::new(params),
            width,
            shift: if reflect { 0 } else { shift },
            xor_out,
        })
    }

    /// The CRC of these bytes, right-aligned.
    pub fn of(&self, bytes: &[u8]) -> u64 {
        (checksum_with_params(*self.params, bytes) >> self.shift) ^ self.xor_out
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
            assert_eq!(
                Crc::new(polynomial).unwrap().of(&bytes),
                wanted,
                "{polynomial:?} of {bytes:02x?}"
            );
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
