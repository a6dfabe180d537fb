//! The agent's end of the socket to a host: whole messages, never blocking, safe to cancel.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag,
    SockType, UnixAddr,
};
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

/// One end of a `SOCK_SEQPACKET` pair or connection.
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
        Ok((Link::of(ours)?, theirs))
    }

    /// Connects to a socket that listens. Does not wait: where too many do already, that is an error.
    pub(crate) fn connect(path: &Path) -> io::Result<Link> {
        let ours = socket::socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        socket::connect(ours.as_raw_fd(), &UnixAddr::new(path)?)?;
        Link::of(ours)
    }

    /// A connected socket that does not block.
    pub(crate) fn of(ours: OwnedFd) -> io::Result<Link> {
        // SAFETY: an `OwnedFd` returns the same open descriptor for as long as it lives, and `AsyncFd` owns it.
        Ok(Link(unsafe { AsyncFd::register(ours) }?))
    }

    /// Closes the sending half: the other end sees the end, and can still be heard.
    pub(crate) fn finish(&self) {
        // Fails only where the other end is gone.
        let _ = socket::shutdown(self.0.get_ref().as_raw_fd(), Shutdown::Write);
    }

    /// Sends a message and copies of two descriptors.
    pub(crate) fn send_with(&self, message: &[u8], fds: [BorrowedFd<'_>; 2]) -> io::Result<()> {
        let raw = fds.map(|fd| fd.as_raw_fd());
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let with = [ControlMessage::ScmRights(&raw)];
        let parts = [IoSlice::new(message)];
        socket::sendmsg::<()>(self.0.get_ref().as_raw_fd(), &parts, &with, flags, None)?;
        Ok(())
    }

    /// Receives this very message with two descriptors, which close on exec.
    pub(crate) async fn receive_with<const N: usize>(
        &self,
        message: &[u8; N],
    ) -> io::Result<[OwnedFd; 2]> {
        self.0
            .async_io(Interest::READABLE, |fd| {
                let mut text = [0; N];
                let mut parts = [IoSliceMut::new(&mut text)];
                let mut space = nix::cmsg_space!([RawFd; 2]);
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
                let received =
                    socket::recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
                let mut fds = Vec::new();
                for with in received.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = with {
                        for raw in raw {
                            // SAFETY: the kernel has made this descriptor for us, and nobody else owns it.
                            fds.push(unsafe { OwnedFd::from_raw_fd(raw) });
                        }
                    }
                }
                let whole = received.bytes == N
                    && !received
                        .flags
                        .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
                match <[OwnedFd; 2]>::try_from(fds) {
                    Ok(fds) if whole && text == *message => Ok(fds),
                    _ => Err(io::ErrorKind::InvalidData.into()),
                }
            })
            .await
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
        self.receive_into(buffer).await
    }

    /// Receives a message that is no longer than `buffer`. Cancelled, it has received nothing.
    pub(crate) async fn receive_into(&self, buffer: &mut [u8]) -> io::Result<Received> {
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
