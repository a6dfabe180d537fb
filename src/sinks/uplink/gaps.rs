//! What the buffer lost, told to consumers: gap records on a stream of the sink's own.
//!
//! Messages that were on their way when the connection broke may be told missing and come all the same: whether the
//! broker has them is not known, and a loss that is not told would be worse.

use super::message::{self, Message};
use super::stage::Form;
use crate::buffer::{Dropped, Why};
use crate::clock::{self, BootId};
use crate::payload::{self, ItemBody};
use crate::record::{Cause, Class, Record};
use crate::stats::SinkStats;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The stream of a sink's own gap records. No source can have it, because names of sources hold no dot.
pub(super) const GAP_STREAM: &str = "dunlin.buffer";

/// Streams named in one gap message; the records of any more are summed up in one gap record.
const STREAMS_MAX: usize = 200;

/// Makes gap messages and numbers them.
#[derive(Debug)]
pub(super) struct GapStream {
    form: Form,
    topic: String,
    next_seq: AtomicU64,
    /// The last drop told: a store that could not write its gap frame asks for it again.
    told: Mutex<Option<Told>>,
    stats: Arc<SinkStats>,
}

/// A drop and the message that told it.
#[derive(Debug)]
struct Told {
    drop: (Class, Range<u64>),
    message: Vec<u8>,
}

/// What is missing of one stream.
struct Missing {
    records: u64,
    seqs: Range<u64>,
}

impl GapStream {
    /// The gap stream of a sink.
    pub(super) fn new(form: Form, stats: Arc<SinkStats>) -> GapStream {
        let topic = form.topic_of(GAP_STREAM);
        GapStream {
            form,
            topic,
            next_seq: AtomicU64::new(0),
            told: Mutex::new(None),
            stats,
        }
    }

    /// The message that stands for what the policy drops. Counts its records as dropped.
    pub(super) fn dropped(&self, dropped: Dropped<'_>) -> Vec<u8> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let drop = (dropped.class, dropped.positions.clone());
        match &*told {
            Some(last) if last.drop == drop => last.message.clone(),
            _ => {
                let message = self.count_dropped(dropped);
                *told = Some(Told {
                    drop,
                    message: message.clone(),
                });
                message
            }
        }
    }

    fn count_dropped(&self, dropped: Dropped<'_>) -> Vec<u8> {
        let cause = match dropped.why {
            Why::Space => Cause::BufferFull,
            Why::Age => Cause::Expired,
        };
        let mut missing: BTreeMap<(BootId, String), Missing> = BTreeMap::new();
        let mut carried = Vec::new();
        let mut unread = dropped.positions.end - dropped.positions.start;
        for (_, frame) in dropped.frames {
            let Ok(message) = message::read(&frame) else {
                continue;
            };
            unread -= 1;
            if message.stream == GAP_STREAM {
                carried.extend(gaps_in(message.payload));
            } else {
                count(&mut missing, &message);
            }
        }
        let total: u64 = missing.values().map(|missing| missing.records).sum();
        self.stats.dropped.add(total);
        if cause == Cause::Expired {
            self.stats.expired.add(total);
        }
        let now = clock::monotonic_ns();
        // Gaps that were themselves still to be sent are told again, so that nothing goes unsaid.
        let mut records: Vec<Record> = Vec::new();
        let mut beyond = 0;
        for (told, lost, detail) in carried {
            if records.len() == STREAMS_MAX / 2 {
                beyond += lost.unwrap_or(0);
                continue;
            }
            records.push(gap(now, told, lost, detail));
        }
        for ((boot, stream), missing) in missing {
            if records.len() == STREAMS_MAX {
                beyond += missing.records;
                continue;
            }
            let Range { start, end } = missing.seqs;
            let detail = format!("boot {boot} stream {stream} seq {start} to {}", end - 1);
            records.push(gap(now, cause, Some(missing.records), detail));
        }
        if beyond > 0 {
            let detail = "further streams".to_owned();
            records.push(gap(now, cause, Some(beyond), detail));
        }
        if unread > 0 || records.is_empty() {
            let detail = format!(
                "class {}: {unread} messages that could not be read",
                dropped.class.name()
            );
            records.push(gap(now, cause, None, detail));
        }
        tracing::warn!(
            class = dropped.class.name(),
            records = total,
            cause = cause.name(),
            "dropped the oldest of the buffer"
        );
        self.message(dropped.class, &records)
    }

    /// The message that stands for one that the broker refuses for ever and the quarantine has no room for. Counts its
    /// records as dropped.
    pub(super) fn refused(&self, class: Class, payload: &[u8], reason: &str) -> Vec<u8> {
        let (lost, detail) = match payload::decode(payload) {
            Ok(message) => {
                let records = message.records.len() as u64;
                let last = message.seq + records.saturating_sub(1);
                let seqs = format!("seq {} to {last}", message.seq);
                let (boot, stream) = (message.boot, message.stream);
                (
                    Some(records),
                    format!("boot {boot} stream {stream} {seqs}: {reason}"),
                )
            }
            Err(_) => (None, reason.to_owned()),
        };
        self.stats.dropped.add(lost.unwrap_or(0));
        let gap = gap(clock::monotonic_ns(), Cause::Refused, lost, detail);
        self.message(class, &[gap])
    }

    /// The message that stands for positions found damaged.
    pub(super) fn damaged(&self, class: Class, positions: &Range<u64>) -> Vec<u8> {
        let messages = positions.end - positions.start;
        let detail = format!(
            "class {}: {messages} stored messages damaged, positions {} to {}",
            class.name(),
            positions.start,
            positions.end - 1
        );
        tracing::error!(
            class = class.name(),
            messages,
            "stored messages are damaged; the rest goes on"
        );
        self.message(
            class,
            &[gap(clock::monotonic_ns(), Cause::Corruption, None, detail)],
        )
    }

    fn message(&self, class: Class, records: &[Record]) -> Vec<u8> {
        let seq = self
            .next_seq
            .fetch_add(records.len() as u64, Ordering::Relaxed);
        let mut out = Vec::new();
        self.form
            .write(GAP_STREAM, &self.topic, (class, seq), records, &mut out);
        out
    }
}

/// The gaps that a stored gap message tells.
fn gaps_in(payload: &[u8]) -> Vec<(Cause, Option<u64>, String)> {
    let items = payload::decode(payload)
        .map(|message| message.records)
        .unwrap_or_default();
    let gap = |item: payload::Item| match item.body {
        ItemBody::Gap {
            cause,
            lost,
            detail,
            ..
        } => {
            let known = if cause == Cause::Refused.name() {
                Cause::Refused
            } else if cause == Cause::Expired.name() {
                Cause::Expired
            } else if cause == Cause::Corruption.name() {
                Cause::Corruption
            } else {
                Cause::BufferFull
            };
            Some((known, lost, detail))
        }
        _ => None,
    };
    items.into_iter().filter_map(gap).collect()
}

fn count(missing: &mut BTreeMap<(BootId, String), Missing>, message: &Message<'_>) {
    let end = message.seq + u64::from(message.records);
    let key = (message.boot, message.stream.to_owned());
    let entry = missing.entry(key).or_insert_with(|| Missing {
        records: 0,
        seqs: message.seq..end,
    });
    entry.records += u64::from(message.records);
    entry.seqs = entry.seqs.start.min(message.seq)..entry.seqs.end.max(end);
}

fn gap(now_ns: u64, cause: Cause, lost: Option<u64>, detail: String) -> Record {
    Record::missing((now_ns, clock::wall_ns()), cause, lost, detail)
}
