//! Checksums of polynomials that anybody may configure, against the definition; PUS headers and time codes.
#![no_main]

use dunlin::telemetry::crc::{Crc, Polynomial, WIDTHS};
use dunlin::telemetry::packet::Header;
use dunlin::telemetry::pus::Issue;
use dunlin::telemetry::time::Code;
use libfuzzer_sys::fuzz_target;

fn by_definition(p: Polynomial, bytes: &[u8]) -> u64 {
    let mask = u64::MAX >> (64 - p.width);
    let mut register = p.init;
    for byte in bytes {
        let byte = if p.reflect { byte.reverse_bits() } else { *byte };
        for at in (0..8).rev() {
            let out = register >> (p.width - 1) & 1 ^ u64::from(byte >> at & 1);
            register = register << 1 & mask ^ if out == 1 { p.poly } else { 0 };
        }
    }
    let out = if p.reflect { register.reverse_bits() >> (64 - p.width) } else { register };
    out ^ p.xor_out
}

fuzz_target!(|input: &[u8]| {
    for issue in [Issue::A, Issue::C] {
        let rest = issue.read(input).map_or(input, |secondary| secondary.rest);
        if let Ok((code, rest)) = Code::preamble(rest, 0) {
            let read = code.read(rest);
            assert!(read.is_err() || rest.len() >= code.length_bytes());
        }
    }
    if let Some(header) = Header::read(input) {
        assert_eq!(header.write(), input[..6]);
    }
    let Some((parameters, bytes)) = input.split_first_chunk::<25>() else {
        return;
    };
    let word = |at: usize| parameters[at..at + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let width = WIDTHS[usize::from(parameters[0] >> 1) % WIDTHS.len()];
    let mask = u64::MAX >> (64 - width);
    let polynomial = Polynomial {
        width,
        poly: word(1) & mask | 1,
        init: word(9) & mask,
        reflect: parameters[0] & 1 == 1,
        xor_out: word(17) & mask,
    };
    let crc = Crc::new(polynomial).expect("within its width");
    assert_eq!(crc.of(bytes), by_definition(polynomial, bytes), "{polynomial:?}");
});
