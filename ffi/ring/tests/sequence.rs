//! A ring beside a vector of all messages: random sequences of writing, publishing and reading, on one thread.

use dunlin_ring::{Idle, MESSAGE_BYTES_MAX, Policy, Producer, Refused, SLAB_BYTES, ring};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Copies a message of so many bytes in.
    Push(usize),
    /// Writes one in place, in room for more.
    Claim {
        room: usize,
        used: usize,
    },
    /// Takes room and gives it back.
    Abandon(usize),
    Publish,
    /// One consumer takes a batch.
    Read(usize),
    /// One consumer leaves.
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Short, and of every length up to the longest, so that slabs end in every way.
    let bytes = || prop_oneof![3 => 0..200_usize, 2 => 0..=MESSAGE_BYTES_MAX, 1 => MESSAGE_BYTES_MAX - 9..=MESSAGE_BYTES_MAX];
    let step = prop_oneof![
        12 => bytes().prop_map(Step::Push),
        4 => (bytes(), 0..=100_usize).prop_map(|(room, percent)| Step::Claim { room, used: room * percent / 100 }),
        1 => bytes().prop_map(Step::Abandon),
        6 => Just(Step::Publish),
        8 => (0..4_usize).prop_map(Step::Read),
        1 => (0..40_usize).prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 1..150)
}

/// Bytes that only this message has.
fn message(number: usize, bytes: usize) -> Vec<u8> {
    let mut message = vec![number.to_le_bytes()[0]; bytes];
    for (byte, of_number) in message.iter_mut().zip(number.to_be_bytes()) {
        *byte ^= of_number;
    }
    message
}

fn write(producer: &mut Producer, step: &Step, number: usize) -> Result<Vec<u8>, Refused> {
    match *step {
        Step::Push(bytes) => {
            let message = message(number, bytes);
            producer.try_push(&message).map(|()| message)
        }
        Step::Claim { room, used } => {
            let message = message(number, used);
            let mut claim = producer.try_claim(room)?;
            assert_eq!(claim.len(), room);
            claim.fill(0xee);
            claim[..used].copy_from_slice(&message);
            claim.commit(used);
            Ok(message)
        }
        _ => unreachable!("a step that writes"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn consumers_see_what_a_vector_holds(
        slabs in 3..6_usize,
        blocking in prop::collection::vec(any::<bool>(), 1..4),
        steps in steps(),
    ) {
        let policy = |blocks: &bool| if *blocks { Policy::Block } else { Policy::Skip };
        let policies: Vec<Policy> = blocking.iter().map(policy).collect();
        let (mut producer, consumers) = ring(slabs, &policies).expect("a ring");
        // Each with the number of the message that it has to see next.
        let mut consumers: Vec<_> = consumers.into_iter().map(|consumer| Some((consumer, 0_usize))).collect();
        let (mut all, mut published): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
        for step in &steps {
            match *step {
                Step::Push(_) | Step::Claim { .. } => match write(&mut producer, step, all.len()) {
                    Ok(message) => all.push(message),
                    Err(refused) => {
                        prop_assert_eq!(refused, Refused::Full);
                        let mut seats = consumers.iter().zip(&policies);
                        let gates = seats.any(|(seat, policy)| seat.is_some() && *policy == Policy::Block);
                        prop_assert!(gates, "nobody is waited for");
                        // What is refused has published what was before it.
                        published = all.len();
                    }
                },
                Step::Abandon(bytes) => drop(producer.try_claim(bytes)),
                Step::Publish => {
                    producer.publish();
                    published = all.len();
                }
                Step::Read(which) => {
                    let which = which % consumers.len();
                    let Some((consumer, next)) = &mut consumers[which] else { continue };
                    match consumer.try_batch() {
                        Ok(batch) => {
                            let lost = usize::try_from(batch.lost()).expect("fits");
                            prop_assert!(lost == 0 || policies[which] == Policy::Skip);
                            *next += lost;
                            let mut bytes = 0;
                            for message in batch {
                                prop_assert_eq!(message, &all[*next][..], "message {}", *next);
                                *next += 1;
                                bytes += message.len();
                            }
                            prop_assert!(bytes < SLAB_BYTES);
                        }
                        Err(idle) => {
                            prop_assert_eq!(idle, Idle::Empty);
                            prop_assert!(*next >= published, "{} of {published} were seen", *next);
                        }
                    }
                }
                Step::Leave(which) => if let Some(seat) = consumers.get_mut(which) {
                    *seat = None;
                }
            }
        }
        prop_assert_eq!(producer.messages(), all.len() as u64);
        drop(producer);
        for (consumer, next) in consumers.iter_mut().flatten() {
            while let Some(batch) = consumer.batch() {
                *next += usize::try_from(batch.lost()).expect("fits");
                for message in &batch {
                    prop_assert_eq!(message, &all[*next][..]);
                    *next += 1;
                }
            }
            prop_assert_eq!(*next, all.len(), "all were read or lost");
            prop_assert_eq!(consumer.try_batch().err(), Some(Idle::Closed));
        }
    }
}
