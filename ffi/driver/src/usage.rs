//! How much CPU and how many threads a host uses, seen from outside, so that it cannot lie about it.

use std::time::Duration;

use tokio::time::Instant;

use crate::spec::Limits;

/// How often threads are counted. No resource limit counts them per process: `RLIMIT_NPROC` counts those of the user,
/// the agent's included.
const THREADS_PERIOD: Duration = Duration::from_millis(500);

/// The limits of one process that are watched from outside.
#[derive(Debug)]
pub(crate) struct UsageWatch {
    pid: u32,
    cpu: Option<CpuWindow>,
    threads_max: Option<u32>,
    due: Instant,
}

#[derive(Debug)]
struct CpuWindow {
    percent: u32,
    window: Duration,
    since: Instant,
    ticks: u64,
}

/// A limit that was exceeded.
#[derive(Debug)]
pub(crate) struct Excess {
    /// `cpu` or `threads`.
    pub(crate) what: &'static str,
    /// For a human.
    pub(crate) detail: String,
}

impl UsageWatch {
    /// Watches a process; `None` where there is no limit to watch.
    pub(crate) fn new(pid: u32, limits: &Limits) -> Option<UsageWatch> {
        if limits.cpu_percent.is_none() && limits.threads.is_none() {
            return None;
        }
        let now = Instant::now();
        let cpu = limits.cpu_percent.map(|percent| CpuWindow {
            percent,
            window: Duration::from_millis(u64::from(limits.cpu_window_ms.max(10))),
            since: now,
            ticks: Stat::of(pid).map_or(0, |stat| stat.ticks),
        });
        let mut watch = UsageWatch {
            pid,
            cpu,
            threads_max: limits.threads,
            due: now,
        };
        watch.plan(now);
        Some(watch)
    }

    /// When `check` wants to be called.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    fn plan(&mut self, now: Instant) {
        let cpu = self.cpu.as_ref().map(|cpu| cpu.since + cpu.window);
        let threads = self.threads_max.map(|_| now + THREADS_PERIOD);
        self.due = cpu.into_iter().chain(threads).min().unwrap_or(now);
    }

    /// Looks at the process where that is due, which is cheap to ask before; says how far over which limit it is.
    pub(crate) fn check(&mut self) -> Option<Excess> {
        let now = Instant::now();
        if now < self.due {
            return None;
        }
        let stat = Stat::of(self.pid);
        let cpu = self.cpu.as_mut();
        let excess = stat.and_then(|stat| {
            let cpu = cpu.and_then(|cpu| cpu.check(now, stat.ticks));
            cpu.or_else(|| {
                let most = self.threads_max.filter(|most| stat.threads > *most)?;
                Some(Excess {
                    what: "threads",
                    detail: format!("{} threads, limit {most}", stat.threads),
                })
            })
        });
        self.plan(now);
        excess
    }
}

impl CpuWindow {
    fn check(&mut self, now: Instant, ticks: u64) -> Option<Excess> {
        let elapsed = now.duration_since(self.since);
        if elapsed < self.window {
            return None;
        }
        let used_ms = ticks.saturating_sub(self.ticks) as f64 * 1000.0 / ticks_per_second();
        let percent = used_ms * 100.0 / (elapsed.as_secs_f64() * 1000.0);
        self.since = now;
        self.ticks = ticks;
        (percent > f64::from(self.percent)).then(|| Excess {
            what: "cpu",
            detail: format!(
                "{percent:.0} % of a CPU over {} ms, limit {} %",
                elapsed.as_millis(),
                self.percent
            ),
        })
    }
}

fn ticks_per_second() -> f64 {
    let asked = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    asked.ok().flatten().map_or(100.0, |ticks| ticks as f64)
}

/// What `/proc/<pid>/stat` says, proc(5).
#[derive(Clone, Copy, Debug)]
struct Stat {
    /// User and system time of all threads in clock ticks: fields 14 and 15.
    ticks: u64,
    /// Threads: field 20.
    threads: u32,
}

impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name in parentheses, may contain anything, so fields are counted behind the last one.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(4)?.parse().ok()?;
        Some(Stat {
            ticks: user + system,
            threads,
        })
    }
}
