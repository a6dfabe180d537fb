//! `live`: what flows, for viewers on this machine, over a Unix socket. `dunlin sub CONFIG --local` is one.
//!
//! It is for looking, not for keeping, and never holds the pipeline up: batches are acknowledged as they come. Of a batch
//! messages of the payload are made once, in CBOR, in a ring ([`dunlin_ring`]) that is there from the start, and sent to each
//! viewer from where they lie there. A viewer that is a mebibyte behind is lapped: it goes on with what is newer, half a
//! mebibyte behind, and sees by the sequences how many records it missed. Without a viewer no message is made.

#[cfg(feature = "tools")]
mod feed;
mod viewer;

#[cfg(feature = "tools")]
pub use feed::{Feed, NotAFeed};

use super::{Context, Own, SinkError};
use crate::clock::BootId;
use crate::config::Section;
use crate::payload::{Encoding, Envelope};
use crate::pipeline::{Batch, Inlet};
use crate::record::Record;
use dunlin_ring::{Consumer, MESSAGE_BYTES_MAX, Policy, Producer};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{self, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Slabs of the ring, of 64 KiB.
const SLABS: usize = 16;

/// Most viewers at a time.
const VIEWERS_MAX: u64 = 8;

/// What is in front of a message on the socket: its length, in the order of the machine.
const LENGTH_BYTES: usize = 4;

/// How long the end waits for viewers that are slow, where the drain has as much time.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// How long a listener rests that could not accept.
const REST: Duration = Duration::from_secs(5);

/// Where the viewers of this sink connect.
pub fn socket(runtime_dir: &Path, sink: &str) -> PathBuf {
    runtime_dir.join(format!("{sink}.live"))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Live {
    name: String,
    viewers: usize,
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    listener: UnixListener,
    file: SocketFile,
    messages: Messages,
    seats: Vec<Consumer>,
    end: Duration,
}

/// What viewers find the listener by, as long as there is one.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that is left is taken over at the next start.
        drop(std::fs::remove_file(&self.0));
    }
}

impl Live {
    #[expect(clippy::unnecessary_wraps, reason = "every node has this signature")]
    pub(super) fn configure(
        name: &str,
        section: &mut Section<'_>,
        _own: Option<&Own>,
    ) -> Option<Live> {
        let viewers = section.integer("viewers", 1..=VIEWERS_MAX, 4);
        Some(Live {
            name: name.to_owned(),
            viewers: usize::try_from(viewers).expect("bounded"),
            opened: None,
        })
    }

    pub(super) fn open(&mut self, context: &Context) -> Result<(), SinkError> {
        let path = socket(&context.runtime_dir, &self.name);
        let failed = |source| SinkError::Listen {
            sink: self.name.clone(),
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&context.runtime_dir).map_err(failed)?;
        let listener = listen(&path).map_err(failed)?;
        let (producer, seats) = dunlin_ring::ring(SLABS, &vec![Policy::Skip; self.viewers])
            .map_err(|error| failed(io::Error::other(error)))?;
        self.opened = Some(Opened {
            listener,
            file: SocketFile(path),
            messages: Messages {
                producer,
                agent: Arc::clone(&context.agent),
                boot: context.boot,
                next_seq: BTreeMap::new(),
                scratch: Vec::new(),
            },
            seats,
            end: LAST_MESSAGES.min(context.drain),
        });
        context.stats.state.set("running");
        Ok(())
    }

    pub(super) async fn run(self, mut inlet: Inlet) -> Result<(), SinkError> {
        let Opened {
            listener,
            file,
            mut messages,
            mut seats,
            end,
        } = self.opened.expect("opened before it runs");
        let sink = self.name;
        let listener = tokio::net::UnixListener::from_std(listener);
        let listener = listener.map_err(|source| SinkError::Listen {
            sink: sink.clone(),
            path: file.0.clone(),
            source,
        })?;
        let (streams, mut waiting) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, streams));
        let mut viewers = JoinSet::new();
        // Said once, until there is a seat again: who is sent away may come as often as it likes.
        let mut said = false;
        loop {
            tokio::select! {
                batch = inlet.recv() => {
                    let Some(batch) = batch else { break };
                    messages.write(&batch, !viewers.is_empty());
                    batch.ack.done();
                }
                Some(stream) = waiting.recv() => {
                    if let Some(seat) = seats.pop() {
                        viewers.spawn(viewer::show(stream, seat));
                    } else if !std::mem::replace(&mut said, true) {
                        tracing::warn!(sink, "a viewer was sent away: there are as many as sinks.{sink}.viewers allows");
                    }
                }
                Some(ended) = viewers.join_next() => {
                    seats.extend(ended.ok());
                    said = false;
                }
            }
        }
        drop((messages, accepting, file));
        // Either way is well: a viewer that is this slow misses the last messages.
        let all = async { while viewers.join_next().await.is_some() {} };
        drop(tokio::time::timeout(end, all).await);
        Ok(())
    }
}

async fn accept(listener: tokio::net::UnixListener, streams: mpsc::Sender<UnixStream>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if streams.send(stream).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("no viewer can be accepted: {error}");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// For who may read the agent's files: its user and group. A socket that another start left is replaced; one at which
/// somebody answers is not, and nothing else is.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether this is a socket at which nobody listens.
fn is_left(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Makes messages of records, in the ring.
#[derive(Debug)]
struct Messages {
    producer: Producer,
    agent: Arc<str>,
    boot: BootId,
    next_seq: BTreeMap<Arc<str>, u64>,
    scratch: Vec<u8>,
}

impl Messages {
    /// Counts the records of a batch and, where somebody looks, writes and publishes them.
    fn write(&mut self, batch: &Batch, seen: bool) {
        let records = batch.records.len() as u64;
        let next = self.next_seq.entry(Arc::clone(&batch.stream)).or_default();
        let seq = *next;
        *next += records;
        if seen {
            self.message(batch, seq, &batch.records);
            self.producer.publish();
        }
    }

    /// One message where it fits in a slab, else two of the halves. A record that fits in none is missing: its sequence
    /// tells.
    fn message(&mut self, batch: &Batch, seq: u64, records: &[Record]) {
        self.scratch.clear();
        let envelope = Envelope {
            agent: &self.agent,
            boot: self.boot,
            stream: &batch.stream,
            class: batch.class,
            seq,
        };
        Encoding::Cbor.encode(&envelope, records, &mut self.scratch);
        if self.scratch.len() <= MESSAGE_BYTES_MAX {
            let pushed = self.producer.try_push(&self.scratch);
            pushed.expect("it fits in a slab, and nobody is waited for");
        } else if records.len() > 1 {
            let (first, second) = records.split_at(records.len() / 2);
            self.message(batch, seq, first);
            self.message(batch, seq + first.len() as u64, second);
        }
    }
}

#[cfg(all(test, feature = "tools"))]
mod tests;
