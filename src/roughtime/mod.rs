//! The time, as servers sign it: Roughtime (RFC 10049), for gateways whose own clock is wrong.
//!
//! `proof` makes the request and holds an answer against it, without I/O; `agree` says what several servers agree on; `ask` is
//! the exchange, and the task that repeats it. What comes of it is the time that certificates are held against, in
//! `crate::clock`; the machine's clock is not set. docs/identity.md says how it behaves.

mod agree;
mod ask;
mod configure;
mod proof;

pub use ask::keep;
pub use configure::{Server, Settings};
pub use proof::{ProofError, Question, Stamp};
