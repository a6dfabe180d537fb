//! `console`: a line for each record on standard output, for a human to watch.
//!
//! It is for looking, not for keeping, and never holds the pipeline up: batches are acknowledged as they come. Lines are
//! written by a thread of their own; while the reader is slow or the terminal is stopped, at most [`WAITING_TEXTS_MAX`] texts
//! wait, and the records after them are not shown, which a later line counts. When the reader has gone (a broken pipe),
//! the rest is acknowledged unseen.

use super::line::quality_name;
use super::time::rfc3339;
use super::{Context, Own, SinkError};
use crate::config::Section;
use crate::pipeline::{Batch, Inlet};
use crate::record::{Body, Quality, Record};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Texts, one a batch, that wait for the reader.
const WAITING_TEXTS_MAX: usize = 64;

/// How long the end waits for a reader that is slow, in milliseconds.
const LAST_LINES_MS: u64 = 500;

/// See the module.
#[derive(Debug)]
pub(super) struct Console {
    name: String,
}

impl Console {
    #[expect(clippy::unnecessary_wraps, reason = "every node has this signature")]
    pub(super) fn configure(
        name: &str,
        _section: &mut Section<'_>,
        _own: Option<&Own>,
    ) -> Option<Console> {
        let name = name.to_owned();
        Some(Console { name })
    }

    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "every node has this signature"
    )]
    pub(super) fn open(&mut self, context: &Context) -> Result<(), SinkError> {
        context.stats.state.set("running");
        Ok(())
    }

    pub(super) async fn run(self, inlet: Inlet) -> Result<(), SinkError> {
        show(self.name, inlet, io::stdout()).await
    }
}

async fn show(
    sink: String,
    mut inlet: Inlet,
    mut to: impl io::Write + Send + 'static,
) -> Result<(), SinkError> {
    let (texts, mut waiting) = mpsc::channel::<String>(WAITING_TEXTS_MAX);
    let (finished, end) = oneshot::channel::<()>();
    // Not a task: a write to a stopped terminal blocks for as long as it likes, and must not hold the runtime's end up.
    let spawned = std::thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || {
            while let Some(text) = waiting.blocking_recv() {
                if to
                    .write_all(text.as_bytes())
                    .and_then(|()| to.flush())
                    .is_err()
                {
                    break;
                }
            }
            drop(finished);
        });
    if let Err(source) = spawned {
        return Err(SinkError::Thread { sink, source });
    }
    let mut hidden = 0usize;
    while let Some(batch) = inlet.recv().await {
        match texts.try_reserve() {
            Ok(place) => place.send(table(&batch, std::mem::take(&mut hidden))),
            Err(mpsc::error::TrySendError::Full(())) => hidden += batch.records.len(),
            Err(mpsc::error::TrySendError::Closed(())) => {}
        }
        batch.ack.done();
    }
    drop(texts);
    // Either way is well: a reader that is this slow misses the last lines.
    drop(tokio::time::timeout(Duration::from_millis(LAST_LINES_MS), end).await);
    Ok(())
}

fn table(batch: &Batch, hidden: usize) -> String {
    let mut text = String::with_capacity(96 * batch.records.len());
    if hidden > 0 {
        let written = writeln!(text, "... {hidden} records not shown: the reader is slow");
        written.expect("a String takes every write");
    }
    for record in batch.records.iter() {
        row(&mut text, &batch.stream, record);
    }
    text
}

fn row(text: &mut String, stream: &str, record: &Record) {
    // To the millisecond: the nanoseconds are for machines.
    let time = rfc3339(record.wall_ns);
    let time = &time[11..time.len() - 7];
    let written = match &record.body {
        Body::Sample {
            channel,
            value,
            quality,
        } => {
            let (name, unit) = (&channel.name, &channel.unit);
            let unit = if unit == "1" { "" } else { unit };
            let quality = quality_name(*quality);
            let value = format!("{value:.6}");
            let value = if value.contains('.') {
                value.trim_end_matches('0').trim_end_matches('.')
            } else {
                &value
            };
            writeln!(
                text,
                "{time}  {stream:<20} {name:<24} {value:>16} {unit:<8} {quality}"
            )
        }
        Body::Frame {
            channel,
            bytes,
            quality,
        } => {
            let (name, count) = (&channel.name, bytes.len());
            let mark = match quality {
                Quality::Good => "",
                Quality::Uncertain => " uncertain",
                Quality::Bad => " bad",
            };
            writeln!(
                text,
                "{time}  {stream:<20} {name:<24} {count:>16} By       frame{mark}"
            )
        }
        Body::Gap(gap) => {
            let ms = gap.to_ns.saturating_sub(gap.from_ns) / 1_000_000;
            let (cause, detail) = (gap.cause.name(), &gap.detail);
            writeln!(
                text,
                "{time}  {stream:<20} {:<24} {ms:>16} ms       gap: {cause} {detail}",
                "-"
            )
        }
    };
    written.expect("a String takes every write");
}

#[cfg(test)]
mod tests;
