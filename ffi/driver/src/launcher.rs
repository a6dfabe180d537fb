//! What starts hosts where they live in a unit of their own: a process of that unit which does nothing else. The agent
//! asks it over a socket, see `lease.rs`.
//!
//! A host is a child of this process and dies with it; when the agent dies, its connections close, and the hosts that it
//! asked for are killed.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockFlag, SockType, accept4, getsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use crate::child::{self, Birth};
use crate::lease::{MESSAGE_BYTES, News, START};
use crate::link::{Link, Received};

/// Most hosts at a time: as many as a configuration can have nodes.
const HOSTS_MAX: usize = 256;
/// How long after a connection could not be taken, for want of descriptors or memory, the next try is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long an agent may take from its connection to its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Starts hosts for whoever connects to `listener`, a socket that listens for `SOCK_SEQPACKET` connections; who may
/// connect is for its file's permissions to say. Each host is `program driver-host`. Ends only with an error; it is
/// `InvalidInput` where `listener` is no such socket.
///
/// The hosts die with the *thread* that runs this, so run it on a runtime of one thread.
pub async fn launch(listener: OwnedFd, program: &Path) -> io::Result<()> {
    let listens = getsockopt(&listener, sockopt::AcceptConn) == Ok(true);
    if !listens || getsockopt(&listener, sockopt::SockType) != Ok(SockType::SeqPacket) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fcntl(&listener, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // SAFETY: an `OwnedFd` returns the same open descriptor for as long as it lives, and `AsyncFd` owns it.
    let listener = unsafe { AsyncFd::register(listener) }?;
    let program: Arc<Path> = program.into();
    // Dropped with this future, it takes the hosts along.
    let mut hosts = JoinSet::new();
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let accepted = listener
            .async_io(Interest::READABLE, |fd| Ok(accept4(fd.as_raw_fd(), flags)?))
            .await;
        let raw = match accepted {
            Ok(raw) => raw,
            Err(error) => {
                eprintln!("driver-hosts: accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // SAFETY: accept4 has made this descriptor, and nobody else owns it.
        let link = Link::of(unsafe { OwnedFd::from_raw_fd(raw) });
        while hosts.try_join_next().is_some() {}
        // Closed, where there is no place: the agent tries again later.
        if hosts.len() >= HOSTS_MAX {
            eprintln!("driver-hosts: {HOSTS_MAX} hosts are running, no more are started");
            continue;
        }
        let program = Arc::clone(&program);
        hosts.spawn(async move {
            if let Err(error) = serve(link, &program).await {
                eprintln!("driver-hosts: {error}");
            }
        });
    }
}

/// One host, from its request to its end.
async fn serve(link: io::Result<Link>, program: &Path) -> io::Result<()> {
    let link = link?;
    let request = tokio::time::timeout(REQUEST_LIMIT, link.receive_with(&START)).await;
    let [theirs, output] = request.map_err(io::Error::from)??;
    let mut child = child::spawn(program, theirs, output)?;
    let birth = Birth {
        pid: child.id().unwrap_or(0),
        parent_pid: std::process::id(),
    };
    // Where the agent is gone already, the wait below finds it out.
    let _ = link.send(&News::Born(birth).encode());
    let mut message = [0; MESSAGE_BYTES];
    let status = tokio::select! {
        status = child.wait() => status?,
        received = link.receive_into(&mut message) => {
            if !matches!(received, Ok(Received::End)) {
                eprintln!("driver-hosts: the agent said what none says; its host {} is killed", birth.pid);
            }
            child.start_kill()?;
            child.wait().await?
        }
    };
    let _ = link.send(&News::Ended(status).encode());
    Ok(())
}
