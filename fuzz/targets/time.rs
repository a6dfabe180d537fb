//! What comes on the socket of a question for the time.
#![no_main]

use dunlin::roughtime::Question;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let question = Question::new([0x3b; 32], [0; 32]);
    assert!(question.hold(bytes).is_err(), "nobody has signed this");
});
