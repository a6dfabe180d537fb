//! The safe layer over dunlin drivers.

/// `CLOCK_MONOTONIC` now, in nanoseconds: the clock that drivers stamp their samples with.
pub fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("CLOCK_MONOTONIC exists on every Linux");
    let seconds = u64::try_from(now.tv_sec()).expect("monotonic time is not negative");
    let nanos = u64::try_from(now.tv_nsec()).expect("monotonic time is not negative");
    seconds * 1_000_000_000 + nanos
}
