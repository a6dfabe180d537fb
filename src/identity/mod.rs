//! Who the agent is: a key that it makes, certificates that it asks for by EST (RFC 7030), and renews before they end.
//!
//! `est` is the protocol, `enrol` one exchange with its files, `renew` the task that watches the clock. What of it is in
//! use and on trial is in `crate::credential`; docs/identity.md says how it behaves.

mod configure;
mod enrol;
mod est;
mod renew;

pub use configure::{Secret, Settings};
pub use enrol::{EnrolError, Way, enrol};
pub use est::{EstError, Server};
pub use renew::{Times, keep};
