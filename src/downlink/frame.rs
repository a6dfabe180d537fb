//! What an inbox stores, little-endian. The buffer checks the bytes (CRC32C).
//!
//! ```text
//! message  0 u8 1       1 u8 flags: 1 QoS 1, 2 retained, 4 response topic, 8 correlation data
//!          2 u16 packet id   4 u16 topic   6 u16 response topic   8 u16 correlation data (lengths)
//!          10 u64 digest     18 i64 wall clock at arrival, ns   26 topic, response topic, correlation data, payload
//! mark     0 u8 2       1 u8 0
//!          2 u16 ids    4 u16 filters   6 u32 messages handed over by it   10 u64 position of the last message handed over
//!          18 ids: u16 packet id, u64 digest each; filters: u16 length and text each
//! ```

use super::known::Id;
use bytes::Bytes;

const MESSAGE: u8 = 1;
const MARK: u8 = 2;
const QOS1: u8 = 1;
const RETAINED: u8 = 2;
const RESPONSE: u8 = 4;
const CORRELATION: u8 = 8;

/// A message as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Where its sender waits for an answer.
    pub response_topic: Option<String>,
    /// What its sender knows the answer by.
    pub correlation: Option<Bytes>,
    /// Whether it came with `QoS` 1.
    pub qos1: bool,
    /// Whether the broker had kept it from before the subscription.
    pub retained: bool,
    /// Wall clock when it arrived, nanoseconds since 1970, as the gateway believed it.
    pub wall_ns: i64,
    /// What a repeat is recognised by.
    pub(super) id: Option<Id>,
}

/// What is handed over, and what later starts must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// All messages below this position are handed over.
    pub handed: u64,
    /// Of them, those that were handed over with this mark.
    pub count: u32,
    pub ids: Vec<Id>,
    /// What the broker's session is, or was, subscribed to.
    pub filters: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Message(Stored),
    Mark(Mark),
}

fn length(of: usize) -> [u8; 2] {
    u16::try_from(of)
        .expect("bounded by MQTT, or by the configuration")
        .to_le_bytes()
}

/// Appends a message.
pub(super) fn write_message(message: &Stored, out: &mut Vec<u8>) {
    let response = message.response_topic.as_deref();
    let correlation = message.correlation.as_deref();
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(MESSAGE);
    out.push(
        flag(message.qos1, QOS1)
            | flag(message.retained, RETAINED)
            | flag(response.is_some(), RESPONSE)
            | flag(correlation.is_some(), CORRELATION),
    );
    let id = message.id.unwrap_or(Id {
        packet_id: 0,
        digest: 0,
    });
    out.extend_from_slice(&id.packet_id.to_le_bytes());
    out.extend_from_slice(&length(message.topic.len()));
    out.extend_from_slice(&length(response.map_or(0, str::len)));
    out.extend_from_slice(&length(correlation.map_or(0, <[u8]>::len)));
    out.extend_from_slice(&id.digest.to_le_bytes());
    out.extend_from_slice(&message.wall_ns.to_le_bytes());
    out.extend_from_slice(message.topic.as_bytes());
    out.extend_from_slice(response.unwrap_or_default().as_bytes());
    out.extend_from_slice(correlation.unwrap_or_default());
    out.extend_from_slice(&message.payload);
}

/// Appends a mark.
pub(super) fn write_mark(mark: &Mark, out: &mut Vec<u8>) {
    out.extend_from_slice(&[MARK, 0]);
    out.extend_from_slice(&length(mark.ids.len()));
    out.extend_from_slice(&length(mark.filters.len()));
    out.extend_from_slice(&mark.count.to_le_bytes());
    out.extend_from_slice(&mark.handed.to_le_bytes());
    for id in &mark.ids {
        out.extend_from_slice(&id.packet_id.to_le_bytes());
        out.extend_from_slice(&id.digest.to_le_bytes());
    }
    for filter in &mark.filters {
        out.extend_from_slice(&length(filter.len()));
        out.extend_from_slice(filter.as_bytes());
    }
}

/// Reads either; `None` where the bytes are of another version.
pub(super) fn read(stored: &Bytes) -> Option<Frame> {
    let mut rest = Rest(stored);
    match rest.bytes::<1>()?[0] {
        MESSAGE => message(stored, rest).map(Frame::Message),
        MARK => mark(rest).map(Frame::Mark),
        _ => None,
    }
}

fn message(stored: &Bytes, mut rest: Rest<'_>) -> Option<Stored> {
    let [flags] = rest.bytes()?;
    let packet_id = rest.u16()?;
    let (topic, response, correlation) = (rest.u16()?, rest.u16()?, rest.u16()?);
    let digest = u64::from_le_bytes(rest.bytes()?);
    let wall_ns = i64::from_le_bytes(rest.bytes()?);
    let topic = rest.text(topic)?;
    let response = rest.text(response)?;
    let correlation = stored.slice_ref(rest.take(usize::from(correlation))?);
    Some(Stored {
        topic,
        payload: stored.slice_ref(rest.0),
        response_topic: (flags & RESPONSE != 0).then_some(response),
        correlation: (flags & CORRELATION != 0).then_some(correlation),
        qos1: flags & QOS1 != 0,
        retained: flags & RETAINED != 0,
        wall_ns,
        id: (packet_id != 0).then_some(Id { packet_id, digest }),
    })
}

fn mark(mut rest: Rest<'_>) -> Option<Mark> {
    rest.bytes::<1>()?;
    let (ids, filters) = (rest.u16()?, rest.u16()?);
    let mut found = Mark {
        count: u32::from_le_bytes(rest.bytes()?),
        handed: u64::from_le_bytes(rest.bytes()?),
        ..Mark::default()
    };
    for _ in 0..ids {
        found.ids.push(Id {
            packet_id: rest.u16()?,
            digest: u64::from_le_bytes(rest.bytes()?),
        });
    }
    for _ in 0..filters {
        let bytes = rest.u16()?;
        found.filters.push(rest.text(bytes)?);
    }
    Some(found)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    fn text(&mut self, bytes: u16) -> Option<String> {
        let taken = self.take(usize::from(bytes))?;
        std::str::from_utf8(taken).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> [(Frame, Vec<u8>); 2] {
        let stored = Stored {
            topic: "commands/gw/set".to_owned(),
            payload: Bytes::from_static(b"on"),
            response_topic: Some("answers/7".to_owned()),
            correlation: Some(Bytes::from_static(&[0, 255])),
            qos1: true,
            retained: false,
            wall_ns: -5,
            id: Some(Id {
                packet_id: 9,
                digest: 1 << 40,
            }),
        };
        let mark = Mark {
            handed: 1 << 33,
            count: 64,
            ids: vec![
                Id {
                    packet_id: 1,
                    digest: 2,
                };
                3
            ],
            filters: vec!["a/#".to_owned(), "$share/g/b".to_owned()],
        };
        let (mut message, mut marked) = (Vec::new(), Vec::new());
        write_message(&stored, &mut message);
        write_mark(&mark, &mut marked);
        [
            (Frame::Message(stored), message),
            (Frame::Mark(mark), marked),
        ]
    }

    #[test]
    fn reads_what_it_wrote() {
        for (frame, bytes) in frames() {
            assert_eq!(read(&bytes.into()), Some(frame));
        }
    }

    #[test]
    fn damage_is_no_panic() {
        for (_, bytes) in frames() {
            for length in 0..bytes.len() {
                let _ = read(&bytes[..length].to_vec().into());
            }
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bad = bytes.clone();
                    bad[at] ^= 1 << bit;
                    let _ = read(&bad.into());
                }
            }
        }
        assert_eq!(read(&Bytes::from_static(&[3])), None);
    }
}
