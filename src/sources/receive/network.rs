//! Datagrams, and the bytes of a connection.

use super::{FRAME_BYTES_MAX, Receiver, record};
use crate::clock;
use crate::record::{Body, Cause, Gap, Record};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Most datagrams that are handed on together.
const DATAGRAMS_MAX: usize = 256;
/// Least room for what a connection gives at once.
const READ_BYTES_MIN: usize = 4096;
/// Wait before the first new attempt, in milliseconds; it doubles.
const WAIT_MS_MIN: u64 = 100;
/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Wait before an address that cannot be listened on is tried again.
const LISTEN_WAIT: Duration = Duration::from_secs(1);

impl Receiver {
    pub(super) async fn udp(&mut self, listen: SocketAddr, from: &[IpAddr]) {
        loop {
            let why = match UdpSocket::bind(listen).await {
                Ok(socket) => match self.datagrams(&socket, from).await {
                    Ok(()) => return,
                    Err(error) => format!("cannot receive on {listen}: {error}"),
                },
                Err(error) => format!("cannot listen on {listen}: {error}"),
            };
            self.complain(why);
            if self.rest(LISTEN_WAIT).await {
                return;
            }
        }
    }

    /// Receives until it is time to stop.
    async fn datagrams(&mut self, socket: &UdpSocket, from: &[IpAddr]) -> io::Result<()> {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        let mut warned = false;
        self.stats.state.set("running");
        loop {
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
                ready = socket.readable() => ready?,
            }
            let mut records = Vec::new();
            // Bounded, so that a flood of strangers keeps no other node waiting.
            for _ in 0..DATAGRAMS_MAX {
                match socket.try_recv_from(&mut buffer) {
                    Ok((bytes, sender))
                        if from.is_empty() || from.contains(&sender.ip().to_canonical()) =>
                    {
                        let bytes = self.slabs.put(&buffer[..bytes]);
                        records.push(self.frame(bytes));
                    }
                    Ok((_, sender)) => {
                        self.stats.device_errors.add(1);
                        if !warned {
                            warned = true;
                            let sender = sender.ip();
                            tracing::warn!(source = %self.stream, %sender, "a datagram of a sender who is not in `from`");
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            self.send(records).await;
        }
    }

    pub(super) async fn tcp(&mut self, connect: SocketAddr, wait_ms_max: u64) {
        let mut wait_ms = WAIT_MS_MIN;
        let mut last_ns = clock::monotonic_ns();
        let mut lost: Option<String> = None;
        loop {
            let connected = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return,
                connected = timeout(CONNECT_TIME, TcpStream::connect(connect)) => connected,
            };
            let why = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    self.stats.state.set("running");
                    let gap = lost.take().map(|detail| outage(last_ns, detail));
                    let was_out = gap.is_some();
                    self.stats.outages.add(u64::from(was_out));
                    self.send(gap.into_iter().collect()).await;
                    let before = self.stats.readings.get();
                    let Some(why) = self.bytes(&stream, &mut last_ns).await else {
                        return;
                    };
                    if self.stats.readings.get() > before {
                        wait_ms = WAIT_MS_MIN;
                    }
                    why
                }
                Err(error) => format!("cannot connect to {connect}: {error}"),
            };
            self.complain(why.clone());
            // What broke it off, not what came of each attempt.
            lost.get_or_insert(why);
            if self.rest(Duration::from_millis(wait_ms)).await {
                return;
            }
            wait_ms = (wait_ms * 2).min(wait_ms_max);
        }
    }

    /// Takes what a connection gives; says why it ended, nothing where it is time to stop.
    async fn bytes(&mut self, stream: &TcpStream, last_ns: &mut u64) -> Option<String> {
        loop {
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return None,
                ready = stream.readable() => if let Err(error) = ready {
                    return Some(format!("the connection failed: {error}"));
                },
            }
            let room = self.slabs.room(READ_BYTES_MIN);
            match stream.try_read_buf(room) {
                Ok(0) => return Some("the other side closed the connection".to_owned()),
                Ok(_) => {
                    let bytes = room.split().freeze();
                    let frame = self.frame(bytes);
                    *last_ns = frame.monotonic_ns;
                    self.send(vec![frame]).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(format!("the connection failed: {error}")),
            }
        }
    }

    /// Says what is wrong: once an episode in the log, each time in the counts.
    fn complain(&self, why: String) {
        self.stats.device_errors.add(1);
        if self.stats.state.get() != why {
            tracing::warn!(source = %self.stream, "{why}");
            self.stats.state.set(why);
        }
    }
}

fn outage(from_ns: u64, detail: String) -> Record {
    record(Body::Gap(Gap {
        from_ns,
        to_ns: clock::monotonic_ns(),
        cause: Cause::Device,
        lost: None,
        detail,
    }))
}
