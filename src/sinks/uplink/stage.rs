//! From the pipeline into the buffer: batches become messages, messages become durable, then the ack is given.

use super::message::{self, Message};
#[cfg(feature = "downlink")]
use super::replies::Replies;
use crate::buffer::{self, Store};
use crate::clock::BootId;
use crate::payload::{Encoding, Envelope};
use crate::pipeline::{Ack, Batch, ClassInlet, Inlet};
use crate::record::{Body, Class, Record};
use crate::stats::{Count, SinkStats};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// Records taken from the pipeline before they are stored together.
const GROUP_RECORDS_MAX: usize = 16_384;
/// First wait before a refused append is tried again, in milliseconds; doubles up to `RETRY_MS_MAX`.
const RETRY_MS_MIN: u64 = 50;
/// Longest wait before a refused append is tried again, in milliseconds.
const RETRY_MS_MAX: u64 = 2_000;
/// Payload bytes after which a message is full, whatever `records_per_message_max` says. Well below the 256 MiB of
/// MQTT and what brokers take by default.
const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// How messages are made.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// The agent's name.
    pub agent: Arc<str>,
    /// This start of the agent.
    pub boot: BootId,
    /// Topic with the placeholders `{agent}` and `{stream}`.
    pub topic: String,
    /// Payload encoding.
    pub encoding: Encoding,
    /// Most records in one message.
    pub records_per_message_max: usize,
}

impl Form {
    /// The topic of a stream.
    pub(super) fn topic_of(&self, stream: &str) -> String {
        self.topic
            .replace("{agent}", &self.agent)
            .replace("{stream}", stream)
    }

    /// Appends the stored form of one message of `records` to `out`. `seq` is the sequence of the first.
    pub(super) fn write(
        &self,
        stream: &str,
        topic: &str,
        (class, seq): (Class, u64),
        records: &[Record],
        out: &mut Vec<u8>,
    ) {
        let header = Message {
            encoding: self.encoding,
            boot: self.boot,
            stream,
            topic,
            seq,
            records: u32::try_from(records.len()).expect("messages are bounded"),
            correlation: None,
            payload: &[],
        };
        message::write_header(&header, out);
        let envelope = Envelope {
            agent: &self.agent,
            boot: self.boot,
            stream,
            class,
            seq,
        };
        self.encoding.encode(&envelope, records, out);
    }
}

/// A stream's topic and next sequence.
struct Numbering {
    topic: String,
    next_seq: u64,
}

/// How long an append waits before it is asked why.
const HELD_LOOK: Duration = Duration::from_secs(1);

/// Takes batches and stores them.
pub(super) struct Stage {
    pub(super) form: Form,
    store: Arc<Store>,
    append_bytes_max: u64,
    #[cfg(feature = "downlink")]
    pub(super) replies: Option<Replies>,
    pub(super) stats: Arc<SinkStats>,
}

/// Batches of one class, made into one append.
#[derive(Default)]
pub(super) struct Group {
    pub(super) frames: buffer::Batch,
    acks: Vec<Ack>,
    records: u64,
    /// Stream and last sequence of each, for the log line that says what is durable.
    through: HashMap<Arc<str>, u64>,
}

impl Stage {
    /// A stage that writes messages of `form` into `store`, which takes appends of at most `append_bytes_max` bytes.
    pub(super) fn new(
        form: Form,
        store: Arc<Store>,
        append_bytes_max: u64,
        stats: Arc<SinkStats>,
    ) -> Stage {
        Stage {
            form,
            store,
            append_bytes_max,
            #[cfg(feature = "downlink")]
            replies: None,
            stats,
        }
    }

    /// Stores what comes until the inlet closes. What is in the inlet then is stored before this returns. Classes are
    /// separate logs: none waits for another, and their syncs run side by side.
    pub(super) async fn run(self, inlet: Inlet) -> Result<(), buffer::Error> {
        let [bulk, normal, critical] = inlet.by_class();
        let others = async {
            tokio::try_join!(
                self.keep(Class::Normal, normal),
                self.keep(Class::Critical, critical),
            )?;
            // The inlets of all classes close together: this is a drain, and what is held is stored.
            self.store.hurry();
            Ok(())
        };
        tokio::try_join!(self.keep(Class::Bulk, bulk), others)?;
        Ok(())
    }

    /// Stores what comes of one class.
    async fn keep(&self, class: Class, mut inlet: ClassInlet) -> Result<(), buffer::Error> {
        // A stream has one class, so that its numbers are in one place.
        let mut streams = HashMap::new();
        while let Some(first) = inlet.recv().await {
            let mut group = Group::default();
            let mut taken = 0;
            let mut next = Some(first);
            while let Some(batch) = next {
                taken += batch.records.len();
                self.add(batch, &mut streams, &mut group);
                next = if taken < GROUP_RECORDS_MAX {
                    inlet.try_recv()
                } else {
                    None
                };
            }
            self.store(class, group).await?;
        }
        Ok(())
    }

    /// The first of the records that go into messages of the stream.
    #[cfg(not(feature = "downlink"))]
    #[expect(clippy::unused_self, reason = "without answers all of them do")]
    fn own<'a>(&self, records: &'a [Record]) -> &'a [Record] {
        records
    }

    /// Numbers the records of a batch and writes them as messages into the group of their class.
    fn add(&self, batch: Batch, streams: &mut HashMap<Arc<str>, Numbering>, group: &mut Group) {
        let numbering = streams
            .entry(Arc::clone(&batch.stream))
            .or_insert_with(|| Numbering {
                topic: self.form.topic_of(&batch.stream),
                next_seq: 0,
            });
        let mut rest = batch.records.as_slice();
        while !rest.is_empty() {
            #[cfg(feature = "downlink")]
            if self.reply(&rest[0], batch.class, group) {
                rest = &rest[1..];
                continue;
            }
            let (now, later) = rest.split_at(message_records(self.own(rest), &self.form));
            let seq = numbering.next_seq;
            group.frames.push_with(|out| {
                let before = out.len();
                self.form.write(
                    &batch.stream,
                    &numbering.topic,
                    (batch.class, seq),
                    now,
                    out,
                );
                self.stats.payload_bytes.add((out.len() - before) as u64);
            });
            numbering.next_seq += now.len() as u64;
            rest = later;
        }
        group.records += batch.records.len() as u64;
        if let Some(last) = numbering.next_seq.checked_sub(1) {
            group.through.insert(batch.stream, last);
        }
        group.acks.push(batch.ack);
    }

    /// Appends a group, as often as it takes, and acknowledges it.
    async fn store(&self, class: Class, group: Group) -> Result<(), buffer::Error> {
        let Group {
            frames,
            acks,
            records,
            through,
        } = group;
        for part in split(frames, self.append_bytes_max) {
            self.append(class, part).await?;
        }
        self.stats.durable.add(records);
        self.note_written();
        for (stream, seq) in through {
            // The audit trail of promise 1: a test that kills the agent holds this line against what the broker got.
            tracing::debug!(%stream, boot = %self.form.boot, seq, "durable through");
        }
        acks.into_iter().for_each(Ack::done);
        Ok(())
    }

    fn note_written(&self) {
        let raise = |count: &Count, to: u64| count.add(to.saturating_sub(count.get()));
        let written = self.store.stats();
        raise(&self.stats.stored_bytes, written.bytes_written);
        raise(&self.stats.page_bytes, written.page_bytes_written);
        raise(&self.stats.device_bytes, self.store.device_bytes_written());
    }

    /// Says why an append waits, if it waits for the wear budget.
    fn note_held(&self) {
        let held = self.store.stats().degraded;
        if let Some(held) = held.filter(|held| held.refused == 0) {
            self.stats.fault.set(held.cause);
            self.stats.degraded.store(true, Ordering::Relaxed);
        }
    }

    async fn append(&self, class: Class, frames: buffer::Batch) -> Result<(), buffer::Error> {
        let mut frames = frames;
        let mut wait_ms = RETRY_MS_MIN;
        loop {
            let mut append = pin!(self.store.append(class, frames));
            let outcome = loop {
                match timeout(HELD_LOOK, &mut append).await {
                    Ok(outcome) => break outcome,
                    Err(_) => self.note_held(),
                }
            };
            let refused = match outcome {
                Ok(_) => {
                    // This class may be well while another is held.
                    let is_well = self.store.stats().degraded.is_none();
                    if is_well && self.stats.degraded.swap(false, Ordering::Relaxed) {
                        self.stats.fault.set("");
                        tracing::info!("the buffer writes again");
                    }
                    return Ok(());
                }
                Err(refused) if refused.is_retryable() => refused,
                Err(refused) => return Err(refused.source),
            };
            // Before the flag: whoever sees the flag finds the reason.
            self.stats.fault.set(refused.source.to_string());
            if !self.stats.degraded.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "the buffer cannot write, sources wait and nothing is acknowledged: {}",
                    refused.source
                );
            }
            frames = refused.batch;
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            wait_ms = (2 * wait_ms).min(RETRY_MS_MAX);
        }
    }
}

/// How many of the records go into the next message: as many as the configuration allows and the bound in bytes takes,
/// and at least one.
fn message_records(records: &[Record], form: &Form) -> usize {
    let mut bytes = 0;
    let fits = records
        .iter()
        .take(form.records_per_message_max)
        .take_while(|record| {
            bytes += bytes_about(record);
            bytes <= MESSAGE_BYTES_MAX
        });
    fits.count().max(1)
}

/// About how many bytes a record takes in a message, on the large side.
pub(super) fn bytes_about(record: &Record) -> usize {
    const FIXED: usize = 160;
    match &record.body {
        Body::Sample { channel, .. } => FIXED + channel.name.len() + channel.unit.len(),
        // Base64 in JSON: four bytes for three.
        Body::Frame { channel, bytes, .. } => FIXED + channel.name.len() + bytes.len() * 4 / 3,
        Body::Gap(gap) => FIXED + 2 * gap.detail.len(),
    }
}

/// Splits frames into appends that the store takes.
fn split(frames: buffer::Batch, bytes_max: u64) -> Vec<buffer::Batch> {
    // Headers and padding of the log, per frame, are below this.
    const OVERHEAD: u64 = 64;
    let total = frames.bytes() as u64 + frames.len() as u64 * OVERHEAD;
    if total <= bytes_max {
        return vec![frames];
    }
    let mut parts = vec![buffer::Batch::new()];
    let mut room = bytes_max;
    for frame in frames.iter() {
        let bytes = frame.len() as u64 + OVERHEAD;
        if bytes > room && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(buffer::Batch::new());
            room = bytes_max;
        }
        room = room.saturating_sub(bytes);
        parts.last_mut().expect("starts with one").push(frame);
    }
    parts
}
