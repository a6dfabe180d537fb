//! A recording, once, at the pace that is wanted.

use super::{FRAME_BYTES_MAX, Pace, Receiver, channel, record};
use crate::record::{Body, Channel, Quality};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Longest line, in bytes: that of the longest frame.
const LINE_BYTES_MAX: u64 = 2 * FRAME_BYTES_MAX as u64;
/// Pieces or lines that are read at once.
const ITEMS_MAX: usize = 64;

/// What is read at once, with the time since the first, in nanoseconds, at which each is due.
type Read = (BufReader<File>, Vec<(u64, Body)>);

/// The keys of a line that are of use.
#[derive(Deserialize)]
struct Line {
    monotonic_ns: u64,
    channel: Option<String>,
    frame: Option<String>,
}

/// A frame of a recording.
#[derive(Debug)]
pub struct Recorded {
    /// When it came, by the monotonic clock.
    pub monotonic_ns: u64,
    /// The channel that it came on.
    pub channel: String,
    /// What was in it.
    pub bytes: Vec<u8>,
}

/// The next line that is a frame, none at the end; others are passed over.
pub fn next_frame(lines: &mut impl BufRead) -> io::Result<Option<Recorded>> {
    loop {
        let mut text = Vec::new();
        let bytes = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut text)?;
        if bytes == 0 {
            return Ok(None);
        }
        let Ok(Line {
            monotonic_ns,
            channel: Some(channel),
            frame: Some(encoded),
        }) = serde_json::from_slice(&text)
        else {
            continue;
        };
        if let Ok(bytes) = STANDARD.decode(encoded) {
            return Ok(Some(Recorded {
                monotonic_ns,
                channel,
                bytes,
            }));
        }
    }
}

impl Receiver {
    pub(super) async fn file(&mut self, path: PathBuf, pace: Pace) {
        let shown = path.display().to_string();
        let ended = match spawn_blocking(move || File::open(path)).await {
            Ok(Ok(file)) => self.replay(BufReader::new(file), pace).await,
            Ok(Err(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        };
        match ended {
            Ok(()) => self.stats.state.set("ended"),
            Err(error) => {
                self.stats.device_errors.add(1);
                let why = format!("cannot read {shown}: {error}");
                tracing::warn!(source = %self.stream, "{why}");
                self.stats.state.set(why);
            }
        }
        // The sender lives as long as the agent; its end means stop as well.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }

    async fn replay(&mut self, mut file: BufReader<File>, pace: Pace) -> io::Result<()> {
        self.stats.state.set("running");
        let start = Instant::now();
        // Bytes that were read, or the time of the first line.
        let mut from = None;
        loop {
            let frames = channel(&self.channel.name);
            let read = spawn_blocking(move || -> io::Result<(Read, Option<u64>)> {
                let mut from = from;
                let items = match pace {
                    Pace::Raw {
                        piece_bytes,
                        bytes_per_s,
                    } => pieces(&mut file, piece_bytes, bytes_per_s, &mut from, &frames)?,
                    Pace::Lines { speed } => lines(&mut file, speed, &mut from)?,
                };
                Ok(((file, items), from))
            });
            let ((back, items), next) = read.await.map_err(io::Error::other)??;
            (file, from) = (back, next);
            if items.is_empty() {
                return Ok(());
            }
            for (due_ns, made) in items {
                let wait = (start + Duration::from_nanos(due_ns))
                    .saturating_duration_since(Instant::now());
                if self.rest(wait).await {
                    return Ok(());
                }
                // With the time at which it comes now, not that of the recording.
                self.send(vec![record(made)]).await;
            }
        }
    }
}

fn frame(channel: &Arc<Channel>, bytes: Vec<u8>) -> Body {
    Body::Frame {
        channel: Arc::clone(channel),
        bytes: bytes.into(),
        quality: Quality::Good,
    }
}

fn pieces(
    file: &mut BufReader<File>,
    piece_bytes: usize,
    bytes_per_s: u64,
    read: &mut Option<u64>,
    channel: &Arc<Channel>,
) -> io::Result<Vec<(u64, Body)>> {
    let mut items = Vec::new();
    while items.len() < ITEMS_MAX {
        let mut piece = Vec::with_capacity(piece_bytes);
        let bytes = file
            .by_ref()
            .take(piece_bytes as u64)
            .read_to_end(&mut piece)?;
        if bytes == 0 {
            break;
        }
        let before = read.unwrap_or(0);
        let due = u128::from(before) * 1_000_000_000 / u128::from(bytes_per_s.max(1));
        let due_ns = if bytes_per_s == 0 {
            0
        } else {
            u64::try_from(due).unwrap_or(u64::MAX)
        };
        *read = Some(before + bytes as u64);
        items.push((due_ns, frame(channel, piece)));
    }
    Ok(items)
}

fn lines(
    file: &mut BufReader<File>,
    speed: f64,
    first: &mut Option<u64>,
) -> io::Result<Vec<(u64, Body)>> {
    let mut items = Vec::new();
    while items.len() < ITEMS_MAX {
        let Some(Recorded {
            monotonic_ns,
            channel: name,
            bytes,
        }) = next_frame(file)?
        else {
            break;
        };
        let since = monotonic_ns.saturating_sub(*first.get_or_insert(monotonic_ns));
        let scaled = Duration::from_nanos(since).as_secs_f64() / speed;
        let due = Duration::try_from_secs_f64(scaled).unwrap_or_default();
        items.push((
            u64::try_from(due.as_nanos()).unwrap_or(u64::MAX),
            frame(&channel(&name), bytes),
        ));
    }
    Ok(items)
}
