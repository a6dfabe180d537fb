//! How much CPU a host uses, seen from outside, so that it cannot lie about it.

use std::time::Duration;

use tokio::time::Instant;

use crate::spec::Limits;

/// The CPU limit of one process.
#[derive(Debug)]
pub(crate) struct CpuWatch {
    pid: u32,
    percent: u32,
    window: Duration,
    since: Instant,
    ticks: u64,
}

impl CpuWatch {
    /// Watches a process; `None` where there is no limit.
    pub(crate) fn new(pid: u32, limits: &Limits) -> Option<CpuWatch> {
        Some(CpuWatch {
            pid,
            percent: limits.cpu_percent?,
            window: Duration::from_millis(u64::from(limits.cpu_window_ms.max(10))),
            since: Instant::now(),
            ticks: ticks_of(pid).unwrap_or(0),
        })
    }

    /// When `check` wants to be called.
    pub(crate) fn due(&self) -> Instant {
        self.since + self.window
    }

    /// Looks at the window that ends now; says how far over the limit the process was, where it was.
    pub(crate) fn check(&mut self) -> Option<String> {
        let now = Instant::now();
        let elapsed = now.duration_since(self.since);
        if elapsed < self.window {
            return None;
        }
        let ticks = ticks_of(self.pid)?;
        let used_ms = ticks.saturating_sub(self.ticks) as f64 * 1000.0 / ticks_per_second();
        let percent = used_ms * 100.0 / (elapsed.as_secs_f64() * 1000.0);
        self.since = now;
        self.ticks = ticks;
        (percent > f64::from(self.percent)).then(|| {
            let window_ms = elapsed.as_millis();
            format!(
                "{percent:.0} % of a CPU over {window_ms} ms, limit {} %",
                self.percent
            )
        })
    }
}

fn ticks_per_second() -> f64 {
    let asked = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    asked.ok().flatten().map_or(100.0, |ticks| ticks as f64)
}

/// User and system time of all threads of a process in clock ticks: fields 14 and 15 of `/proc/<pid>/stat`, proc(5).
fn ticks_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name in parentheses, may contain anything, so fields are counted behind the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}
