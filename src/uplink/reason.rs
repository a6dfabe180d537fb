//! MQTT 5 reason codes, by number and by name (OASIS MQTT 5.0, section 2.4).

use std::fmt;

/// A reason code as a broker sent it. Unknown numbers are kept, so that a newer broker is reported and not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub u8);

impl ReasonCode {
    /// Success, or a normal disconnection.
    pub const SUCCESS: ReasonCode = ReasonCode(0x00);
    /// Accepted; nobody subscribes.
    pub const NO_MATCHING_SUBSCRIBERS: ReasonCode = ReasonCode(0x10);
    /// The peer does not say why.
    pub const UNSPECIFIED: ReasonCode = ReasonCode(0x80);
    /// The bytes are not MQTT.
    pub const MALFORMED_PACKET: ReasonCode = ReasonCode(0x81);
    /// The bytes are MQTT that must not be sent now.
    pub const PROTOCOL_ERROR: ReasonCode = ReasonCode(0x82);
    /// Valid, but this broker does not take it.
    pub const IMPLEMENTATION_SPECIFIC: ReasonCode = ReasonCode(0x83);
    /// The broker does not speak MQTT 5.
    pub const UNSUPPORTED_PROTOCOL_VERSION: ReasonCode = ReasonCode(0x84);
    /// The client id is not allowed.
    pub const CLIENT_ID_NOT_VALID: ReasonCode = ReasonCode(0x85);
    /// Unknown user or wrong password.
    pub const BAD_CREDENTIALS: ReasonCode = ReasonCode(0x86);
    /// The client may not do this.
    pub const NOT_AUTHORIZED: ReasonCode = ReasonCode(0x87);
    /// The server is not available.
    pub const SERVER_UNAVAILABLE: ReasonCode = ReasonCode(0x88);
    /// The server is busy.
    pub const SERVER_BUSY: ReasonCode = ReasonCode(0x89);
    /// The client is banned.
    pub const BANNED: ReasonCode = ReasonCode(0x8A);
    /// The server is going down.
    pub const SERVER_SHUTTING_DOWN: ReasonCode = ReasonCode(0x8B);
    /// The authentication method is not supported.
    pub const BAD_AUTHENTICATION_METHOD: ReasonCode = ReasonCode(0x8C);
    /// The server saw nothing for one and a half keep-alive times.
    pub const KEEP_ALIVE_TIMEOUT: ReasonCode = ReasonCode(0x8D);
    /// Another connection uses the same client id.
    pub const SESSION_TAKEN_OVER: ReasonCode = ReasonCode(0x8E);
    /// The topic filter is malformed or not allowed.
    pub const TOPIC_FILTER_INVALID: ReasonCode = ReasonCode(0x8F);
    /// The topic name is malformed or not allowed.
    pub const TOPIC_NAME_INVALID: ReasonCode = ReasonCode(0x90);
    /// More in flight than the receive maximum.
    pub const RECEIVE_MAXIMUM_EXCEEDED: ReasonCode = ReasonCode(0x93);
    /// An alias that was not agreed.
    pub const TOPIC_ALIAS_INVALID: ReasonCode = ReasonCode(0x94);
    /// Larger than the maximum packet size.
    pub const PACKET_TOO_LARGE: ReasonCode = ReasonCode(0x95);
    /// Too many messages a second.
    pub const MESSAGE_RATE_TOO_HIGH: ReasonCode = ReasonCode(0x96);
    /// A limit set by the operator was reached.
    pub const QUOTA_EXCEEDED: ReasonCode = ReasonCode(0x97);
    /// An administrator closed the connection.
    pub const ADMINISTRATIVE_ACTION: ReasonCode = ReasonCode(0x98);
    /// The payload does not match its declared format.
    pub const PAYLOAD_FORMAT_INVALID: ReasonCode = ReasonCode(0x99);
    /// The broker keeps no retained messages.
    pub const RETAIN_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9A);
    /// The broker does not take this `QoS`.
    pub const QOS_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9B);
    /// Use another server for now.
    pub const USE_ANOTHER_SERVER: ReasonCode = ReasonCode(0x9C);
    /// Use another server from now on.
    pub const SERVER_MOVED: ReasonCode = ReasonCode(0x9D);
    /// Too many connections a second.
    pub const CONNECTION_RATE_EXCEEDED: ReasonCode = ReasonCode(0x9F);

    /// The name that the standard gives it, in lower case.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x00 => "success",
            0x01 => "granted QoS 1",
            0x02 => "granted QoS 2",
            0x10 => "no matching subscribers",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8C => "bad authentication method",
            0x8D => "keep alive timeout",
            0x8E => "session taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9E => "shared subscriptions not supported",
            0x9F => "connection rate exceeded",
            0xA0 => "maximum connect time",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "unknown reason",
        }
    }

    /// Whether it says that something failed.
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// What a PUBACK with this code means for the message.
    pub fn verdict(self) -> Verdict {
        match self {
            code if !code.is_error() => Verdict::Done,
            ReasonCode::NOT_AUTHORIZED => Verdict::RetrySlowly,
            ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::PAYLOAD_FORMAT_INVALID
            | ReasonCode::PACKET_TOO_LARGE => Verdict::Reject,
            _ => Verdict::Retry,
        }
    }

    /// How a refused CONNECT or a server's DISCONNECT with this code bears on the next attempt.
    pub fn pace(self) -> Pace {
        match self {
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            | ReasonCode::CLIENT_ID_NOT_VALID
            | ReasonCode::BAD_CREDENTIALS
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::BANNED
            | ReasonCode::BAD_AUTHENTICATION_METHOD
            | ReasonCode::SESSION_TAKEN_OVER
            | ReasonCode::QOS_NOT_SUPPORTED
            | ReasonCode::ADMINISTRATIVE_ACTION => Pace::Slow,
            ReasonCode::SERVER_BUSY
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::MESSAGE_RATE_TOO_HIGH
            | ReasonCode::CONNECTION_RATE_EXCEEDED => Pace::Spare,
            _ => Pace::Normal,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.name(), self.0)
    }
}

/// What to do with a message after its PUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered.
    Done,
    /// Send again after a backoff.
    Retry,
    /// Send again after the longest backoff: only an operator can help.
    RetrySlowly,
    /// Never send again: this message cannot be taken.
    Reject,
}

/// How soon to connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Plain backoff.
    Normal,
    /// Backoff that begins wide: the broker has perhaps lost all of its clients in the same moment.
    Spread,
    /// Not before a tenth of the longest backoff: the server asked to be spared.
    Spare,
    /// Not before half of the longest backoff: trying again soon cannot help, or would fight another client.
    Slow,
}
