//! Answers: records that came as requests and go to where their answer is expected, where the configuration allows that.

use super::message::{self, Message};
use super::stage::{Form, Group, Stage, bytes_about};
use crate::config::Section;
use crate::downlink::filter;
use crate::payload::Envelope;
use crate::record::{Body, Class, Record, Reply};
use std::sync::atomic::{AtomicU64, Ordering};

/// The stream by which what answers is counted. No source can have it, because names of sources hold no dot.
const REPLY_STREAM: &str = "dunlin.replies";

/// Which answers a sink publishes.
#[derive(Debug)]
pub(super) struct Replies {
    /// Topics, as filters.
    pub topics: Vec<String>,
    /// Largest frame, in bytes.
    pub bytes_max: usize,
    next_seq: AtomicU64,
}

impl Replies {
    /// Where answers to requests may go; without the table nowhere.
    pub(super) fn configure(sink: &mut Section<'_>) -> Option<Replies> {
        const REMEDY: &str = "write topics = [\"answers/#\"]";
        let mut section = sink.section("replies")?;
        let topics = section.texts("topics");
        let kb_max = section.integer("kb_max", 1..=128, 64);
        if topics.is_empty() {
            section.problem("topics", "names no topic", REMEDY);
        }
        for topic in &topics {
            let fault = if topic.starts_with("$share") || topic.contains(['{', '}']) {
                Some(("is no plain topic filter", REMEDY))
            } else {
                filter::fault(topic)
            };
            if let Some((what, remedy)) = fault {
                section.problem(
                    "topics",
                    format_args!("has {topic:?}, which {what}"),
                    remedy,
                );
            }
        }
        Some(Replies::new(
            topics,
            usize::try_from(kb_max << 10).unwrap_or(usize::MAX),
        ))
    }

    pub(super) fn new(topics: Vec<String>, bytes_max: usize) -> Replies {
        Replies {
            topics,
            bytes_max,
            next_seq: AtomicU64::new(0),
        }
    }

    /// The number of an answer; `None` where it may not go.
    fn allow(&self, record: &Record, to: &Reply) -> Option<u64> {
        /// Longest topic and longest correlation data, in bytes.
        const HEADING_BYTES_MAX: usize = 1024;
        let bytes = match &record.body {
            Body::Frame { bytes, .. } => bytes.len(),
            _ => bytes_about(record),
        };
        let correlation = to.correlation.as_ref().map_or(0, Vec::len);
        let fits = bytes <= self.bytes_max
            && correlation <= HEADING_BYTES_MAX
            && (1..=HEADING_BYTES_MAX).contains(&to.topic.len())
            && !to.topic.contains(['+', '#', '\0']);
        let allowed = fits
            && self
                .topics
                .iter()
                .any(|topics| filter::matches(topics, &to.topic));
        allowed.then(|| self.next_seq.fetch_add(1, Ordering::Relaxed))
    }
}

impl Form {
    /// Appends the stored form of an answer: the bytes of a frame as they are, anything else as a message of one record.
    fn write_reply(
        &self,
        to: &Reply,
        (class, seq): (Class, u64),
        record: &Record,
        out: &mut Vec<u8>,
    ) {
        let header = Message {
            encoding: self.encoding,
            boot: self.boot,
            stream: REPLY_STREAM,
            topic: &to.topic,
            seq,
            records: 1,
            correlation: to.correlation.as_deref(),
            payload: &[],
        };
        message::write_header(&header, out);
        if let Body::Frame { bytes, .. } = &record.body {
            out.extend_from_slice(bytes);
            return;
        }
        let envelope = Envelope {
            agent: &self.agent,
            boot: self.boot,
            stream: REPLY_STREAM,
            class,
            seq,
        };
        self.encoding
            .encode(&envelope, std::slice::from_ref(record), out);
    }
}

impl Stage {
    /// Writes a record that answers a request to where the answer is expected; whether it did.
    pub(super) fn reply(&self, record: &Record, class: Class, group: &mut Group) -> bool {
        let (Some(replies), Some(to)) = (&self.replies, &record.reply) else {
            return false;
        };
        let Some(seq) = replies.allow(record, to) else {
            self.stats.replies_refused.add(1);
            return false;
        };
        group.frames.push_with(|out| {
            let before = out.len();
            self.form.write_reply(to, (class, seq), record, out);
            self.stats.payload_bytes.add((out.len() - before) as u64);
        });
        self.stats.replies.add(1);
        true
    }

    /// The first of the records that go into messages of the stream: no answer is among them.
    pub(super) fn own<'a>(&self, records: &'a [Record]) -> &'a [Record] {
        let end = match &self.replies {
            None => records.len(),
            // The first was looked at.
            Some(_) => records[1..]
                .iter()
                .position(|record| record.reply.is_some())
                .map_or(records.len(), |at| at + 1),
        };
        &records[..end]
    }
}
