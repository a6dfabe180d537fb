//! The agent's end of the socket to a host: whole messages, never blocking, safe to cancel.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::protocol::MESSAGE_MAX_BYTES;

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message of that many bytes.
    Message(usize),
    /// A message longer than any may be.
    TooLong(usize),
    /// The other end is closed.
    End,
}

/// One end of a `SOCK_SEQPACKET` pair.
#[derive(Debug)]
pub(crate) struct Link(AsyncFd<OwnedFd>);

impl Link {
    /// A connected pair: the agent's end, and the host's, which stays blocking. Both close on exec; the standard
    /// library's `Command` gives the host's end to the child as its standard input.
    pub(crate) fn pair() -> io::Result<(Link, OwnedFd)> {
        let (ours, theirs) = socket::socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        nix::fcntl::fcntl(
            &ours,
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
        )?;
        // SAFETY: an `OwnedFd` returns the same open descriptor for as long as it lives, and `AsyncFd` owns it.
        let ours = unsafe { AsyncFd::register(ours) }?;
        Ok((Link(ours), theirs))
    }

    /// Sends a message. One request is in flight at a time and fits the socket's buffer, so this does not wait; where
    /// the buffer is full nevertheless, the host has stopped to read, and the error says so.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        let fd = self.0.get_ref().as_raw_fd();
        let sent = socket::send(fd, message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
        if sent == message.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Receives a message into `buffer`. Cancelled, it has received nothing.
    pub(crate) async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        if buffer.len() < MESSAGE_MAX_BYTES {
            buffer.resize(MESSAGE_MAX_BYTES, 0);
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = self
            .0
            .async_io(Interest::READABLE, |fd| {
                Ok(socket::recv(fd.as_raw_fd(), buffer, flags)?)
            })
            .await;
        match received {
            // An empty message looks the same; no host sends one.
            Ok(0) => Ok(Received::End),
            Ok(count) if count > buffer.len() => Ok(Received::TooLong(count)),
            Ok(count) => Ok(Received::Message(count)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Received::End),
            Err(error) => Err(error),
        }
    }
}
