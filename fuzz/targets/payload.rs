//! Messages as `dunlin sub` reads them from a broker, which anybody may have written.
#![no_main]

use dunlin::payload::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = decode(input);
});
