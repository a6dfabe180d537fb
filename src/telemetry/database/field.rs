//! Fields of a packet: numbers and bytes of any width at any bit.

/// How the bits of a field are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// A number without a sign.
    Uint,
    /// A number in two's complement.
    Int,
    /// A sign and, behind it, a number without one.
    SignMagnitude,
    /// A number whose bits are all turned where it is negative.
    OnesComplement,
    /// IEEE 754, of 16, 32 or 64 bits.
    Float,
    /// MIL-STD-1750A, of 32 or 48 bits.
    Mil1750a,
    /// False where all bits are 0.
    Bool,
    /// Characters, UTF-8, to the first NUL.
    Text,
    /// Bytes as they are.
    Bytes,
}

impl Coding {
    /// By name, for configurations.
    pub const NAMES: [(&'static str, Coding); 9] = [
        ("uint", Coding::Uint),
        ("int", Coding::Int),
        ("sign_magnitude", Coding::SignMagnitude),
        ("ones_complement", Coding::OnesComplement),
        ("float", Coding::Float),
        ("mil1750a", Coding::Mil1750a),
        ("bool", Coding::Bool),
        ("text", Coding::Text),
        ("bytes", Coding::Bytes),
    ];

    /// Whether there is such a field of so many bits.
    pub fn allows(self, bits: usize) -> bool {
        match self {
            Coding::Uint | Coding::Int | Coding::Bool => (1..=64).contains(&bits),
            Coding::SignMagnitude | Coding::OnesComplement => (2..=64).contains(&bits),
            Coding::Float => [16, 32, 64].contains(&bits),
            Coding::Mil1750a => [32, 48].contains(&bits),
            Coding::Text | Coding::Bytes => bits > 0 && bits.is_multiple_of(8),
        }
    }
}

/// What a field says.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Whole.
    Int(i64),
    /// Not whole, or not finite; or of 64 bits without a sign, and beyond what is `Int`.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Bytes; of a text, its characters.
    Bytes(Vec<u8>),
}

impl Raw {
    /// As a number; none where it is bytes.
    pub fn number(&self) -> Option<f64> {
        match self {
            Raw::Int(value) => Some(*value as f64),
            Raw::Float(value) => Some(*value),
            Raw::Bool(value) => Some(f64::from(u8::from(*value))),
            Raw::Bytes(_) => None,
        }
    }
}

/// Where a field is and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First bit, from the start of the packet; the highest bit of a byte comes first.
    pub at_bits: usize,
    /// Width.
    pub bits: usize,
    /// Whether the byte with the lowest bits comes first; for whole bytes only.
    pub little_endian: bool,
    /// What the bits mean.
    pub coding: Coding,
}

impl Layout {
    /// Reads the field; none where the packet ends before it does.
    pub fn read(&self, packet: &[u8]) -> Option<Raw> {
        if self.at_bits.checked_add(self.bits)? > packet.len() * 8 {
            return None;
        }
        Some(match self.coding {
            Coding::Uint => {
                let word = self.word(packet);
                i64::try_from(word).map_or(Raw::Float(word as f64), Raw::Int)
            }
            Coding::Int => Raw::Int(signed(self.word(packet), self.bits)),
            Coding::SignMagnitude | Coding::OnesComplement => Raw::Int(self.negated(packet)),
            Coding::Bool => Raw::Bool(self.word(packet) != 0),
            Coding::Float => Raw::Float(ieee(self.word(packet), self.bits)),
            Coding::Mil1750a => Raw::Float(mil1750a(self.word(packet), self.bits)),
            Coding::Bytes => Raw::Bytes(self.bytes(packet).collect()),
            Coding::Text => {
                let characters: Vec<u8> =
                    self.bytes(packet).take_while(|byte| *byte != 0).collect();
                Raw::Bytes(
                    String::from_utf8_lossy(&characters)
                        .into_owned()
                        .into_bytes(),
                )
            }
        })
    }

    /// The least number that the bits can be, and the one behind the greatest; none where they are no whole number.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        let power = |bits: usize| 2_f64.powi(i32::try_from(bits).unwrap_or(i32::MAX));
        let half = || power(self.bits - 1);
        match self.coding {
            Coding::Uint => Some((0.0, power(self.bits))),
            Coding::Int => Some((-half(), half())),
            Coding::SignMagnitude | Coding::OnesComplement => Some((1.0 - half(), half())),
            Coding::Bool => Some((0.0, 2.0)),
            Coding::Float | Coding::Mil1750a | Coding::Text | Coding::Bytes => None,
        }
    }

    /// The bits, right-aligned: up to 64 of them.
    fn word(&self, packet: &[u8]) -> u64 {
        let (first, shift) = (self.at_bits / 8, self.at_bits % 8);
        let touched = (shift + self.bits).div_ceil(8);
        let all = packet[first..first + touched]
            .iter()
            .fold(0_u128, |all, byte| all << 8 | u128::from(*byte));
        let word = all >> (touched * 8 - shift - self.bits) & (u128::MAX >> (128 - self.bits));
        let word = u64::try_from(word).unwrap_or(u64::MAX);
        if self.little_endian && self.bits.is_multiple_of(8) {
            word.swap_bytes() >> (64 - self.bits)
        } else {
            word
        }
    }

    /// The number of a sign and what it turns: all bits behind it, or the meaning of these.
    fn negated(&self, packet: &[u8]) -> i64 {
        let (word, sign) = (self.word(packet), 1 << (self.bits - 1));
        let rest = (word & (sign - 1)).cast_signed();
        if word & sign == 0 {
            rest
        } else if self.coding == Coding::SignMagnitude {
            -rest
        } else {
            rest - (sign - 1).cast_signed()
        }
    }

    fn bytes<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = u8> + use<'a> {
        let (first, shift) = (self.at_bits / 8, self.at_bits % 8);
        (first..first + self.bits / 8).map(move |at| {
            let next = packet.get(at + 1).copied().unwrap_or(0);
            let pair = u16::from_be_bytes([packet[at], next]) << shift;
            pair.to_be_bytes()[0]
        })
    }
}

fn signed(word: u64, bits: usize) -> i64 {
    (word << (64 - bits)).cast_signed() >> (64 - bits)
}

#[expect(clippy::cast_possible_truncation, reason = "the width was checked")]
fn ieee(word: u64, bits: usize) -> f64 {
    match bits {
        16 => half(word),
        32 => f64::from(f32::from_bits(word as u32)),
        _ => f64::from_bits(word),
    }
}

/// Half precision: a sign, 5 bits of exponent, 10 of fraction.
fn half(word: u64) -> f64 {
    let sign = if word >> 15 & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from((word >> 10 & 0x1f).to_le_bytes()[0]);
    let fraction = (word & 0x3ff) as f64 / 1024.0;
    sign * match (exponent, word & 0x3ff) {
        (0, _) => fraction * 2_f64.powi(-14),
        (0x1f, 0) => f64::INFINITY,
        (0x1f, _) => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

/// A fraction in two's complement times two to the power of an exponent in two's complement. The longer form has the rest of
/// its fraction behind the exponent.
fn mil1750a(word: u64, bits: usize) -> f64 {
    let (mantissa, exponent, fraction_bits) = if bits == 32 {
        (signed(word >> 8, 24), word & 0xff, 23)
    } else {
        (
            signed(word >> 24 << 16 | word & 0xffff, 40),
            word >> 16 & 0xff,
            39,
        )
    };
    let exponent = i32::try_from(signed(exponent, 8)).unwrap_or(0);
    let mantissa = mantissa as f64;
    mantissa * 2_f64.powi(exponent - fraction_bits)
}
