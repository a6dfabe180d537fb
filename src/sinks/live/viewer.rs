//! One viewer of the agent's side.

use dunlin_ring::Consumer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Sends what is published from now on, as it lies in the ring, until the viewer or the ring is gone. Gives the seat back.
pub(super) async fn show(mut stream: UnixStream, mut seat: Consumer) -> Consumer {
    // What was there before is not for this one.
    while seat.try_batch().is_ok() {}
    let (mut from, mut to) = stream.split();
    loop {
        tokio::select! {
            batch = seat.next() => match batch {
                Some(batch) if to.write_all(batch.as_bytes()).await.is_ok() => {}
                _ => break,
            },
            // A viewer says nothing: it is gone.
            _ = from.read_u8() => break,
        }
    }
    seat
}
