//! The safe layer over dunlin drivers: everything between Rust and a driver written in C.

mod buffer;
mod device;
mod elf;
mod error;
mod library;
mod locate;
mod options;
pub mod protocol;
mod reading;
mod regions;
mod spec;
mod text;

pub use device::{Device, FRAME_BYTES_MAX, FRAMES_CAP_MAX, READ_CAP_MAX};
pub use error::{Error, errno_text};
pub use library::{Description, Library};
pub use locate::{LocateError, available, locate};
pub use options::{OptionKind, OptionSpec, Problem, check_options};
pub use spec::{Backoff, Grants, Limits, Spec};
pub use reading::{Batch, Channel, FrameSpan, Frames, Kind, Quality, Sample, Value, check_channels};

/// `CLOCK_MONOTONIC` now, in nanoseconds: the clock that drivers stamp their samples with.
pub fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("CLOCK_MONOTONIC exists on every Linux");
    let seconds = u64::try_from(now.tv_sec()).expect("monotonic time is not negative");
    let nanos = u64::try_from(now.tv_nsec()).expect("monotonic time is not negative");
    seconds * 1_000_000_000 + nanos
}
