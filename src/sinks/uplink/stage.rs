//! From the pipeline into the buffer: batches become messages, messages become durable, then the ack is given.

use super::message::{self, Message};
use crate::buffer::{self, Store};
use crate::clock::BootId;
use crate::payload::{Encoding, Envelope};
use crate::pipeline::{Ack, Batch, Inlet};
use crate::record::{Body, Class, Record};
use crate::stats::SinkStats;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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

/// Takes batches and stores them.
pub(super) struct Stage {
    form: Form,
    store: Arc<Store>,
    append_bytes_max: u64,
    stats: Arc<SinkStats>,
    streams: HashMap<Arc<str>, Numbering>,
}

/// Batches of one class, made into one append.
#[derive(Default)]
struct Group {
    frames: buffer::Batch,
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
            stats,
            streams: HashMap::new(),
        }
    }

    /// Stores what comes until the inlet closes. What is in the inlet then is stored before this returns.
    pub(super) async fn run(mut self, mut inlet: Inlet) -> Result<(), buffer::Error> {
        while let Some(first) = inlet.recv().await {
            let mut groups: [Group; 3] = Default::default();
            let mut taken = 0;
            let mut next = Some(first);
            while let Some(batch) = next {
                taken += batch.records.len();
                self.add(batch, &mut groups);
                next = if taken < GROUP_RECORDS_MAX {
                    inlet.try_recv()
                } else {
                    None
                };
            }
            let [bulk, normal, critical] = groups;
            // Classes are separate logs: their syncs run side by side in one group commit of the writer.
            let (a, b, c) = tokio::join!(
                self.store(Class::Bulk, bulk),
                self.store(Class::Normal, normal),
                self.store(Class::Critical, critical),
            );
            a.and(b).and(c)?;
        }
        Ok(())
    }

    /// Numbers the records of a batch and writes them as messages into the group of their class.
    fn add(&mut self, batch: Batch, groups: &mut [Group; 3]) {
        let group = &mut groups[batch.class as usize];
        let numbering = self
            .streams
            .entry(Arc::clone(&batch.stream))
            .or_insert_with(|| Numbering {
                topic: self.form.topic_of(&batch.stream),
                next_seq: 0,
            });
        let mut rest = batch.records.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(message_records(rest, &self.form));
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
        group.through.insert(batch.stream, numbering.next_seq - 1);
        group.acks.push(batch.ack);
    }

    /// Appends a group, as often as it takes, and acknowledges it.
    async fn store(&self, class: Class, group: Group) -> Result<(), buffer::Error> {
        if group.acks.is_empty() {
            return Ok(());
        }
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
        let written = self.store.stats().bytes_written;
        self.stats
            .stored_bytes
            .add(written.saturating_sub(self.stats.stored_bytes.get()));
        for (stream, seq) in through {
            // The audit trail of promise 1: a test that kills the agent holds this line against what the broker got.
            tracing::debug!(%stream, boot = %self.form.boot, seq, "durable through");
        }
        acks.into_iter().for_each(Ack::done);
        Ok(())
    }

    async fn append(&self, class: Class, frames: buffer::Batch) -> Result<(), buffer::Error> {
        let mut frames = frames;
        let mut wait_ms = RETRY_MS_MIN;
        loop {
            let refused = match self.store.append(class, frames).await {
                Ok(_) => {
                    if self.stats.degraded.swap(false, Ordering::Relaxed) {
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
fn bytes_about(record: &Record) -> usize {
    const FIXED: usize = 160;
    match &record.body {
        Body::Sample { channel, .. } => FIXED + channel.name.len() + channel.unit.len(),
        // Base64 in JSON: four bytes for three.
        Body::Frame { channel, bytes } => FIXED + channel.name.len() + bytes.len() * 4 / 3,
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
