//! What a host answers. Every byte of it may be a lie.

use super::{
    CHANNELS_PER_PAGE, MESSAGE_MAX_BYTES, Malformed, NOTES_MAX, Reader, TEXT_MAX_BYTES, head, kind,
    malformed, start,
};
use crate::device::{FRAME_BYTES_MAX, FRAMES_CAP_MAX, READ_CAP_MAX};
use crate::error::Error;
use crate::library::{
    Description, KEY_MAX_BYTES, OPTIONS_MAX, SUMMARY_MAX_BYTES, VERSION_MAX_BYTES,
};
use crate::options::{OptionKind, OptionSpec};
use crate::reading::{Batch, Channel, FrameSpan, Frames, Kind, Quality, Sample, Value};
use crate::text::printable;
use dunlin_driver_sys as sys;

/// Bytes of one sample on the wire.
const SAMPLE_BYTES: usize = 30;
/// Bytes of one frame's place on the wire.
const SPAN_BYTES: usize = 24;

/// A library is loaded, in the sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// What the driver says about itself.
    pub description: Description,
    /// Each part of the sandbox that this kernel could not put on, and each grant that names nothing.
    pub missing_sandbox: Vec<String>,
}

/// Who is at fault for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The library could not be loaded.
    Load,
    /// The library is not a driver of this ABI.
    Abi,
    /// The driver broke its contract.
    Contract,
    /// The device answered with an errno.
    Os,
    /// The options do not fit.
    Options,
    /// The driver cannot do what was asked.
    Unsupported,
    /// The sandbox could not be put on.
    Sandbox,
}

const CLASSES: [FailureClass; 7] = [
    FailureClass::Load,
    FailureClass::Abi,
    FailureClass::Contract,
    FailureClass::Os,
    FailureClass::Options,
    FailureClass::Unsupported,
    FailureClass::Sandbox,
];

/// A request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who is at fault.
    pub class: FailureClass,
    /// The errno of `Os`, else 0.
    pub errno: i32,
    /// For a human, fit for a log.
    pub text: String,
}

impl Failure {
    pub(crate) fn of(error: &Error) -> Failure {
        let (class, errno) = match error {
            Error::Load { .. } => (FailureClass::Load, 0),
            Error::Abi { .. } => (FailureClass::Abi, 0),
            Error::Contract { .. } => (FailureClass::Contract, 0),
            Error::Os { errno, .. } => (FailureClass::Os, *errno),
            Error::Options(_) => (FailureClass::Options, 0),
            Error::Unsupported { .. } => (FailureClass::Unsupported, 0),
        };
        Failure {
            class,
            errno,
            text: error.to_string(),
        }
    }
}

/// What a host sends from its signal handler when the driver dies. A hint for the cause, no more: the driver could
/// forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// Signal.
    pub signal: i32,
    /// Number of the lent memory that the fault address lies in, 0 = none.
    pub region: u32,
    /// Where in it: 1 in front, 2 inside, 3 behind.
    pub place: u32,
    /// Fault address.
    pub address: u64,
    /// Size of the address space at that moment, in KiB; 0 = not known.
    pub memory_kb: u64,
}

/// One answer. The samples and frames of one are in the batch that was handed to `decode_reply`.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To Setup.
    Ready(Box<Ready>),
    /// To Open: how many channels there are.
    Opened(u32),
    /// To Channels: a page of them.
    Channels(Vec<Channel>),
    /// To Read.
    Samples,
    /// To `ReadFrames`.
    Frames,
    /// To Write.
    Written,
    /// To Close.
    Closed,
    /// To any.
    Failed(Failure),
    /// To none.
    LastWords(LastWords),
}

/// What was asked, so which reply fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing was asked: only last words may come.
    #[default]
    Nothing,
    /// Setup was sent.
    Ready,
    /// Open was sent.
    Opened,
    /// Channels was sent.
    Channels,
    /// Read was sent.
    Samples,
    /// `ReadFrames` was sent.
    Frames,
    /// Write was sent.
    Written,
    /// Close was sent.
    Closed,
}

impl Expect {
    fn kind(self) -> u8 {
        match self {
            Expect::Nothing => kind::LAST_WORDS,
            Expect::Ready => kind::READY,
            Expect::Opened => kind::OPENED,
            Expect::Channels => kind::CHANNEL_PAGE,
            Expect::Samples => kind::SAMPLES,
            Expect::Frames => kind::FRAMES,
            Expect::Written => kind::WRITTEN,
            Expect::Closed => kind::CLOSED,
        }
    }
}

/// What the agent knows that a reply must agree with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// What was asked.
    pub expect: Expect,
    /// Sequence number of the request.
    pub sequence: u32,
    /// Kinds of the channels, by index.
    pub kinds: &'a [Kind],
    /// Most samples or frames that were asked for.
    pub cap: u32,
    /// Stamps later than this are impossible.
    pub now_ns: u64,
}

pub(crate) fn encode_ready(out: &mut Vec<u8>, sequence: u32, ready: &Ready) {
    let mut w = start(out, kind::READY, sequence);
    let d = &ready.description;
    w.text(&d.id, KEY_MAX_BYTES)
        .text(&d.version, VERSION_MAX_BYTES)
        .text(&d.summary, SUMMARY_MAX_BYTES)
        .u16(d.abi.0)
        .u16(d.abi.1)
        .u8(u8::from(d.paced))
        .u8(u8::from(d.actuates))
        .u32(d.frame_max.unwrap_or(0))
        .count(d.options.len());
    for spec in &d.options {
        let (min, max) = spec.bounds.unwrap_or((0.0, 0.0));
        w.text(&spec.key, KEY_MAX_BYTES)
            .text(&spec.summary, SUMMARY_MAX_BYTES)
            .maybe(spec.fallback.as_deref(), SUMMARY_MAX_BYTES)
            .u32(spec.kind.raw())
            .u8(u8::from(spec.required))
            .u8(u8::from(spec.list))
            .u8(u8::from(spec.bounds.is_some()))
            .u64(min.to_bits())
            .u64(max.to_bits());
    }
    let notes = &ready.missing_sandbox[..ready.missing_sandbox.len().min(NOTES_MAX)];
    w.count(notes.len());
    for note in notes {
        w.text(note, TEXT_MAX_BYTES);
    }
}

fn decode_ready(r: &mut Reader<'_>) -> Result<Ready, Malformed> {
    let (id, version) = (r.text(KEY_MAX_BYTES)?, r.text(VERSION_MAX_BYTES)?);
    let summary = r.text(SUMMARY_MAX_BYTES)?;
    let abi = (r.u16()?, r.u16()?);
    let (paced, actuates, frame_max) = (r.flag()?, r.flag()?, r.u32()?);
    if frame_max > sys::FRAME_MAX {
        return malformed(format!("frame_max {frame_max}"));
    }
    let count = r.count(OPTIONS_MAX, 32)?;
    let mut options = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, summary) = (r.text(KEY_MAX_BYTES)?, r.text(SUMMARY_MAX_BYTES)?);
        let (fallback, raw_kind) = (r.maybe(SUMMARY_MAX_BYTES)?, r.u32()?);
        let Some(kind) = OptionKind::from_raw(raw_kind) else {
            return malformed(format!("option kind {raw_kind}"));
        };
        let (required, list, bounded) = (r.flag()?, r.flag()?, r.flag()?);
        let (min, max) = (f64::from_bits(r.u64()?), f64::from_bits(r.u64()?));
        options.push(OptionSpec {
            key: printable(key.as_bytes()),
            summary: printable(summary.as_bytes()),
            fallback,
            kind,
            required,
            list,
            bounds: bounded.then_some((min, max)),
        });
    }
    let notes = r.count(NOTES_MAX, 4)?;
    let mut missing_sandbox = Vec::with_capacity(notes);
    for _ in 0..notes {
        missing_sandbox.push(printable(r.text(TEXT_MAX_BYTES)?.as_bytes()));
    }
    Ok(Ready {
        description: Description {
            id: printable(id.as_bytes()),
            version: printable(version.as_bytes()),
            summary: printable(summary.as_bytes()),
            abi,
            paced,
            options,
            frame_max: (frame_max != 0).then_some(frame_max),
            actuates,
        },
        missing_sandbox,
    })
}

pub(crate) fn encode_opened(out: &mut Vec<u8>, sequence: u32, channels: usize) {
    start(out, kind::OPENED, sequence).count(channels);
}

pub(crate) fn encode_channels(out: &mut Vec<u8>, sequence: u32, all: &[Channel], from: u32) {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
    let page = &all[from..all.len().min(from + CHANNELS_PER_PAGE)];
    let mut w = start(out, kind::CHANNEL_PAGE, sequence);
    w.count(page.len());
    for channel in page {
        w.text(&channel.name, sys::NAME_MAX)
            .text(&channel.unit, sys::UNIT_MAX)
            .u32(channel.kind.raw())
            .u8(u8::from(channel.writable))
            .u64(channel.min.to_bits())
            .u64(channel.max.to_bits());
    }
}

fn decode_channels(r: &mut Reader<'_>) -> Result<Vec<Channel>, Malformed> {
    let count = r.count(CHANNELS_PER_PAGE, 29)?;
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, unit, raw_kind) = (r.text(sys::NAME_MAX)?, r.text(sys::UNIT_MAX)?, r.u32()?);
        let Some(kind) = Kind::from_raw(raw_kind) else {
            return malformed(format!("channel kind {raw_kind}"));
        };
        channels.push(Channel {
            name,
            unit,
            kind,
            writable: r.flag()?,
            min: f64::from_bits(r.u64()?),
            max: f64::from_bits(r.u64()?),
        });
    }
    Ok(channels)
}

pub(crate) fn encode_samples(out: &mut Vec<u8>, sequence: u32, samples: &[Sample]) {
    let mut w = start(out, kind::SAMPLES, sequence);
    w.count(samples.len());
    for sample in samples {
        w.u64(sample.monotonic_ns)
            .u64(sample.value.bits())
            .u32(sample.channel)
            .u32(sample.lost)
            .u32(sample.quality.raw())
            .u16(0);
    }
}

fn decode_samples(
    r: &mut Reader<'_>,
    context: Context<'_>,
    batch: &mut Batch,
) -> Result<(), Malformed> {
    let most = usize::try_from(context.cap.min(READ_CAP_MAX)).unwrap_or(0);
    let count = r.count(most, SAMPLE_BYTES)?;
    for _ in 0..count {
        let (monotonic_ns, bits, channel) = (r.u64()?, r.u64()?, r.u32()?);
        let (lost, raw_quality, zero) = (r.u32()?, r.u32()?, r.u16()?);
        let kind = usize::try_from(channel)
            .ok()
            .and_then(|at| context.kinds.get(at));
        let Some(kind) = kind else {
            return malformed(format!("sample of channel {channel}"));
        };
        let Some(value) = Value::from_bits(*kind, bits) else {
            return malformed(format!("{bits:#x} is no value of kind {}", kind.name()));
        };
        let Some(quality) = Quality::from_raw(raw_quality) else {
            return malformed(format!("quality {raw_quality}"));
        };
        if zero != 0 || monotonic_ns == 0 || monotonic_ns > context.now_ns {
            return malformed(format!("stamp {monotonic_ns} or reserved {zero}"));
        }
        batch.samples.push(Sample {
            monotonic_ns,
            value,
            channel,
            quality,
            lost,
        });
    }
    Ok(())
}

pub(crate) fn encode_frames(out: &mut Vec<u8>, sequence: u32, frames: Frames<'_>) {
    let mut w = start(out, kind::FRAMES, sequence);
    w.count(frames.spans.len());
    for span in frames.spans {
        w.u64(span.monotonic_ns)
            .u32(span.channel)
            .u32(span.lost)
            .u32(span.offset)
            .u32(span.length);
    }
    w.count(frames.bytes.len());
    out.extend_from_slice(frames.bytes);
}

fn decode_frames(
    r: &mut Reader<'_>,
    context: Context<'_>,
    batch: &mut Batch,
) -> Result<(), Malformed> {
    let most = usize::try_from(context.cap.min(FRAMES_CAP_MAX)).unwrap_or(0);
    let count = r.count(most, SPAN_BYTES)?;
    for _ in 0..count {
        let span = FrameSpan {
            monotonic_ns: r.u64()?,
            channel: r.u32()?,
            lost: r.u32()?,
            offset: r.u32()?,
            length: r.u32()?,
        };
        let kind = usize::try_from(span.channel)
            .ok()
            .and_then(|at| context.kinds.get(at));
        if kind != Some(&Kind::Frame) {
            return malformed(format!("frame of channel {}", span.channel));
        }
        if span.monotonic_ns == 0 || span.monotonic_ns > context.now_ns {
            return malformed(format!("stamp {}", span.monotonic_ns));
        }
        batch.spans.push(span);
    }
    let length = r.count(usize::try_from(FRAME_BYTES_MAX).unwrap_or(0), 1)?;
    batch.bytes.extend_from_slice(r.bytes(length)?);
    let mut from = 0;
    for span in &batch.spans {
        let end = u64::from(span.offset) + u64::from(span.length);
        if span.length == 0 || u64::from(span.offset) < from || end > batch.bytes.len() as u64 {
            return malformed(format!("frame at {} + {}", span.offset, span.length));
        }
        from = end;
    }
    Ok(())
}

pub(crate) fn encode_empty(out: &mut Vec<u8>, sequence: u32, closed: bool) {
    start(
        out,
        if closed { kind::CLOSED } else { kind::WRITTEN },
        sequence,
    );
}

pub(crate) fn encode_failure(out: &mut Vec<u8>, sequence: u32, failure: &Failure) {
    let place = CLASSES
        .iter()
        .position(|class| *class == failure.class)
        .unwrap_or(0);
    start(out, kind::FAILED, sequence)
        .count(place)
        .u32(failure.errno.cast_unsigned())
        .text(&failure.text, TEXT_MAX_BYTES);
}

fn decode_failure(r: &mut Reader<'_>) -> Result<Failure, Malformed> {
    let place = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
    let errno = r.u32()?.cast_signed();
    let Some(class) = CLASSES.get(place).copied() else {
        return malformed(format!("failure class {place}"));
    };
    if !(0..=4095).contains(&errno) {
        return malformed(format!("errno {errno}"));
    }
    Ok(Failure {
        class,
        errno,
        text: printable(r.text(TEXT_MAX_BYTES)?.as_bytes()),
    })
}

/// Last words as bytes on the stack: async-signal-safe, allocates nothing.
pub(crate) fn encode_last_words(words: &LastWords) -> [u8; 36] {
    let mut out = [0; 36];
    out[0] = super::VERSION;
    out[1] = kind::LAST_WORDS;
    out[8..12].copy_from_slice(&words.signal.to_le_bytes());
    out[12..16].copy_from_slice(&words.region.to_le_bytes());
    out[16..20].copy_from_slice(&words.place.to_le_bytes());
    out[20..28].copy_from_slice(&words.address.to_le_bytes());
    out[28..36].copy_from_slice(&words.memory_kb.to_le_bytes());
    out
}

/// Reads a reply; its samples or frames replace what is in `batch`, which no other reply touches.
pub fn decode_reply(
    message: &[u8],
    context: Context<'_>,
    batch: &mut Batch,
) -> Result<Reply, Malformed> {
    let (kind, sequence, mut r) = head(message)?;
    let failed = kind == kind::FAILED && context.expect != Expect::Nothing;
    if kind != kind::LAST_WORDS {
        if kind != context.expect.kind() && !failed {
            return malformed(format!(
                "reply of type {kind} while {:?} was asked",
                context.expect
            ));
        }
        if sequence != context.sequence {
            return malformed(format!(
                "reply to {sequence}, asked was {}",
                context.sequence
            ));
        }
    }
    let readings = matches!(kind, kind::SAMPLES | kind::FRAMES);
    if readings {
        batch.clear();
    }
    let reply = decode_body(kind, &mut r, context, batch);
    if readings && reply.is_err() {
        // Half a message is none.
        batch.clear();
    }
    reply
}

fn decode_body(
    kind: u8,
    r: &mut Reader<'_>,
    context: Context<'_>,
    batch: &mut Batch,
) -> Result<Reply, Malformed> {
    let reply = match kind {
        kind::READY => Reply::Ready(Box::new(decode_ready(r)?)),
        kind::OPENED => {
            let channels = r.u32()?;
            if channels > sys::CHANNELS_MAX {
                return malformed(format!("{channels} channels"));
            }
            Reply::Opened(channels)
        }
        kind::CHANNEL_PAGE => Reply::Channels(decode_channels(r)?),
        kind::SAMPLES => {
            decode_samples(r, context, batch)?;
            Reply::Samples
        }
        kind::FRAMES => {
            decode_frames(r, context, batch)?;
            Reply::Frames
        }
        kind::WRITTEN => Reply::Written,
        kind::CLOSED => Reply::Closed,
        kind::FAILED => Reply::Failed(decode_failure(r)?),
        kind::LAST_WORDS => Reply::LastWords(LastWords {
            signal: r.u32()?.cast_signed(),
            region: r.u32()?,
            place: r.u32()?,
            address: r.u64()?,
            memory_kb: r.u64()?,
        }),
        other => return malformed(format!("no reply has type {other}")),
    };
    r.end()?;
    Ok(reply)
}

// The longest replies of fixed shape fit a message.
const _: () = {
    assert!(12 + 4096 * SAMPLE_BYTES <= MESSAGE_MAX_BYTES);
    assert!(16 + 1024 * SPAN_BYTES + 65536 <= MESSAGE_MAX_BYTES);
    assert!(12 + CHANNELS_PER_PAGE * 160 <= MESSAGE_MAX_BYTES);
};
