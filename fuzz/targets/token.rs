//! What a key host says, every byte of which may be a lie: the module behind it is a vendor's. What passes is bounded, and the
//! signatures and keys in it fit what OpenSSL has been told of them.
#![no_main]

use dunlin_crypto::rewritten_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(again) = rewritten_answer(input) {
        // The text of a failure is cleaned and cut; what was done comes back as it went.
        let failed = input[4] == 1;
        assert!(
            failed || input.starts_with(&again),
            "an answer that says one thing in two ways"
        );
    }
});
