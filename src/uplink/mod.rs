//! The uplink: MQTT 5 to a broker, at least once.
//!
//! Three layers. `session` is the protocol: no I/O and no clock, bytes and times go in, bytes and events come out.
//! `transport` is a byte stream to an endpoint. `client` joins them, one task an uplink, and connects again with
//! `backoff`. docs/uplink.md says how it behaves.

pub mod backoff;
pub mod codec;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod reason;
pub mod session;
pub mod settings;
pub mod standby;

mod client;
mod lane;
mod transport;

pub use client::{Drained, Events, Permit, Receipts, Uplink};
pub use endpoint::{Endpoint, EndpointError, Scheme};
pub use error::{Lost, UplinkError};
pub use event::{Event, Message, Receipt};
pub use lane::Lane;
pub use reason::ReasonCode;
pub use settings::{BackoffSettings, Qos, Refused, Retained, Settings, Subscription, TlsFiles};
pub use standby::StandbySettings;
