//! Requests as a driver host decodes them. They come from the agent; a host that is asked nonsense must refuse it, and
//! what it takes must be what was sent: written again, it is the same message.
#![no_main]

use dunlin_driver::protocol::rewritten_request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(again) = rewritten_request(input) {
        assert_eq!(again, input, "a message that says one thing in two ways");
    }
});
