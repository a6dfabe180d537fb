//! What an uplink tells its caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::error::Lost;
use super::reason::ReasonCode;
use super::settings::Qos;
use crate::stats;

/// Something happened. Tokens are the caller's own numbers, given to `publish`.
#[derive(Debug)]
pub enum Event {
    /// A connection stands and CONNACK has come.
    Connected {
        /// Where.
        endpoint: Endpoint,
        /// Whether the broker still had the session.
        session_present: bool,
        /// The client id in use: the configured one, or the one that the broker assigned.
        client_id: Arc<str>,
        /// Most messages in flight on this connection.
        inflight_max: u16,
        /// Largest packet that the broker takes, in bytes.
        packet_max_bytes: usize,
    },
    /// The connection ended, or an attempt failed.
    Disconnected {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        reason: Lost,
        /// When the next attempt starts.
        retry_in: Duration,
    },
    /// What is known of the endpoints has changed; all of them, in the order of `Settings::endpoints`.
    Endpoints(Vec<stats::Endpoint>),
    /// The broker has taken every message from `first` to `last`, both included. Ranges join only tokens that follow
    /// each other by one.
    Acked {
        /// First token.
        first: u64,
        /// Last token.
        last: u64,
    },
    /// This message can never be taken; it is not sent again.
    Rejected {
        /// Its token.
        token: u64,
        /// Why.
        reason: ReasonCode,
        /// The broker's words, or ours where the broker was not asked.
        detail: String,
        /// Its topic.
        topic: Arc<str>,
        /// Its payload, for whoever keeps what cannot be delivered.
        payload: Bytes,
    },
    /// The broker refused a message for now; it and those after it on the same topic are parked, the other topics go on.
    /// Told when a topic stops, and when the reason changes.
    Deferred {
        /// Token of the message.
        token: u64,
        /// The topic that waits.
        topic: Arc<str>,
        /// Why.
        reason: ReasonCode,
        /// When it is sent again.
        retry_in: Duration,
    },
    /// The broker takes messages of a topic again that it had refused.
    Resumed {
        /// The topic.
        topic: Arc<str>,
        /// Topics that it still refuses.
        still_refused: usize,
    },
    /// No more messages of refused topics fit into the session. From the next of them on every topic waits, or, with
    /// `Settings::refused`, the oldest are rejected. Told once until a topic is taken again.
    ParkingFull {
        /// Messages parked.
        messages: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The broker answered a subscription.
    Subscribed {
        /// Topic filter.
        filter: String,
        /// Granted `QoS`, or the refusal.
        result: Result<Qos, ReasonCode>,
    },
    /// The broker answered that a forgotten filter is unsubscribed, or why it is not.
    Unsubscribed {
        /// Topic filter.
        filter: String,
        /// What it said.
        reason: ReasonCode,
    },
    /// A message arrived on a subscription. Where it came with `QoS` 1 its PUBACK is sent when this event is taken, or,
    /// with `Settings::confirm_messages`, when its receipt is given back.
    Message(Message),
}

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: Arc<str>,
    /// Payload.
    pub payload: Bytes,
    /// Quality of service with which it came.
    pub qos: Qos,
    /// Whether it was kept by the broker from before the subscription.
    pub retained: bool,
    /// Whether the broker may have sent it before.
    pub duplicate: bool,
    /// Where the sender waits for an answer.
    pub response_topic: Option<Arc<str>>,
    /// What the sender knows the answer by; it goes back as it came.
    pub correlation: Option<Bytes>,
    /// What confirms it.
    pub receipt: Receipt,
}

impl Message {
    /// Bytes that it brings.
    pub fn bytes(&self) -> usize {
        let reply = self.response_topic.as_ref().map_or(0, |topic| topic.len());
        let correlation = self.correlation.as_ref().map_or(0, Bytes::len);
        self.topic.len() + self.payload.len() + reply + correlation
    }
}

/// Names one arrival of a message: it is confirmed on the connection that brought it, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) connection: u64,
    /// 0 at `QoS` 0, which needs no confirmation.
    pub(super) packet_id: u16,
}

impl Receipt {
    /// One for a test.
    #[cfg(test)]
    pub(crate) fn of(connection: u64, packet_id: u16) -> Receipt {
        Receipt {
            connection,
            packet_id,
        }
    }

    /// The packet id, by which a broker that keeps its session repeats the message.
    pub fn packet_id(self) -> u16 {
        self.packet_id
    }
}
