//! `uplink`: keeps messages durably and delivers them over MQTT 5.
//!
//! Two halves that share a store. `stage` takes batches from the pipeline, numbers their records, makes messages of
//! them, appends those to the store and acknowledges; `deliver` reads the store, sends, and releases what the broker
//! has confirmed. Neither waits for the other: sources see the speed of the disk, not of the network.

mod configure;
mod deliver;
mod gaps;
mod ledger;
mod message;
mod quarantine;
mod stage;

pub use configure::Settings;
pub use deliver::DeliverError;
pub use message::{Message, NotAMessage, read};

use crate::buffer::{self, Recovery, Store};
use crate::clock::BootId;
use crate::pipeline::{self, Inlet};
use crate::stats::SinkStats;
use crate::uplink::Uplink;
use deliver::{Delivery, Parts};
use gaps::GapStream;
use quarantine::Quarantine;
use stage::{Form, Stage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What every sink is given by the agent.
#[derive(Clone, Debug)]
pub struct Context {
    /// The agent's name.
    pub agent: Arc<str>,
    /// This start of the agent.
    pub boot: BootId,
    /// Longest delivery once the pipeline is empty.
    pub drain: Duration,
}

/// An uplink sink that is ready to run.
pub struct UplinkSink {
    settings: Settings,
    context: Context,
    stats: Arc<SinkStats>,
    store: Arc<Store>,
    gaps: Arc<GapStream>,
    rejected_dir: PathBuf,
}

/// Why an uplink sink gave up.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The buffer refused for good.
    #[error("cannot store messages")]
    Store(#[from] buffer::Error),
    /// The delivery ended.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The uplink cannot start.
    #[error("cannot start the uplink")]
    Start(#[source] crate::uplink::UplinkError),
}

impl UplinkSink {
    /// Opens the store in `dir`. Blocking.
    pub fn open(
        settings: Settings,
        context: Context,
        stats: Arc<SinkStats>,
        dir: &Path,
        rejected_dir: PathBuf,
    ) -> Result<(UplinkSink, Recovery), buffer::Error> {
        let form = form(&settings, &context);
        let gaps = Arc::new(GapStream::new(form, Arc::clone(&stats)));
        let mut options = settings.buffer.options();
        let on_drop = Arc::clone(&gaps);
        options.on_drop = Some(Arc::new(move |dropped| Some(on_drop.dropped(dropped))));
        let (store, recovery) = Store::open(Arc::new(buffer::fs::Real), dir, options)?;
        let store = Arc::new(store);
        Ok((UplinkSink { settings, context, stats, store, gaps, rejected_dir }, recovery))
    }

    /// The store, for its counters.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

fn form(settings: &Settings, context: &Context) -> Form {
    Form {
        agent: Arc::clone(&context.agent),
        boot: context.boot,
        topic: settings.topic.clone(),
        encoding: settings.encoding,
        records_per_message_max: settings.records_per_message_max,
    }
}

impl pipeline::Sink for UplinkSink {
    type Error = SinkError;

    async fn run(self, inlet: Inlet) -> Result<(), SinkError> {
        let form = form(&self.settings, &self.context);
        let (uplink, events) =
            Uplink::spawn(self.settings.uplink.clone()).map_err(SinkError::Start)?;
        let delivery = Delivery::new(Parts {
            store: Arc::clone(&self.store),
            uplink,
            events,
            stats: Arc::clone(&self.stats),
            gaps: Arc::clone(&self.gaps),
            quarantine: Arc::new(Quarantine::new(self.rejected_dir.clone())),
            drain: self.context.drain,
        });
        let stage = Stage::new(form, Arc::clone(&self.store), Arc::clone(&self.stats));
        let (all_stored, stored) = oneshot::channel();
        let store = async {
            stage.run(inlet).await?;
            // The delivery may have failed meanwhile, which it says itself.
            let _ = all_stored.send(());
            Ok::<(), SinkError>(())
        };
        let deliver = async { delivery.run(stored).await.map_err(SinkError::from) };
        tokio::try_join!(store, deliver)?;
        self.store.flush_cursor().await?;
        Ok(())
    }
}
