//! What an uplink sink stores: one message, as it will be sent, behind a small header.
//!
//! ```text
//! 0   u8   version, 1; 2 where there is correlation data
//! 1   u8   payload encoding: 1 JSON, 2 CBOR
//! 2   u16  length of the stream's name
//! 4   u16  length of the topic
//! 6   u16  length of the correlation data, in version 2
//! 8   u32  records in the message
//! 12  u32  number of the boot id
//! 16  u32  nonce of the boot id
//! 20  u32  zero
//! 24  u64  sequence of the first record
//! 32  stream, topic, correlation data, payload
//! ```
//! Little-endian. The buffer checks the bytes (CRC32C); this header is read only to count records, to name what was
//! dropped, and to send. A message is stored as it was made: a later change of the configuration's topic or payload
//! does not touch what is stored already.

use crate::clock::BootId;
use crate::payload::Encoding;

const VERSION: u8 = 1;
/// With correlation data, which an earlier version would take for payload.
const VERSION_REPLY: u8 = 2;
const HEADER_BYTES: usize = 32;

/// A stored message, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// How the payload is written.
    pub encoding: Encoding,
    /// The start of the agent that made the records.
    pub boot: BootId,
    /// Stream of the records.
    pub stream: &'a str,
    /// Topic to publish on.
    pub topic: &'a str,
    /// Sequence of the first record.
    pub seq: u64,
    /// Records in it, at least one.
    pub records: u32,
    /// Of the request that it answers.
    pub correlation: Option<&'a [u8]>,
    /// Payload to publish.
    pub payload: &'a [u8],
}

/// The stored bytes are not a message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are not a message: {0}")]
pub struct NotAMessage(&'static str);

/// Appends the header of a message; the payload is to follow. `message.payload` is not read.
pub(crate) fn write_header(message: &Message<'_>, out: &mut Vec<u8>) {
    let length = |text: &str| u16::try_from(text.len()).expect("names and topics are bounded");
    let correlation = message.correlation.unwrap_or_default();
    let correlation_bytes = u16::try_from(correlation.len()).expect("bounded by the stage");
    out.push(match message.correlation {
        None => VERSION,
        Some(_) => VERSION_REPLY,
    });
    out.push(code(message.encoding));
    out.extend_from_slice(&length(message.stream).to_le_bytes());
    out.extend_from_slice(&length(message.topic).to_le_bytes());
    out.extend_from_slice(&correlation_bytes.to_le_bytes());
    out.extend_from_slice(&message.records.to_le_bytes());
    out.extend_from_slice(&message.boot.number.to_le_bytes());
    out.extend_from_slice(&message.boot.nonce.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&message.seq.to_le_bytes());
    out.extend_from_slice(message.stream.as_bytes());
    out.extend_from_slice(message.topic.as_bytes());
    out.extend_from_slice(correlation);
}

/// Reads stored bytes.
pub fn read(stored: &[u8]) -> Result<Message<'_>, NotAMessage> {
    let (header, rest) = stored
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(NotAMessage("shorter than its header"))?;
    if !matches!(header[0], VERSION | VERSION_REPLY) {
        return Err(NotAMessage("unknown version"));
    }
    let encoding = encoding(header[1]).ok_or(NotAMessage("unknown encoding"))?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let (stream, rest) = text(rest, u16_at(2))?;
    let (topic, rest) = text(rest, u16_at(4))?;
    let (correlation, payload) = match header[0] {
        VERSION => (None, rest),
        _ => rest
            .split_at_checked(usize::from(u16_at(6)))
            .map(|(data, payload)| (Some(data), payload))
            .ok_or(NotAMessage("shorter than its header says"))?,
    };
    let boot = BootId {
        number: u32_at(12),
        nonce: u32_at(16),
    };
    Ok(Message {
        encoding,
        boot,
        stream,
        topic,
        seq: u64_at(24),
        records: u32_at(8),
        correlation,
        payload,
    })
}

fn code(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Json => 1,
        Encoding::Cbor => 2,
    }
}

fn encoding(of: u8) -> Option<Encoding> {
    [Encoding::Json, Encoding::Cbor]
        .into_iter()
        .find(|encoding| code(*encoding) == of)
}

fn text(bytes: &[u8], length: u16) -> Result<(&str, &[u8]), NotAMessage> {
    let (text, rest) = bytes
        .split_at_checked(usize::from(length))
        .ok_or(NotAMessage("shorter than its header says"))?;
    let text = std::str::from_utf8(text).map_err(|_| NotAMessage("a name is not UTF-8"))?;
    Ok((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message<'static> {
        Message {
            encoding: Encoding::Json,
            boot: BootId {
                number: 7,
                nonce: 0xDEAD_BEEF,
            },
            stream: "boiler",
            topic: "dunlin/gw/boiler",
            seq: 1 << 40,
            records: 300,
            correlation: None,
            payload: b"{}",
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut stored = Vec::new();
        write_header(&sample(), &mut stored);
        stored.extend_from_slice(b"{}");
        assert_eq!(read(&stored).unwrap(), sample());
        for data in [&b"\x00\xFF"[..], b""] {
            let reply = Message {
                correlation: Some(data),
                ..sample()
            };
            let mut stored = Vec::new();
            write_header(&reply, &mut stored);
            stored.extend_from_slice(b"{}");
            assert_eq!(read(&stored).unwrap(), reply);
        }
    }

    #[test]
    fn damage_is_an_error_never_a_panic() {
        let mut stored = Vec::new();
        write_header(&sample(), &mut stored);
        for length in 0..stored.len() {
            assert!(read(&stored[..length]).is_err(), "{length} bytes");
        }
        for at in 0..stored.len() {
            for bit in 0..8 {
                let mut bad = stored.clone();
                bad[at] ^= 1 << bit;
                let _ = read(&bad);
            }
        }
        stored[0] = 3;
        assert_eq!(read(&stored), Err(NotAMessage("unknown version")));
    }
}
