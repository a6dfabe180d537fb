//! The session against a reference broker (`reference`), over sequences of steps that proptest makes and shortens: bytes
//! cut anywhere, PUBACKs dropped, doubled, late, in another order and with any reason, connections lost, brokers that
//! keep or lose their session, limits that change, time that passes.
//!
//! Deterministic: `DUNLIN_MODEL_SEED` gives other sequences, `DUNLIN_MODEL_CASES` more of them; a failure prints both
//! and the shortest sequence that still fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin::uplink::session::Session;
use dunlin::uplink::{BackoffSettings, Event, Lost, Settings};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::reference::{Limits, Met, Reference};

/// Most messages in flight that the client is set to; the broker's Receive Maximum is below and above it.
const INFLIGHT_MAX: u16 = 12;
/// Steps of the end, in which nothing fails any more, until all is delivered. Each lets everything through once.
const ROUNDS_MAX: usize = 2_000;
/// Reasons of a PUBACK: taken, nobody listens, refused for now, refused for good.
const REASONS: [u8; 8] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x97, 0x90, 0x99];

#[derive(Clone, Debug)]
enum Step {
    Publish { topic: u8, count: u8, bytes: u16 },
    Write { bytes: u16 },
    Read { bytes: u16 },
    Answer { at: u8, reason: u8 },
    Swallow { at: u8 },
    Stray { at: u8 },
    Kick { reason: u8 },
    Cut { keep: bool },
    Connect { limits: Limits },
    Wait { ms: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let limits =
        (1_u16..20, 60_u32..400, 0_u16..5).prop_map(|(in_flight, packet_bytes, aliases)| Limits {
            in_flight,
            packet_bytes,
            aliases,
        });
    prop_oneof![
        6 => (0_u8..4, 1_u8..8, prop_oneof![4 => 8_u16..40, 1 => 8_u16..300]).prop_map(|(topic, count, bytes)| Step::Publish { topic, count, bytes }),
        6 => (1_u16..2_000).prop_map(|bytes| Step::Write { bytes }),
        6 => (1_u16..200).prop_map(|bytes| Step::Read { bytes }),
        8 => any::<u8>().prop_map(|at| Step::Answer { at, reason: 0 }),
        5 => (any::<u8>(), prop::sample::select(&REASONS[..])).prop_map(|(at, reason)| Step::Answer { at, reason }),
        1 => any::<u8>().prop_map(|at| Step::Swallow { at }),
        2 => any::<u8>().prop_map(|at| Step::Stray { at }),
        1 => prop::sample::select(&[0x89_u8, 0x8B, 0x93, 0x97][..]).prop_map(|reason| Step::Kick { reason }),
        2 => any::<bool>().prop_map(|keep| Step::Cut { keep }),
        6 => limits.prop_map(|limits| Step::Connect { limits }),
        2 => prop_oneof![4 => 1_u16..3_000, 1 => 1_u16..40_000].prop_map(|ms| Step::Wait { ms }),
    ]
}

struct Run {
    session: Session,
    broker: Reference,
    now_ms: u64,
    topics: Vec<Arc<str>>,
    given: u64,
    /// What became of each message.
    settled: BTreeMap<u64, &'static str>,
    connected: bool,
    ack_timeouts: u64,
    too_large: u64,
}

impl Run {
    fn new() -> Run {
        let mut settings = Settings::new(vec!["mqtt://127.0.0.1".parse().unwrap()], "model");
        settings.inflight_max = INFLIGHT_MAX;
        settings.backoff = BackoffSettings {
            base: Duration::from_millis(100),
            max: Duration::from_secs(10),
            stable: Duration::from_secs(1),
        };
        Run {
            session: Session::new(settings, 7),
            broker: Reference::new(INFLIGHT_MAX),
            now_ms: 0,
            topics: (0..4).map(|n| format!("t/{n}").into()).collect(),
            given: 0,
            settled: BTreeMap::new(),
            connected: false,
            ack_timeouts: 0,
            too_large: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish {
                topic,
                count,
                bytes,
            } => {
                for _ in 0..*count {
                    if self.session.room() == 0 {
                        break;
                    }
                    let mut payload = self.given.to_be_bytes().to_vec();
                    payload.resize(usize::from(*bytes), 0);
                    let topic = Arc::clone(&self.topics[usize::from(*topic)]);
                    self.session.publish(self.given, topic, payload.into());
                    self.given += 1;
                }
            }
            Step::Write { bytes } => self.write(usize::from(*bytes)),
            Step::Read { bytes } => self.read(usize::from(*bytes)),
            Step::Answer { at, reason } => {
                let waiting = self.broker.waiting().max(1);
                self.broker.answer(usize::from(*at) % waiting, *reason);
            }
            Step::Swallow { at } => {
                let waiting = self.broker.waiting().max(1);
                self.broker.swallow(usize::from(*at) % waiting);
            }
            Step::Stray { at } => self.broker.stray(usize::from(*at)),
            Step::Kick { reason } => self.broker.kick(*reason),
            Step::Cut { keep } => {
                if !keep {
                    self.broker.forget();
                }
                self.lost();
            }
            Step::Connect { limits } => {
                if !self.connected {
                    self.connect(limits.clone());
                }
            }
            Step::Wait { ms } => {
                self.now_ms += u64::from(*ms);
                self.tick();
            }
        }
        self.session.pump(self.now_ms);
        self.take_events();
    }

    fn connect(&mut self, limits: Limits) {
        self.broker.accept(limits);
        self.session
            .open("mqtt://127.0.0.1".parse().unwrap(), self.now_ms);
        self.connected = true;
    }

    fn lost(&mut self) {
        self.session.close();
        self.broker.cut();
        self.connected = false;
    }

    fn write(&mut self, bytes: usize) {
        if self.connected {
            let count = self.session.output().len().min(bytes);
            self.broker.write(&self.session.output()[..count]);
            self.session.wrote(count);
        }
    }

    fn read(&mut self, bytes: usize) {
        if !self.connected {
            return;
        }
        let arrived = self.session.output().is_empty();
        let bytes = self.broker.read(bytes, arrived);
        match self.session.receive(&bytes, self.now_ms) {
            Ok(()) => {}
            Err(Lost::Kicked { .. }) if self.broker.leaving => self.lost(),
            Err(lost) => panic!("the session breaks off by itself: {lost}"),
        }
    }

    fn tick(&mut self) {
        match self.session.tick(self.now_ms) {
            Ok(()) => {}
            Err(Lost::AckTimeout { .. }) => {
                self.ack_timeouts += 1;
                self.lost();
            }
            Err(Lost::PingTimeout { .. } | Lost::ConnectTimeout { .. }) => self.lost(),
            Err(lost) => panic!("the session breaks off by itself: {lost}"),
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Acked { first, last } => {
                    for token in first..=last {
                        assert!(
                            self.broker.accepted.contains(&token),
                            "message {token} counts as delivered; the broker never took it"
                        );
                        self.settle(token, "delivered");
                    }
                }
                Event::Rejected { token, detail, .. } => {
                    if detail.contains("the broker takes") {
                        self.too_large += 1;
                    } else {
                        assert!(
                            self.broker.rejected.contains(&token),
                            "message {token} counts as refused; the broker never said so"
                        );
                    }
                    self.settle(token, "refused");
                }
                _ => {}
            }
        }
        let open = usize::try_from(self.given).unwrap() - self.settled.len();
        assert_eq!(self.session.outstanding(), open, "messages that it holds");
    }

    fn settle(&mut self, token: u64, how: &'static str) {
        let before = self.settled.insert(token, how);
        assert_eq!(before, None, "message {token} is {how}");
    }

    /// Nothing fails any more: all that was given comes to its end.
    fn finish(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.session.is_idle() {
                break;
            }
            if !self.connected {
                self.connect(Limits {
                    in_flight: 8,
                    packet_bytes: 10_000,
                    aliases: 2,
                });
            }
            self.session.pump(self.now_ms);
            let (written, before) = (self.session.output().len(), self.session.outstanding());
            self.write(usize::MAX);
            for _ in 0..self.broker.waiting() {
                self.broker.answer(0, 0);
            }
            self.read(usize::MAX);
            self.take_events();
            if written == 0
                && before == self.session.outstanding()
                && let Some(at_ms) = self.session.deadline_ms()
            {
                self.now_ms = self.now_ms.max(at_ms);
                self.tick();
            }
        }
        assert!(
            self.session.is_idle(),
            "no progress: {} messages after {ROUNDS_MAX} rounds",
            self.session.outstanding()
        );
        assert_eq!(u64::try_from(self.settled.len()).unwrap(), self.given);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_session_keeps_every_promise_to_a_reference_broker() {
    let seed = number("DUNLIN_MODEL_SEED", 1);
    let cases = number("DUNLIN_MODEL_CASES", 400);
    println!("DUNLIN_MODEL_SEED={seed} DUNLIN_MODEL_CASES={cases}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let met = std::cell::Cell::new((Met::default(), 0, 0));
    let result = runner.run(&prop::collection::vec(step(), 1..200), |steps| {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        run.finish();
        let (sum, ack_timeouts, too_large) = met.get();
        met.set((
            sum.with(&run.broker.met),
            ack_timeouts + run.ack_timeouts,
            too_large + run.too_large,
        ));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}\nDUNLIN_MODEL_SEED={seed} DUNLIN_MODEL_CASES={cases}");
    }
    let (met, ack_timeouts, too_large) = met.get();
    println!("{met:?}, {ack_timeouts} ack timeouts, {too_large} too large");
    assert!(
        met.least() > 0 && ack_timeouts > 0 && too_large > 0,
        "the sequences leave something out: {met:?}, {ack_timeouts} ack timeouts, {too_large} too large"
    );
}
