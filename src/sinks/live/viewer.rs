//! One viewer of the agent's side.

use super::LENGTH_BYTES;
use dunlin_ring::{Batch, Consumer};
use std::io::{self, IoSlice};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Messages that are handed to the kernel at once: a kibibyte of addresses, which each viewer's task has room for.
const MESSAGES: usize = 32;

/// Sends what is published from now on, as it lies in the ring, until the viewer or the ring is gone. Gives the seat back.
pub(super) async fn show(mut stream: UnixStream, mut seat: Consumer) -> Consumer {
    // What was there before is not for this one.
    while seat.try_batch().is_ok() {}
    let (mut from, mut to) = stream.split();
    loop {
        tokio::select! {
            batch = seat.next() => match batch {
                Some(batch) if send(&mut to, batch).await.is_ok() => {}
                _ => break,
            },
            // A viewer says nothing: it is gone.
            _ = from.read_u8() => break,
        }
    }
    seat
}

/// Sends messages from where they lie, in front of each its length.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), batch: Batch<'_>) -> io::Result<()> {
    let mut messages = batch.iter();
    while messages.len() > 0 {
        let mut lengths = [[0; LENGTH_BYTES]; MESSAGES];
        let mut parts = [IoSlice::new(&[]); 2 * MESSAGES];
        let mut filled = 0;
        let pairs = parts.chunks_exact_mut(2);
        // The messages come last: where there is no place left, none was taken.
        for ((pair, length), message) in pairs.zip(&mut lengths).zip(&mut messages) {
            *length = u32::try_from(message.len())
                .expect("less than a slab")
                .to_ne_bytes();
            pair[0] = IoSlice::new(length);
            pair[1] = IoSlice::new(message);
            filled += 2;
        }
        let mut left = &mut parts[..filled];
        while !left.is_empty() {
            let sent = to.write_vectored(left).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, sent);
        }
    }
    Ok(())
}
