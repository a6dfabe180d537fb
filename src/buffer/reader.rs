//! Reading a log in order, from its cursor, durable frames only.

use super::format::{self, Record, RecordKind};
use super::fs::{StorageFile, read_full};
use super::shared::{Durable, Segment, Shared};
use super::{Class, Error};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// A stored payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its position in its log.
    pub position: u64,
    /// What was appended, or what `on_drop` built. Unless it was stored compressed, it shares memory with its neighbours
    /// of the same read.
    pub payload: Bytes,
}

/// What a read returned: at least a frame or a loss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Frames in order.
    pub frames: Vec<Frame>,
    /// Positions found damaged or missing, in order. They may include frames that were never acknowledged.
    pub lost: Vec<Range<u64>>,
}

impl Chunk {
    /// The last position that the chunk speaks of: to release once all its frames are delivered.
    pub fn last(&self) -> Option<u64> {
        let frame = self.frames.last().map(|f| f.position);
        let lost = self.lost.last().map(|r| r.end.saturating_sub(1));
        frame.max(lost)
    }

    /// What a read comes to that cannot go on at `next`: the error is for the read that gets nothing else.
    fn or(&self, error: Error, next: u64) -> Result<u64, Error> {
        if self.frames.is_empty() && self.lost.is_empty() {
            return Err(error);
        }
        Ok(next)
    }
}

/// Reads the log of one class.
pub struct Reader {
    shared: Arc<Shared>,
    class: Class,
    durable: watch::Receiver<Durable>,
    next: u64,
    /// Taken while a read is under way, and lost if its future is dropped: the next one then seeks anew.
    place: Option<Place>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, class: Class) -> Reader {
        let durable = shared.log(class).durable.subscribe();
        let mut reader = Reader {
            shared,
            class,
            durable,
            next: 0,
            place: None,
        };
        reader.rewind_to_cursor();
        reader
    }

    /// Goes back to the first frame that is not released: what a session does that lost its connection.
    pub fn rewind_to_cursor(&mut self) {
        let view = self.shared.log(self.class).view();
        self.next = view.released.max(view.floor);
        self.place = None;
    }

    /// The position that the next read starts at.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next frames, at most `frames_max` and about `bytes_max` of payload, at least one; waits for the
    /// first. Positions dropped by the policy are passed over in silence: their gap frame comes later in the
    /// same log. A future dropped before it resolves reads nothing. `Error::Closed` once the store is closed and
    /// everything is read.
    pub async fn next(&mut self, frames_max: usize, bytes_max: usize) -> Result<Chunk, Error> {
        loop {
            let durable = *self.durable.borrow_and_update();
            if self.next < durable.next {
                let mut place = self.place.take().unwrap_or_default();
                let (shared, class, from) = (self.shared.clone(), self.class, self.next);
                let read = move || {
                    let mut chunk = Chunk::default();
                    let limit = (frames_max.max(1), bytes_max);
                    let next = place.read(&shared, class, from, limit, &mut chunk)?;
                    Ok((place, next, chunk))
                };
                // The closure does not panic and the runtime outlives its futures.
                let outcome = tokio::task::spawn_blocking(read).await;
                let (place, next, chunk) = outcome.map_err(|_| Error::Closed)??;
                self.place = Some(place);
                self.next = next;
                if !chunk.frames.is_empty() || !chunk.lost.is_empty() {
                    return Ok(chunk);
                }
                continue;
            }
            if durable.closed {
                return Err(Error::Closed);
            }
            if self.durable.changed().await.is_err() {
                return Err(Error::Closed);
            }
        }
    }
}

/// Where a reader is: a segment, and a window of its bytes.
#[derive(Default)]
pub(super) struct Place {
    /// With the hold that keeps the file from being written over.
    pub(super) open: Option<(u64, Arc<dyn StorageFile>, Arc<()>)>,
    window: Bytes,
    /// Offset of the window in the segment.
    window_at: u64,
    /// Offset of the next record.
    offset: u64,
}

impl Place {
    /// Reads from position `next` on, and returns the position after what it read.
    pub(super) fn read(
        &mut self,
        shared: &Shared,
        class: Class,
        mut next: u64,
        (frames_max, bytes_max): (usize, usize),
        chunk: &mut Chunk,
    ) -> Result<u64, Error> {
        let mut bytes = 0;
        loop {
            let found = match segment_of(shared, class, next) {
                Ok(found) => found,
                // With frames in hand, what comes behind them is looked at next time.
                Err(_) if !chunk.frames.is_empty() => return Ok(next),
                Err(missing) => {
                    // Segments were taken away from outside: say so instead of waiting for ever.
                    if !missing.is_empty() {
                        shared.counters.frames_lost.add(missing.end - missing.start);
                        chunk.lost.push(missing.clone());
                    }
                    return Ok(missing.end);
                }
            };
            let Found {
                segment,
                lost,
                start,
            } = found;
            if let Some(lost) = lost {
                shared.counters.frames_lost.add(lost.end - lost.start);
                chunk.lost.push(lost);
            }
            next = start;
            if let Err(e) = self.enter(shared, &segment) {
                if e.kind() == std::io::ErrorKind::NotFound {
                    next = gone(shared, class, &segment, next, chunk);
                    continue;
                }
                return chunk.or(Error::io("open", &segment.path, e), next);
            }
            while next < segment.end {
                if chunk.frames.len() >= frames_max || (bytes >= bytes_max && bytes > 0) {
                    return Ok(next);
                }
                let found = match self.record(&segment, next) {
                    Ok(found) => found,
                    Err(e) => return chunk.or(Error::io("read", &segment.path, e), next),
                };
                let until = found
                    .as_ref()
                    .map_or(segment.end, |(position, _)| *position);
                if until > next {
                    chunk.lost.push(next..until);
                    shared.counters.frames_lost.add(until - next);
                    shared.counters.records_corrupt.add(1);
                }
                let Some((position, payload)) = found else {
                    next = segment.end;
                    break;
                };
                bytes += payload.len();
                chunk.frames.push(Frame { position, payload });
                next = position + 1;
            }
            if chunk.frames.len() >= frames_max || bytes >= bytes_max {
                break;
            }
        }
        Ok(next)
    }

    fn enter(&mut self, shared: &Shared, segment: &Segment) -> std::io::Result<()> {
        if self.open.as_ref().is_some_and(|(id, ..)| *id == segment.id) {
            return Ok(());
        }
        let file = shared.storage.open(&segment.path, false)?;
        self.open = Some((segment.id, file, segment.hold.clone()));
        self.window = Bytes::new();
        self.window_at = 0;
        self.offset = format::SEGMENT_HEADER_BYTES;
        Ok(())
    }

    /// The next good frame at or after position `next`.
    fn record(&mut self, segment: &Segment, next: u64) -> std::io::Result<Option<(u64, Bytes)>> {
        while self.offset < segment.bytes {
            let Some(record) = self.parse(segment)? else {
                // Damage: try every place where a record could start.
                self.offset += format::ALIGN;
                continue;
            };
            let at = self.offset;
            self.offset += record.bytes();
            let within = (next..segment.end).contains(&record.position);
            if record.kind == RecordKind::Commit || !within {
                continue;
            }
            let from = index(at - self.window_at) + format::RECORD_HEADER_BYTES;
            let payload = self.window.slice(from..from + record.payload_bytes);
            if record.kind != RecordKind::Packed {
                return Ok(Some((record.position, payload)));
            }
            if let Some(payload) = format::unpack(&payload) {
                return Ok(Some((record.position, payload.into())));
            }
        }
        Ok(None)
    }

    /// Checks the record at the offset, with the window moved so that it is inside.
    fn parse(&mut self, segment: &Segment) -> std::io::Result<Option<Record>> {
        let header = format::RECORD_HEADER_BYTES;
        if !self.show(segment, header)? {
            return Ok(None);
        }
        let at = index(self.offset - self.window_at);
        let Some(bytes) = format::peek(&self.window[at..]) else {
            return Ok(None);
        };
        if !self.show(segment, bytes)? {
            return Ok(None);
        }
        let at = index(self.offset - self.window_at);
        Ok(format::parse(&self.window[at..], segment.id, self.offset))
    }

    /// Makes `bytes` from the offset on visible in the window, if the segment has them.
    fn show(&mut self, segment: &Segment, bytes: usize) -> std::io::Result<bool> {
        let end = self.offset + bytes as u64;
        if end > segment.bytes {
            return Ok(false);
        }
        if self.offset >= self.window_at && end <= self.window_at + self.window.len() as u64 {
            return Ok(true);
        }
        let Some((_, file, _)) = &self.open else {
            return Ok(false);
        };
        let left = usize::try_from(segment.bytes - self.offset).unwrap_or(usize::MAX);
        let mut window = BytesMut::zeroed(bytes.max(READ_BYTES.min(left)));
        let read = read_full(file.as_ref(), &mut window, self.offset)?;
        window.truncate(read);
        self.window = window.freeze();
        self.window_at = self.offset;
        Ok(read >= bytes)
    }
}

/// An offset within a window, which is an allocation and so fits.
fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a window is smaller than the address space")
}

/// A segment is not where it was: removed because it was dropped or released since we looked, or taken away from outside.
/// What was neither is lost. Returns the position to go on from.
fn gone(shared: &Shared, class: Class, segment: &Segment, next: u64, chunk: &mut Chunk) -> u64 {
    let view = shared.log(class).view();
    let missing = next.max(view.released).max(view.floor)..segment.end;
    if !missing.is_empty() {
        shared.counters.frames_lost.add(missing.end - missing.start);
        chunk.lost.push(missing);
    }
    segment.end
}

/// Where to read on.
struct Found {
    segment: Segment,
    /// What is missing before it though it was not dropped.
    lost: Option<Range<u64>>,
    start: u64,
}

/// The segment that holds position `next` or the first one after it; where there is none, what is missing up to the log's next
/// position though it was not dropped.
fn segment_of(shared: &Shared, class: Class, next: u64) -> Result<Found, Range<u64>> {
    let view = shared.log(class).view();
    let next = next.max(view.floor);
    // Few segments are passed before the one in question, save after a long outage; then this is a binary search.
    let at = view.segments.partition_point(|s| s.end <= next);
    let Some(segment) = view.segments.get(at).cloned() else {
        return Err(next..view.next);
    };
    let start = next.max(segment.base);
    // What is released was delivered, to this reader or to the one before a restart.
    let missing = next.max(view.released)..start;
    let lost = (!missing.is_empty()).then_some(missing);
    Ok(Found {
        segment,
        lost,
        start,
    })
}
