//! The task that joins a session to its transports: dials, moves bytes, waits, and starts again.

mod look_back;
mod shown;
mod task;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::error::UplinkError;
use super::event::{Event, Receipt};
use super::lane::Lane;
use super::settings::Settings;
use shown::Shown;
use task::{Drain, Outgoing, Task};

/// Messages given and not yet in the session; with `inflight_max` the bound on what an uplink holds.
pub(super) const QUEUE_MAX: usize = 256;
/// Events not yet taken by the caller, beside those that the session holds.
pub(super) const EVENTS_MAX: usize = 256;

/// The caller's end of an uplink.
///
/// Dropping it ends the connection without waiting; `drain` waits.
#[derive(Debug)]
pub struct Uplink {
    publish: mpsc::Sender<Outgoing>,
    receipts: mpsc::Sender<Receipt>,
    drain: mpsc::Sender<Drain>,
}

/// What an uplink tells, in order.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

/// Confirms messages to the broker.
#[derive(Clone, Debug)]
pub struct Receipts(mpsc::Sender<Receipt>);

/// Room for one message.
#[derive(Debug)]
pub struct Permit<'a>(mpsc::Permit<'a, Outgoing>);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Messages that had no PUBACK at the end of the bound. They are still the caller's.
    pub unacked: usize,
}

impl Uplink {
    /// Checks the settings, reads the certificates, and starts a task on the current tokio runtime. Returns before
    /// there is a connection; what becomes of it comes as events.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(settings: Settings) -> Result<(Uplink, Events), UplinkError> {
        settings.check()?;
        let shown = Shown::new(&settings)?;
        let mut seed = [0; 8];
        dunlin_crypto::random_bytes(&mut seed)?;
        let (publish, outgoing) = mpsc::channel(QUEUE_MAX);
        let (receipts, confirmed) = mpsc::channel(usize::from(settings.receive_max));
        let (drain, drains) = mpsc::channel(1);
        let (events, taken) = mpsc::channel(EVENTS_MAX);
        let task = Task::new(
            settings,
            shown,
            u64::from_ne_bytes(seed),
            outgoing,
            confirmed,
            drains,
            events,
        );
        tokio::spawn(task.run());
        let uplink = Uplink {
            publish,
            receipts,
            drain,
        };
        Ok((uplink, Events(taken)))
    }

    /// Waits for room for one message. Dropping the future loses nothing.
    ///
    /// Take events meanwhile (`select!`): an uplink whose events are not taken stops reading PUBACKs in the end, and
    /// then has no room.
    pub async fn reserve(&self) -> Result<Permit<'_>, UplinkError> {
        self.publish
            .reserve()
            .await
            .map(Permit)
            .map_err(|_| UplinkError::Ended)
    }

    /// Room for one message, where there is some now.
    pub fn try_reserve(&self) -> Result<Option<Permit<'_>>, UplinkError> {
        match self.publish.try_reserve() {
            Ok(permit) => Ok(Some(Permit(permit))),
            Err(mpsc::error::TrySendError::Full(())) => Ok(None),
            Err(mpsc::error::TrySendError::Closed(())) => Err(UplinkError::Ended),
        }
    }

    /// Waits for room and gives the message. Where the future is dropped before it is done the message was not given.
    pub async fn publish(
        &self,
        token: u64,
        topic: impl Into<Arc<str>>,
        payload: impl Into<Bytes>,
    ) -> Result<(), UplinkError> {
        self.reserve().await?.publish(token, topic, payload);
        Ok(())
    }

    /// What confirms messages, with `Settings::confirm_messages`.
    pub fn receipts(&self) -> Receipts {
        Receipts(self.receipts.clone())
    }

    /// Takes no more messages, waits at most `bound` for the PUBACKs of those given (connecting again if need be),
    /// sends DISCONNECT and ends. Its events go on meanwhile; `Events::recv` gives `None` after the last.
    pub async fn drain(self, bound: Duration) -> Drained {
        let (reply, done) = oneshot::channel();
        let deadline = tokio::time::Instant::now() + bound;
        let Uplink { publish, drain, .. } = self;
        drop(publish);
        if drain
            .send(Drain {
                deadline,
                reply: Some(reply),
            })
            .await
            .is_err()
        {
            return Drained { unacked: 0 };
        }
        done.await.unwrap_or(Drained { unacked: 0 })
    }
}

impl Receipts {
    /// One whose receipts go to a test.
    #[cfg(test)]
    pub(crate) fn channel(max: usize) -> (Receipts, mpsc::Receiver<Receipt>) {
        let (receipts, confirmed) = mpsc::channel(max);
        (Receipts(receipts), confirmed)
    }

    /// Confirms a message. Waits while as many wait as the broker sends ahead; where the connection that brought it is
    /// gone the broker sends it again.
    pub async fn confirm(&self, receipt: Receipt) -> Result<(), UplinkError> {
        let sent = self.0.send(receipt).await;
        sent.map_err(|_| UplinkError::Ended)
    }
}

impl Permit<'_> {
    /// Gives a message. `token` is the caller's own number for it; numbers that follow each other are acknowledged in
    /// ranges. The topic is cheapest as the same `Arc<str>` each time.
    pub fn publish(self, token: u64, topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) {
        self.publish_on(Lane::default(), token, topic, payload, None);
    }

    /// Gives a message that goes on a lane where there are several, and, where it answers a request, whose correlation data goes
    /// back with it. A topic keeps the lane of its first message.
    pub fn publish_on(
        self,
        lane: Lane,
        token: u64,
        topic: impl Into<Arc<str>>,
        payload: impl Into<Bytes>,
        correlation: Option<Bytes>,
    ) {
        self.0.send(Outgoing {
            lane,
            token,
            topic: topic.into(),
            payload: payload.into(),
            correlation,
        });
    }
}

impl Events {
    /// The next event; `None` once the uplink has ended. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, where there is one now.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}
