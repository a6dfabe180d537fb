//! The viewer's side of the socket: messages, in front of each its length, four bytes in the order of the machine.

use super::LENGTH_BYTES;
use dunlin_ring::MESSAGE_BYTES_MAX;
use std::io;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;

/// What comes is not what an agent sends.
#[derive(Debug, thiserror::Error)]
pub enum NotAFeed {
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// A length that no message has.
    #[error("a message of {0} bytes, more than an agent sends")]
    TooLong(usize),
}

/// The messages that an agent's sink `live` sends.
#[derive(Debug)]
pub struct Feed {
    stream: BufReader<UnixStream>,
    /// The message that comes, with its length in front.
    read: Vec<u8>,
}

impl Feed {
    /// Connects to the socket of a sink.
    pub async fn connect(path: &Path) -> io::Result<Feed> {
        let stream = BufReader::new(UnixStream::connect(path).await?);
        let read = Vec::new();
        Ok(Feed { stream, read })
    }

    /// The next message, as it was encoded; none where the agent has closed the connection. May be cancelled without loss.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, NotAFeed> {
        loop {
            let mut wanted = LENGTH_BYTES;
            if let Some(length) = self.read.first_chunk::<LENGTH_BYTES>() {
                let length = u32::from_ne_bytes(*length) as usize;
                if length > MESSAGE_BYTES_MAX {
                    return Err(NotAFeed::TooLong(length));
                }
                wanted += length;
                if self.read.len() == wanted {
                    let message = self.read[LENGTH_BYTES..][..length].to_vec();
                    self.read.clear();
                    return Ok(Some(message));
                }
            }
            let missing = (wanted - self.read.len()) as u64;
            let mut rest = (&mut self.stream).take(missing);
            if rest.read_buf(&mut self.read).await? == 0 {
                if self.read.is_empty() {
                    return Ok(None);
                }
                // The agent ends a viewer that is slow where it is.
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}
