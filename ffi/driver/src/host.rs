//! The driver host: the process that loads one driver and answers the agent's requests, one at a time, on one thread.

use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::device::{Device, FRAMES_CAP_MAX, READ_CAP_MAX};
use crate::error::Error;
use crate::library::Library;
use crate::protocol::{
    Failure, FailureClass, MESSAGE_MAX_BYTES, Ready, Request, Setup, decode_request,
    encode_channels, encode_empty, encode_failure, encode_frames, encode_opened, encode_ready,
    encode_samples,
};
use crate::sandbox;

/// Exit codes of a host that ends by itself, from sysexits.h, so that they differ from what drivers exit with.
const EXIT_USAGE: u8 = 64;
const EXIT_PROTOCOL: u8 = 76;

/// Runs a driver host on standard input, which must be the socket that the agent made. Call it first thing in `main`:
/// no other thread may run and no other descriptor be needed.
///
/// In good order it ends the process itself, without the exit functions of the driver.
pub fn host_main() -> ExitCode {
    let Ok(socket) = take_socket() else {
        eprintln!("driver-host is started by the dunlin agent, not by hand");
        return ExitCode::from(EXIT_USAGE);
    };
    // Never dropped: a driver that closed the descriptor would make the drop close somebody else's.
    let wire = std::mem::ManuallyDrop::new(Wire(socket));
    match serve(&wire) {
        // SAFETY: _exit has no preconditions. Exit functions and destructors of the driver do not run: they are code
        // that could hang or crash after the device was closed well.
        Ok(()) => unsafe { libc::_exit(0) },
        Err(error) => {
            eprintln!("driver-host: {error}");
            ExitCode::from(EXIT_PROTOCOL)
        }
    }
}

/// Moves the socket away from standard input, where a driver might read, and closes everything else that was inherited.
fn take_socket() -> nix::Result<OwnedFd> {
    let kind =
        nix::sys::socket::getsockopt(&std::io::stdin(), nix::sys::socket::sockopt::SockType)?;
    if kind != nix::sys::socket::SockType::SeqPacket {
        return Err(Errno::ENOTSOCK);
    }
    for fd in descriptors().into_iter().filter(|fd| *fd > 2) {
        // SAFETY: this is the start of the process: nothing in it owns a descriptor above 2 yet.
        unsafe { libc::close(fd) };
    }
    let raw = fcntl(std::io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the descriptor was made by the line above and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDONLY, nix::sys::stat::Mode::empty())?;
    nix::unistd::dup2_stdin(&null)?;
    Ok(socket)
}

/// The open descriptors of this process.
pub(crate) fn descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Collected, so that the directory's own descriptor is closed before anybody acts on the list.
    numbers.collect()
}

struct Wire(OwnedFd);

impl Wire {
    /// The next request; `None` where the agent is gone.
    fn receive(&self, buffer: &mut [u8]) -> Result<Option<(u32, Request)>, String> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
                Ok(length) => {
                    let message = buffer
                        .get(..length)
                        .ok_or("a message longer than any may be")?;
                    return decode_request(message).map(Some).map_err(|e| e.to_string());
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(format!("receiving: {errno}")),
            }
        }
    }

    fn send(&self, message: &[u8]) -> Result<(), String> {
        loop {
            match send(self.0.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) if sent == message.len() => return Ok(()),
                Ok(sent) => return Err(format!("sent {sent} of {} bytes", message.len())),
                Err(Errno::EINTR) => {}
                // The agent is gone; the next receive says so.
                Err(Errno::EPIPE) => return Ok(()),
                Err(errno) => return Err(format!("sending: {errno}")),
            }
        }
    }
}

fn serve(wire: &Wire) -> Result<(), String> {
    let mut buffer = vec![0; MESSAGE_MAX_BYTES];
    let mut out = Vec::with_capacity(MESSAGE_MAX_BYTES);
    let (sequence, setup) = match wire.receive(&mut buffer)? {
        None => return Ok(()),
        Some((sequence, Request::Setup(setup))) => (sequence, setup),
        Some(_) => return Err("the first request is not Setup".to_owned()),
    };
    let library = match load(wire, &setup) {
        Ok((library, missing_sandbox)) => {
            let ready = Ready {
                description: library.description().clone(),
                missing_sandbox,
            };
            encode_ready(&mut out, sequence, &ready);
            if out.len() > MESSAGE_MAX_BYTES {
                let failure = failure(FailureClass::Abi, "its option texts are too long");
                encode_failure(&mut out, sequence, &failure);
            }
            library
        }
        Err(failure) => {
            encode_failure(&mut out, sequence, &failure);
            return wire.send(&out);
        }
    };
    wire.send(&out)?;
    let mut device: Option<Device<'_>> = None;
    while let Some((sequence, request)) = wire.receive(&mut buffer)? {
        let closing = matches!(request, Request::Close);
        let answered = answer(&library, &mut device, &mut out, sequence, request);
        if let Err(error) = answered {
            encode_failure(&mut out, sequence, &Failure::of(&error));
        }
        wire.send(&out)?;
        if closing {
            break;
        }
    }
    Ok(())
}

/// Enters the sandbox, then loads the library: nothing of the driver runs outside.
fn load(wire: &Wire, setup: &Setup) -> Result<(Library, Vec<String>), Failure> {
    // Never closed: the signal handler keeps using it.
    let statm = std::fs::File::open("/proc/self/statm").map_or(-1, IntoRawFd::into_raw_fd);
    crate::last_words::listen(wire.0.as_raw_fd(), statm);
    let sealed = match &setup.sha256 {
        None => None,
        Some(pin) => {
            let sealed = crate::pin::sealed_copy(&setup.library, pin);
            Some(sealed.map_err(|detail| failure(FailureClass::Load, &detail))?)
        }
    };
    let missing = sandbox::enter(setup).map_err(|d| failure(FailureClass::Sandbox, &d))?;
    let path = match &sealed {
        None => setup.library.clone(),
        Some(copy) => format!("/proc/self/fd/{}", copy.as_raw_fd()).into(),
    };
    // SAFETY: this process exists to be lost to the driver: the sandbox is on, the agent expects every end of it, and
    // nothing in it is of value to anybody.
    let library = unsafe { Library::open(&path) };
    library
        .map(|library| (library, missing))
        .map_err(|error| Failure::of(&error))
}

fn failure(class: FailureClass, text: &str) -> Failure {
    Failure {
        class,
        errno: 0,
        text: text.to_owned(),
    }
}

/// Carries out one request and writes its reply.
fn answer<'lib>(
    library: &'lib Library,
    device: &mut Option<Device<'lib>>,
    out: &mut Vec<u8>,
    sequence: u32,
    request: Request,
) -> Result<(), Error> {
    let unopened = |call| Error::Unsupported {
        call,
        detail: "no device is open".to_owned(),
    };
    match request {
        Request::Setup(_) => return Err(unopened("setup")),
        Request::Open(options) => {
            if device.is_some() {
                let detail = "a device is open already".to_owned();
                return Err(Error::Unsupported {
                    call: "open",
                    detail,
                });
            }
            let opened = device.insert(Device::open(library, &options)?);
            encode_opened(out, sequence, opened.channels().len());
        }
        Request::Channels { from } => {
            let device = device.as_ref().ok_or_else(|| unopened("channels"))?;
            encode_channels(out, sequence, device.channels(), from);
        }
        Request::Read { cap, timeout_ms } => {
            let device = device.as_mut().ok_or_else(|| unopened("read"))?;
            let samples = device.read(cap.min(READ_CAP_MAX), timeout_ms)?;
            encode_samples(out, sequence, samples);
        }
        Request::ReadFrames { cap, timeout_ms } => {
            let device = device.as_mut().ok_or_else(|| unopened("read_frames"))?;
            let frames = device.read_frames(cap.min(FRAMES_CAP_MAX), timeout_ms)?;
            encode_frames(out, sequence, frames);
        }
        Request::Write {
            channel,
            value,
            timeout_ms,
        } => {
            let device = device.as_mut().ok_or_else(|| unopened("write"))?;
            device.write(channel, value, timeout_ms)?;
            encode_empty(out, sequence, false);
        }
        Request::Close => {
            if let Some(device) = device.take() {
                device.close()?;
            }
            encode_empty(out, sequence, true);
        }
    }
    Ok(())
}
