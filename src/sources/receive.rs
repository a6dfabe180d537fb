//! `udp`, `tcp`, `file`: byte frames from a network or a recording, without a driver.
//!
//! What comes is a frame a record, with the time it came: a datagram, the bytes that a connection gave at once, a piece or a
//! line of a file. Nothing of it is looked at here. What a network may send is granted in the configuration: an address to
//! listen on and the senders that are meant, or an address to connect to.

mod configure;
mod file;
mod network;

pub use file::{Recorded, next_frame};

use crate::clock;
use crate::pipeline::{Ack, Batch, Ledger, Outlet};
use crate::record::{Body, Channel, Class, Kind, Quality, Record};
use crate::slabs::Slabs;
use crate::stats::SourceStats;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Longest frame, in bytes: that of a driver.
const FRAME_BYTES_MAX: usize = 65_536;

/// A source as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the source and of its stream.
    pub name: String,
    /// What to drop first when the buffer is full.
    pub class: Class,
    /// Name of the channel that its frames are on.
    channel: String,
    origin: Origin,
}

/// Where the frames come from.
#[derive(Clone, Debug)]
enum Origin {
    /// Datagrams to an address, from these senders; from any where there are none.
    Udp {
        listen: SocketAddr,
        from: Vec<IpAddr>,
    },
    /// A connection that is made again when it ends.
    Tcp {
        connect: SocketAddr,
        wait_ms_max: u64,
    },
    /// A file, once.
    File { path: PathBuf, pace: Pace },
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pace {
    /// Pieces of so many bytes, so many bytes a second; as fast as they are taken where that is 0.
    Raw {
        piece_bytes: usize,
        bytes_per_s: u64,
    },
    /// Lines of the sink `file`, as many times as fast as they came; as fast as they are taken where that is 0.
    Lines { speed: f64 },
}

/// A source that runs.
struct Receiver {
    stream: Arc<str>,
    class: Class,
    channel: Arc<Channel>,
    outlet: Outlet,
    stop: watch::Receiver<bool>,
    stats: Arc<SourceStats>,
    ledger: Arc<Ledger>,
    slabs: Slabs,
}

impl Settings {
    /// Receives until `stop` turns true.
    pub async fn run(
        self,
        outlet: Outlet,
        stop: watch::Receiver<bool>,
        stats: Arc<SourceStats>,
        ledger: Arc<Ledger>,
    ) {
        let mut receiver = Receiver {
            stream: self.name.as_str().into(),
            class: self.class,
            channel: channel(&self.channel),
            outlet,
            stop,
            stats,
            ledger,
            slabs: Slabs::default(),
        };
        receiver.stats.state.set("starting");
        match self.origin {
            Origin::Udp { listen, from } => receiver.udp(listen, &from).await,
            Origin::Tcp {
                connect,
                wait_ms_max,
            } => receiver.tcp(connect, wait_ms_max).await,
            Origin::File { path, pace } => receiver.file(path, pace).await,
        }
        receiver.stats.state.set("stopped");
    }
}

fn channel(name: &str) -> Arc<Channel> {
    Arc::new(Channel {
        name: name.to_owned(),
        unit: "1".to_owned(),
        kind: Kind::Frame,
        calibration: None,
    })
}

fn record(body: Body) -> Record {
    Record {
        monotonic_ns: clock::monotonic_ns(),
        wall_ns: clock::wall_ns(),
        body,
        reply: None,
    }
}

impl Receiver {
    fn frame(&self, bytes: Bytes) -> Record {
        record(Body::Frame {
            channel: Arc::clone(&self.channel),
            bytes,
            quality: Quality::Good,
        })
    }

    /// Hands records on. A pipeline that takes nothing holds this up, and with it the sender.
    async fn send(&self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let frames = records
            .iter()
            .filter(|record| matches!(record.body, Body::Frame { .. }));
        self.stats.readings.add(frames.count() as u64);
        let ack = Ack::new(&self.ledger, records.len() as u64);
        let batch = Batch {
            stream: Arc::clone(&self.stream),
            class: self.class,
            records: Arc::new(records),
            ack,
        };
        self.outlet.send(batch).await;
    }

    /// Waits; says whether it is time to stop.
    async fn rest(&mut self, wait: std::time::Duration) -> bool {
        tokio::select! {
            biased;
            // The sender lives as long as the agent; its end means stop as well.
            _ = self.stop.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(wait) => false,
        }
    }
}
