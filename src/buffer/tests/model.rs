//! A generated workload, and what must be found after it.

use super::super::engine::Engine;
use super::super::fs::Storage;
use super::super::fs::faulty::{Random, SimDisk};
use super::super::reader::{Chunk, Place};
use super::super::shared::Shared;
use super::super::{Batch, Class, Error, Options, Policy};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub(super) const DIR: &str = "/buffer";

/// Small enough that a short workload turns segments over and drops.
pub(super) fn options(policy: Policy) -> Options {
    Options {
        size_max_bytes: 8 << 16,
        segment_bytes: 1 << 16,
        policy,
        on_drop: Some(Arc::new(|dropped| {
            let mut ranges = vec![dropped.positions];
            ranges.extend(
                dropped
                    .frames
                    .filter_map(|(_, payload)| gap(&payload))
                    .flatten(),
            );
            let mut payload = b"GAP".to_vec();
            for range in ranges {
                payload.extend(range.start.to_le_bytes());
                payload.extend(range.end.to_le_bytes());
            }
            Some(payload)
        })),
        ..Options::default()
    }
}

/// The ranges that a gap payload of these tests states, those of gaps it replaced included.
fn gap(payload: &[u8]) -> Option<Vec<Range<u64>>> {
    let u64_of = |b: &[u8]| u64::from_le_bytes(b.try_into().expect("eight bytes"));
    let ranges = payload.strip_prefix(b"GAP")?.chunks(16);
    Some(ranges.map(|r| u64_of(&r[..8])..u64_of(&r[8..])).collect())
}

/// What one log must hold.
#[derive(Default)]
pub(super) struct LogModel {
    pub(super) acked: BTreeMap<u64, Vec<u8>>,
    /// Payloads whose append has not returned, or failed as the power went.
    pub(super) unknown: Vec<Vec<u8>>,
    pub(super) released: u64,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) logs: [LogModel; 3],
}

/// Reads a log from its cursor to its end.
pub(super) fn read_all(shared: &Shared, class: Class) -> Chunk {
    let mut chunk = Chunk::default();
    let (mut next, end) = {
        let view = shared.log(class).view();
        (view.released.max(view.floor), view.next)
    };
    let mut place = Place::default();
    while next < end {
        let limit = (usize::MAX, usize::MAX);
        next = place
            .read(shared, class, next, limit, &mut chunk)
            .expect("a readable log");
    }
    chunk
}

pub(super) fn release(shared: &Shared, class: Class, released: u64) {
    let mut view = shared.log(class).view();
    view.released = view.released.max(released.min(view.next));
}

impl Model {
    /// Runs a workload until its end or the first error, which is returned. Each tenth stays with one class, mostly, and
    /// releases as much as it appends, so that segments are written over.
    pub(super) fn run(&mut self, engine: &mut Engine, seed: u64, steps: u64) -> Result<(), Error> {
        let mut random = Random::new(seed);
        for step in 0..steps {
            let turnover = seed.is_multiple_of(10);
            let class = if turnover && random.below(8) > 0 {
                Class::Normal
            } else {
                Class::ALL[usize::try_from(random.below(4)).expect("small").min(2)]
            };
            let log = &mut self.logs[class as usize];
            match random.below(if turnover { 4 } else { 8 }) {
                0 => {
                    let next = engine.shared().log(class).view().next;
                    log.released = log.released.max(next - random.below(3).min(next));
                    release(&engine.shared(), class, log.released);
                    engine.reclaim()?;
                }
                1 => engine.flush_cursors()?,
                _ => {
                    let mut batches = Vec::new();
                    let known = log.unknown.len();
                    for _ in 0..=random.below(2) {
                        let mut batch = Batch::new();
                        for number in 0..=random.below(2) {
                            let mut payload = format!("{class:?} {seed} {step} {number} ");
                            let length = random.below(7000);
                            payload.extend((0..length).map(|_| char::from(b'a')));
                            log.unknown.push(payload.clone().into_bytes());
                            batch.push(payload.as_bytes());
                        }
                        batches.push(batch);
                    }
                    let first = engine.append(class, &batches)?;
                    log.acked.extend((first..).zip(log.unknown.drain(known..)));
                }
            }
        }
        Ok(())
    }

    /// Asserts that an opened store holds what it must and nothing else.
    pub(super) fn check(&self, shared: &Shared, note: &str) {
        for class in Class::ALL {
            let log = &self.logs[class as usize];
            let chunk = read_all(shared, class);
            let mut found = BTreeMap::new();
            let mut dropped: Vec<Range<u64>> = Vec::new();
            for frame in &chunk.frames {
                if let Some(ranges) = gap(&frame.payload) {
                    dropped.extend(ranges);
                } else {
                    found.insert(frame.position, frame.payload.to_vec());
                }
            }
            let positions = chunk.frames.iter().map(|f| f.position);
            assert!(
                positions.is_sorted_by(|a, b| a < b),
                "{note}: {class:?} order"
            );
            for (position, payload) in &log.acked {
                let reported = dropped.iter().any(|r| r.contains(position));
                if let Some(stored) = found.get(position) {
                    assert!(stored == payload, "{note}: {class:?} {position} differs");
                    assert!(
                        !reported,
                        "{note}: {class:?} {position} reported dropped, and there"
                    );
                } else if *position >= log.released {
                    assert!(
                        reported,
                        "{note}: {class:?} {position} was acknowledged and is lost"
                    );
                }
            }
            for lost in &chunk.lost {
                // Also where it was released: a cursor that is behind its unlinked segments says such things.
                let acked = log.acked.range(lost.clone()).next();
                assert!(
                    acked.is_none(),
                    "{note}: {class:?} {lost:?} reported lost, not delivered"
                );
            }
            for (position, payload) in found {
                let known = log.acked.contains_key(&position) || log.unknown.contains(&payload);
                assert!(known, "{note}: {class:?} {position} was never appended");
            }
        }
    }
}

/// A new store that leaves a mebibyte of the disk alone.
pub(super) fn open_leaving_a_mib(disk: &SimDisk) -> Engine {
    let options = Options {
        free_bytes_min: 1 << 20,
        ..options(Policy::DropOldest)
    };
    open_with(disk, options)
}

/// A store with options of its own.
pub(super) fn open_with(disk: &(impl Storage + Clone), options: Options) -> Engine {
    let opened = Engine::open(Arc::new(disk.clone()), Path::new(DIR), options);
    opened.expect("a store").0
}

pub(super) fn open(
    disk: &(impl Storage + Clone),
    policy: Policy,
) -> Result<(Engine, super::super::Recovery), Error> {
    Engine::open(Arc::new(disk.clone()), Path::new(DIR), options(policy))
}
