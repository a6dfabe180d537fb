//! Notices of system calls, as `seccomp_unotify(2)` has them: a call waits until another process has answered it. An answer here
//! is a result and never "go on": the kernel would then read the driver's memory a second time, which a thread of the
//! driver may have changed since, and that is what the manual warns of.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

// linux/seccomp.h; the last one is of Linux 5.9, the others of 5.0.
const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const NOTIF_ADDFD: libc::c_ulong = 0x4018_2103;

/// Where notices come.
#[derive(Debug)]
pub(super) struct Notices(OwnedFd);

impl Notices {
    pub(super) fn of(listener: OwnedFd) -> Notices {
        Notices(listener)
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Asks for notices of every later `socket` and `connect` of this thread and of those that it makes. It must have given
    /// up new privileges. Says what this kernel lacks.
    pub(super) fn of_connections() -> Result<Notices, String> {
        let notices = Notices(filter().map_err(lacking)?);
        // No call has this number yet, which only a kernel says that can place a socket.
        match notices.place(0, notices.0.as_raw_fd(), 0) {
            Err(Errno::ENOENT) => Ok(notices),
            other => Err(lacking(other.err().unwrap_or(Errno::EIO))),
        }
    }

    /// The next call; `None` where who called is gone already. An error is the end: nobody can call any more.
    pub(super) fn next(&self) -> Result<Option<libc::seccomp_notif>, Errno> {
        loop {
            // SAFETY: the descriptor is owned by `self`, which outlives the loop.
            let fd = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
            let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            // The end of the last process with the filter is told here alone. A signal at the parent's death does not come:
            // Landlock keeps a host from signalling anybody, and counts that one, too.
            if watched[0]
                .revents()
                .is_none_or(|r| !r.contains(PollFlags::POLLIN))
            {
                return Err(Errno::EPIPE);
            }
            // SAFETY: all bytes zero are a valid notice, and what the kernel asks for.
            let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            return match self.control(NOTIF_RECV, &mut notice) {
                Ok(_) => Ok(Some(notice)),
                Err(Errno::EINTR | Errno::ENOENT) => Ok(None),
                Err(errno) => Err(errno),
            };
        }
    }

    /// Puts a copy of a descriptor into the process that called, under the lowest free number, which is returned.
    pub(super) fn place(&self, id: u64, fd: RawFd, flags: i32) -> Result<u32, Errno> {
        let mut place = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: fd.cast_unsigned(),
            newfd: 0,
            newfd_flags: flags.cast_unsigned(),
        };
        self.control(NOTIF_ADDFD, &mut place)
            .map(i32::cast_unsigned)
    }

    /// What the call returns. Who called may be gone, which is no error.
    pub(super) fn answer(&self, id: u64, outcome: Result<u32, Errno>) {
        let (val, error) = match outcome {
            Ok(val) => (val.into(), 0),
            Err(errno) => (0, -(errno as i32)),
        };
        let mut response = libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags: 0,
        };
        let _ = self.control(NOTIF_SEND, &mut response);
    }

    /// One of the requests above; each takes a pointer to what its number has the size of.
    fn control<T>(&self, request: libc::c_ulong, with: &mut T) -> Result<i32, Errno> {
        let (fd, with) = (self.0.as_raw_fd(), std::ptr::from_mut(with));
        // SAFETY: the callers pass the structure that belongs to the request, alive and writable during the call.
        let done = unsafe { libc::ioctl(fd, request as _, with) };
        Errno::result(done)
    }
}

fn lacking(errno: Errno) -> String {
    format!(
        "this system cannot hold a driver to the addresses of its network grants: notices of system calls with sockets in \
         their answers are in Linux 5.9 and later, and another sandbox around dunlin may take them away ({errno})"
    )
}

/// Puts the filter on.
fn filter() -> Result<OwnedFd, Errno> {
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    // The other architectures of this machine are refused by the filters that come after; the number comes first in the data.
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(is, number(libc::SYS_socket), 1, 0),
        step(is, number(libc::SYS_connect), 0, 1),
        step(answer, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        step(answer, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: 5,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program has five steps and outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap_or(-1)) })
}

/// Whether this system can hold a driver to the addresses of its network grants; says why not. Asks the kernel, from a
/// thread that ends at once, since the filter stays on it.
pub fn network_grants() -> Result<(), String> {
    let asked = std::thread::spawn(|| {
        nix::sys::prctl::set_no_new_privs().map_err(lacking)?;
        Notices::of_connections().map(drop)
    });
    asked.join().unwrap_or_else(|_| Err(lacking(Errno::EIO)))
}
