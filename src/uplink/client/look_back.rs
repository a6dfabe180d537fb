//! The look back from a standby: a preferred endpoint is dialled beside the connection that works, which is left only
//! once the other one stands.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::task;
use crate::uplink::endpoint::Endpoint;
use crate::uplink::error::Lost;
use crate::uplink::transport::{Security, Stream};

/// A stream that was dialled ahead, and the place of its endpoint.
pub(super) type Ahead = (usize, Stream);

type Dial = Pin<Box<dyn Future<Output = Result<Stream, Lost>> + Send>>;

/// At most one attempt under way.
#[derive(Default)]
pub(super) struct LookBack(Option<(usize, Dial)>);

impl LookBack {
    /// Dials the endpoint at `index` within `bound`.
    pub(super) fn begin(
        index: usize,
        endpoint: Endpoint,
        security: Option<Security>,
        bound: Duration,
    ) -> LookBack {
        let dial = async move {
            // Without a hello: it would take the session from the connection that works.
            task::dial(&endpoint, security.as_ref(), &[], bound).await
        };
        LookBack(Some((index, Box::pin(dial))))
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// Waits for the answer; for ever where nothing is under way. Dropping the future loses nothing.
    pub(super) async fn answer(&mut self) -> (usize, Result<Stream, Lost>) {
        match &mut self.0 {
            Some((index, dial)) => (*index, dial.as_mut().await),
            None => std::future::pending().await,
        }
    }
}
