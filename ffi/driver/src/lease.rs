//! A host that a launcher starts for the agent (`launcher.rs`), in another unit and as another user, so that the agent
//! can neither signal it nor wait for it. One connection is one host:
//!
//! ```text
//! agent                                  launcher
//!   START, with two descriptors    -->   starts `driver-host` with them: its link, and where it prints to
//!                                  <--   BORN, its pid and the launcher's
//!   closes its sending half        -->   SIGKILL
//!                                  <--   ENDED, the status as wait(2) has it
//! ```
//!
//! The host itself has no end of this connection: what is said here, no driver can forge.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use crate::child::Birth;
use crate::link::{Link, Received};

/// What a launcher says is three numbers of 32 bits.
pub(crate) const MESSAGE_BYTES: usize = 12;
/// What the agent asks for.
pub(crate) const START: [u8; 1] = [0];
const BORN: u32 = 1;
const ENDED: u32 = 2;

/// What a launcher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Born(Birth),
    Ended(ExitStatus),
}

impl News {
    pub(crate) fn encode(self) -> [u8; MESSAGE_BYTES] {
        let words = match self {
            News::Born(birth) => [BORN, birth.pid, birth.parent_pid],
            News::Ended(status) => [ENDED, status.into_raw().cast_unsigned(), 0],
        };
        let mut message = [0; MESSAGE_BYTES];
        let (places, _) = message.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        message
    }

    fn decode(message: [u8; MESSAGE_BYTES]) -> Option<News> {
        let (words, _) = message.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        match (words.next()?, words.next()?, words.next()?) {
            (BORN, pid, parent_pid) => Some(News::Born(Birth { pid, parent_pid })),
            (ENDED, status, 0) => Some(News::Ended(ExitStatus::from_raw(status.cast_signed()))),
            _ => None,
        }
    }
}

/// The agent's end. Closed, by `drop` or by the agent's death, it ends the host.
#[derive(Debug)]
pub(crate) struct Lease {
    link: Link,
    born: Option<Birth>,
    ended: Option<ExitStatus>,
}

impl Lease {
    /// Asks the launcher that listens on `socket` for a host with these two descriptors. Does not wait.
    pub(crate) fn ask(socket: &Path, link: &OwnedFd, output: &OwnedFd) -> io::Result<Lease> {
        let lease = Link::connect(socket)?;
        lease.send_with(&START, [link.as_fd(), output.as_fd()])?;
        Ok(Lease {
            link: lease,
            born: None,
            ended: None,
        })
    }

    /// Waits for the host to be there.
    pub(crate) async fn birth(&mut self) -> io::Result<Birth> {
        loop {
            if let Some(birth) = self.born {
                return Ok(birth);
            }
            self.hear().await?;
        }
    }

    /// Has the host killed.
    pub(crate) fn kill(&self) {
        self.link.finish();
    }

    /// Waits for the host to be gone. An error means that the launcher is.
    pub(crate) async fn end(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended {
                return Ok(status);
            }
            self.hear().await?;
        }
    }

    async fn hear(&mut self) -> io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        let received = self.link.receive_into(&mut message).await?;
        let news = match received {
            Received::Message(MESSAGE_BYTES) => News::decode(message),
            Received::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            Received::Message(_) | Received::TooLong(_) => None,
        };
        match news {
            Some(News::Born(birth)) => self.born = Some(birth),
            Some(News::Ended(status)) => self.ended = Some(status),
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_come_back_as_they_were_told() {
        let birth = Birth {
            pid: 4_194_304,
            parent_pid: 7,
        };
        let told = [News::Born(birth), News::Ended(ExitStatus::from_raw(139))];
        for news in told {
            assert_eq!(News::decode(news.encode()), Some(news));
        }
        assert_eq!(News::decode([3; MESSAGE_BYTES]), None);
    }
}
