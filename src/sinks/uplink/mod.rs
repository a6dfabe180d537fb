//! `uplink`: keeps messages durably and delivers them over MQTT 5.
//!
//! Two halves that share a store. `stage` takes batches from the pipeline, numbers their records, makes messages of
//! them, appends those to the store and acknowledges; `deliver` reads the store, sends, and releases what the broker
//! has confirmed. Neither waits for the other: sources see the speed of the disk, not of the network.

mod configure;
mod deliver;
mod endpoints;
mod gaps;
mod ledger;
pub(super) mod message;
mod quarantine;
#[cfg(feature = "downlink")]
mod replies;
mod stage;

use super::{Context, Follow, Own, SinkError};
use crate::buffer::{self, Store};
use crate::config::Section;
use crate::pipeline::Inlet;
use configure::Settings;
use deliver::{DeliverError, Delivery, Parts};
use gaps::GapStream;
use quarantine::Quarantine;
use stage::{Form, Stage};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// An uplink sink.
#[derive(Debug)]
pub(super) struct Uplink {
    settings: Settings,
    opened: Option<Opened>,
}

/// What an uplink sink has once it is open.
struct Opened {
    context: Context,
    form: Form,
    store: Arc<Store>,
    gaps: Arc<GapStream>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Where the store of an uplink sink lies in the sink's state directory.
pub(super) fn buffer_dir(state_dir: &Path) -> std::path::PathBuf {
    state_dir.join("buffer")
}

impl Uplink {
    pub(super) fn configure(
        name: &str,
        section: &mut Section<'_>,
        own: Option<&Own>,
    ) -> Option<Uplink> {
        Settings::configure(name, section, own).map(|settings| Uplink {
            settings,
            opened: None,
        })
    }

    pub(super) fn follow(&self) -> Follow<'_> {
        Follow {
            topic: &self.settings.topic,
            settings: &self.settings.uplink,
            #[cfg(feature = "downlink")]
            replies: self
                .settings
                .replies
                .as_ref()
                .map_or(&[], |replies| &replies.topics),
        }
    }

    pub(super) fn open(&mut self, context: &Context) -> Result<(), SinkError> {
        let form = Form {
            agent: Arc::clone(&context.agent),
            boot: context.boot,
            topic: self.settings.topic.clone(),
            encoding: self.settings.encoding,
            records_per_message_max: self.settings.records_per_message_max,
        };
        let gaps = Arc::new(GapStream::new(form.clone(), Arc::clone(&context.stats)));
        let mut options = self.settings.buffer.options();
        let on_drop = Arc::clone(&gaps);
        options.on_drop = Some(Arc::new(move |dropped| Some(on_drop.dropped(dropped))));
        let dir = buffer_dir(&context.state_dir);
        let (store, recovery) = Store::open(Arc::new(buffer::fs::Disk), &dir, options)
            .map_err(|source| self.refused(source))?;
        for log in &recovery.logs {
            let stored = log.pending.end - log.pending.start;
            if stored > 0 || log.torn_bytes > 0 {
                tracing::info!(
                    sink = self.settings.name,
                    class = log.class.name(),
                    messages = stored,
                    torn_bytes = log.torn_bytes,
                    "recovered what was stored"
                );
            }
        }
        self.opened = Some(Opened {
            context: context.clone(),
            form,
            store: Arc::new(store),
            gaps,
        });
        Ok(())
    }

    fn refused(&self, source: buffer::Error) -> SinkError {
        SinkError::Buffer {
            sink: self.settings.name.clone(),
            source,
        }
    }

    pub(super) async fn run(mut self, inlet: Inlet) -> Result<(), SinkError> {
        let Opened {
            context,
            form,
            store,
            gaps,
        } = self
            .opened
            .take()
            .expect("the agent opens a sink before it runs it");
        let failed = |source| SinkError::Uplink {
            sink: self.settings.name.clone(),
            source,
        };
        let mut settings = self.settings.uplink.clone();
        if settings.client_id.is_empty() {
            // Two sinks of one agent must not take each other's session over.
            settings.client_id = format!("{}-{}", context.agent, self.settings.name);
        }
        #[cfg(feature = "identity")]
        if self.settings.own {
            settings.credential.clone_from(&context.credential);
        }
        #[cfg(feature = "downlink")]
        if let Some(inbox) = &context.inbox {
            let ready = inbox.ask(&mut settings).await;
            ready.map_err(|source| self.refused(source))?;
        }
        let (streams, inflight_max_bytes) = (settings.streams, settings.inflight_max_bytes);
        let refused = settings.refused;
        let (uplink, events) = crate::uplink::Uplink::spawn(settings).map_err(failed)?;
        #[cfg(feature = "downlink")]
        let receipts = uplink.receipts();
        let delivery = Delivery::new(Parts {
            store: Arc::clone(&store),
            uplink,
            events,
            stats: Arc::clone(&context.stats),
            gaps,
            #[cfg(feature = "downlink")]
            inbox: context.inbox.clone(),
            quarantine: Arc::new(Quarantine::new(context.state_dir.join("rejected"))),
            refused,
            drain: context.drain,
            streams,
            inflight_max_bytes,
        });
        let bytes_max = self.settings.buffer.options().append_bytes_max();
        #[cfg_attr(
            not(feature = "downlink"),
            expect(unused_mut, reason = "it has no answers")
        )]
        let mut stage = Stage::new(
            form,
            Arc::clone(&store),
            bytes_max,
            Arc::clone(&context.stats),
        );
        #[cfg(feature = "downlink")]
        {
            stage.replies = self.settings.replies.take();
        }
        let (all_stored, stored) = oneshot::channel();
        let keep = async {
            stage
                .run(inlet)
                .await
                .map_err(|source| self.refused(source))?;
            // The delivery may have failed meanwhile, which it says itself.
            let _ = all_stored.send(());
            Ok(())
        };
        let deliver = async {
            delivery.run(stored).await.map_err(|error| match error {
                DeliverError::Buffer(source) => self.refused(source),
                DeliverError::Uplink(source) => failed(source),
            })
        };
        #[cfg(feature = "downlink")]
        let take_in = async {
            if let Some(inbox) = &context.inbox {
                inbox.take_in(receipts).await?;
            }
            // It ends by itself with the uplink, which the delivery reports.
            std::future::pending::<Result<(), buffer::Error>>().await
        };
        #[cfg(not(feature = "downlink"))]
        let take_in = std::future::pending::<Result<(), buffer::Error>>();
        let both = async { tokio::try_join!(keep, deliver) };
        tokio::select! {
            ended = both => ended.map(drop)?,
            failed = take_in => failed.map_err(|source| self.refused(source))?,
        }
        store
            .flush_cursor()
            .await
            .map_err(|source| self.refused(source))
    }
}
