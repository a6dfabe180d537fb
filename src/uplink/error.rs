//! What can go wrong, by who has to act.

use std::io;

use super::codec::Malformed;
use super::endpoint::Endpoint;
use super::reason::{Pace, ReasonCode};
use super::standby::Outcome;

/// The uplink cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// A setting is out of its bounds.
    #[error("uplink setting {key}: {remedy}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What to write instead.
        remedy: &'static str,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Crypto(#[from] dunlin_crypto::CryptoError),
    /// The uplink's task has ended: it was drained.
    #[error("publish: the uplink has been drained")]
    Ended,
}

impl UplinkError {
    /// Whether trying again without a change by the operator can help.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Name resolution failed.
    #[error("resolve {host}: {source}")]
    Resolve {
        /// Host.
        host: String,
        /// Source.
        source: io::Error,
    },
    /// A host of `mqtt://` has an address that is not loopback.
    #[error("{0} does not resolve to a loopback address: clear text is not sent; use mqtts://")]
    NotLoopback(Endpoint),
    /// Nothing came back over UDP: the broker is away, or a firewall drops UDP.
    #[error(
        "no answer from {endpoint} over UDP within {timeout_ms} ms: the broker is away, or UDP is blocked on the way"
    )]
    NoUdp {
        /// Where.
        endpoint: Endpoint,
        /// The bound.
        timeout_ms: u64,
    },
    /// The QUIC connection failed for another reason than TLS.
    #[error("QUIC to {endpoint}: {why}")]
    Quic {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        why: String,
    },
    /// The clock is wrong, and the operator wants to wait for it.
    #[error("the clock is behind a time that is known to be past, and agent.clock is \"wait\"")]
    Clock,
    /// The socket could not be connected.
    #[error("connect {endpoint}: {source}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Source.
        source: io::Error,
    },
    /// The TLS handshake failed, or the broker refused our certificate right after it.
    #[error("TLS: {0}")]
    Tls(#[source] dunlin_crypto::HandshakeError),
    /// Connecting, the handshake or CONNACK took too long.
    #[error("no CONNACK within {timeout_ms} ms")]
    ConnectTimeout {
        /// The bound.
        timeout_ms: u64,
    },
    /// Reading or writing failed.
    #[error("{verb} the connection: {}", whole(.source))]
    Io {
        /// Read or write.
        verb: &'static str,
        /// Source.
        source: io::Error,
    },
    /// The broker closed the connection without a word.
    #[error("the broker closed the connection")]
    Closed,
    /// The broker refused CONNECT.
    #[error("the broker refused the connection: {reason}{}", said(.detail))]
    Refused {
        /// Reason code.
        reason: ReasonCode,
        /// The broker's words.
        detail: String,
    },
    /// The broker sent DISCONNECT.
    #[error("the broker disconnected us: {reason}{}", said(.detail))]
    Kicked {
        /// Reason code.
        reason: ReasonCode,
        /// The broker's words.
        detail: String,
        /// The server that it names instead. Reported and not followed: only configured endpoints are trusted.
        server_reference: Option<String>,
    },
    /// The broker answers nothing: the connection is half open.
    #[error("no answer to a ping within {timeout_ms} ms")]
    PingTimeout {
        /// The bound.
        timeout_ms: u64,
    },
    /// The broker lives but acknowledges nothing.
    #[error("no PUBACK for {timeout_ms} ms with messages in flight")]
    AckTimeout {
        /// The bound.
        timeout_ms: u64,
    },
    /// The broker cannot give what delivery needs.
    #[error("the broker does not offer QoS 1, without which nothing counts as delivered")]
    NoQos1,
    /// What the broker sent is not MQTT 5, or is out of place.
    #[error("the broker broke the protocol: {0}")]
    Protocol(#[from] Malformed),
    /// It works and is slower than the operator allows, and there is a standby.
    #[error("acknowledgements take {mean_ms} ms in the mean: trying the standby")]
    Slow {
        /// The mean.
        mean_ms: u64,
    },
    /// A preferred endpoint answers again.
    #[error("{0} answers again: going back to it")]
    WayBack(Endpoint),
    /// The agent has no certificate of its own yet.
    #[cfg(feature = "identity")]
    #[error("the agent has no certificate yet: `dunlin identity show` says why")]
    NoCertificate,
    /// A certificate that the agent got cannot be used.
    #[cfg(feature = "identity")]
    #[error("the agent's certificate cannot be used: {0}")]
    Certificate(dunlin_crypto::CryptoError),
    /// The agent has another certificate now.
    #[cfg(feature = "identity")]
    #[error("the agent has a new certificate: connecting with it")]
    NewCertificate,
    /// We closed it.
    #[error("drained")]
    Drained,
}

fn said(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail:?}")
    }
}

/// An error with its causes: what quinn puts first is only that the connection is lost.
fn whole(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

impl Lost {
    /// Whether connecting again by itself can help. The uplink tries in any case: an operator may repair the other side.
    pub fn is_retryable(&self) -> bool {
        self.pace() != Pace::Slow
    }

    /// What the end of a connection, or of an attempt, says about the endpoint. `proven`: it had carried messages for a
    /// while before.
    pub(super) fn outcome(&self, proven: bool) -> Outcome {
        match self {
            Lost::Slow { .. } => Outcome::Slow,
            Lost::WayBack(_) => Outcome::Proven,
            #[cfg(feature = "identity")]
            Lost::NewCertificate => Outcome::Proven,
            // A firewall that drops UDP, a certificate or a clock that is wrong: none of it passes by itself in seconds.
            Lost::NoUdp { .. } => Outcome::Blocked,
            Lost::Tls(error) if !error.is_retryable() => Outcome::Blocked,
            _ if proven => Outcome::Proven,
            _ => Outcome::Failed,
        }
    }

    /// Whether we left it for something better, so that there is nothing to wait for.
    pub(super) fn is_by_choice(&self) -> bool {
        match self {
            #[cfg(feature = "identity")]
            Lost::NewCertificate => true,
            Lost::WayBack(_) | Lost::Slow { .. } => true,
            _ => false,
        }
    }

    /// Whether the broker does not take who we are.
    #[cfg(feature = "identity")]
    pub(super) fn is_about_us(&self) -> bool {
        match self {
            Lost::Tls(dunlin_crypto::HandshakeError::PeerRefused(_)) | Lost::Certificate(_) => true,
            Lost::Refused { reason, .. } => matches!(
                *reason,
                ReasonCode::NOT_AUTHORIZED | ReasonCode::BAD_CREDENTIALS | ReasonCode::BANNED
            ),
            _ => false,
        }
    }

    /// How soon to connect again.
    pub fn pace(&self) -> Pace {
        match self {
            Lost::Kicked { reason, .. } if reason.pace() == Pace::Normal => Pace::Spread,
            Lost::Refused { reason, .. } | Lost::Kicked { reason, .. } => reason.pace(),
            Lost::NotLoopback(_) | Lost::NoQos1 => Pace::Slow,
            Lost::Tls(error) if !error.is_retryable() => Pace::Slow,
            Lost::Tls(_) | Lost::Protocol(_) => Pace::Spare,
            Lost::Closed | Lost::Io { .. } => Pace::Spread,
            _ => Pace::Normal,
        }
    }

    /// The reason code to send in our DISCONNECT, where the broker is at fault and can still be told.
    pub fn disconnect_code(&self) -> Option<ReasonCode> {
        match self {
            Lost::Protocol(malformed) => Some(malformed.reason()),
            Lost::NoQos1 => Some(ReasonCode::QOS_NOT_SUPPORTED),
            Lost::AckTimeout { .. } => Some(ReasonCode::UNSPECIFIED),
            Lost::Drained | Lost::Slow { .. } | Lost::WayBack(_) => Some(ReasonCode::SUCCESS),
            #[cfg(feature = "identity")]
            Lost::NewCertificate => Some(ReasonCode::SUCCESS),
            _ => None,
        }
    }
}
