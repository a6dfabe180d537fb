//! Connections by address. A system call filter cannot read the address that `connect` is given, and Landlock knows ports
//! only. So the kernel hands every `socket` and `connect` of the driver to a second process, the gate. It makes the socket,
//! gives the driver a copy, and keeps its own until there is a connection. Of a `connect` it copies the address, looks at it, and
//! connects its own socket to its own copy: what the driver writes to its memory meanwhile changes nothing, since its
//! own call is never carried out, and what it does with its descriptors changes nothing either.
//!
//! The gate is forked before there is a driver, and ends when the host has. It has nothing but the kernel's notices and the
//! host's memory to read. A driver that kills it has no network any more: the calls answer `ENOSYS`.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn,
    SockaddrIn6, connect, getsockopt, recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::{ForkResult, fork};

use super::addresses::Addresses;
use super::notices::Notices;

/// Longest wait for a peer on a socket that blocks, in seconds. A driver's own deadline is shorter as a rule.
const CONNECT_WAIT_S: i64 = 10;
/// Longest address that is looked at, in bytes: `sockaddr_in6`.
const ADDRESS_MAX_BYTES: usize = 28;
/// Most sockets that wait for their connection.
const WAITING_MAX: usize = 64;

/// The host's end: a gate that waits for its notices.
pub(super) struct Gate(OwnedFd);

impl Gate {
    /// Forks the gate. One thread runs and nothing of the sandbox is on yet.
    pub(super) fn open(addresses: &Addresses) -> Result<Gate, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        // Opened here, since nobody may once the process is not dumpable.
        let memory = File::open("/proc/self/mem").map_err(|e| failed("own memory", &e))?;
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(|e| failed("socket pair", &e))?;
        // SAFETY: one thread runs, so that the child may do all that its parent may.
        match unsafe { fork() }.map_err(|e| failed("fork", &e))? {
            ForkResult::Parent { .. } => Ok(Gate(ours)),
            ForkResult::Child => {
                keep_only([theirs.as_raw_fd(), memory.as_raw_fd()]);
                // Whatever it says: without a gate every call fails.
                let _ = serve(&theirs, &memory, addresses);
                // SAFETY: _exit has no preconditions.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// Hands every later `socket` and `connect` of this process to the gate. Without new privileges only.
    pub(super) fn shut(self) -> Result<(), String> {
        let notices = Notices::of_connections()?;
        let fds = [notices.raw()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let byte = IoSlice::new(b"x");
        let raw = self.0.as_raw_fd();
        sendmsg::<()>(raw, &[byte], &rights, MsgFlags::MSG_NOSIGNAL, None)
            .map_err(|errno| format!("the gate of the network is gone: {errno}"))?;
        // Both ends close here: a driver that had the notices could answer its own calls.
        Ok(())
    }
}

/// Closes every other descriptor, the agent's socket and the log among them.
fn keep_only(kept: [RawFd; 2]) {
    let others = crate::host::descriptors().into_iter();
    for fd in others.filter(|fd| !kept.contains(fd)) {
        // SAFETY: this process uses the two that are kept, and ends without running a destructor of any other.
        unsafe { libc::close(fd) };
    }
}

fn serve(socket: &OwnedFd, memory: &File, addresses: &Addresses) -> Result<(), Errno> {
    // Other drivers of the same user must not read this process, or write to it.
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    let notices = receive(socket)?;
    let mut waiting = Waiting(Vec::new());
    loop {
        let Some(notice) = notices.next()? else {
            continue;
        };
        let outcome = match i64::from(notice.data.nr) {
            libc::SYS_socket => waiting.socket(&notices, &notice),
            libc::SYS_connect => waiting.connect(memory, addresses, &notice.data.args),
            _ => Err(Errno::ENOSYS),
        };
        notices.answer(notice.id, outcome);
    }
}

fn receive(socket: &OwnedFd) -> Result<Notices, Errno> {
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel has just made it, and nobody else has it.
            return Ok(Notices::of(unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    Err(Errno::EBADF)
}

/// The lower half of an argument, which is all that the kernel takes of an `int`.
fn int(argument: u64) -> i32 {
    let [a, b, c, d, ..] = argument.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Sockets without a connection, by the number that the driver has got. Where it has given the number to something else since,
/// the socket is connected that it had, which does no harm.
struct Waiting(Vec<(u32, OwnedFd)>);

impl Waiting {
    /// The filters that came after this one's have looked at the arguments, and their refusal goes before a notice.
    fn socket(&mut self, notices: &Notices, notice: &libc::seccomp_notif) -> Result<u32, Errno> {
        let [domain, kind, protocol, ..] = notice.data.args.map(int);
        // SAFETY: socket has no preconditions.
        let raw =
            Errno::result(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
        // SAFETY: the kernel has just made it, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        let flags = kind & libc::SOCK_CLOEXEC; // O_CLOEXEC is the same bit
        let number = notices.place(notice.id, socket.as_raw_fd(), flags)?;
        self.0.retain(|(known, _)| *known != number);
        if self.0.len() == WAITING_MAX {
            self.0.remove(0);
        }
        self.0.push((number, socket));
        Ok(number)
    }

    fn connect(
        &mut self,
        memory: &File,
        addresses: &Addresses,
        [number, at, length, ..]: &[u64; 6],
    ) -> Result<u32, Errno> {
        let mut bytes = [0; ADDRESS_MAX_BYTES];
        let length = usize::try_from(int(*length)).map_err(|_| Errno::EINVAL)?;
        let bytes = &mut bytes[..length.min(ADDRESS_MAX_BYTES)];
        // The memory is that of the process that was forked from, whoever calls and however it ends.
        memory
            .read_exact_at(bytes, *at)
            .map_err(|_| Errno::EFAULT)?;
        let to = address(bytes).ok_or(Errno::EAFNOSUPPORT)?;
        if !addresses.allow(to) {
            return Err(Errno::EACCES);
        }
        let number = int(*number).cast_unsigned();
        let known = self.0.iter().position(|(known, _)| *known == number);
        // Connected before, or a copy of a descriptor under another number.
        let known = known.ok_or(Errno::EOPNOTSUPP)?;
        let outcome = connect_within(&self.0[known].1, to);
        // Kept for another try where there is none on its way; else this end must close when the driver's does.
        if matches!(outcome, Ok(()) | Err(Errno::EINPROGRESS)) {
            self.0.remove(known);
        }
        outcome.map(|()| 0)
    }
}

/// Connects as the socket is set: at once, or waiting, for no longer than is good for who waits behind.
fn connect_within(socket: &OwnedFd, to: SocketAddr) -> Result<(), Errno> {
    let own = getsockopt(socket, sockopt::SendTimeout)?;
    let longest = TimeVal::seconds(CONNECT_WAIT_S);
    let bounded = own > TimeVal::zero() && own < longest;
    if !bounded {
        setsockopt(socket, sockopt::SendTimeout, &longest)?;
    }
    let outcome = match to {
        SocketAddr::V4(to) => connect(socket.as_raw_fd(), &SockaddrIn::from(to)),
        SocketAddr::V6(to) => connect(socket.as_raw_fd(), &SockaddrIn6::from(to)),
    };
    if !bounded {
        setsockopt(socket, sockopt::SendTimeout, &own)?;
    }
    outcome
}

/// A `sockaddr` of TCP.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET if bytes.len() >= 16 => {
            let ip: [u8; 4] = bytes[4..8].try_into().ok()?;
            Some(SocketAddrV4::new(ip.into(), port).into())
        }
        libc::AF_INET6 if bytes.len() >= 28 => {
            let ip: [u8; 16] = bytes[8..24].try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes[24..28].try_into().ok()?);
            Some(SocketAddrV6::new(ip.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn addresses_are_read_as_the_kernel_has_them() {
        let mut four = [0; 16];
        four[..2].copy_from_slice(&2_u16.to_ne_bytes());
        four[2..8].copy_from_slice(&[5, 222, 127, 0, 0, 1]);
        assert_eq!(address(&four), Some(([127, 0, 0, 1], 1502).into()));
        assert_eq!(address(&four[..15]), None);
        let mut six = [0; 28];
        six[..2].copy_from_slice(&10_u16.to_ne_bytes());
        six[2..4].copy_from_slice(&80_u16.to_be_bytes());
        six[23] = 1;
        assert_eq!(address(&six), Some((Ipv6Addr::LOCALHOST, 80).into()));
        assert_eq!(address(&six[..27]), None);
        six[..2].copy_from_slice(&1_u16.to_ne_bytes());
        assert_eq!(address(&six), None, "no socket of TCP");
        assert_eq!(address(&[2]), None);
    }
}
