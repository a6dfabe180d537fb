//! Logging: human lines on a terminal, JSON elsewhere, always on standard error.

use super::args::Logging;
use std::fmt;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Starts logging for the rest of the process. `terminal` says whether standard error is one.
pub(super) fn start(logging: Logging, terminal: bool) {
    let level = LevelFilter::from_level(logging.level.unwrap_or(tracing::Level::INFO));
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    // An error means that logging runs already, which is what was wanted.
    if logging.json.unwrap_or(!terminal) {
        let _ = builder.json().flatten_event(true).try_init();
    } else {
        let _ = builder
            .with_ansi(terminal && cfg!(feature = "tools"))
            .with_timer(Uptime)
            .try_init();
    }
}

/// Seconds since boot, as dmesg shows them: a gateway's wall clock may be wrong, this one only goes forward.
struct Uptime;

impl FormatTime for Uptime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let ms = crate::clock::monotonic_ns() / 1_000_000;
        write!(writer, "[{:>6}.{:03}]", ms / 1000, ms % 1000)
    }
}
