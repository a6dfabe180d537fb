//! The process of a host as its agent has it: a child of its own, or one that a launcher in another unit started for it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use crate::lease::Lease;
use crate::outcome::{Cause, HostError, of_system};

/// A host that has been started, and who started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) pid: u32,
    pub(crate) parent_pid: u32,
}

/// Ends with this value: dropping it kills the process.
#[derive(Debug)]
pub(crate) enum Process {
    Own(Child),
    Leased(Lease),
}

/// Starts `program driver-host` on its end of a link. What it prints goes to `output`. The host's ends are closed here
/// once it has them, so that an end of file comes when it dies.
pub(crate) fn spawn(program: &Path, link: OwnedFd, output: OwnedFd) -> io::Result<Child> {
    let second = output.try_clone()?;
    Command::new(program)
        .arg("driver-host")
        .env_clear()
        .current_dir("/")
        // Ctrl-C on a terminal goes to the whole process group: the agent then drains, and needs its hosts for it.
        .process_group(0)
        .stdin(Stdio::from(link))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(second))
        .kill_on_drop(true)
        .spawn()
}

impl Process {
    /// Starts a host; by the launcher that listens on a socket, where there is one.
    pub(crate) fn start(
        program: &Path,
        launcher: Option<&Path>,
        link: OwnedFd,
        output: OwnedFd,
    ) -> Result<Process, HostError> {
        let Some(socket) = launcher else {
            let child = spawn(program, link, output);
            let what = || format!("starting {}", program.display());
            return child.map(Process::Own).map_err(|e| of_system(&what(), &e));
        };
        Lease::ask(socket, &link, &output)
            .map(Process::Leased)
            .map_err(|error| {
                // A configuration does not mend it, so it is not `Start`: what starts hosts may come yet.
                let detail = format!("nobody starts hosts at {}: {error}", socket.display());
                HostError::ended(Cause::Hang { call: "start" }, detail)
            })
    }

    /// A child of our own is there at once.
    pub(crate) fn birth_of_own(&self) -> Option<Birth> {
        match self {
            Process::Own(child) => Some(Birth {
                pid: child.id().unwrap_or(0),
                parent_pid: std::process::id(),
            }),
            Process::Leased(_) => None,
        }
    }

    /// Waits until the process is there. Safe to cancel.
    pub(crate) async fn birth(&mut self) -> io::Result<Birth> {
        match self {
            Process::Own(_) => self.birth_of_own().ok_or(io::ErrorKind::NotFound.into()),
            Process::Leased(lease) => lease.birth().await,
        }
    }

    /// Sends SIGKILL. Fails only where the process is dead already.
    pub(crate) fn kill(&mut self) {
        match self {
            Process::Own(child) => drop(child.start_kill()),
            Process::Leased(lease) => lease.kill(),
        }
    }

    /// Waits until the process is reaped. Safe to cancel.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, HostError> {
        match self {
            Process::Own(child) => {
                let status = child.wait().await;
                status.map_err(|error| of_system("waiting for the host", &error))
            }
            Process::Leased(lease) => lease.end().await.map_err(|_| {
                let detail = "what starts hosts ended, and the host with it";
                let signal = nix::sys::signal::Signal::SIGKILL as i32;
                HostError::ended(Cause::Crash { signal }, detail)
            }),
        }
    }
}
