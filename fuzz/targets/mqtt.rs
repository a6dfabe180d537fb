//! What a broker sends: packets are found in the stream and decoded.
#![no_main]

use dunlin::uplink::codec::{decode, frame};
use libfuzzer_sys::fuzz_target;

/// Largest packet that the agent announced, in bytes.
const PACKET_MAX_BYTES: u32 = 64 * 1024;

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    while let Ok(Some((header, whole))) = frame(rest, PACKET_MAX_BYTES) {
        assert!(header >= 2 && header <= whole && whole <= rest.len());
        let _ = decode(rest[0], &rest[header..whole]);
        rest = &rest[whole..];
    }
});
