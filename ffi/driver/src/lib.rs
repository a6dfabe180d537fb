//! The safe layer over dunlin drivers: everything between Rust and a driver written in C.

mod backoff;
mod border;
mod buffer;
mod check;
mod child;
mod device;
mod elf;
mod error;
mod fpu;
mod host;
mod last_words;
mod launcher;
mod lease;
mod library;
mod link;
mod locate;
mod options;
mod outcome;
mod output;
mod pin;
mod process;
pub mod protocol;
mod reading;
mod regions;
mod sandbox;
mod spec;
mod supervise;
mod text;
mod usage;

pub use device::{Device, FRAME_BYTES_MAX, FRAMES_CAP_MAX, READ_CAP_MAX};
pub use error::{Error, errno_text};
pub use host::host_main;
pub use launcher::launch;
pub use library::{Description, Library};
pub use locate::{LocateError, available, locate};
pub use options::{OptionKind, OptionSpec, Problem, check_options};
pub use outcome::{Cause, HostError};
pub use process::Host;
pub use reading::{
    Batch, Channel, FrameSpan, Frames, Kind, Quality, Sample, Value, check_channels,
};
pub use sandbox::network_grants;
pub use spec::{Backoff, Grants, Limits, Spec};
pub use supervise::{Event, Outage, Started, Stopped, Supervisor, WriteError};

/// `CLOCK_MONOTONIC` now, in nanoseconds: the clock that drivers stamp their samples with.
pub fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("CLOCK_MONOTONIC exists on every Linux");
    let seconds = u64::try_from(now.tv_sec()).expect("monotonic time is not negative");
    let nanos = u64::try_from(now.tv_nsec()).expect("monotonic time is not negative");
    seconds * 1_000_000_000 + nanos
}
