//! What the operator chooses, with its bounds.

#[cfg(feature = "identity")]
use crate::credential::Credential;
use dunlin_crypto::PrivateKey;
use std::path::PathBuf;
#[cfg(feature = "identity")]
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::error::UplinkError;
use super::standby::StandbySettings;

/// Longest silence on a QUIC connection before a probe.
const QUIC_SILENCE_MAX: Duration = Duration::from_mins(5);

/// Everything an uplink needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// In the order of preference; at least one. `standby` says when the next one is taken.
    pub endpoints: Vec<Endpoint>,
    /// MQTT client id, unique at the broker; empty lets the broker assign one.
    pub client_id: String,
    /// Certificates for `mqtts://` and `quic://`.
    pub tls: Option<TlsFiles>,
    /// Which certificate is shown, where the agent gets its own; those of `tls` otherwise.
    #[cfg(feature = "identity")]
    pub credential: Option<Arc<Credential>>,
    /// Keep-alive asked of the broker, in seconds; 1 to 65535. The broker may set another.
    pub keep_alive_s: u16,
    /// How long the broker keeps the session after a disconnection, in seconds.
    pub session_expiry_s: u32,
    /// Most messages without a PUBACK, beside those parked; 1 to 65000. The broker's Receive Maximum may lower it.
    pub inflight_max: u16,
    /// Most bytes of the payloads without a PUBACK.
    pub inflight_max_bytes: usize,
    /// Largest packet taken from the broker, in bytes.
    pub packet_max_bytes: u32,
    /// Time to connect, handshake and receive CONNACK, each attempt.
    pub connect_timeout: Duration,
    /// Longest time without any PUBACK while messages are in flight.
    pub ack_timeout: Duration,
    /// What becomes of messages that the broker refuses for now, where no more of them can be kept in their order.
    pub refused: Refused,
    /// Waits between attempts.
    pub backoff: BackoffSettings,
    /// Over QUIC, a stream of its own for the messages of each lane.
    pub streams: bool,
    /// Over QUIC, CONNECT goes before the handshake is done (0-RTT), where it asks for a session that the broker has.
    pub early_connect: bool,
    /// Over QUIC, silence after which a probe goes out, so that address translations on the way do not forget us. Three
    /// times that without a packet ends the connection.
    pub quic_silence: Duration,
    /// When another endpoint is taken, and the way back.
    pub standby: StandbySettings,
    /// Subscribed after each connect; at most 500.
    pub subscriptions: Vec<Subscription>,
    /// Filters of an earlier process that the session may still have: unsubscribed after each connect that finds it; at
    /// most 30.
    pub forgotten: Vec<String>,
    /// Receive Maximum that we announce: `QoS` 1 messages that the broker may send ahead of our PUBACKs; at least 1.
    pub receive_max: u16,
    /// Messages are confirmed by their receipts, once the caller has them durably, and the first connection of a process
    /// asks for the session of the last one. Otherwise taking the event confirms.
    pub confirm_messages: bool,
}

/// What mutual TLS needs; files are PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The authorities that may sign the broker's certificate. The system's are not trusted.
    pub ca_file: PathBuf,
    /// The agent's certificate, followed by its intermediates.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key: PrivateKey,
}

/// What becomes of messages of refused topics where parking is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refused {
    /// The oldest are rejected to the caller, and the others go on.
    #[default]
    SetAside,
    /// Everything waits until the broker takes them.
    Wait,
}

/// Waits between attempts: uniform in 0 to min(max, base * 2^attempt).
#[derive(Clone, Copy, Debug)]
pub struct BackoffSettings {
    /// Bound of the first wait.
    pub base: Duration,
    /// Bound of every wait.
    pub max: Duration,
    /// How long a connection must have lived, and brought a PUBACK or a message, before the waits start again at `base`.
    pub stable: Duration,
}

/// Quality of service of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter.
    pub filter: String,
    /// Highest quality of service.
    pub qos: Qos,
    /// When messages come that the broker kept from before (Retain Handling).
    pub retained: Retained,
}

/// When a subscription brings the messages that the broker kept for its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// At each connect.
    EachConnect,
    /// When the session has not had the subscription yet.
    NewSession,
    /// Not at all.
    Never,
}

impl Settings {
    /// Settings with the defaults that docs/uplink.md states.
    pub fn new(endpoints: Vec<Endpoint>, client_id: impl Into<String>) -> Settings {
        Settings {
            endpoints,
            client_id: client_id.into(),
            tls: None,
            #[cfg(feature = "identity")]
            credential: None,
            keep_alive_s: 30,
            session_expiry_s: 24 * 3600,
            inflight_max: 1024,
            inflight_max_bytes: 8 << 20,
            packet_max_bytes: 1 << 20,
            connect_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(30),
            refused: Refused::SetAside,
            backoff: BackoffSettings {
                base: Duration::from_millis(500),
                max: Duration::from_mins(1),
                stable: Duration::from_secs(10),
            },
            streams: false,
            early_connect: false,
            // Common address translations forget after 30 s.
            quic_silence: Duration::from_secs(15),
            standby: StandbySettings::default(),
            subscriptions: Vec::new(),
            forgotten: Vec::new(),
            receive_max: 256,
            confirm_messages: false,
        }
    }

    /// Checks the bounds; reads no file.
    pub fn check(&self) -> Result<(), UplinkError> {
        let bad = |key, remedy| Err(UplinkError::Setting { key, remedy });
        if self.endpoints.is_empty() {
            return bad(
                "endpoints",
                "name at least one, such as mqtts://broker.example",
            );
        }
        if self.tls.is_none() && self.endpoints.iter().any(|e| e.scheme().is_secure()) {
            return bad(
                "tls",
                "mqtts:// and quic:// need ca_file, cert_file and key_file or key",
            );
        }
        if self.client_id.len() > 1024 || self.client_id.contains(['\0', '#', '+', '/']) {
            return bad("client_id", "use at most 1024 bytes and none of NUL # + /");
        }
        if self.keep_alive_s == 0 {
            return bad(
                "keep_alive_s",
                "use 1 to 65535; 0 would hide a dead connection",
            );
        }
        if self.inflight_max == 0 || self.inflight_max > 65_000 {
            return bad("inflight_max", "use 1 to 65000");
        }
        if self.inflight_max_bytes == 0 {
            return bad("inflight_max_bytes", "use at least the size of one message");
        }
        if self.packet_max_bytes < 1024 {
            return bad("packet_max_bytes", "use at least 1024");
        }
        if self.connect_timeout.is_zero() || self.ack_timeout.is_zero() {
            return bad("connect_timeout, ack_timeout", "use more than 0");
        }
        if self.quic_silence.is_zero() || self.quic_silence > QUIC_SILENCE_MAX {
            return bad("quic_silence", "use more than 0, and at most 5 min");
        }
        if self.backoff.base.is_zero() || self.backoff.max < self.backoff.base {
            return bad("backoff", "use 0 < base <= max");
        }
        if self.subscriptions.len() > 500 || self.forgotten.len() > 30 {
            return bad("subscriptions", "use at most 500, and 30 forgotten ones");
        }
        if self.receive_max == 0 {
            return bad("receive_max", "use at least 1");
        }
        for subscription in &self.subscriptions {
            let filter = &subscription.filter;
            if filter.is_empty() || filter.len() > 65_535 || filter.contains('\0') {
                return bad(
                    "subscriptions",
                    "a topic filter is 1 to 65535 bytes without NUL",
                );
            }
        }
        Ok(())
    }
}
