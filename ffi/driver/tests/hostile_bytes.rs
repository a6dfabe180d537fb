//! The agent's decoder against a host that lies: random bytes, and good messages with bytes changed.

use dunlin_driver::protocol::{Context, Expect, MESSAGE_MAX_BYTES, decode_reply};
use dunlin_driver::{Batch, Kind, Value};

/// splitmix64, Steele et al. 2014: seeded, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("small");
        usize::try_from(self.next() % bound).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

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

/// A message with a good head and a count that fits, so that the random part reaches the fields.
fn message(random: &mut Random, expect: usize) -> Vec<u8> {
    let mut bytes = vec![
        1,
        128 + u8::try_from(expect).expect("small"),
        0,
        0,
        7,
        0,
        0,
        0,
    ];
    match random.below(3) {
        0 => bytes.extend((0..random.below(64)).map(|_| random.byte())),
        1 => {
            let count = u8::try_from(random.below(6)).expect("small");
            bytes.extend([count, 0, 0, 0]);
            // Mostly small numbers: they are the ones that pass the first checks.
            let length = usize::from(count) * [24, 30][random.below(2)] + random.below(8);
            bytes.extend((0..length).map(|_| {
                if random.below(3) == 0 {
                    random.byte() & 3
                } else {
                    0
                }
            }));
        }
        _ => {
            let length = random.below(40);
            bytes.extend((0..length).map(|_| random.byte()));
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
        }
    }
    bytes
}

#[test]
fn no_bytes_panic_and_what_passes_keeps_the_rules() {
    let mut random = Random(0x6475_6E6C_696E);
    let mut batch = Batch::default();
    let (mut passed, mut refused) = (0_u32, 0_u32);
    for _ in 0..300_000 {
        let expect = random.below(EXPECTS.len());
        let bytes = message(&mut random, expect);
        let context = Context {
            expect: EXPECTS[expect],
            sequence: 7,
            kinds: &KINDS,
            cap: 4,
            now_ns: u64::MAX >> 1,
        };
        if decode_reply(&bytes, context, &mut batch).is_err() {
            refused += 1;
            continue;
        }
        passed += 1;
        assert!(batch.samples.len() <= 4 && batch.spans.len() <= 4);
        for sample in &batch.samples {
            let kind = KINDS[usize::try_from(sample.channel).expect("small")];
            assert_eq!(sample.value.kind(), kind);
            assert!(sample.monotonic_ns > 0 && sample.monotonic_ns <= context.now_ns);
        }
        let frames = batch.frames();
        assert_eq!(
            frames.iter().count(),
            frames.len(),
            "every frame lies inside"
        );
    }
    // Both sides are exercised; a decoder that refused everything would pass the rest.
    assert!(
        passed > 1000 && refused > 100_000,
        "{passed} passed, {refused} refused"
    );
}

#[test]
fn replies_that_nobody_asked_for_are_refused() {
    let mut batch = Batch::default();
    batch.samples.push(dunlin_driver::Sample {
        monotonic_ns: 1,
        value: Value::Int(5),
        channel: 1,
        quality: dunlin_driver::Quality::Good,
        lost: 0,
    });
    let before = batch.samples.clone();
    for (asked, expect) in EXPECTS.into_iter().enumerate() {
        let context = Context {
            expect,
            sequence: 7,
            kinds: &KINDS,
            cap: 4,
            now_ns: 10,
        };
        for kind in (128..=136).filter(|kind| usize::from(kind - 128) != asked) {
            // 136 is a failure, which fits any request but none.
            if kind == 136 && asked != 0 {
                continue;
            }
            let bytes = [
                1, kind, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ];
            assert!(
                decode_reply(&bytes, context, &mut batch).is_err(),
                "{kind} for {expect:?}"
            );
            assert_eq!(
                batch.samples, before,
                "an unasked reply must not touch the readings"
            );
        }
    }
    let context = Context {
        expect: Expect::Written,
        sequence: 7,
        ..Context::default()
    };
    let reply = |sequence| [1, 134, 0, 0, sequence, 0, 0, 0];
    assert!(decode_reply(&reply(7), context, &mut batch).is_ok());
    assert!(
        decode_reply(&reply(6), context, &mut batch).is_err(),
        "an old reply"
    );
    let long = vec![1; MESSAGE_MAX_BYTES + 1];
    assert!(decode_reply(&long, context, &mut batch).is_err());
}
