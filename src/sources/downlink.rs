//! `downlink`: messages from a broker, each handed over at most once.
//!
//! The session is that of an uplink sink; between it and this source lies an inbox ([`crate::downlink`]).

use crate::buffer;
use crate::clock;
use crate::config::Section;
use crate::downlink::filter;
use crate::downlink::{Handed, Handing, Inbox, SUBSCRIPTIONS_MAX, Settings, Stored};
use crate::pipeline::{Ack, Batch, Ledger, Outlet};
use crate::record::{Body, Cause, Channel, Class, Kind, Quality, Record, Reply};
use crate::stats::SourceStats;
use crate::uplink::{Qos, Retained, Subscription};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::watch;

/// Reads the table of a source. `None` where a key that it cannot do without is wrong; all problems are reported.
pub fn configure(name: &str, section: &mut Section<'_>, agent: &str) -> Option<Settings> {
    let uplink = section.required_text(
        "uplink",
        "name the uplink sink whose session brings the messages, such as uplink = \"cloud\"",
    );
    let classes = Class::ALL.map(|class| (class.name(), class));
    let class = section.choice("class", &classes, Class::Normal);
    let subscriptions = subscriptions(section, agent);
    let messages_max = section.integer("waiting_messages_max", 1..=1_000_000, 1024);
    let size_mb = section.integer("inbox_mb", 4..=4096, 16);
    let message_kb = section.integer("message_kb_max", 1..=128, 128);
    let receive_max = section.integer("receive_max", 1..=256, 32);
    Some(Settings {
        name: name.to_owned(),
        uplink: uplink?,
        class,
        subscriptions: subscriptions?,
        messages_max,
        size_max_bytes: size_mb << 20,
        message_bytes_max: u32::try_from(message_kb << 10).unwrap_or(u32::MAX),
        receive_max: u16::try_from(receive_max).unwrap_or(1),
    })
}

fn subscriptions(section: &mut Section<'_>, agent: &str) -> Option<Vec<Subscription>> {
    const REMEDY: &str = "write subscriptions = [{ filter = \"commands/{agent}/#\", qos = 1 }]";
    let tables = section.tables("subscriptions");
    if tables.is_empty() {
        section.problem("subscriptions", "names no topic filter", REMEDY);
        return None;
    }
    if tables.len() > SUBSCRIPTIONS_MAX {
        let many = format!("has {} filters", tables.len());
        let remedy = format!("use at most {SUBSCRIPTIONS_MAX}; + and # take in many topics");
        section.problem("subscriptions", many, remedy);
        return None;
    }
    let mut seen = HashSet::new();
    // All of them, so that each wrong one is reported.
    let read: Vec<_> = tables
        .into_iter()
        .map(|mut table| {
            let qos = table.integer("qos", 0..=1, 1);
            let retained = table.flag("retained", false);
            let filter = table
                .required_text("filter", REMEDY)?
                .replace("{agent}", agent);
            if let Some((what, remedy)) = filter::fault(&filter) {
                table.problem(
                    "filter",
                    format_args!("is {filter:?}, which {what}"),
                    remedy,
                );
                return None;
            }
            if !seen.insert(filter.clone()) {
                let what = format!("{filter:?} is there twice");
                table.problem("filter", what, "name each filter once");
                return None;
            }
            Some(Subscription {
                filter,
                qos: if qos == 0 {
                    Qos::AtMostOnce
                } else {
                    Qos::AtLeastOnce
                },
                retained: if retained {
                    Retained::NewSession
                } else {
                    Retained::Never
                },
            })
        })
        .collect();
    read.into_iter().collect()
}

/// A downlink source that is ready to run.
pub struct DownlinkSource {
    stream: Arc<str>,
    class: Class,
    inbox: Arc<Inbox>,
    stats: Arc<SourceStats>,
    ledger: Arc<Ledger>,
}

impl DownlinkSource {
    /// A source that begins where the inbox says.
    pub fn new(
        settings: &Settings,
        inbox: Arc<Inbox>,
        stats: Arc<SourceStats>,
        ledger: Arc<Ledger>,
    ) -> DownlinkSource {
        stats.state.set("starting");
        DownlinkSource {
            stream: settings.name.as_str().into(),
            class: settings.class,
            inbox,
            stats,
            ledger,
        }
    }

    /// Hands messages over until `stop` turns true. A pipeline that takes nothing holds this up: that is the back-pressure,
    /// which goes on to the broker.
    pub async fn run(self, outlet: Outlet, stop: watch::Receiver<bool>) {
        match self.hand_over(&outlet, stop).await {
            Ok(()) => self.stats.state.set("stopped"),
            Err(error) => {
                tracing::error!(source = %self.stream, "the inbox ended: {error}");
                self.stats.state.set(format!("ended: {error}"));
            }
        }
    }

    async fn hand_over(
        &self,
        outlet: &Outlet,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), buffer::Error> {
        let mut handing = Handing::begin(Arc::clone(&self.inbox)).await?;
        self.stats.state.set("running");
        let uncertain = handing.uncertain();
        if uncertain > 0 {
            let detail = "handed over before the last end, perhaps in vain";
            let gap = gap(Cause::Uncertain, uncertain, detail);
            self.send(outlet, vec![gap]).await;
            // Forgotten once it is told: where the end comes in between it is told again, which is better than never.
            self.ledger.idle().await;
            handing.quiet().await?;
        }
        loop {
            let chunk = tokio::select! {
                biased;
                // The sender lives as long as the agent; its end means stop as well.
                _ = stop.wait_for(|stop| *stop) => break,
                chunk = handing.read() => chunk?,
            };
            let handed = handing.take(chunk).await?;
            self.stats.readings.add(handed.messages.len() as u64);
            self.send(outlet, records(&handed)).await;
            // One group at a time: what a crash makes uncertain stays small.
            self.ledger.idle().await;
            handing.finished(&handed);
        }
        handing.quiet().await
    }

    async fn send(&self, outlet: &Outlet, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let ack = Ack::new(&self.ledger, records.len() as u64);
        outlet
            .send(Batch {
                stream: Arc::clone(&self.stream),
                class: self.class,
                records: Arc::new(records),
                ack,
            })
            .await;
    }
}

fn records(handed: &Handed) -> Vec<Record> {
    let mut records = Vec::with_capacity(handed.messages.len() + 1);
    if handed.damaged > 0 {
        let detail = "messages of the inbox, or marks in it";
        records.push(gap(Cause::Corruption, handed.damaged, detail));
    }
    records.extend(handed.messages.iter().map(record));
    records
}

/// A frame whose channel is the topic.
fn record(message: &Stored) -> Record {
    let channel = Channel {
        name: message.topic.clone(),
        unit: "1".to_owned(),
        kind: Kind::Frame,
        calibration: None,
    };
    let reply = message.response_topic.as_ref().map(|topic| Reply {
        topic: topic.clone(),
        correlation: message.correlation.as_deref().map(<[u8]>::to_vec),
    });
    Record {
        monotonic_ns: clock::monotonic_ns(),
        wall_ns: message.wall_ns,
        reply: reply.map(Arc::new),
        body: Body::Frame {
            channel: Arc::new(channel),
            // A copy: the payload is a part of what was read from the inbox at once.
            bytes: Bytes::copy_from_slice(&message.payload),
            quality: Quality::Good,
        },
    }
}

fn gap(cause: Cause, lost: u64, detail: &str) -> Record {
    let now = (clock::monotonic_ns(), clock::wall_ns());
    Record::missing(now, cause, Some(lost), detail.to_owned())
}
