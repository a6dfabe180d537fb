//! Time: monotonic for order, wall for humans, boot id for what lies between starts.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Names one start of the agent, so that (boot id, stream, sequence) never repeats and sorts by age.
///
/// `number` counts starts and is durable before the first record of the start exists; `nonce` keeps ids unique where
/// the state directory, and with it the count, was lost. Written `17-3fa9c2d1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId {
    /// Starts of the agent on this state directory, from 1.
    pub number: u32,
    /// Random.
    pub nonce: u32,
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.number, self.nonce)
    }
}

/// `CLOCK_MONOTONIC` now, in nanoseconds: the clock that drivers stamp with.
pub fn monotonic_ns() -> u64 {
    dunlin_driver::monotonic_ns()
}

/// The wall clock now, in nanoseconds since 1970; negative before. May be wrong and may jump.
pub fn wall_ns() -> i64 {
    let signed = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}

/// When this program was made, in seconds since 1970: `SOURCE_DATE_EPOCH`, which scripts/build.sh sets to the time of the
/// commit, so that the same commit gives the same bytes. Without it the day on which this line was written.
const MADE_S: i64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => seconds(text.as_bytes()),
    None => 1_793_491_200,
};

const fn seconds(digits: &[u8]) -> i64 {
    let (mut at, mut value) = (0, 0);
    while at < digits.len() {
        assert!(digits[at].is_ascii_digit(), "SOURCE_DATE_EPOCH is a number");
        value = value * 10 + (digits[at] - b'0') as i64;
        at += 1;
    }
    value
}

/// When a certificate of a broker was last found good by a clock that was not known to be wrong, or servers signed the time
/// last, in seconds since 1970.
static SEEN_S: AtomicI64 = AtomicI64::new(0);
/// Whether nothing secure is connected while the clock is behind.
static WAITS: AtomicBool = AtomicBool::new(false);

/// What becomes of secure connections while the wall clock is behind what is known to be past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They are made, and certificates are held against the floor.
    Floor,
    /// They wait until the clock is right.
    Wait,
}

/// Sets the floor: the program was made, and `seen_s` was seen before. Says where the clock is behind it.
pub fn start(policy: Policy, seen_s: i64) {
    dunlin_crypto::raise_time_floor(MADE_S.max(seen_s));
    WAITS.store(policy == Policy::Wait, Ordering::Relaxed);
    if let Some(words) = complaint() {
        tracing::warn!("{words}");
    }
}

/// Servers signed that the moment `at` lay between two times, in seconds since 1970. Says where the clock is wrong.
pub fn set_signed(at: Instant, from_s: i64, to_s: i64) {
    let was_off = dunlin_crypto::trusted_time().off_s != 0;
    dunlin_crypto::set_signed_time(at, from_s, to_s);
    SEEN_S.store(dunlin_crypto::trusted_time().now_s, Ordering::Relaxed);
    if let Some(words) = complaint().filter(|_| !was_off) {
        tracing::warn!("{words}");
    }
}

/// The wall clock now, in seconds since 1970, but never before what is known to be past.
pub fn trusted_s() -> i64 {
    dunlin_crypto::trusted_time().now_s
}

/// What is wrong with the wall clock, where it is known to be wrong.
pub fn complaint() -> Option<String> {
    let time = dunlin_crypto::trusted_time();
    let side = if time.off_s < 0 { "behind" } else { "ahead of" };
    if time.off_s != 0 {
        return Some(format!(
            "the clock is {} s {side} a signed time: certificates are held against that time",
            time.off_s.abs()
        ));
    }
    let does = if WAITS.load(Ordering::Relaxed) {
        "nothing secure is connected until it is right"
    } else {
        "certificates are held against that time"
    };
    (time.behind_s > 0).then(|| {
        format!(
            "the clock is {} s behind a time that is known to be past: {does}",
            time.behind_s
        )
    })
}

/// Whether secure connections have to wait for the clock.
pub fn is_waited_for() -> bool {
    WAITS.load(Ordering::Relaxed) && dunlin_crypto::trusted_time().behind_s > 0
}

/// A broker's certificate was found good. Where the clock was behind, that says nothing about it.
pub fn confirm() {
    let time = dunlin_crypto::trusted_time();
    if time.behind_s == 0 {
        SEEN_S.store(time.now_s, Ordering::Relaxed);
    }
}

/// The last time that was confirmed, by a clock that may be right, or signed; 0 for none in this process.
pub fn seen_s() -> i64 {
    SEEN_S.load(Ordering::Relaxed)
}

/// How long to wait after so many failures: `base_s`, doubled with each, up to `max_s`; and of that from half to all, so that a
/// fleet that lost its server together does not come back together.
pub fn backoff(base_s: u64, max_s: u64, failures: u32) -> Duration {
    let doubled_s = base_s.saturating_mul(1 << failures.min(12)).min(max_s);
    let drawn = u64::from(dunlin_crypto::random_u32().unwrap_or(0)) % 512;
    Duration::from_millis(doubled_s * 1000 * (512 + drawn) / 1024)
}

/// Converts monotonic stamps to wall stamps by the offset at one instant. Taken anew for each batch, so that a jump of
/// the wall clock shows in the records after it and in no other.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    monotonic_ns: u64,
    wall_ns: i64,
}

impl Anchor {
    /// The offset between the clocks now.
    pub fn now() -> Anchor {
        Anchor {
            monotonic_ns: monotonic_ns(),
            wall_ns: wall_ns(),
        }
    }

    /// The wall time of a monotonic stamp.
    pub fn wall_ns(self, monotonic_ns: u64) -> i64 {
        let offset = i128::from(monotonic_ns) - i128::from(self.monotonic_ns);
        let wall = i128::from(self.wall_ns) + offset;
        i64::try_from(wall).unwrap_or(if wall < 0 { i64::MIN } else { i64::MAX })
    }
}
