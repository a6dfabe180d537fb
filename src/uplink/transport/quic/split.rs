//! One MQTT connection over several streams: packets of control on the first, messages on one stream a lane, opened by us
//! once CONNACK has come, each answered on the stream it came on. So EMQX and `NanoMQ` have it.
//!
//! The session writes and reads whole packets in one sequence and knows nothing of this. A lane that the other side does
//! not read holds up only itself: what is in flight bounds what waits here.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use quinn::{Connection, ReadError, RecvStream, SendStream, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::uplink::codec;
use crate::uplink::lane::{LANES, Lane, Lanes};

/// Read from one stream at once.
const READ_BYTES: usize = 16 << 10;
/// Whole packets not yet taken by the session above which no stream is read.
const READY_BYTES_MAX: usize = 64 << 10;
/// Longest packet that MQTT has; the session holds what comes to the bound that it announced.
const PACKET_BYTES_MAX: u32 = 5 + (1 << 28);
/// Priority of the control stream; a lane has its number, so that `critical` goes before `bulk`.
const CONTROL_PRIORITY: i32 = 10;

/// The data streams of a connection, and what is on its way to and from them.
#[derive(Debug)]
pub(super) struct Split {
    lanes: Lanes,
    /// What the session wrote and is no whole packet yet.
    written: BytesMut,
    control: Way,
    data: [Data; LANES],
    /// Lanes of topics that the session names by number.
    aliases: HashMap<u16, Option<Lane>>,
    /// Whole packets for the session.
    ready: BytesMut,
    /// The other side refused or ended a data stream.
    pub(super) failed: bool,
    ended: bool,
}

#[derive(Debug)]
enum Data {
    Unopened,
    /// The other side allows no more streams: the lane is on the control stream.
    Refused,
    Open(Box<(SendStream, RecvStream, Way)>),
}

/// Bytes on their way, in both directions of one stream.
#[derive(Debug, Default)]
struct Way {
    out: BytesMut,
    back: BytesMut,
}

impl Split {
    /// Only the control stream until there is a message.
    pub(super) fn new(lanes: Lanes, control: &SendStream) -> Split {
        // An error says that the stream is gone, which the next write says, too.
        let _ = control.set_priority(CONTROL_PRIORITY);
        Split {
            lanes,
            written: BytesMut::new(),
            control: Way::default(),
            data: [Data::Unopened, Data::Unopened, Data::Unopened],
            aliases: HashMap::new(),
            ready: BytesMut::new(),
            failed: false,
            ended: false,
        }
    }

    /// Whether a message went on a stream of its own.
    pub(super) fn is_used(&self) -> bool {
        self.data.iter().any(|data| matches!(data, Data::Open(_)))
    }

    /// Takes what the session writes; what a stream does not take now waits.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        control: &mut SendStream,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.written.extend_from_slice(bytes);
        while let Some((header, length)) = whole(&self.written)? {
            let packet = self.written.split_to(length);
            let lane = self.lane_of(&packet, header);
            self.queue(cx, connection, lane)?.extend_from_slice(&packet);
        }
        self.flush(cx, control)
    }

    /// The lane of a packet; `None` is the control stream.
    fn lane_of(&mut self, packet: &[u8], header: usize) -> Option<Lane> {
        const PUBLISH: u8 = 3;
        const TOPIC_ALIAS: u8 = 0x23;
        if packet[0] >> 4 != PUBLISH {
            return None;
        }
        // Topic, packet id, length of the properties, and, where there is one, the alias: as the codec writes it.
        let body = &packet[header..];
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let alias = match rest.get(2..)? {
            [3, TOPIC_ALIAS, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        if topic.is_empty() {
            return *self.aliases.get(&alias?)?;
        }
        let lane = self.lanes.of(std::str::from_utf8(topic).ok()?);
        if let Some(alias) = alias {
            self.aliases.insert(alias, lane);
        }
        lane
    }

    fn queue(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        lane: Option<Lane>,
    ) -> io::Result<&mut BytesMut> {
        let Some(lane) = lane else {
            return Ok(&mut self.control.out);
        };
        let data = &mut self.data[lane as usize];
        if matches!(data, Data::Unopened) {
            *data = match pin!(connection.open_bi()).poll(cx) {
                Poll::Ready(Ok((send, receive))) => {
                    let _ = send.set_priority(lane as i32);
                    Data::Open(Box::new((send, receive, Way::default())))
                }
                Poll::Ready(Err(error)) => return Err(WriteError::ConnectionLost(error).into()),
                Poll::Pending => {
                    tracing::info!(
                        ?lane,
                        "the broker allows no further stream: one for all of it"
                    );
                    Data::Refused
                }
            };
        }
        Ok(match data {
            Data::Open(open) => &mut open.2.out,
            _ => &mut self.control.out,
        })
    }

    /// Writes as far as each stream goes.
    fn flush(&mut self, cx: &mut Context<'_>, control: &mut SendStream) -> io::Result<()> {
        drain(cx, control, &mut self.control.out)?;
        for data in self.data.iter_mut().rev() {
            if let Data::Open(open) = data {
                let (send, _, way) = &mut **open;
                if let Err(error) = drain(cx, send, &mut way.out) {
                    self.failed |= is_of_the_stream(&error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes the control packets that wait.
    pub(super) async fn flush_control(&mut self, control: &mut SendStream) -> io::Result<()> {
        std::future::poll_fn(|cx| match drain(cx, control, &mut self.control.out) {
            Ok(()) if self.control.out.is_empty() => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// Gives the session whole packets, whichever stream they came on.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream,
        receive: &mut RecvStream,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.flush(cx, send)?;
        for data in self.data.iter_mut().rev() {
            if let Data::Open(open) = data {
                let (_, receive, way) = &mut **open;
                match fill(cx, receive, &mut way.back, &mut self.ready) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.failed = true;
                        return Poll::Ready(Err(io::Error::other(
                            "the broker ended a data stream: one stream from now on",
                        )));
                    }
                    Err(error) => {
                        self.failed |= is_of_the_stream(&error);
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        if !self.ended {
            self.ended = fill(cx, receive, &mut self.control.back, &mut self.ready)?;
        }
        let count = self.ready.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.ready[..count]);
            self.ready.advance(count);
            return Poll::Ready(Ok(()));
        }
        if self.ended {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// Header and length of the first packet, once it is whole.
fn whole(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    codec::frame(bytes, PACKET_BYTES_MAX).map_err(io::Error::other)
}

fn drain(cx: &mut Context<'_>, send: &mut SendStream, out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        match AsyncWrite::poll_write(Pin::new(&mut *send), cx, out) {
            Poll::Ready(count) => out.advance(count?),
            Poll::Pending => break,
        }
    }
    Ok(())
}

/// Reads what there is and moves whole packets on; whether the stream has ended.
fn fill(
    cx: &mut Context<'_>,
    receive: &mut RecvStream,
    back: &mut BytesMut,
    ready: &mut BytesMut,
) -> io::Result<bool> {
    let mut piece = [0; READ_BYTES];
    while ready.len() < READY_BYTES_MAX {
        let mut buf = ReadBuf::new(&mut piece);
        match AsyncRead::poll_read(Pin::new(&mut *receive), cx, &mut buf) {
            Poll::Ready(done) => done?,
            Poll::Pending => break,
        }
        if buf.filled().is_empty() {
            return Ok(true);
        }
        back.extend_from_slice(buf.filled());
        while let Some((_, length)) = whole(back)? {
            ready.extend_from_slice(&back.split_to(length));
        }
    }
    Ok(false)
}

/// Whether the other side ended this stream, and not the connection.
fn is_of_the_stream(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner
        .and_then(|inner| inner.downcast_ref())
        .is_some_and(|error| matches!(error, ReadError::Reset(_)))
        || inner
            .and_then(|inner| inner.downcast_ref())
            .is_some_and(|error| matches!(error, WriteError::Stopped(_)))
}
