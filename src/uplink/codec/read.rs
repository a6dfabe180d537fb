//! Packets that a broker sends.

use super::Malformed;
use crate::uplink::reason::ReasonCode;

/// A packet, borrowing the bytes that it came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Answer to CONNECT.
    ConnAck(Box<ConnAck<'a>>),
    /// A message.
    Publish(Publish<'a>),
    /// Answer to our PUBLISH.
    PubAck(PubAck<'a>),
    /// Answer to our SUBSCRIBE.
    SubAck(SubAck<'a>),
    /// Answer to our UNSUBSCRIBE.
    UnsubAck(SubAck<'a>),
    /// Answer to our PINGREQ.
    PingResp,
    /// The broker ends the connection.
    Disconnect(Disconnect<'a>),
}

/// CONNACK. Absent properties have the value that the standard gives them.
#[derive(Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each field is the property of that name in section 3.2.2.3"
)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    pub reason: ReasonCode,
    pub receive_max: u16,
    pub qos_max: u8,
    pub retain_available: bool,
    pub packet_max_bytes: Option<u32>,
    pub assigned_client_id: Option<&'a str>,
    pub topic_alias_max: u16,
    pub server_keep_alive_s: Option<u16>,
    pub session_expiry_s: Option<u32>,
    pub server_reference: Option<&'a str>,
    pub detail: &'a str,
}

/// PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Empty where the alias stands for it.
    pub topic: &'a str,
    /// Alias.
    pub alias: Option<u16>,
    /// 0 at `QoS` 0.
    pub packet_id: u16,
    /// 0 or 1.
    pub qos: u8,
    /// Kept from before the subscription.
    pub retained: bool,
    /// Sent before, perhaps.
    pub duplicate: bool,
    /// Where the sender waits for an answer.
    pub response_topic: Option<&'a str>,
    /// What the sender knows the answer by.
    pub correlation: Option<&'a [u8]>,
    /// Payload.
    pub payload: &'a [u8],
}

/// PUBACK.
#[derive(Debug, PartialEq, Eq)]
pub struct PubAck<'a> {
    /// Of the PUBLISH.
    pub packet_id: u16,
    /// Reason.
    pub reason: ReasonCode,
    /// The broker's words.
    pub detail: &'a str,
}

/// SUBACK, or UNSUBACK, which is made the same way.
#[derive(Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Of the SUBSCRIBE or UNSUBSCRIBE.
    pub packet_id: u16,
    /// One code a filter.
    pub reasons: &'a [u8],
}

/// DISCONNECT.
#[derive(Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Reason.
    pub reason: ReasonCode,
    /// The broker's words.
    pub detail: &'a str,
    /// Another server.
    pub server_reference: Option<&'a str>,
}

/// Finds the first packet: `(header length, whole length)` in bytes, or `None` while more must come.
pub fn frame(bytes: &[u8], max_bytes: u32) -> Result<Option<(usize, usize)>, Malformed> {
    let mut body: usize = 0;
    for index in 0..4 {
        let Some(&byte) = bytes.get(1 + index) else {
            return Ok(None);
        };
        body |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let header = 2 + index;
            if header + body > usize::try_from(max_bytes).unwrap_or(usize::MAX) {
                return Err(Malformed::with(
                    "a packet larger than the maximum that we announced",
                    ReasonCode::PACKET_TOO_LARGE,
                ));
            }
            return Ok((bytes.len() >= header + body).then_some((header, header + body)));
        }
    }
    Err(Malformed::packet("a packet length of more than four bytes"))
}

/// Decodes one whole packet: its first byte and its body.
pub fn decode(first: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut reader = Reader(body);
    let flags = first & 0x0f;
    if flags != 0 && first >> 4 != 3 {
        return Err(Malformed::packet("reserved flags are set"));
    }
    match first >> 4 {
        2 => connack(&mut reader).map(|connack| Packet::ConnAck(Box::new(connack))),
        3 => publish(flags, reader).map(Packet::Publish),
        4 => puback(&mut reader).map(Packet::PubAck),
        9 => suback(reader).map(Packet::SubAck),
        11 => suback(reader).map(Packet::UnsubAck),
        13 if body.is_empty() => Ok(Packet::PingResp),
        13 => Err(Malformed::packet("a PINGRESP with a body")),
        14 => disconnect(&mut reader).map(Packet::Disconnect),
        _ => Err(Malformed::protocol(
            "a packet that a broker must not send here",
        )),
    }
}

fn connack<'a>(reader: &mut Reader<'a>) -> Result<ConnAck<'a>, Malformed> {
    let flags = reader.u8()?;
    if flags > 1 {
        return Err(Malformed::packet("reserved flags are set in CONNACK"));
    }
    let mut found = ConnAck {
        session_present: flags == 1,
        reason: ReasonCode(reader.u8()?),
        receive_max: u16::MAX,
        qos_max: 2,
        retain_available: true,
        packet_max_bytes: None,
        assigned_client_id: None,
        topic_alias_max: 0,
        server_keep_alive_s: None,
        session_expiry_s: None,
        server_reference: None,
        detail: "",
    };
    reader.properties(&mut |id, value| {
        match (id, value) {
            (0x11, Property::U32(v)) => found.session_expiry_s = Some(v),
            (0x12, Property::Text(v)) => found.assigned_client_id = Some(v),
            (0x13, Property::U16(v)) => found.server_keep_alive_s = Some(v),
            (0x1C, Property::Text(v)) => found.server_reference = Some(v),
            (0x1F, Property::Text(v)) => found.detail = v,
            (0x21, Property::U16(0)) => return Err(Malformed::protocol("a receive maximum of 0")),
            (0x21, Property::U16(v)) => found.receive_max = v,
            (0x22, Property::U16(v)) => found.topic_alias_max = v,
            (0x24, Property::U8(v @ 0..=1)) => found.qos_max = v,
            (0x24, _) => return Err(Malformed::protocol("a maximum QoS above 1")),
            (0x25, Property::U8(v)) => found.retain_available = v == 1,
            (0x27, Property::U32(0)) => {
                return Err(Malformed::protocol("a maximum packet size of 0"));
            }
            (0x27, Property::U32(v)) => found.packet_max_bytes = Some(v),
            _ => {}
        }
        Ok(())
    })?;
    reader.end()?;
    Ok(found)
}

fn publish(flags: u8, mut reader: Reader<'_>) -> Result<Publish<'_>, Malformed> {
    let qos = flags >> 1 & 3;
    if qos > 1 {
        return Err(Malformed::protocol(
            "a PUBLISH at a QoS that we did not subscribe with",
        ));
    }
    let duplicate = flags & 8 != 0;
    if duplicate && qos == 0 {
        return Err(Malformed::packet("DUP at QoS 0"));
    }
    let topic = reader.text()?;
    if topic.contains(['+', '#']) {
        return Err(Malformed::packet("a topic name with a wildcard"));
    }
    let packet_id = if qos == 0 { 0 } else { reader.packet_id()? };
    let (mut alias, mut response_topic, mut correlation) = (None, None, None);
    reader.properties(&mut |id, value| {
        match (id, value) {
            (0x23, Property::U16(v)) => alias = Some(v),
            (0x08, Property::Text(v)) => response_topic = Some(v),
            (0x09, Property::Binary(v)) => correlation = Some(v),
            _ => {}
        }
        Ok(())
    })?;
    if response_topic.is_some_and(|topic| topic.is_empty() || topic.contains(['+', '#'])) {
        return Err(Malformed::protocol(
            "a response topic that is no topic name",
        ));
    }
    if alias == Some(0) || (topic.is_empty() && alias.is_none()) {
        return Err(Malformed::with(
            "a PUBLISH with neither a topic nor an alias",
            ReasonCode::TOPIC_ALIAS_INVALID,
        ));
    }
    Ok(Publish {
        topic,
        alias,
        packet_id,
        qos,
        retained: flags & 1 != 0,
        duplicate,
        response_topic,
        correlation,
        payload: reader.0,
    })
}

fn puback<'a>(reader: &mut Reader<'a>) -> Result<PubAck<'a>, Malformed> {
    let packet_id = reader.packet_id()?;
    let mut found = PubAck {
        packet_id,
        reason: ReasonCode::SUCCESS,
        detail: "",
    };
    if !reader.0.is_empty() {
        found.reason = ReasonCode(reader.u8()?);
    }
    if !reader.0.is_empty() {
        reader.properties(&mut |id, value| {
            if let (0x1F, Property::Text(v)) = (id, value) {
                found.detail = v;
            }
            Ok(())
        })?;
    }
    reader.end()?;
    Ok(found)
}

fn suback(mut reader: Reader<'_>) -> Result<SubAck<'_>, Malformed> {
    let packet_id = reader.packet_id()?;
    reader.properties(&mut |_, _| Ok(()))?;
    if reader.0.is_empty() {
        return Err(Malformed::packet(
            "a SUBACK or UNSUBACK without a reason code",
        ));
    }
    Ok(SubAck {
        packet_id,
        reasons: reader.0,
    })
}

fn disconnect<'a>(reader: &mut Reader<'a>) -> Result<Disconnect<'a>, Malformed> {
    let mut found = Disconnect {
        reason: ReasonCode::SUCCESS,
        detail: "",
        server_reference: None,
    };
    if !reader.0.is_empty() {
        found.reason = ReasonCode(reader.u8()?);
    }
    if !reader.0.is_empty() {
        reader.properties(&mut |id, value| {
            match (id, value) {
                (0x1C, Property::Text(v)) => found.server_reference = Some(v),
                (0x1F, Property::Text(v)) => found.detail = v,
                _ => {}
            }
            Ok(())
        })?;
    }
    reader.end()?;
    Ok(found)
}

enum Property<'a> {
    U8(u8),
    U16(u16),
    U32(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Other,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Malformed::packet("a field reaches beyond its packet"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::packet("bytes after the last field"))
        }
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn packet_id(&mut self) -> Result<u16, Malformed> {
        match self.u16()? {
            0 => Err(Malformed::protocol("a packet identifier of 0")),
            id => Ok(id),
        }
    }

    fn variable(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::packet(
            "a variable byte integer of more than four bytes",
        ))
    }

    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| Malformed::packet("a string that is not UTF-8"))?;
        if text.contains('\0') {
            return Err(Malformed::packet("a string with a NUL"));
        }
        Ok(text)
    }

    /// Reads the properties and shows each to `see`. Twice the same is an error, but for user properties (0x26) and
    /// subscription identifiers (0x0B).
    fn properties(
        &mut self,
        see: &mut dyn FnMut(u8, Property<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let len = self.variable()?;
        let mut reader = Reader(self.take(len)?);
        let mut seen = 0_u64;
        while !reader.0.is_empty() {
            let id = reader.u8()?;
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Property::U8(reader.u8()?),
                0x13 | 0x21..=0x23 => Property::U16(reader.u16()?),
                0x02 | 0x11 | 0x18 | 0x27 => Property::U32(reader.u32()?),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Property::Text(reader.text()?),
                0x09 | 0x16 => Property::Binary(reader.binary()?),
                0x0B => {
                    reader.variable()?;
                    Property::Other
                }
                0x26 => {
                    reader.text()?;
                    reader.text()?;
                    Property::Other
                }
                _ => return Err(Malformed::packet("an unknown property")),
            };
            let bit = 1 << id;
            if seen & bit != 0 && !matches!(id, 0x0B | 0x26) {
                return Err(Malformed::protocol("a property given twice"));
            }
            seen |= bit;
            see(id, value)?;
        }
        Ok(())
    }
}
