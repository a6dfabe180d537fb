//! Message payloads: the records of one stream, as JSON or CBOR. docs/payload.md and docs/payload.schema.json state the
//! format; this module is the only place that writes or reads it.
//!
//! Both encodings come from the same serde types, so that they cannot drift apart, and are written without an
//! intermediate tree. Bytes are base64 (RFC 4648, section 4) in JSON and a byte string in CBOR. Floats that are not
//! finite are the strings `NaN`, `Infinity` and `-Infinity` in JSON and floats in CBOR.

mod read;
#[cfg(feature = "split")]
mod split;
mod write;

#[cfg(test)]
mod tests;

use crate::clock::BootId;
use crate::record::{Class, Quality, Record, Value};

/// Version of the envelope.
pub const VERSION: u32 = 1;
/// Largest message that `decode` looks at, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 16 << 20;

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// JSON (RFC 8259).
    #[default]
    Json,
    /// CBOR (RFC 8949).
    Cbor,
}

impl Encoding {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::Cbor => "cbor",
        }
    }

    /// The encoding of that name.
    pub fn from_name(name: &str) -> Option<Encoding> {
        [Encoding::Json, Encoding::Cbor]
            .into_iter()
            .find(|encoding| encoding.name() == name)
    }

    /// Appends the message of these records to `out`. The first record has the sequence `envelope.seq`, each next one
    /// the next.
    pub fn encode(self, envelope: &Envelope<'_>, records: &[Record], out: &mut Vec<u8>) {
        write::encode(self, envelope, records, out);
    }
}

/// Two messages with the records of one, in order; `None` where there are less than two in it, or it is no message.
pub fn halves(encoding: Encoding, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    #[cfg(feature = "split")]
    return split::halves(encoding, message);
    #[cfg(not(feature = "split"))]
    {
        let _ = (encoding, message);
        None
    }
}

/// What a message says about all its records.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Agent's name.
    pub agent: &'a str,
    /// Start of the agent in which the records got their sequences.
    pub boot: BootId,
    /// Stream.
    pub stream: &'a str,
    /// Class; written where it is not `Normal`.
    pub class: Class,
    /// Sequence of the first record.
    pub seq: u64,
}

/// A message, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Version of the envelope.
    pub version: u32,
    /// Agent's name.
    pub agent: String,
    /// Start of the agent, as written (`17-3fa9c2d1`).
    pub boot: String,
    /// Stream.
    pub stream: String,
    /// Class; `Normal` where the message names none or one that is unknown here.
    pub class: Class,
    /// Sequence of the first record.
    pub seq: u64,
    /// Records.
    pub records: Vec<Item>,
}

impl Message {
    /// The sequence of the record at `index`.
    pub fn seq_of(&self, index: usize) -> u64 {
        self.seq.saturating_add(index as u64)
    }
}

/// A record, read back. Names that a newer agent may add (causes) stay text.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Monotonic time within the boot, in nanoseconds.
    pub mono_ns: u64,
    /// Wall time, in nanoseconds since 1970, as the gateway believed it.
    pub wall_ns: i64,
    /// What it says.
    pub body: ItemBody,
}

/// What an item says.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemBody {
    /// A reading; without a value where the quality is bad and none was written.
    Sample {
        /// Channel.
        ch: String,
        /// Value.
        value: Value,
        /// UCUM unit.
        unit: String,
        /// Version of the telemetry database behind it.
        cal: Option<String>,
        /// Trust.
        quality: Quality,
    },
    /// A byte frame.
    Frame {
        /// Channel.
        ch: String,
        /// Payload.
        bytes: Vec<u8>,
        /// Trust.
        quality: Quality,
    },
    /// Missing records.
    Gap {
        /// Last good record before, monotonic nanoseconds.
        from_ns: u64,
        /// Records flow again, monotonic nanoseconds.
        to_ns: u64,
        /// Why: the names of `record::Cause`.
        cause: String,
        /// How many are missing, where known.
        lost: Option<u64>,
        /// For a human.
        detail: String,
    },
    /// A kind that this version does not know.
    Unknown,
}

/// A message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Longer than `MESSAGE_MAX_BYTES`.
    #[error("decode a message of {bytes} bytes: at most {MESSAGE_MAX_BYTES} are read")]
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// Begins neither as a JSON object nor as a CBOR map.
    #[error("decode a message: it is neither a JSON object nor a CBOR map")]
    NeitherJsonNorCbor,
    /// Another version.
    #[error("decode a message of version {found}: this dunlin knows {VERSION}")]
    Version {
        /// As written.
        found: u32,
    },
    /// Does not parse.
    #[error("decode a message as {}: {detail}", .encoding.name())]
    Malformed {
        /// As which encoding.
        encoding: Encoding,
        /// What is wrong.
        detail: String,
    },
}

/// Reads a message of either encoding, which its first byte tells. Unknown fields are skipped. Never panics.
pub fn decode(bytes: &[u8]) -> Result<Message, PayloadError> {
    read::decode(bytes)
}
