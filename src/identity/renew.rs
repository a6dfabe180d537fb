//! The task that gets the first certificate, and each next one in time.

use super::configure::Settings;
use super::enrol::{EnrolError, Way, enrol};
use super::est::EstError;
use crate::clock;
use crate::credential::Credential;
use crate::stats::IdentityStats;
use dunlin_crypto::{CryptoError, Facts};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often files and clock are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Part of its life by which a certificate is renewed earlier, at most, so that a fleet that was enrolled in one hour is
/// not renewed in one: a twentieth.
const JITTER_PARTS: i64 = 20;
/// Bounds of the wait after a failure. It doubles from the lower one, or from a fiftieth of the certificate's life.
const WAIT_S: (u64, u64) = (60, 3600);

/// A certificate, and when it is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// What is in it.
    pub facts: Facts,
    /// When the next one is asked for, in seconds since 1970.
    pub renew_s: i64,
}

impl Times {
    /// Reads a certificate file.
    pub fn of(settings: &Settings, file: &Path) -> Result<Times, CryptoError> {
        dunlin_crypto::facts(file).map(|facts| Times::new(facts, settings.renew_percent))
    }

    /// The jitter is drawn from the certificate itself, so that everyone who asks is told the same time.
    fn new(facts: Facts, percent: u32) -> Times {
        let life_s = facts.to_s - facts.from_s;
        let drawn = crc32c::crc32c(format!("{}{}", facts.serial, facts.subject).as_bytes());
        let jitter_s = life_s / JITTER_PARTS * i64::from(drawn % 1024) / 1024;
        Times {
            renew_s: facts.from_s + life_s * i64::from(percent) / 100 - jitter_s,
            facts,
        }
    }
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Todo {
    Nothing,
    Enrol(Way),
}

fn todo(times: Option<&Times>, on_trial: bool, now_s: i64) -> Todo {
    match times {
        _ if on_trial => Todo::Nothing,
        None => Todo::Enrol(Way::Secret),
        // The server may still take it, and says so where it does not.
        Some(times) if times.renew_s <= now_s => Todo::Enrol(Way::Certificate),
        Some(_) => Todo::Nothing,
    }
}

/// Keeps a certificate in `credential` for as long as it is polled.
pub async fn keep(
    settings: Settings,
    credential: Arc<Credential>,
    stats: Arc<IdentityStats>,
) -> Infallible {
    let mut failures = 0;
    let mut not_before = Instant::now();
    let mut known = None;
    let mut set_aside = 0;
    loop {
        credential.look();
        let times = match Times::of(&settings, &settings.current()) {
            Ok(times) => Some(times),
            Err(CryptoError::Missing { .. }) => None,
            Err(error) => {
                stats.state.set(error.to_string());
                None
            }
        };
        let now_s = clock::trusted_s();
        let on_trial = credential.is_on_trial() && !is_dead(&settings, times.as_ref(), now_s);
        let here = (times.clone(), on_trial);
        if known.as_ref() != Some(&here) {
            if known.as_ref().is_none_or(|(before, _)| *before != times) {
                failures = 0;
                not_before = Instant::now();
            }
            known = Some(here);
            tell(&stats, times.as_ref(), on_trial);
        }
        let life_s = times
            .as_ref()
            .map_or(i64::MAX, |t| t.facts.to_s - t.facts.from_s);
        let life_s = u64::try_from(life_s).unwrap_or(0);
        if credential.set_aside_count() != set_aside {
            set_aside = credential.set_aside_count();
            not_before = Instant::now() + wait(&EnrolError::Busy, failures, life_s);
            failures += 1;
            stats.failures.add(1);
            stats
                .state
                .set("in use; a new one was not taken by the broker, and is set aside");
        }
        if let Todo::Enrol(way) = todo(times.as_ref(), on_trial, now_s)
            && Instant::now() >= not_before
        {
            let expired = times.as_ref().is_some_and(|times| times.facts.to_s < now_s);
            match attempt(&settings, way, expired).await {
                Ok(()) => {
                    tracing::info!(
                        "a new certificate is here: it is on trial until a broker takes it"
                    );
                }
                Err(error) => {
                    let wait = wait(&error, failures, life_s);
                    failures += 1;
                    not_before = Instant::now() + wait;
                    let retry_s = wait.as_secs();
                    let words = format!("no new certificate: {error}; {}", remedy(&error, expired));
                    tracing::warn!(retry_s, "{words}");
                    stats.state.set(words);
                    stats.failures.add(1);
                }
            }
        }
        sleep(LOOK).await;
    }
}

/// An expired certificate is shown once more, for servers that allow that (RFC 7030, section 3.3.2 leaves it to them);
/// then the one-time secret is tried, if a new one was laid down.
async fn attempt(settings: &Settings, way: Way, expired: bool) -> Result<(), EnrolError> {
    match enrol(settings, way).await {
        Err(EnrolError::Est(EstError::Denied { .. } | EstError::Tls { .. })) if expired => {
            enrol(settings, Way::Secret).await
        }
        outcome => outcome,
    }
}

fn remedy(error: &EnrolError, expired: bool) -> &'static str {
    match error {
        EnrolError::NoSecret | EnrolError::Crypto(CryptoError::Missing { role: "secret", .. }) => {
            "lay down a one-time secret (identity.secret_file), or run `dunlin identity request` with one"
        }
        EnrolError::Est(EstError::Denied { .. }) => {
            "get a new one-time secret from the EST server, lay it down as identity.secret_file"
        }
        _ if expired => "the certificate has expired; records are kept meanwhile",
        _ => "it is tried again",
    }
}

fn wait(error: &EnrolError, failures: u32, life_s: u64) -> Duration {
    if let EnrolError::Est(EstError::Pending { retry_s, .. }) = error {
        return Duration::from_secs((*retry_s).clamp(1, WAIT_S.1));
    }
    clock::backoff((life_s / 50).clamp(1, WAIT_S.0), WAIT_S.1, failures)
}

/// Whether the one on trial is the only one, and has come to its end untaken.
fn is_dead(settings: &Settings, times: Option<&Times>, now_s: i64) -> bool {
    let next = Credential::next(&settings.dir);
    times.is_none() && Times::of(settings, &next).is_ok_and(|next| next.facts.to_s < now_s)
}

fn tell(stats: &IdentityStats, times: Option<&Times>, on_trial: bool) {
    stats.state.set(match (times, on_trial) {
        (None, false) => "no certificate yet",
        (None, true) => "the first certificate is here, and waits for a broker to take it",
        (Some(_), false) => "in use",
        (Some(_), true) => "in use; a new one waits for a broker to take it",
    });
    let Some(times) = times else {
        return;
    };
    stats.subject.set(times.facts.subject.clone());
    stats
        .expires
        .set(dunlin_crypto::time_text(times.facts.to_s));
    stats.renews.set(dunlin_crypto::time_text(times.renew_s));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(serial: &str, percent: u32) -> Times {
        let facts = Facts {
            subject: "CN=a".into(),
            issuer: "CN=ca".into(),
            serial: serial.into(),
            from_s: 1000,
            to_s: 1000 + 7 * 86_400,
        };
        Times::new(facts, percent)
    }

    #[test]
    fn a_week_is_renewed_at_two_thirds_and_a_fleet_is_spread() {
        let life_s = 7 * 86_400;
        let all: std::collections::BTreeSet<i64> = (0..100)
            .map(|serial| times(&serial.to_string(), 67).renew_s - 1000)
            .collect();
        let (first, last) = (*all.first().unwrap(), *all.last().unwrap());
        assert!(
            first >= life_s * 62 / 100 && last <= life_s * 67 / 100,
            "{all:?}"
        );
        assert!(last - first > life_s / 30, "not spread: {all:?}");
        assert_eq!(times("7", 67), times("7", 67));
    }

    #[test]
    fn what_is_due() {
        let week = times("1", 67);
        assert_eq!(todo(None, false, 0), Todo::Enrol(Way::Secret));
        assert_eq!(todo(None, true, 0), Todo::Nothing);
        assert_eq!(todo(Some(&week), false, week.renew_s - 1), Todo::Nothing);
        let due = Todo::Enrol(Way::Certificate);
        assert_eq!(todo(Some(&week), false, week.renew_s), due);
        assert_eq!(todo(Some(&week), true, week.renew_s), Todo::Nothing);
        assert_eq!(todo(Some(&week), false, i64::MAX), due, "expired");
    }

    #[test]
    fn waits_double_to_an_hour_and_are_shorter_for_short_lives() {
        let error = EnrolError::NoSecret;
        for (failures, life_s, least, most) in [
            (0, u64::MAX, 30, 60),
            (3, u64::MAX, 240, 480),
            (40, u64::MAX, 1800, 3600),
            (0, 10, 0, 1),
        ] {
            let waited = wait(&error, failures, life_s).as_secs_f64();
            assert!(
                (f64::from(least)..=f64::from(most)).contains(&waited),
                "{waited}"
            );
        }
    }
}
