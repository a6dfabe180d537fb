//! Which addresses are lent memory, in a form that a signal handler may read: fixed slots of atomics, no lock.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a mapping is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// `out` of `read`.
    Samples,
    /// `out` of `channels`.
    Channels,
    /// `out` of `read_frames`.
    Frames,
    /// `bytes` of `read_frames`.
    FrameBytes,
    /// `options` of `open`.
    Options,
    /// `why` of `open` and `explain`.
    Text,
    /// `device` of `open`.
    DeviceOut,
    /// `value` of `write`.
    Value,
}

impl Region {
    const ALL: [Region; 8] = [
        Region::Samples,
        Region::Channels,
        Region::Frames,
        Region::FrameBytes,
        Region::Options,
        Region::Text,
        Region::DeviceOut,
        Region::Value,
    ];

    /// The region of a number that crossed the wire, from 1.
    pub(crate) fn from_number(number: u32) -> Option<Region> {
        Region::ALL
            .into_iter()
            .find(|region| region.number() == number)
    }

    /// The number of the region, from 1.
    pub(crate) fn number(self) -> u32 {
        match self {
            Region::Samples => 1,
            Region::Channels => 2,
            Region::Frames => 3,
            Region::FrameBytes => 4,
            Region::Options => 5,
            Region::Text => 6,
            Region::DeviceOut => 7,
            Region::Value => 8,
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Region::Samples => "read out",
            Region::Channels => "channels out",
            Region::Frames => "read_frames out",
            Region::FrameBytes => "read_frames bytes",
            Region::Options => "open options",
            Region::Text => "why",
            Region::DeviceOut => "open device",
            Region::Value => "write value",
        })
    }
}

/// Where in a region an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the guard in front.
    Before,
    /// In the body.
    Inside,
    /// In the guard behind.
    After,
}

impl Place {
    /// The place of a number that crossed the wire, from 1.
    pub(crate) fn from_number(number: u32) -> Option<Place> {
        match number {
            1 => Some(Place::Before),
            2 => Some(Place::Inside),
            3 => Some(Place::After),
            _ => None,
        }
    }

    /// The number of the place, from 1.
    pub(crate) fn number(self) -> u32 {
        match self {
            Place::Before => 1,
            Place::Inside => 2,
            Place::After => 3,
        }
    }
}

/// Mappings that are known at once. A host has 8 (one device); more are not attributed, and nothing else breaks.
const SLOTS: usize = 32;

struct Slot {
    /// 0 = free, else the region's number.
    region: AtomicUsize,
    start: AtomicUsize,
    body: AtomicUsize,
    body_bytes: AtomicUsize,
    guard_bytes: AtomicUsize,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        region: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        body: AtomicUsize::new(0),
        body_bytes: AtomicUsize::new(0),
        guard_bytes: AtomicUsize::new(0),
    }
}; SLOTS];

/// Makes a mapping known; returns its slot, `SLOTS` where none was free.
pub(crate) fn register(
    region: Region,
    start: usize,
    body: usize,
    body_bytes: usize,
    guard_bytes: usize,
) -> usize {
    // Claimed with a number that no region has, so that a handler ignores the slot until it is whole.
    const CLAIMED: usize = usize::MAX;
    for (index, slot) in TABLE.iter().enumerate() {
        let claimed = slot
            .region
            .compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Relaxed);
        if claimed.is_ok() {
            slot.start.store(start, Ordering::Relaxed);
            slot.body.store(body, Ordering::Relaxed);
            slot.body_bytes.store(body_bytes, Ordering::Relaxed);
            slot.guard_bytes.store(guard_bytes, Ordering::Relaxed);
            slot.region
                .store(region.number() as usize, Ordering::Release);
            return index;
        }
    }
    SLOTS
}

/// Forgets a mapping.
pub(crate) fn forget(slot: usize) {
    if let Some(slot) = TABLE.get(slot) {
        slot.region.store(0, Ordering::Release);
    }
}

/// Which lent memory an address belongs to. Async-signal-safe.
pub(crate) fn find(address: usize) -> Option<(Region, Place)> {
    TABLE.iter().find_map(|slot| {
        let number = u32::try_from(slot.region.load(Ordering::Acquire)).ok()?;
        let region = Region::from_number(number)?;
        let start = slot.start.load(Ordering::Relaxed);
        let body = slot.body.load(Ordering::Relaxed);
        let end = body.wrapping_add(slot.body_bytes.load(Ordering::Relaxed));
        let last = end.wrapping_add(slot.guard_bytes.load(Ordering::Relaxed));
        let place = if (start..body).contains(&address) {
            Place::Before
        } else if (body..end).contains(&address) {
            Place::Inside
        } else if (end..last).contains(&address) {
            Place::After
        } else {
            return None;
        };
        Some((region, place))
    })
}
