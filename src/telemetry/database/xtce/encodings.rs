//! Data encodings: which bits a value has.

use super::element::Element;
use super::sizes::{self, Size, Sized};
use crate::telemetry::database::field::{Coding, Layout};
use crate::telemetry::packet::PACKET_BYTES_MAX;

/// How the bits of a value are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded<'t> {
    /// Where it would be at the front of a packet; of no bits where the packet says how many.
    pub(super) layout: Layout,
    pub(super) size: Size<'t>,
    pub(super) tag_bits: usize,
    pub(super) most_bits: usize,
}

impl Coded<'_> {
    /// Those of a value that is in no packet.
    pub(super) const NOWHERE: Self = Coded {
        layout: Layout {
            at_bits: 0,
            bits: 0,
            little_endian: false,
            coding: Coding::Uint,
        },
        size: Size::Nowhere,
        tag_bits: 0,
        most_bits: usize::MAX,
    };
}

/// What an encoding of numbers may hold.
pub(super) const CALIBRATORS: [&str; 2] = ["DefaultCalibrator", "ContextCalibratorList"];

/// The bits of an encoding.
pub(super) fn coded(encoding: Element<'_>, system: usize) -> Option<Coded<'_>> {
    let sized = [
        "sizeInBits",
        "encoding",
        "byteOrder",
        "bitOrder",
        "changeThreshold",
    ];
    let (coding, size) = match encoding.name() {
        "IntegerDataEncoding" => {
            encoding.allow(&sized, &CALIBRATORS);
            let choices = [
                ("unsigned", Coding::Uint),
                ("twosComplement", Coding::Int),
                ("signMagnitude", Coding::SignMagnitude),
                ("onesComplement", Coding::OnesComplement),
                // As XTCE 1.1 spells it.
                ("twosCompliment", Coding::Int),
            ];
            (
                encoding.choice("encoding", &choices),
                encoding.number("sizeInBits", Some(8)).map(Sized::fixed),
            )
        }
        "FloatDataEncoding" => {
            encoding.allow(&sized, &CALIBRATORS);
            let choices = [
                ("IEEE754_1985", Coding::Float),
                ("IEEE754", Coding::Float),
                ("MILSTD_1750A", Coding::Mil1750a),
            ];
            (
                encoding.choice("encoding", &choices),
                encoding.number("sizeInBits", Some(32)).map(Sized::fixed),
            )
        }
        "StringDataEncoding" => {
            encoding.allow(&sized[1..4], &["SizeInBits", "Variable"]);
            encoding.choice("encoding", &[("UTF-8", ()), ("US-ASCII", ())]);
            (Some(Coding::Text), sizes::text(encoding, system))
        }
        _ => {
            encoding.allow(&sized[2..4], &["SizeInBits"]);
            (Some(Coding::Bytes), sizes::bytes(encoding, system))
        }
    };
    encoding.choice("bitOrder", &[("mostSignificantBitFirst", ())]);
    let orders = [
        ("mostSignificantByteFirst", false),
        ("leastSignificantByteFirst", true),
    ];
    let little_endian = encoding.choice("byteOrder", &orders);
    let (coding, sized, little_endian) = (coding?, size?, little_endian?);
    let Sized {
        size,
        bits,
        tag_bits,
        most_bits,
    } = sized;
    let is_fixed = matches!(size, Size::Fixed);
    // Behind a tag there are whole bytes, whatever its width.
    let is_right = coding.allows(bits) || (tag_bits > 0 && bits > 0);
    if is_fixed && (bits > 8 * PACKET_BYTES_MAX || !is_right) {
        let sizes = match coding {
            Coding::Uint | Coding::Bool | Coding::Int => "1 to 64 bits",
            Coding::SignMagnitude | Coding::OnesComplement => "2 to 64 bits",
            Coding::Float => "16, 32 or 64 bits",
            Coding::Mil1750a => "32 or 48 bits",
            Coding::Text | Coding::Bytes => "whole bytes, and no more than a packet",
        };
        encoding.problem(
            format!("has {bits} bits"),
            format!("this encoding has {sizes}"),
        );
        return None;
    }
    let is_number = !matches!(coding, Coding::Text | Coding::Bytes);
    if little_endian && !(bits.is_multiple_of(8) && is_number) {
        let remedy = "numbers of whole bytes alone have the least significant byte first";
        encoding.problem("has byteOrder = \"leastSignificantByteFirst\"", remedy);
        return None;
    }
    Some(Coded {
        layout: Layout {
            at_bits: 0,
            bits,
            little_endian,
            coding,
        },
        size,
        tag_bits,
        most_bits,
    })
}
