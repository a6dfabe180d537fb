//! Sources: where records come from. One file a kind, closed enum.

#[cfg(feature = "downlink")]
pub mod downlink;
pub mod driver;
#[cfg(feature = "telemetry")]
pub mod receive;

use crate::pipeline::{Ledger, Outlet};
use crate::stats::SourceStats;
use std::sync::Arc;
use tokio::sync::watch;

/// What the key `type` of a source may say.
pub const TYPES: &[&str] = &[
    "driver",
    #[cfg(feature = "downlink")]
    "downlink",
    #[cfg(feature = "telemetry")]
    "udp",
    #[cfg(feature = "telemetry")]
    "tcp",
    #[cfg(feature = "telemetry")]
    "file",
];

/// A source as configured, but for downlinks, which a sink's session feeds.
#[derive(Clone, Debug)]
pub enum Settings {
    /// A C driver.
    Driver(Box<driver::Settings>),
    /// Byte frames from a network or a recording.
    #[cfg(feature = "telemetry")]
    Receive(receive::Settings),
}

impl Settings {
    /// Its name, and that of its stream.
    pub fn name(&self) -> &str {
        match self {
            Settings::Driver(settings) => &settings.spec.name,
            #[cfg(feature = "telemetry")]
            Settings::Receive(settings) => &settings.name,
        }
    }

    /// The settings of a driver, where it is one.
    pub fn driver(&self) -> Option<&driver::Settings> {
        match self {
            Settings::Driver(settings) => Some(settings.as_ref()),
            #[cfg(feature = "telemetry")]
            Settings::Receive(_) => None,
        }
    }

    /// Produces records until `stop` turns true.
    pub async fn run(
        self,
        outlet: Outlet,
        stop: watch::Receiver<bool>,
        stats: Arc<SourceStats>,
        ledger: Arc<Ledger>,
    ) {
        match self {
            Settings::Driver(settings) => {
                let source = driver::DriverSource::new(*settings, stats, ledger);
                source.run(outlet, stop).await;
            }
            #[cfg(feature = "telemetry")]
            Settings::Receive(settings) => settings.run(outlet, stop, stats, ledger).await,
        }
    }
}
