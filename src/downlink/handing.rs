//! From the log to the consumer: marked first, then handed over.

use super::Inbox;
use super::frame::{self, Frame, Stored};
use super::inbox::{GROUP_BYTES_MAX, GROUP_MESSAGES_MAX, LOG, RETRY};
use crate::buffer::{self, Chunk, Reader};
use std::sync::Arc;
use std::time::Duration;

/// How long nothing is handed over before the log says that all of it is with its consumers.
const QUIET: Duration = Duration::from_secs(1);

/// Takes messages out of an inbox.
pub struct Handing {
    inbox: Arc<Inbox>,
    reader: Reader,
    /// The last mark says that messages are being handed over.
    open: bool,
}

/// Messages that are handed over.
#[derive(Debug, Default)]
pub struct Handed {
    /// In the order in which they came.
    pub messages: Vec<Stored>,
    /// Messages that were found damaged, or cannot be read.
    pub damaged: u64,
    bytes: u64,
}

impl Handing {
    /// Begins where the last mark says.
    pub async fn begin(inbox: Arc<Inbox>) -> Result<Handing, buffer::Error> {
        inbox.recovered().await?;
        let reader = inbox.store.reader(LOG);
        let open = inbox.books().uncertain > 0;
        Ok(Handing {
            inbox,
            reader,
            open,
        })
    }

    /// Messages that an earlier start handed over and that are perhaps not with their consumers. The log has them until
    /// [`Handing::quiet`]: only what is told may be forgotten.
    pub fn uncertain(&mut self) -> u64 {
        std::mem::take(&mut self.inbox.books().uncertain)
    }

    /// Waits for messages and reads them. Dropping the future loses nothing.
    pub async fn read(&mut self) -> Result<Chunk, buffer::Error> {
        loop {
            let read = self.reader.next(GROUP_MESSAGES_MAX, GROUP_BYTES_MAX);
            match tokio::time::timeout(QUIET, read).await {
                Ok(Err(error)) if error.is_retryable() => {
                    tracing::error!("cannot read the inbox, trying again: {error}");
                    tokio::time::sleep(RETRY).await;
                }
                Ok(chunk) => return chunk,
                Err(_) => self.quiet().await?,
            }
        }
    }

    /// The log says that nothing is on its way to a consumer.
    pub async fn quiet(&mut self) -> Result<(), buffer::Error> {
        if self.open {
            self.inbox.mark(None).await?;
            self.open = false;
        }
        Ok(())
    }

    /// Makes durable that what was read is handed over, and gives it. To be awaited to its end: dropped before, the
    /// messages may count as handed over.
    pub async fn take(&mut self, chunk: Chunk) -> Result<Handed, buffer::Error> {
        let from = self.inbox.books().handed;
        let mut handed = Handed::default();
        let mut end = None;
        for lost in chunk.lost.iter().filter(|lost| lost.end > from) {
            handed.damaged += lost.end - lost.start.max(from);
            end = end.max(Some(lost.end));
        }
        for read in chunk.frames {
            if read.position < from {
                continue;
            }
            match frame::read(&read.payload) {
                Some(Frame::Message(message)) => {
                    handed.bytes += read.payload.len() as u64;
                    handed.messages.push(message);
                }
                Some(Frame::Mark(_)) => continue,
                None => handed.damaged += 1,
            }
            end = end.max(Some(read.position + 1));
        }
        if let Some(end) = end {
            let count = u32::try_from(handed.messages.len()).unwrap_or(u32::MAX);
            self.inbox.mark(Some((end, count))).await?;
            self.open = count > 0;
            // Behind it lies at least the mark.
            self.inbox.store.release(LOG, end - 1);
        }
        Ok(handed)
    }

    /// The consumers have what was handed over.
    pub fn finished(&mut self, handed: &Handed) {
        self.inbox
            .finished(handed.messages.len() as u64, handed.bytes);
    }
}
