//! What a process looks like to everybody in it, so that two moments can be compared.

use std::collections::BTreeMap;
use std::ffi::CStr;

/// Signals that have an action, signal(7).
const SIGNALS: std::ops::Range<libc::c_int> = 1..32;

/// One moment: the name of each thing, and how it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moment(BTreeMap<String, String>);

impl Moment {
    pub(crate) fn now() -> Moment {
        let mut all = BTreeMap::new();
        for signal in SIGNALS {
            // SAFETY: zeroed bytes are a sigaction: integers, an empty set, a null pointer.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: asks only; the target is a local of the right type.
            unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
            let state = format!("{:#x} flags {:#x}", action.sa_sigaction, action.sa_flags);
            all.insert(format!("the action of signal {signal}"), state);
        }
        // SAFETY: zeroed bytes are an empty set.
        let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: asks only; the target is a local of the right type.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut mask) };
        let blocked: Vec<String> = SIGNALS
            .filter(|signal| {
                // SAFETY: a set that the call above filled in, and a signal that exists.
                unsafe { libc::sigismember(&raw const mask, *signal) == 1 }
            })
            .map(|signal| signal.to_string())
            .collect();
        all.insert("the signal mask".to_owned(), blocked.join(" "));
        // SAFETY: NULL asks; no other thread of the kit sets the locale.
        let locale = unsafe { libc::setlocale(libc::LC_ALL, std::ptr::null()) };
        if !locale.is_null() {
            // SAFETY: not NULL, NUL-terminated by the C library, copied before anybody sets the locale.
            let locale = unsafe { CStr::from_ptr(locale) };
            all.insert(
                "the locale".to_owned(),
                locale.to_string_lossy().into_owned(),
            );
        }
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let umask = status.lines().find(|line| line.starts_with("Umask"));
        all.insert("the umask".to_owned(), umask.unwrap_or_default().to_owned());
        let directory = std::env::current_dir().unwrap_or_default();
        all.insert("the directory".to_owned(), directory.display().to_string());
        for (key, value) in std::env::vars_os() {
            let name = format!("the variable {}", key.display());
            all.insert(name, value.display().to_string());
        }
        for fd in 0..3 {
            let target = std::fs::read_link(format!("/proc/self/fd/{fd}"));
            let target =
                target.map_or_else(|_| "closed".to_owned(), |path| path.display().to_string());
            all.insert(format!("descriptor {fd}"), target);
        }
        Moment(all)
    }

    /// The first thing that is otherwise now, and how.
    pub(crate) fn first_change(&self, now: &Moment) -> Option<String> {
        let names = self.0.keys().chain(now.0.keys());
        let none = "not there".to_owned();
        names
            .map(|name| {
                (
                    name,
                    self.0.get(name).unwrap_or(&none),
                    now.0.get(name).unwrap_or(&none),
                )
            })
            .find(|(_, before, after)| before != after)
            .map(|(name, before, after)| format!("{name} was {before:?} and is {after:?}"))
    }
}

fn entries(path: &str) -> usize {
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

/// How many threads this process has.
pub(crate) fn threads() -> usize {
    entries("/proc/self/task")
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Bytes that malloc handed out and nobody freed.
    pub(crate) heap_bytes: usize,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Holdings {
    pub(crate) fn now() -> Holdings {
        // Counted first: the listings themselves hold memory and a descriptor for a moment.
        let (descriptors, threads) = (entries("/proc/self/fd"), threads());
        // SAFETY: mallinfo2 has no preconditions.
        let heap = unsafe { libc::mallinfo2() };
        Holdings {
            heap_bytes: heap.uordblks + heap.hblkhd,
            descriptors,
            threads,
        }
    }
}
