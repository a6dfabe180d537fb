//! Messages from a broker to the gateway: each is durable before its PUBACK, and is handed to its consumer at most once.
//!
//! An [`Inbox`] is a log of its own ([`crate::buffer`]). An uplink sink puts in what its session brings; a source takes
//! out. The log holds two kinds of frame (`frame.rs`): messages, and marks. A mark says, durably and *before* it is done,
//! that all messages up to a position are handed over now, and carries what later starts must know: the packet ids by
//! which a repeat is recognised, and the filters that the broker's session has.
//!
//! # Rules
//! 1. PUBACK after the message is synced. A crash before it: the broker sends again, with DUP and the same packet id.
//! 2. A message with DUP, a packet id and a content that are among the last [`KNOWN_MAX`] is a repeat: it is confirmed again
//!    and not stored. Lost PUBACKs are among the last ones, because PUBACKs go in order and the broker has at most
//!    Receive Maximum messages without one.
//! 3. A message is handed over after the mark that says so. A crash between: its consumer never sees it, and the next
//!    start says how many such there may be, in a gap record of cause `uncertain`.
//! 4. The next messages are handed over when the consumers have acknowledged the last ones, so that there are few of these.
//! 5. Where the inbox is full nothing is taken in and no PUBACK is sent: the broker stops at the Receive Maximum and keeps
//!    the rest.

pub mod filter;
mod frame;
mod handing;
mod inbox;
mod known;

#[cfg(test)]
mod tests;

pub use frame::Stored;
pub use handing::{Handed, Handing};
pub use inbox::Inbox;
pub use known::KNOWN_MAX;

use crate::record::Class;
use crate::uplink::Subscription;

/// Most subscriptions of one inbox.
pub const SUBSCRIPTIONS_MAX: usize = 30;
/// Longest topic filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 256;

/// What the operator chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the source, and of its stream.
    pub name: String,
    /// Name of the uplink sink whose session brings the messages.
    pub uplink: String,
    /// Class of its records.
    pub class: Class,
    /// What is asked of the broker.
    pub subscriptions: Vec<Subscription>,
    /// Messages that are durable and not with their consumers, above which nothing is taken in.
    pub messages_max: u64,
    /// Bound of the log on disk, in bytes. Messages take half of it at most.
    pub size_max_bytes: u64,
    /// Largest message taken from the broker, in bytes.
    pub message_bytes_max: u32,
    /// `QoS` 1 messages that the broker may send ahead of PUBACKs.
    pub receive_max: u16,
}
