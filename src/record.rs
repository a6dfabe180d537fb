//! Records: what a source produced, as every node sees it.
//!
//! A record is a sample, a frame, or a gap (a span of time in which a source produced nothing, and why). Records have
//! no identity of their own while they flow; a sink that keeps or sends them gives each the identity
//! (agent, boot id, stream, sequence), dense per stream, so that a consumer can drop duplicates and see a loss.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// What a value on a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 64-bit float.
    Float,
    /// 64-bit signed integer.
    Int,
    /// Truth value.
    Bool,
    /// Byte frame.
    Frame,
}

impl Kind {
    /// The kind's name in configurations, payloads and messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Bool => "bool",
            Kind::Frame => "frame",
        }
    }
}

/// One measured quantity of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Name, unique within its stream.
    pub name: String,
    /// Unit as a UCUM code, case-sensitive; `1` for a pure number.
    pub unit: String,
    /// Kind of its values.
    pub kind: Kind,
    /// By what its values were read or calibrated; none where no telemetry database has to do with them.
    pub calibration: Option<Calibration>,
}

impl Channel {
    /// Version of the telemetry database that its values were read or calibrated by.
    pub fn version(&self) -> Option<&str> {
        self.calibration.as_ref().map(|by| &*by.version)
    }

    /// Which of several curves is meant, where that is known.
    pub fn context(&self) -> Option<u128> {
        self.calibration.as_ref()?.context
    }
}

/// What is known of values that a telemetry database has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Version of the database.
    pub version: Arc<str>,
    /// Which of several curves is meant, as a digest of what decided it, while the values are yet to be calibrated.
    pub context: Option<u128>,
}

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of a `Kind::Float` channel; of a `Kind::Int` one where it is beyond 64 bits with a sign.
    Float(f64),
    /// Of a `Kind::Int` channel.
    Int(i64),
    /// Of a `Kind::Bool` channel.
    Bool(bool),
}

impl Value {
    /// The value as a float; `true` is 1. Integers beyond 2^53 lose precision.
    pub fn as_f64(self) -> f64 {
        match self {
            Value::Float(v) => v,
            Value::Int(v) => v as f64,
            Value::Bool(v) => f64::from(u8::from(v)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Float(v) => v.fmt(f),
            Value::Int(v) => v.fmt(f),
            Value::Bool(v) => v.fmt(f),
        }
    }
}

/// How far a sample or a frame may be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quality {
    /// As measured.
    #[default]
    Good,
    /// Usable with care: stale, out of range, warming up.
    Uncertain,
    /// No usable value: the sensor is absent or faulty; a frame that failed a check.
    Bad,
}

/// Why a stretch of time, or of records, is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The driver host died of a signal, or exited by itself.
    Crash,
    /// The driver did not return within its deadline and was killed.
    Hang,
    /// The driver host exceeded a limit (memory, CPU, descriptors) and was ended.
    Limit,
    /// The driver broke the ABI contract.
    Contract,
    /// The device reported an error.
    Device,
    /// The driver could not be started.
    Start,
    /// The driver or device ran faster than it was read.
    Overrun,
    /// The buffer was full and its policy dropped records.
    BufferFull,
    /// They were older than the time to live of their class.
    Expired,
    /// Stored records were found damaged.
    Corruption,
    /// The broker refuses the records for ever, and the quarantine is full.
    Refused,
    /// Messages were handed over before a crash, and are perhaps not with their consumers.
    Uncertain,
    /// Frames failed a check of their own bytes, such as a CRC, and were left out.
    Check,
    /// Counts that a sender put into its frames or packets skip some.
    Sequence,
}

impl Cause {
    /// The cause's name in payloads and messages.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Crash => "crash",
            Cause::Hang => "hang",
            Cause::Limit => "limit",
            Cause::Contract => "contract",
            Cause::Device => "device",
            Cause::Start => "start",
            Cause::Overrun => "overrun",
            Cause::BufferFull => "buffer-full",
            Cause::Expired => "expired",
            Cause::Corruption => "corruption",
            Cause::Refused => "refused",
            Cause::Uncertain => "uncertain",
            Cause::Check => "check",
            Cause::Sequence => "sequence",
        }
    }
}

/// A span in which records are missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// Monotonic time of the last good record before the gap, in nanoseconds.
    pub from_ns: u64,
    /// Monotonic time at which records flow again (or the loss was found), in nanoseconds.
    pub to_ns: u64,
    /// Why.
    pub cause: Cause,
    /// How many records are missing, where that is known.
    pub lost: Option<u64>,
    /// For a human: the signal, the errno, the range of sequences.
    pub detail: String,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A reading of a channel.
    Sample {
        /// Channel.
        channel: Arc<Channel>,
        /// Value; meaningless where the quality is `Bad`.
        value: Value,
        /// Trust.
        quality: Quality,
    },
    /// A byte frame of a channel.
    Frame {
        /// Channel, of `Kind::Frame`.
        channel: Arc<Channel>,
        /// Payload.
        bytes: Bytes,
        /// Trust: `Good` until a check says otherwise.
        quality: Quality,
    },
    /// Missing records.
    Gap(Gap),
}

/// Where an answer to a record is expected: it came as a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Topic.
    pub topic: String,
    /// What the one who asked knows the answer by; goes back as it came.
    pub correlation: Option<Vec<u8>>,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `CLOCK_MONOTONIC` of this boot when it was taken, in nanoseconds. Orders the records of a stream.
    pub monotonic_ns: u64,
    /// Wall clock when it was taken, nanoseconds since 1970, as the gateway believed it. May be wrong; never used
    /// to order or to expire.
    pub wall_ns: i64,
    /// What it says.
    pub body: Body,
    /// Where an answer is expected.
    pub reply: Option<Arc<Reply>>,
}

impl Record {
    /// Says that records are missing, found at the moment of these two clocks.
    pub fn missing(
        (monotonic_ns, wall_ns): (u64, i64),
        cause: Cause,
        lost: Option<u64>,
        detail: String,
    ) -> Record {
        Record {
            monotonic_ns,
            wall_ns,
            body: Body::Gap(Gap {
                from_ns: monotonic_ns,
                to_ns: monotonic_ns,
                cause,
                lost,
                detail,
            }),
            reply: None,
        }
    }
}

/// Which records matter most when the buffer is full: lower classes are dropped first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Dropped first.
    Bulk,
    /// The default.
    #[default]
    Normal,
    /// Dropped last.
    Critical,
}

impl Class {
    /// All classes, dropped first to dropped last.
    pub const ALL: [Class; 3] = [Class::Bulk, Class::Normal, Class::Critical];

    /// The class's name in configurations and on disk.
    pub fn name(self) -> &'static str {
        match self {
            Class::Bulk => "bulk",
            Class::Normal => "normal",
            Class::Critical => "critical",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }
}
