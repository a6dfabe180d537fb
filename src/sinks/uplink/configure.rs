//! The keys of a `type = "uplink"` sink.

use super::super::Own;
use super::endpoints::{breaker, endpoints, shows_another, tls, usable};
#[cfg(feature = "downlink")]
use super::replies::Replies;
use crate::buffer::{Commit, Options, Policy};
use crate::config::Section;
use crate::payload::Encoding;
use crate::uplink::{self, Scheme};
use std::time::Duration;

/// Topic where none is configured.
const TOPIC: &str = "dunlin/{agent}/{stream}";

/// An uplink sink as configured.
#[derive(Debug)]
pub(super) struct Settings {
    /// Name of the sink.
    pub name: String,
    /// Whether the agent's own certificate is shown.
    #[cfg(feature = "identity")]
    pub own: bool,
    /// Session and transports.
    pub uplink: uplink::Settings,
    /// Topic with placeholders.
    pub topic: String,
    /// Payload encoding.
    pub encoding: Encoding,
    /// Most records in one message.
    pub records_per_message_max: usize,
    /// The store.
    pub buffer: Buffer,
    /// Which answers are published.
    #[cfg(feature = "downlink")]
    pub replies: Option<Replies>,
}

/// The store of a sink as configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    /// Bound of the store on disk, in bytes.
    pub size_max_bytes: u64,
    /// Size of a segment, in bytes.
    pub segment_bytes: u64,
    /// When it is full.
    pub policy: Policy,
    /// Group commit.
    pub commit: Commit,
    /// Free space that is left to others, in bytes.
    pub free_bytes_min: u64,
    /// Whether messages are compressed.
    pub compress: bool,
    /// Age at which messages of a class are dropped, in milliseconds.
    pub ttl_ms: [u64; 3],
    /// Bytes of pages that may be written in a day.
    pub wear_bytes_per_day: u64,
    /// How long a group waits while that is short, in milliseconds.
    pub wear_latency_ms_max: u64,
}

impl Buffer {
    /// Options of a store; the gap messages are the sink's to add.
    pub(super) fn options(self) -> Options {
        Options {
            size_max_bytes: self.size_max_bytes,
            segment_bytes: self.segment_bytes,
            policy: self.policy,
            commit: self.commit,
            free_bytes_min: self.free_bytes_min,
            compress: self.compress,
            ttl_ms: self.ttl_ms,
            wear_bytes_per_day: self.wear_bytes_per_day,
            wear_latency_ms_max: self.wear_latency_ms_max,
            ..Options::default()
        }
    }

    fn configure(sink: &mut Section<'_>) -> Buffer {
        const MIB: u64 = 1 << 20;
        let mut section = sink.section("buffer");
        let section = section.as_mut();
        let Some(section) = section else {
            return Buffer {
                size_max_bytes: 256 * MIB,
                segment_bytes: 4 * MIB,
                policy: Policy::DropOldest,
                commit: Commit::default(),
                free_bytes_min: 64 * MIB,
                compress: false,
                ttl_ms: [0; 3],
                wear_bytes_per_day: 0,
                wear_latency_ms_max: 1000,
            };
        };
        let segment_mb = section.integer("segment_mb", 1..=256, 4);
        let size_mb = section.integer("size_mb", 8..=1 << 20, 256);
        if size_mb < 8 * segment_mb {
            section.problem(
                "size_mb",
                format_args!("is {size_mb}, less than eight segments of {segment_mb} MiB"),
                "make it larger, or segment_mb smaller",
            );
        }
        let policies = [
            ("drop_oldest", Policy::DropOldest),
            ("block", Policy::Block),
        ];
        let commit = Commit::default();
        let as_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Buffer {
            size_max_bytes: size_mb * MIB,
            segment_bytes: segment_mb * MIB,
            policy: section.choice("policy", &policies, Policy::DropOldest),
            commit: Commit {
                records_max: as_usize(section.integer(
                    "commit_messages_max",
                    1..=65_536,
                    commit.records_max as u64,
                )),
                bytes_max: as_usize(
                    1024 * section.integer(
                        "commit_kb_max",
                        4..=65_536,
                        commit.bytes_max as u64 / 1024,
                    ),
                ),
                latency_ms_max: section.integer("commit_ms_max", 0..=10_000, commit.latency_ms_max),
            },
            free_bytes_min: MIB * section.integer("leave_free_mb", 0..=1 << 20, 64),
            compress: section.flag("compress", false),
            ttl_ms: ["ttl_bulk_s", "ttl_normal_s", "ttl_critical_s"]
                .map(|key| 1000 * section.integer(key, 0..=u64::from(u32::MAX), 0)),
            wear_bytes_per_day: 1_000_000
                * section.integer("wear_budget_mb_per_day", 0..=1 << 30, 0),
            wear_latency_ms_max: section.integer("wear_commit_ms_max", 0..=10_000, 1000),
        }
    }
}

/// A whole number that fits 16 bits.
fn bounded_u16(section: &mut Section<'_>, key: &'static str, min: u16, default: u16) -> u16 {
    let number = section.integer(
        key,
        u64::from(min)..=u64::from(u16::MAX),
        u64::from(default),
    );
    u16::try_from(number).unwrap_or(default)
}

impl Settings {
    /// Reads the table of a sink. `None` where a key that it cannot do without is wrong; all problems are reported.
    pub(super) fn configure(
        name: &str,
        section: &mut Section<'_>,
        own: Option<&Own>,
    ) -> Option<Settings> {
        let own = own.filter(|_| !shows_another(section));
        let endpoints = endpoints(section);
        let tls = tls(section, endpoints.as_deref(), own);
        let client_id = section.text("client_id").unwrap_or_default();
        let topic = topic(section);
        let encoding = section.choice(
            "payload",
            &[("json", Encoding::Json), ("cbor", Encoding::Cbor)],
            Encoding::Json,
        );
        let records = section.integer("records_per_message_max", 1..=4096, 256);
        let mut uplink = uplink::Settings::new(Vec::new(), client_id);
        uplink.tls = tls;
        uplink.keep_alive_s = bounded_u16(section, "keep_alive_s", 5, uplink.keep_alive_s);
        uplink.inflight_max = bounded_u16(section, "inflight_max", 1, uplink.inflight_max);
        let expiry = section.integer(
            "session_expiry_s",
            0..=u64::from(u32::MAX),
            uplink.session_expiry_s.into(),
        );
        uplink.session_expiry_s = u32::try_from(expiry).unwrap_or(u32::MAX);
        let mut wait = |key, default: Duration| {
            let default_ms = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
            Duration::from_millis(section.integer(key, 10..=3_600_000, default_ms))
        };
        uplink.connect_timeout = wait("connect_timeout_ms", uplink.connect_timeout);
        uplink.ack_timeout = wait("ack_timeout_ms", uplink.ack_timeout);
        uplink.backoff.base = wait("backoff_base_ms", uplink.backoff.base);
        uplink.backoff.max = wait("backoff_max_ms", uplink.backoff.max);
        uplink.backoff.stable = wait("backoff_stable_ms", uplink.backoff.stable);
        uplink.standby = breaker(section);
        uplink.streams = section.choice(
            "quic_streams",
            &[("one", false), ("by_class", true)],
            uplink.streams,
        );
        uplink.early_connect = section.flag("early_connect", uplink.early_connect);
        uplink.quic_silence = quic_silence(section, uplink.quic_silence);
        let policies = [
            ("set_aside", uplink::Refused::SetAside),
            ("wait", uplink::Refused::Wait),
        ];
        uplink.refused = section.choice("refused", &policies, uplink::Refused::SetAside);
        let buffer = Buffer::configure(section);
        #[cfg(feature = "downlink")]
        let replies = Replies::configure(section);
        if uplink.backoff.max < uplink.backoff.base {
            section.problem(
                "backoff_max_ms",
                format_args!(
                    "is {}, below backoff_base_ms = {}",
                    uplink.backoff.max.as_millis(),
                    uplink.backoff.base.as_millis()
                ),
                "give both, the longest wait at least as long as the first",
            );
            return None;
        }
        uplink.endpoints = endpoints?;
        quic_options(section, &uplink)?;
        let secure = uplink.endpoints.iter().any(|e| e.scheme().is_secure());
        if secure && uplink.tls.is_none() {
            // The missing keys are reported.
            return None;
        }
        if let Err(error) = uplink.check() {
            section.problem("", error, "change this sink accordingly");
            return None;
        }
        if let Some(files) = &uplink.tls
            && own.is_none()
            && !usable(files, section)
        {
            return None;
        }
        Some(Settings {
            name: name.to_owned(),
            #[cfg(feature = "identity")]
            own: own.is_some(),
            uplink,
            topic,
            encoding,
            records_per_message_max: usize::try_from(records).unwrap_or(1),
            buffer,
            #[cfg(feature = "downlink")]
            replies,
        })
    }
}

fn quic_silence(section: &mut Section<'_>, default: Duration) -> Duration {
    let default_ms = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(section.integer("quic_silence_ms", 1_000..=300_000, default_ms))
}

/// Refuses options of QUIC that cannot do anything.
fn quic_options(section: &mut Section<'_>, uplink: &uplink::Settings) -> Option<()> {
    let has_quic = uplink.endpoints.iter().any(|e| e.scheme() == Scheme::Quic);
    let silence_ms = uplink.quic_silence.as_millis().to_string();
    let has_silence = section.has("quic_silence_ms");
    for (key, is_on, value) in [
        ("quic_streams", uplink.streams, "\"by_class\""),
        ("early_connect", uplink.early_connect, "true"),
        ("quic_silence_ms", has_silence, &silence_ms),
    ] {
        if is_on && !has_quic {
            section.problem(
                key,
                format_args!("is {value}, and no endpoint is quic://"),
                format_args!("name a quic:// endpoint, or leave {key} out"),
            );
            return None;
        }
    }
    if uplink.streams && uplink.inflight_max < 8 {
        section.problem(
            "inflight_max",
            format_args!("is {}, too few to share among classes", uplink.inflight_max),
            "choose 8 or more, or leave quic_streams out",
        );
        return None;
    }
    Some(())
}

fn topic(section: &mut Section<'_>) -> String {
    let Some(topic) = section.text("topic") else {
        return TOPIC.to_owned();
    };
    let plain = topic.replace("{agent}", "").replace("{stream}", "");
    if plain.contains(['#', '+', '\0']) {
        section.problem(
            "topic",
            format_args!("is {topic:?}, which has one of # + NUL: those are for filters"),
            "leave them out",
        );
    } else if plain.contains(['{', '}']) || !topic.contains("{stream}") {
        section.problem(
            "topic",
            format_args!("is {topic:?}"),
            "use the placeholders {agent} and {stream}; {stream} must be there, so that streams have topics of their own",
        );
    } else if topic.len() > 1024 {
        section.problem("topic", "is longer than 1024 bytes", "shorten it");
    }
    topic
}
