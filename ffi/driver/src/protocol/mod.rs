//! Messages between the agent and a driver host. Pure: bytes in, values out, no I/O, no panic on any bytes.
//!
//! They travel over a `SOCK_SEQPACKET` pair: one send is one message is one receive, so there is no length to lie about
//! and nothing to resynchronise, a receive that is cancelled has taken a whole message or none, and the kernel bounds
//! what is in flight. The agent asks, the host answers, one request at a time; only the last words come unasked.
//!
//! Every message starts with version (u8), type (u8), zero (u16), sequence number (u32, echoed by the reply), all
//! fields little-endian. The agent takes the host for hostile: its process also runs the driver.

mod reply;
mod request;
mod wire;

pub use reply::{Context, Expect, Failure, FailureClass, LastWords, Ready, Reply, decode_reply};
pub(crate) use reply::{
    encode_channels, encode_empty, encode_failure, encode_frames, encode_last_words, encode_opened,
    encode_ready, encode_samples,
};
pub(crate) use request::{Request, Setup, decode_request, encode_request};
pub use wire::Malformed;

use wire::{Reader, Writer, malformed};

/// Version of the messages: agent and host are the same binary, so another one is refused.
pub const VERSION: u8 = 1;
/// Longest message in bytes, below the default `net.core.wmem_default` of 212,992.
pub const MESSAGE_MAX_BYTES: usize = 160 * 1024;
/// Most channels in one message; a device with more is asked several times.
pub const CHANNELS_PER_PAGE: usize = 512;
/// Longest text in a message in bytes, unless stated otherwise: an error, a path.
pub const TEXT_MAX_BYTES: usize = 4096;
/// Most entries in each list of grants.
pub const GRANTS_MAX: usize = 256;
/// Most configured options.
pub const OPTIONS_MAX: usize = 4096;
/// Most notes about what of the sandbox is missing.
pub const NOTES_MAX: usize = 64;

/// The request in a message, written again. For tests: a host reads what its agent writes, and nothing else.
pub fn rewritten_request(message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (sequence, request) = decode_request(message)?;
    let mut out = Vec::new();
    encode_request(&mut out, sequence, &request);
    Ok(out)
}

/// Types of message.
mod kind {
    pub(super) const SETUP: u8 = 1;
    pub(super) const OPEN: u8 = 2;
    pub(super) const CHANNELS: u8 = 3;
    pub(super) const READ: u8 = 4;
    pub(super) const READ_FRAMES: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const READY: u8 = 129;
    pub(super) const OPENED: u8 = 130;
    pub(super) const CHANNEL_PAGE: u8 = 131;
    pub(super) const SAMPLES: u8 = 132;
    pub(super) const FRAMES: u8 = 133;
    pub(super) const WRITTEN: u8 = 134;
    pub(super) const CLOSED: u8 = 135;
    pub(super) const FAILED: u8 = 136;
    pub(super) const LAST_WORDS: u8 = 137;
}

/// Starts a message in `out`, which is emptied first.
fn start(out: &mut Vec<u8>, kind: u8, sequence: u32) -> Writer<'_> {
    out.clear();
    let mut writer = Writer(out);
    writer.u8(VERSION).u8(kind).u16(0).u32(sequence);
    writer
}

/// Takes the head off a message: its type and sequence number, and what follows.
fn head(message: &[u8]) -> Result<(u8, u32, Reader<'_>), Malformed> {
    if message.len() > MESSAGE_MAX_BYTES {
        return malformed(format!(
            "{} bytes, at most {MESSAGE_MAX_BYTES}",
            message.len()
        ));
    }
    let mut reader = Reader(message);
    let version = reader.u8()?;
    if version != VERSION {
        return malformed(format!("version {version}, not {VERSION}"));
    }
    let kind = reader.u8()?;
    let zero = reader.u16()?;
    if zero != 0 {
        return malformed(format!("reserved field {zero}"));
    }
    let sequence = reader.u32()?;
    Ok((kind, sequence, reader))
}
