//! Messages from a driver host, every byte of which may be a lie. The first byte says what was asked, the rest is the
//! message. What passes must keep the rules that the agent relies on.
#![no_main]

use dunlin_driver::protocol::{Context, Expect, Reply, decode_reply};
use dunlin_driver::{Batch, Kind};
use libfuzzer_sys::fuzz_target;

const EXPECTS: [Expect; 8] = [
    Expect::Nothing,
    Expect::Ready,
    Expect::Opened,
    Expect::Channels,
    Expect::Samples,
    Expect::Frames,
    Expect::Written,
    Expect::Closed,
];
const KINDS: [Kind; 4] = [Kind::Float, Kind::Int, Kind::Bool, Kind::Frame];
/// Most readings that were asked for.
const CAP: u32 = 64;

fuzz_target!(|input: &[u8]| {
    let Some((asked, message)) = input.split_first() else {
        return;
    };
    let expect = EXPECTS[usize::from(*asked) % EXPECTS.len()];
    let context = Context {
        expect,
        sequence: 7,
        kinds: &KINDS,
        cap: CAP,
        now_ns: u64::MAX >> 1,
    };
    let mut batch = Batch::default();
    let Ok(reply) = decode_reply(message, context, &mut batch) else {
        assert!(batch.samples.is_empty() && batch.spans.is_empty(), "half a message is none");
        return;
    };
    let fits = match reply {
        Reply::LastWords(_) => true,
        Reply::Failed(_) => expect != Expect::Nothing,
        Reply::Ready(_) => expect == Expect::Ready,
        Reply::Opened(_) => expect == Expect::Opened,
        Reply::Channels(_) => expect == Expect::Channels,
        Reply::Samples => expect == Expect::Samples,
        Reply::Frames => expect == Expect::Frames,
        Reply::Written => expect == Expect::Written,
        Reply::Closed => expect == Expect::Closed,
    };
    assert!(fits, "{reply:?} for {expect:?}");
    assert!(batch.samples.len() <= CAP as usize && batch.spans.len() <= CAP as usize);
    for sample in &batch.samples {
        assert_eq!(sample.value.kind(), KINDS[sample.channel as usize]);
        assert!(sample.monotonic_ns > 0 && sample.monotonic_ns <= context.now_ns);
    }
    let frames = batch.frames();
    assert_eq!(frames.iter().count(), frames.len(), "every frame lies inside");
});
