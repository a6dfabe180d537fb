//! Sinks: one file each. A new one is its file, its `mod` line, and its line in `sinks!`.

mod console;
mod file;
mod line;
#[cfg(feature = "live")]
mod live;
pub(crate) mod time;
mod uplink;

use crate::buffer;
use crate::clock::BootId;
use crate::config::Section;
#[cfg(feature = "downlink")]
use crate::downlink::Inbox;
use crate::pipeline::{self, Bodies, Inlet, Node, Role};
use crate::stats::SinkStats;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "live")]
pub use live::socket as live_socket;
#[cfg(all(feature = "live", feature = "tools"))]
pub use live::{Feed, NotAFeed};
pub use uplink::message::{Message, NotAMessage, read as read_message};

/// What the agent gives a sink when it opens it.
#[derive(Clone, Debug)]
pub struct Context {
    /// The agent's name.
    pub agent: Arc<str>,
    /// This start of the agent, part of each record's id.
    pub boot: BootId,
    /// Counters and state that the agent reports.
    pub stats: Arc<SinkStats>,
    /// Directory for what must survive a crash. Made by the sink that needs it.
    pub state_dir: PathBuf,
    /// Directory for what other programs on this machine look for while the agent runs.
    #[cfg(feature = "live")]
    pub runtime_dir: PathBuf,
    /// Longest delivery once the pipeline is empty.
    pub drain: Duration,
    /// Where messages of the broker go, where a source wants them.
    #[cfg(feature = "downlink")]
    pub inbox: Option<Arc<Inbox>>,
    /// The agent's own certificate, where it gets one.
    #[cfg(feature = "identity")]
    pub credential: Option<Arc<crate::credential::Credential>>,
}

/// Why a sink cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file could not be opened or repaired.
    #[error("cannot open {path:?} for the records of sink {sink:?}", path = path.display().to_string())]
    Open {
        /// Name of the sink.
        sink: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The socket for viewers could not be made.
    #[cfg(feature = "live")]
    #[error("cannot listen at {path:?} for the viewers of sink {sink:?}", path = path.display().to_string())]
    Listen {
        /// Name of the sink.
        sink: String,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the thread of sink {sink:?}")]
    Thread {
        /// Name of the sink.
        sink: String,
        /// Why.
        source: std::io::Error,
    },
    /// A buffer cannot be opened, written or read.
    #[error("the buffer of sink {sink:?}")]
    Buffer {
        /// Name of the sink.
        sink: String,
        /// Why.
        source: buffer::Error,
    },
    /// An uplink cannot start, or ended by itself.
    #[error("the uplink of sink {sink:?}")]
    Uplink {
        /// Name of the sink.
        sink: String,
        /// Why.
        source: crate::uplink::UplinkError,
    },
}

macro_rules! sinks {
    ($($(#[$only:meta])? $variant:ident = $kind:literal => $path:path;)*) => {
        /// A configured sink that was not opened yet.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant is documented at its type")]
        #[expect(private_interfaces, reason = "made by `configure` only")]
        pub enum Sink {
            $($(#[$only])? $variant(Box<$path>),)*
        }

        /// The types that a configuration may name.
        pub const TYPES: &[&str] = &[$($(#[$only])? $kind),*];

        fn read(kind: &str, name: &str, section: &mut Section<'_>, own: Option<&Own>) -> Option<Option<Sink>> {
            match kind {
                $($(#[$only])? $kind => Some(<$path>::configure(name, section, own).map(|sink| Sink::$variant(Box::new(sink)))),)*
                _ => None,
            }
        }

        impl Sink {
            /// Opens what the sink writes to, so that what is wrong with it shows before anything runs. Blocking.
            pub fn open(&mut self, context: &Context) -> Result<(), SinkError> {
                match self {
                    $($(#[$only])? Sink::$variant(inner) => inner.open(context),)*
                }
            }
        }

        impl pipeline::Sink for Sink {
            type Error = SinkError;

            async fn run(self, inlet: Inlet) -> Result<(), SinkError> {
                match self {
                    $($(#[$only])? Sink::$variant(inner) => inner.run(inlet).await,)*
                }
            }
        }
    };
}

impl Sink {
    /// How to follow what this sink sends, where it is an uplink.
    pub fn uplink(&self) -> Option<Follow<'_>> {
        match self {
            Sink::Uplink(uplink) => Some(uplink.follow()),
            Sink::File(_) | Sink::Console(_) => None,
            #[cfg(feature = "live")]
            Sink::Live(_) => None,
        }
    }

    /// Whether viewers on this machine may follow it: [`live_socket`].
    #[cfg(feature = "live")]
    pub fn is_live(&self) -> bool {
        matches!(self, Sink::Live(_))
    }
}

/// The agent's own certificate, which is shown where a sink names none.
#[derive(Clone, Debug)]
pub struct Own {
    /// The file of the one in use. It may come later.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key: dunlin_crypto::PrivateKey,
}

/// What a subscriber needs to know of an uplink.
#[derive(Clone, Copy, Debug)]
pub struct Follow<'a> {
    /// Topic with the placeholders `{agent}` and `{stream}`.
    pub topic: &'a str,
    /// Endpoint and certificates.
    pub settings: &'a crate::uplink::Settings,
    /// Topics that answers may go to, as filters.
    #[cfg(feature = "downlink")]
    pub replies: &'a [String],
}

sinks! {
    File = "file" => file::File;
    Console = "console" => console::Console;
    #[cfg(feature = "live")]
    Live = "live" => live::Live;
    Uplink = "uplink" => uplink::Uplink;
}

/// Reads one table `[sinks.NAME]`: the node, and the sink where nothing was wrong with its own keys.
pub fn configure(name: &str, mut section: Section<'_>, own: Option<&Own>) -> (Node, Option<Sink>) {
    match section.kind(TYPES) {
        Some(kind) => {
            let node = Node::read(name, Role::Sink, Bodies::ANY, &mut section);
            let made = read(kind, name, &mut section, own).expect("every listed type can be read");
            (node, made)
        }
        None => (Node::of_unknown_type(name, Role::Sink, section), None),
    }
}

#[cfg(test)]
mod testing;
