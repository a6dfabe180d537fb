//! Packets that a client sends, appended to one buffer so that many go out in one write.

use crate::uplink::reason::ReasonCode;
use crate::uplink::settings::{Qos, Retained, Subscription};

/// Appends a variable byte integer. Callers keep lengths below 2^28.
fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits fit");
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn variable_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Appends a string with its length. Callers check that it is shorter than 2^16.
fn string(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("checked by the caller");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The same for bytes.
fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("checked by the caller");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What CONNECT says.
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_max: u16,
    pub(crate) packet_max_bytes: u32,
    pub(crate) topic_alias_max: u16,
}

pub(crate) fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let mut properties = Vec::with_capacity(16);
    properties.push(0x11);
    properties.extend_from_slice(&connect.session_expiry_s.to_be_bytes());
    properties.push(0x21);
    properties.extend_from_slice(&connect.receive_max.to_be_bytes());
    properties.push(0x27);
    properties.extend_from_slice(&connect.packet_max_bytes.to_be_bytes());
    if connect.topic_alias_max > 0 {
        properties.push(0x22);
        properties.extend_from_slice(&connect.topic_alias_max.to_be_bytes());
    }
    let body = 10 + 1 + properties.len() + 2 + connect.client_id.len();
    out.push(0x10);
    variable(out, body);
    string(out, "MQTT");
    out.push(5);
    out.push(u8::from(connect.clean_start) << 1);
    out.extend_from_slice(&connect.keep_alive_s.to_be_bytes());
    variable(out, properties.len());
    out.extend_from_slice(&properties);
    string(out, connect.client_id);
}

/// What names the topic of a PUBLISH, and the request that it answers.
pub(crate) struct Heading<'a> {
    /// Empty where the alias stands for it.
    pub(crate) topic: &'a str,
    pub(crate) alias: Option<u16>,
    pub(crate) correlation: Option<&'a [u8]>,
}

impl Heading<'_> {
    fn properties_bytes(&self) -> usize {
        let alias = self.alias.map_or(0, |_| 3);
        alias + self.correlation.map_or(0, |data| 3 + data.len())
    }

    fn body(&self, payload: &[u8]) -> usize {
        let properties = self.properties_bytes();
        2 + self.topic.len() + 2 + variable_len(properties) + properties + payload.len()
    }

    /// Size of the PUBLISH packet at `QoS` 1, in bytes.
    pub(crate) fn publish_bytes(&self, payload: &[u8]) -> usize {
        let body = self.body(payload);
        1 + variable_len(body) + body
    }
}

/// Whether a CONNECT as `connect` wrote it asks for the session that the broker has: its clean start flag is not set.
pub(crate) fn keeps_session(connect: &[u8]) -> bool {
    const CLEAN_START: u8 = 2;
    // Behind the length come the protocol's name (6 bytes) and version.
    let length = connect.iter().skip(1).position(|byte| byte & 0x80 == 0);
    length
        .and_then(|more| connect.get(2 + more + 7))
        .is_some_and(|flags| flags & CLEAN_START == 0)
}

/// Appends a PUBLISH at `QoS` 1. An alias goes with the topic the first time, and with an empty topic after that.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    heading: &Heading<'_>,
    packet_id: u16,
    duplicate: bool,
    payload: &[u8],
) {
    let body = heading.body(payload);
    out.reserve(5 + body);
    out.push(0x32 | u8::from(duplicate) << 3);
    variable(out, body);
    string(out, heading.topic);
    out.extend_from_slice(&packet_id.to_be_bytes());
    variable(out, heading.properties_bytes());
    if let Some(alias) = heading.alias {
        out.push(0x23);
        out.extend_from_slice(&alias.to_be_bytes());
    }
    if let Some(data) = heading.correlation {
        out.push(0x09);
        binary(out, data);
    }
    out.extend_from_slice(payload);
}

pub(crate) fn puback(out: &mut Vec<u8>, packet_id: u16) {
    out.extend_from_slice(&[0x40, 2]);
    out.extend_from_slice(&packet_id.to_be_bytes());
}

pub(crate) fn subscribe(out: &mut Vec<u8>, packet_id: u16, subscription: &Subscription) {
    out.push(0x82);
    variable(out, 2 + 1 + 2 + subscription.filter.len() + 1);
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.push(0);
    string(out, &subscription.filter);
    let qos = match subscription.qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
    };
    let retained = match subscription.retained {
        Retained::EachConnect => 0,
        Retained::NewSession => 1,
        Retained::Never => 2,
    };
    out.push(qos | retained << 4);
}

pub(crate) fn unsubscribe(out: &mut Vec<u8>, packet_id: u16, filter: &str) {
    out.push(0xA2);
    variable(out, 2 + 1 + 2 + filter.len());
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.push(0);
    string(out, filter);
}

pub(crate) fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xC0, 0]);
}

/// Appends a DISCONNECT; the session expiry stays as CONNECT set it.
pub(crate) fn disconnect(out: &mut Vec<u8>, reason: ReasonCode) {
    out.extend_from_slice(&[0xE0, 2, reason.0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::session::Session;
    use crate::uplink::settings::Settings;

    #[test]
    fn only_a_connect_that_asks_for_the_session_may_go_early() {
        let endpoint: crate::uplink::Endpoint = "mqtt://127.0.0.1".parse().unwrap();
        let mut settings = Settings::new(vec![endpoint.clone()], "gw");
        let connect = |settings: &Settings| {
            let mut session = Session::new(settings.clone(), 1);
            session.open(endpoint.clone(), 0);
            session.output().to_vec()
        };
        assert!(!keeps_session(&connect(&settings)), "a clean start");
        // With this the first connection asks for the session of an earlier process.
        settings.confirm_messages = true;
        assert!(keeps_session(&connect(&settings)));
        assert!(!keeps_session(&[]));
        assert!(!keeps_session(&[0x10, 0x80]));
    }
}
