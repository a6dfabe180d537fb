//! Bytes on disk, as the module's documentation states them. No I/O here.

use crate::record::Class;

/// Version of the files that this agent writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 2;
/// Bytes that one payload may have.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 24) - 1;

/// Records start at multiples of this.
pub(super) const ALIGN: u64 = 8;
pub(super) const RECORD_HEADER_BYTES: usize = 16;
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
/// Bytes of a commit record.
pub(super) const COMMIT_BYTES: u64 = 24;
/// Offsets of a cursor file's two slots: one sector of the disk never holds both.
pub(super) const CURSOR_SLOTS: [u64; 2] = [0, 4096];
pub(super) const CURSOR_SLOT_BYTES: usize = 64;

/// Payloads below this are stored as they are.
const PACK_BYTES_MIN: usize = 64;
/// A position above it was written by nobody: a record a nanosecond reaches it after 292 years.
const POSITION_MAX: u64 = u64::MAX / 2;
const SEGMENT_MAGIC: &[u8; 8] = b"DUNLINSG";
const CURSOR_MAGIC: &[u8; 8] = b"DUNLINCR";
/// Ends the name of a file that is kept to become a segment again.
pub(super) const SPARE: &str = ".spare";
const LENGTH_MASK: u32 = 0x00ff_ffff;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// An appended payload.
    Data,
    /// A gap frame; void unless a commit follows.
    Gap,
    /// The end of a group.
    Commit,
    /// An appended payload, compressed.
    Packed,
}

impl RecordKind {
    fn byte(self) -> u8 {
        match self {
            RecordKind::Data => 0xd1,
            RecordKind::Gap => 0xd2,
            RecordKind::Commit => 0xd3,
            RecordKind::Packed => 0xd4,
        }
    }

    fn from_byte(byte: u8) -> Option<RecordKind> {
        let all = [
            RecordKind::Data,
            RecordKind::Gap,
            RecordKind::Commit,
            RecordKind::Packed,
        ];
        all.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: RecordKind,
    pub(super) position: u64,
    pub(super) payload_bytes: usize,
}

impl Record {
    /// Bytes it takes in the segment.
    pub(super) fn bytes(&self) -> u64 {
        record_bytes(self.payload_bytes)
    }
}

/// Bytes of the record of a payload, padding included.
pub(super) fn record_bytes(payload_bytes: usize) -> u64 {
    ((payload_bytes + RECORD_HEADER_BYTES) as u64).next_multiple_of(ALIGN)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

fn checksum(segment_id: u64, offset: u64, record: &[u8]) -> u32 {
    let mut head = [0; 28];
    head[..8].copy_from_slice(&segment_id.to_le_bytes());
    head[8..16].copy_from_slice(&offset.to_le_bytes());
    head[16..20].copy_from_slice(&record[..4]);
    head[20..28].copy_from_slice(&record[8..16]);
    crc32c::crc32c_append(crc32c::crc32c(&head), &record[RECORD_HEADER_BYTES..])
}

/// Appends a record to `out`, whose first byte lies at `out_offset` of the segment.
pub(super) fn encode(
    out: &mut Vec<u8>,
    out_offset: u64,
    segment_id: u64,
    kind: RecordKind,
    position: u64,
    payload: &[u8],
) {
    let at = out.len();
    let length = u32::try_from(payload.len()).expect("payloads are checked against their bound");
    let word = length & LENGTH_MASK | u32::from(kind.byte()) << 24;
    out.extend_from_slice(&word.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(payload);
    let align = usize::try_from(ALIGN).expect("eight");
    out.resize(at + (out.len() - at).next_multiple_of(align), 0);
    let sum = checksum(segment_id, out_offset + at as u64, &out[at..]);
    out[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
}

/// The payload of a packed record: the length of what is packed (4 bytes), then an LZ4 block. `None` where that saves
/// less than an eighth.
pub(super) fn pack(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < PACK_BYTES_MIN {
        return None;
    }
    let packed = lz4_flex::block::compress_prepend_size(payload);
    (packed.len() <= payload.len() - payload.len() / 8).then_some(packed)
}

/// What was packed.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (bytes, block) = lz4_flex::block::uncompressed_size(packed).ok()?;
    if bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = lz4_flex::block::decompress(block, bytes).ok()?;
    (payload.len() == bytes).then_some(payload)
}

/// Bytes that the record starting here claims to have, if it can be one at all.
pub(super) fn peek(bytes: &[u8]) -> Option<usize> {
    let word = u32_at(bytes, 0)?;
    let kind = RecordKind::from_byte(word.to_le_bytes()[3])?;
    let payload = usize::try_from(word & LENGTH_MASK).ok()?;
    if kind == RecordKind::Commit && payload != 8 {
        return None;
    }
    usize::try_from(record_bytes(payload)).ok()
}

/// The record at the start of `bytes`, which lie at `offset` of the segment, if it is whole and its checksum right.
pub(super) fn parse(bytes: &[u8], segment_id: u64, offset: u64) -> Option<Record> {
    let record = bytes.get(..peek(bytes)?)?;
    let word = u32_at(record, 0)?;
    if u32_at(record, 4)? != checksum(segment_id, offset, record) {
        return None;
    }
    let position = u64_at(record, 8)?;
    if position > POSITION_MAX {
        return None;
    }
    Some(Record {
        kind: RecordKind::from_byte(word.to_le_bytes()[3])?,
        position,
        payload_bytes: usize::try_from(word & LENGTH_MASK).ok()?,
    })
}

/// The floor that a commit record at the start of `bytes` states.
pub(super) fn commit_floor(bytes: &[u8]) -> Option<u64> {
    u64_at(bytes, RECORD_HEADER_BYTES)
}

/// When a segment was begun, by clocks that nobody sets. All zero in a segment of format 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Age of the log, in milliseconds.
    pub(super) age_ms: u64,
    /// Checksum of the kernel's boot id, 0 where it is not known.
    pub(super) boot: u32,
    /// Time since that boot, in milliseconds.
    pub(super) uptime_ms: u64,
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) class: Class,
    /// Whether the file was an older segment, whose bytes may follow the last record.
    pub(super) recycled: bool,
    pub(super) id: u64,
    pub(super) base: u64,
    pub(super) floor: u64,
    pub(super) begun: Stamp,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; 64] {
        let mut out = [0; 64];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&64u16.to_le_bytes());
        out[12] = self.class as u8;
        out[13] = u8::from(self.recycled);
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24..32].copy_from_slice(&self.base.to_le_bytes());
        out[32..40].copy_from_slice(&self.floor.to_le_bytes());
        out[40..48].copy_from_slice(&self.begun.age_ms.to_le_bytes());
        out[48..56].copy_from_slice(&self.begun.uptime_ms.to_le_bytes());
        out[56..60].copy_from_slice(&self.begun.boot.to_le_bytes());
        let sum = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<SegmentHeader> {
        let bytes = bytes.get(..64)?;
        if &bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 60)? != crc32c::crc32c(&bytes[..60]) {
            return None;
        }
        Some(SegmentHeader {
            class: *Class::ALL.get(usize::from(bytes[12]))?,
            recycled: bytes[13] & 1 == 1,
            id: u64_at(bytes, 16)?,
            base: u64_at(bytes, 24)?,
            floor: u64_at(bytes, 32)?,
            begun: Stamp {
                age_ms: u64_at(bytes, 40)?,
                uptime_ms: u64_at(bytes, 48)?,
                boot: u32_at(bytes, 56)?,
            },
        })
    }

    /// The header of the segment of that id: a recycled file may still have that of its older life.
    pub(super) fn of(bytes: &[u8], segment_id: u64) -> Option<SegmentHeader> {
        SegmentHeader::parse(bytes).filter(|header| header.id == segment_id)
    }
}

/// Name of a segment's file.
pub(super) fn segment_name(id: u64, base: u64) -> String {
    format!("{id:016x}-{base:016x}.seg")
}

/// Name of a file that is kept to become a segment again.
pub(super) fn spare_name(id: u64) -> String {
    format!("{id:016x}{SPARE}")
}

/// Id and base of the segment of that name, if it is one.
pub(super) fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (id, base) = name.strip_suffix(".seg")?.split_once('-')?;
    if id.len() != 16 || base.len() != 16 {
        return None;
    }
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    Some((hex(id)?, hex(base)?))
}

/// A slot of a cursor file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CursorSlot {
    pub(super) sequence: u64,
    pub(super) released: u64,
}

impl CursorSlot {
    pub(super) fn encode(&self) -> [u8; CURSOR_SLOT_BYTES] {
        let mut out = [0; CURSOR_SLOT_BYTES];
        out[..8].copy_from_slice(CURSOR_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.released.to_le_bytes());
        let sum = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<CursorSlot> {
        let bytes = bytes.get(..CURSOR_SLOT_BYTES)?;
        if &bytes[..8] != CURSOR_MAGIC || u32_at(bytes, 60)? != crc32c::crc32c(&bytes[..60]) {
            return None;
        }
        Some(CursorSlot {
            sequence: u64_at(bytes, 16)?,
            released: u64_at(bytes, 24)?,
        })
    }
}

/// What lies in a segment, found by looking at every byte once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Offset, kind, position and payload length of each good record, commits included.
    pub(super) records: Vec<(u64, Record)>,
    /// Damaged or empty stretches between good records, as offsets.
    pub(super) damage: Vec<std::ops::Range<u64>>,
    /// Offset after the last good record, or after the header.
    pub(super) end: u64,
    /// Offset after the last byte that is not zero, rounded up to a record's place: beyond `end` where the tail
    /// is torn.
    pub(super) used: u64,
    /// Position and floor of each commit.
    pub(super) commits: Vec<(u64, u64)>,
    /// Whether the file was another segment before, whose bytes follow the last record.
    pub(super) recycled: bool,
}

impl Scan {
    /// Bytes of half-written groups behind `end`. What is of an older life is not one of them.
    pub(super) fn torn_bytes(&self, end: u64) -> u64 {
        let until = if self.recycled { self.end } else { self.used };
        until.saturating_sub(end)
    }
}

/// Looks through the bytes of a whole segment. Damage is skipped to the next record that checks.
pub(super) fn scan(bytes: &[u8], segment_id: u64) -> Scan {
    let nonzero = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1) as u64;
    let mut scan = Scan {
        end: SEGMENT_HEADER_BYTES,
        used: nonzero.next_multiple_of(ALIGN).max(SEGMENT_HEADER_BYTES),
        recycled: SegmentHeader::parse(bytes).is_some_and(|h| h.recycled || h.id != segment_id),
        ..Scan::default()
    };
    let mut offset = SEGMENT_HEADER_BYTES;
    // The last record may end in zero bytes, but its header is not zero.
    while offset < scan.used {
        let at = usize::try_from(offset).expect("an offset in a slice");
        let Some(record) = bytes.get(at..).and_then(|b| parse(b, segment_id, offset)) else {
            offset += ALIGN;
            continue;
        };
        if offset > scan.end {
            scan.damage.push(scan.end..offset);
        }
        if record.kind == RecordKind::Commit {
            let floor = commit_floor(&bytes[at..]);
            scan.commits
                .extend(floor.map(|floor| (record.position, floor)));
        }
        scan.records.push((offset, record));
        offset += record.bytes();
        scan.end = offset;
    }
    scan
}
