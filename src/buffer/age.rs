//! How old a log is, by clocks that nobody sets.
//!
//! The age goes on over restarts. Within one boot of the kernel the time that the agent was down is known. Over a reboot
//! only the time since the boot is known to have passed, and where the boot id cannot be read, none: the log is then
//! taken for younger than it is, never for older.

use super::format::Stamp;
use super::fs::Moment;

/// The age of a log.
#[derive(Debug)]
pub(super) struct AgeClock {
    base_ms: u64,
    /// Uptime at the base, in milliseconds.
    from: u64,
    latest_ms: u64,
}

impl AgeClock {
    /// Goes on from the newest stamp that a start found.
    pub(super) fn resume(found: Stamp, now: Moment) -> AgeClock {
        let passed_ms = match found.boot {
            0 => 0,
            boot if boot == now.boot => now.uptime_ms.saturating_sub(found.uptime_ms),
            _ if now.boot == 0 => 0,
            _ => now.uptime_ms,
        };
        let base_ms = found.age_ms.saturating_add(passed_ms);
        AgeClock {
            base_ms,
            from: now.uptime_ms,
            latest_ms: base_ms,
        }
    }

    /// The age as last asked for.
    pub(super) fn now_ms(&self) -> u64 {
        self.latest_ms
    }

    /// The age now. It never goes back.
    pub(super) fn stamp(&mut self, now: Moment) -> Stamp {
        let passed_ms = now.uptime_ms.saturating_sub(self.from);
        self.latest_ms = self.latest_ms.max(self.base_ms.saturating_add(passed_ms));
        Stamp {
            age_ms: self.latest_ms,
            boot: now.boot,
            uptime_ms: now.uptime_ms,
        }
    }
}
