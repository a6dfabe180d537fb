//! The MQTT 5 session of a client, without I/O and without a clock.
//!
//! The caller opens it over a fresh byte stream (`open`), feeds it what it reads (`receive`), writes what `output`
//! holds, wakes it at `deadline_ms` (`tick`), and tells it of the end (`close`). Times are milliseconds since any
//! instant that never goes back. Messages stay in it from `publish` to their PUBACK, over any number of connections.

mod downlink;
mod latency;
mod parking;
mod send;
mod timers;
mod window;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::codec::{self, ConnAck, Malformed, Packet, PubAck};
use super::endpoint::Endpoint;
use super::error::Lost;
use super::event::{Event, Message, Receipt};
use super::reason::{ReasonCode, Verdict};
use super::settings::{Qos, Settings, Subscription};
use latency::Latency;
use parking::Parking;
use window::{Given, PUBLISH_ID_MAX, Window};

pub use parking::{PARKED_MAX, PARKED_MAX_BYTES};

/// Bytes waiting to be written above which nothing more is encoded.
pub const OUTPUT_MAX_BYTES: usize = 256 << 10;
/// Packet ids of SUBSCRIBE and of UNSUBSCRIBE, one a filter.
const SUBSCRIBE_ID: u16 = PUBLISH_ID_MAX + 1;
const UNSUBSCRIBE_ID: u16 = SUBSCRIBE_ID + 500;
/// Longest wait for a ping's answer, in milliseconds.
pub const PING_TIMEOUT_MS: u64 = 10_000;

/// State that lives over connections.
pub struct Session {
    settings: Settings,
    window: Window,
    parking: Parking,
    /// Messages ever given: the number of the next, which is its place in the order of its topic.
    given: u64,
    /// The broker may hold a session of this process.
    established: bool,
    connection: Option<Connection>,
    /// Counts connections, so that a PUBACK for a message of an earlier one is not sent on this one.
    connections: u64,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    events: VecDeque<Event>,
    /// Bytes of the messages among them.
    held_bytes: usize,
    /// Messages of this connection that the caller has not confirmed.
    unconfirmed: usize,
    client_id: Arc<str>,
    /// The caller knows that parking is full.
    full_told: bool,
    stray_acks: u64,
}

/// State of one connection.
struct Connection {
    endpoint: Endpoint,
    clean_start: bool,
    /// `Some` once CONNACK has come.
    limits: Option<Limits>,
    opened_ms: u64,
    connected_ms: u64,
    sent_ms: u64,
    received_ms: u64,
    ping_ms: Option<u64>,
    progress_ms: u64,
    useful: bool,
    latency: Latency,
    aliases: HashMap<Arc<str>, u16>,
    last_alias: Option<(Arc<str>, u16)>,
}

/// What the broker allows.
struct Limits {
    inflight_max: usize,
    packet_max_bytes: usize,
    topic_alias_max: u16,
    keep_alive_ms: u64,
}

impl Session {
    /// A session without a connection. `seed` is for jitter.
    pub fn new(settings: Settings, seed: u64) -> Session {
        let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let established = settings.confirm_messages && settings.session_expiry_s > 0;
        Session {
            parking: Parking::new(
                millis(settings.backoff.base),
                millis(settings.backoff.max),
                seed,
            ),
            given: 0,
            window: Window::new(settings.inflight_max, settings.inflight_max_bytes),
            client_id: settings.client_id.as_str().into(),
            settings,
            // What an earlier process had not confirmed, and what was sent since, is in the session that it left.
            established,
            connection: None,
            connections: 0,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            events: VecDeque::new(),
            held_bytes: 0,
            unconfirmed: 0,
            full_told: false,
            stray_acks: 0,
        }
    }

    /// Starts a connection over a fresh byte stream: CONNECT is in the output.
    pub fn open(&mut self, endpoint: Endpoint, now_ms: u64) {
        self.close();
        self.connections += 1;
        // Packet ids of an earlier process mean nothing to this one; those of an earlier connection do.
        // A kept session must see again what it has not answered, also what it would refuse, and where it hangs up after a
        // refusal nothing else would get through. What only sends loses nothing with the session.
        let clean_start = !self.established
            || (self.settings.subscriptions.is_empty()
                && self
                    .window
                    .unanswered()
                    .any(|g| self.parking.holds(&g.topic)));
        codec::connect(
            &mut self.output,
            &codec::Connect {
                client_id: &self.client_id,
                clean_start,
                keep_alive_s: self.settings.keep_alive_s,
                session_expiry_s: self.settings.session_expiry_s,
                receive_max: self.settings.receive_max,
                packet_max_bytes: self.settings.packet_max_bytes,
                topic_alias_max: 0,
            },
        );
        self.connection = Some(Connection {
            endpoint,
            clean_start,
            limits: None,
            opened_ms: now_ms,
            connected_ms: now_ms,
            sent_ms: now_ms,
            received_ms: now_ms,
            ping_ms: None,
            progress_ms: now_ms,
            useful: false,
            latency: Latency::default(),
            aliases: HashMap::new(),
            last_alias: None,
        });
    }

    /// The connection is gone. Everything without a PUBACK waits for the next.
    pub fn close(&mut self) {
        self.connection = None;
        self.unconfirmed = 0;
        self.output.clear();
        self.written = 0;
        self.input.clear();
        // Parked messages keep their wait: a new connection is not a way round a quota.
        self.window.rewind();
    }

    /// Whether CONNACK has come on this connection.
    pub fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.limits.is_some())
    }

    /// How long this connection has been up, in milliseconds, and whether it brought a PUBACK or a message.
    pub fn usefulness(&self, now_ms: u64) -> (u64, bool) {
        match &self.connection {
            Some(c) if c.limits.is_some() => (now_ms.saturating_sub(c.connected_ms), c.useful),
            _ => (0, false),
        }
    }

    /// Mean time from PUBLISH to PUBACK on this connection, in milliseconds, once enough were seen or one waits long.
    pub fn ack_ms(&self, now_ms: u64) -> Option<u64> {
        self.connection.as_ref()?.latency.mean_ms(now_ms)
    }

    /// When that mean passes a bound if no PUBACK comes until then.
    pub fn ack_passes_at_ms(&self, bound_ms: u64) -> Option<u64> {
        self.connection.as_ref()?.latency.passes_at_ms(bound_ms)
    }

    /// How many more messages `publish` takes.
    pub fn room(&self) -> usize {
        self.window.room()
    }

    /// Messages without a PUBACK, with those parked.
    pub fn outstanding(&self) -> usize {
        self.window.outstanding() + self.parking.messages()
    }

    /// Messages parked because the broker refuses their topic for now.
    pub fn parked(&self) -> usize {
        self.parking.messages()
    }

    /// Whether no message waits for a PUBACK.
    pub fn is_idle(&self) -> bool {
        self.window.is_empty() && self.parking.messages() == 0
    }

    /// PUBACKs for ids that were not in flight: late, doubled or wrong ones.
    pub fn stray_acks(&self) -> u64 {
        self.stray_acks
    }

    /// Takes a message. The caller has seen `room() > 0`; it is sent by `pump`.
    pub fn publish(&mut self, token: u64, topic: Arc<str>, payload: Bytes) {
        self.publish_reply(token, topic, payload, None);
    }

    /// The same for what answers a request, whose correlation data goes back with it.
    pub fn publish_reply(
        &mut self,
        token: u64,
        topic: Arc<str>,
        payload: Bytes,
        correlation: Option<Bytes>,
    ) {
        let fault = if topic.is_empty() || topic.len() > 65_535 || topic.contains(['+', '#', '\0'])
        {
            Some((
                ReasonCode::TOPIC_NAME_INVALID,
                "a topic is 1 to 65535 bytes without + # NUL",
            ))
        } else if payload.len() > (1 << 28) - 140_000
            || correlation.as_ref().is_some_and(|data| data.len() > 65_535)
        {
            Some((ReasonCode::PACKET_TOO_LARGE, "larger than any MQTT packet"))
        } else {
            None
        };
        if let Some((reason, detail)) = fault {
            self.event(Event::Rejected {
                token,
                reason,
                detail: detail.to_owned(),
                topic,
                payload,
            });
            return;
        }
        let seq = self.given;
        self.given += 1;
        self.window.push(Given {
            seq,
            token,
            topic,
            payload,
            correlation,
        });
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// The first `count` bytes of the output were written.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        } else if self.written >= OUTPUT_MAX_BYTES / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    /// Takes what was read. An error ends the connection; our DISCONNECT, where one is due, is in the output.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Lost> {
        if let Some(connection) = &mut self.connection {
            connection.received_ms = now_ms;
            connection.ping_ms = None;
        }
        // Packets are decoded in place; only the broken one at the end is kept.
        let mut held = std::mem::take(&mut self.input);
        let source = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held[..]
        };
        let used = self.packets(source, now_ms)?;
        if held.is_empty() {
            held.extend_from_slice(&bytes[used..]);
        } else {
            held.drain(..used);
        }
        self.input = held;
        Ok(())
    }

    fn packets(&mut self, bytes: &[u8], now_ms: u64) -> Result<usize, Lost> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let Some((header, whole)) = codec::frame(rest, self.settings.packet_max_bytes)? else {
                return Ok(used);
            };
            let packet = codec::decode(rest[0], &rest[header..whole])?;
            self.packet(packet, now_ms)?;
            used += whole;
        }
    }

    fn packet(&mut self, packet: Packet<'_>, now_ms: u64) -> Result<(), Lost> {
        if let Packet::Disconnect(said) = packet {
            return Err(Lost::Kicked {
                reason: said.reason,
                detail: said.detail.to_owned(),
                server_reference: said.server_reference.map(str::to_owned),
            });
        }
        match (packet, self.is_connected()) {
            (Packet::ConnAck(connack), false) => self.connack(&connack, now_ms),
            (Packet::ConnAck(_), true) => Err(Malformed::protocol("a second CONNACK").into()),
            (_, false) => Err(Malformed::protocol("a packet before CONNACK").into()),
            (Packet::PubAck(puback), true) => {
                self.puback(&puback, now_ms);
                Ok(())
            }
            (Packet::SubAck(suback), true) => self.suback(&suback),
            (Packet::UnsubAck(unsuback), true) => self.unsuback(&unsuback),
            (Packet::Publish(publish), true) => {
                if publish.alias.is_some() {
                    let reason = ReasonCode::TOPIC_ALIAS_INVALID;
                    return Err(
                        Malformed::with("a topic alias although we allow none", reason).into(),
                    );
                }
                if let Some(connection) = &mut self.connection {
                    connection.useful = true;
                }
                let message = Message {
                    topic: publish.topic.into(),
                    payload: Bytes::copy_from_slice(publish.payload),
                    qos: if publish.qos == 0 {
                        Qos::AtMostOnce
                    } else {
                        Qos::AtLeastOnce
                    },
                    retained: publish.retained,
                    duplicate: publish.duplicate,
                    response_topic: publish.response_topic.map(Arc::from),
                    correlation: publish.correlation.map(Bytes::copy_from_slice),
                    receipt: Receipt {
                        connection: self.connections,
                        packet_id: publish.packet_id,
                    },
                };
                self.held_bytes += message.bytes();
                if self.settings.confirm_messages && publish.packet_id != 0 {
                    self.unconfirmed += 1;
                }
                self.event(Event::Message(message));
                Ok(())
            }
            // Any byte received answers a ping.
            (Packet::PingResp | Packet::Disconnect(_), true) => Ok(()),
        }
    }

    fn connack(&mut self, connack: &ConnAck<'_>, now_ms: u64) -> Result<(), Lost> {
        if connack.reason.is_error() {
            return Err(Lost::Refused {
                reason: connack.reason,
                detail: connack.detail.to_owned(),
            });
        }
        let connection = self
            .connection
            .as_mut()
            .expect("packets come only between open and close");
        if connack.session_present && connection.clean_start {
            return Err(Malformed::protocol("a session is present after a clean start").into());
        }
        if connack.qos_max == 0 {
            return Err(Lost::NoQos1);
        }
        if let Some(assigned) = connack.assigned_client_id {
            self.client_id = assigned.into();
        }
        let inflight_max = connack.receive_max.min(self.settings.inflight_max);
        let keep_alive_s = connack
            .server_keep_alive_s
            .unwrap_or(self.settings.keep_alive_s);
        let packet_max_bytes = connack
            .packet_max_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(usize::MAX);
        connection.limits = Some(Limits {
            inflight_max: usize::from(inflight_max),
            packet_max_bytes,
            topic_alias_max: connack.topic_alias_max,
            keep_alive_ms: u64::from(keep_alive_s) * 1_000,
        });
        connection.connected_ms = now_ms;
        connection.progress_ms = now_ms;
        let endpoint = connection.endpoint.clone();
        if !connack.session_present {
            // What was sent to a session that is gone goes as new, each topic in its order.
            for given in self.window.forget_session().into_iter().rev() {
                if self.parking.holds(&given.topic) {
                    self.parking.park(given);
                } else {
                    self.window.put_back(given);
                }
            }
            self.parking.probes_lost(now_ms);
        }
        // A broker that keeps no session says so; then the next connection starts clean as well.
        self.established =
            connack.session_expiry_s != Some(0) && self.settings.session_expiry_s > 0;
        let subscriptions: &[Subscription] = &self.settings.subscriptions;
        for (packet_id, subscription) in (SUBSCRIBE_ID..UNSUBSCRIBE_ID).zip(subscriptions) {
            codec::subscribe(&mut self.output, packet_id, subscription);
        }
        if connack.session_present {
            for (packet_id, filter) in (UNSUBSCRIBE_ID..=u16::MAX).zip(&self.settings.forgotten) {
                codec::unsubscribe(&mut self.output, packet_id, filter);
            }
        }
        self.event(Event::Connected {
            endpoint,
            session_present: connack.session_present,
            client_id: Arc::clone(&self.client_id),
            inflight_max,
            packet_max_bytes,
        });
        self.pump(now_ms);
        Ok(())
    }

    fn puback(&mut self, puback: &PubAck<'_>, now_ms: u64) {
        let Some(index) = self.window.find_sent(puback.packet_id) else {
            self.stray_acks += 1;
            return;
        };
        let (given, probe) = self.window.take(index);
        if let Some(connection) = &mut self.connection {
            connection.progress_ms = now_ms;
            connection.useful |= !puback.reason.is_error();
            connection.latency.acked(given.seq, now_ms);
        }
        let (reason, token) = (puback.reason, given.token);
        match reason.verdict() {
            Verdict::Done => {
                match self.events.back_mut() {
                    Some(Event::Acked { last, .. }) if last.checked_add(1) == Some(token) => {
                        *last = token;
                    }
                    _ => self.event(Event::Acked {
                        first: token,
                        last: token,
                    }),
                }
                self.answered(&given.topic, probe);
            }
            Verdict::Reject => {
                self.answered(&given.topic, probe);
                self.event(Event::Rejected {
                    token,
                    reason,
                    detail: puback.detail.to_owned(),
                    topic: given.topic,
                    payload: given.payload,
                });
            }
            Verdict::Retry | Verdict::RetrySlowly => {
                let topic = Arc::clone(&given.topic);
                if let Some(wait_ms) = self.parking.refused(given, probe, reason, now_ms) {
                    self.event(Event::Deferred {
                        token,
                        topic,
                        reason,
                        retry_in: std::time::Duration::from_millis(wait_ms),
                    });
                }
            }
        }
    }

    /// The broker took, or refused for good, a message of the topic: what is parked of it follows.
    fn answered(&mut self, topic: &Arc<str>, probe: bool) {
        if probe && self.parking.opened(topic) {
            self.full_told = false;
            self.event(Event::Resumed {
                topic: Arc::clone(topic),
                still_refused: self.parking.refused_topics(),
            });
        }
    }

    fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Puts an event of the caller behind those of the session.
    pub(super) fn push_event(&mut self, event: Event) {
        self.event(event);
    }

    /// The next event. Taking a message confirms it, unless the caller does.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.held_bytes -= message.bytes();
            if !self.settings.confirm_messages {
                self.confirm(message.receipt);
            }
        }
        Some(event)
    }

    /// Events not yet taken.
    pub fn events_waiting(&self) -> usize {
        self.events.len()
    }

    /// Puts our DISCONNECT into the output, where CONNACK has come.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        if self.is_connected() {
            codec::disconnect(&mut self.output, reason);
        }
    }
}
