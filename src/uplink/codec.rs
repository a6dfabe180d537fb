//! MQTT 5 packets (OASIS MQTT 5.0): the ones that a client sends at `QoS` 0 and 1, and the ones that it may be sent.
//!
//! Written for the bounds: a packet is taken only whole and only below the maximum that we announced, each length is
//! checked against what is there, and nothing is allocated by a length that the peer states.

mod read;
mod write;

pub use read::{ConnAck, Disconnect, Packet, PubAck, Publish, SubAck, decode, frame};
pub(crate) use write::{
    Connect, Heading, connect, disconnect, keeps_session, ping, puback, publish, subscribe,
    unsubscribe,
};

use super::reason::ReasonCode;

/// The peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    what: &'static str,
    reason: ReasonCode,
}

impl Malformed {
    /// The bytes do not parse.
    pub(crate) const fn packet(what: &'static str) -> Malformed {
        Malformed {
            what,
            reason: ReasonCode::MALFORMED_PACKET,
        }
    }

    /// They parse and are out of place.
    pub(crate) const fn protocol(what: &'static str) -> Malformed {
        Malformed {
            what,
            reason: ReasonCode::PROTOCOL_ERROR,
        }
    }

    /// Another fault that has its own code.
    pub(crate) const fn with(what: &'static str, reason: ReasonCode) -> Malformed {
        Malformed { what, reason }
    }

    /// The code to disconnect with.
    pub fn reason(&self) -> ReasonCode {
        self.reason
    }
}
