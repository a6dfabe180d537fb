#!/usr/bin/env python3
"""Takes the guards of src/buffer away, one at a time, and shows that its tests notice.

    lab/mutants.py             all of them, and a table
    lab/mutants.py WORD...     only those whose name has one of the words

Each fsync, each directory fsync, each checksum and each bound of the durable log has a line in MUTANTS: a piece of the
source and what takes its place. The module is tried in a crate of its own (buffer_crate.py), so that a mutant costs a few
seconds; two of them are tried at a time. The tests without any change must pass; with a change one must fail, or hang. A
piece that is no longer in the source ends the script: the table follows the code.
"""

import concurrent.futures
import queue
import re
import sys
import time

import buffer_crate
from buffer_crate import ROOT

CRATE = ROOT / "target/mutants"
# Each has a copy of the crate.
JOBS = 2

SYNC = "file sync"
DIRECTORY = "directory sync"
CHECKSUM = "checksum"
ORDER = "order"
BOUND = "bound"

# (kind, name, file, piece, what takes its place)
MUTANTS = [
    (SYNC, "group", "log.rs", 'active.file.sync().map_err(|e| Error::io("sync", path, e))?;', ""),
    (SYNC, "cursor", "cursor.rs", "    file.sync()?;\n", ""),
    (SYNC, "tail found at a start", "recovery.rs", 'file.sync().map_err(fail("sync"))?;', ""),
    (SYNC, "format", "engine.rs", "        file.sync()?;\n", ""),
    (DIRECTORY, "of a new segment", "log.rs", "self.shared.storage.sync_dir(dir);", "std::io::Result::Ok(());"),
    (DIRECTORY, "of a new cursor", "cursor.rs", 'storage.sync_dir(self.path.parent().expect("a file in a directory"))?;', ""),
    (DIRECTORY, "of a new store", "engine.rs", "[Some(dir), dir.parent()]", "[None, dir.parent()]"),
    (DIRECTORY, "of a new store's parent", "engine.rs", "[Some(dir), dir.parent()]", "[Some(dir), None]"),
    (DIRECTORY, "of a spare's new name", "spares.rs", "renamed.and_then(|()| storage.sync_dir(dir)).is_ok()", "renamed.is_ok()"),
    (CHECKSUM, "of a record", "format.rs", "u32_at(record, 4)? != checksum(segment_id, offset, record)", "u32_at(record, 4)? == 1"),
    (CHECKSUM, "of a segment header", "format.rs", "&bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 60)? != crc32c::crc32c(&bytes[..60])", "&bytes[..8] != SEGMENT_MAGIC"),
    (CHECKSUM, "of a cursor", "format.rs", "&bytes[..8] != CURSOR_MAGIC || u32_at(bytes, 60)? != crc32c::crc32c(&bytes[..60])", "&bytes[..8] != CURSOR_MAGIC"),
    (CHECKSUM, "covers the segment's id", "format.rs", "head[..8].copy_from_slice(&segment_id.to_le_bytes());", "let _ = segment_id;"),
    (CHECKSUM, "covers the offset", "format.rs", "head[8..16].copy_from_slice(&offset.to_le_bytes());", "let _ = offset;"),
    (CHECKSUM, "covers length and kind", "format.rs", "head[16..20].copy_from_slice(&record[..4]);", ""),
    (CHECKSUM, "covers the position", "format.rs", "head[20..28].copy_from_slice(&record[8..16]);", ""),
    (CHECKSUM, "covers the payload", "format.rs", "crc32c::crc32c_append(crc32c::crc32c(&head), &record[RECORD_HEADER_BYTES..])", "crc32c::crc32c(&head)"),
    (ORDER, "a failed write poisons its segment", "log.rs", "            self.poison();\n", ""),
    (ORDER, "a failed sync is an error", "log.rs", 'active.file.sync().map_err(|e| Error::io("sync", path, e))?;', "let _ = active.file.sync();"),
    (ORDER, "a failed sync is not tried again", "log.rs", "active.file.sync().map_err(", "active.file.sync().or_else(|_| active.file.sync()).map_err("),
    (ORDER, "cursor before unlink", "log.rs", "if end > self.cursor.durable {", "if false {"),
    (ORDER, "a drop is committed before it is done", "engine.rs", "self.report_drop(victim, payload.as_deref(), positions.end)?;", "let _ = payload;"),
    (ORDER, "a cursor goes before a segment that was released during a drop", "engine.rs", "self.logs[victim as usize].persist()?;", ""),
    (ORDER, "a drop raises the floor", "log.rs", "self.group(payload.into_iter(), RecordKind::Gap, floor)?;", "self.group(payload.into_iter(), RecordKind::Gap, self.floor)?;"),
    (ORDER, "a gap without its commit is void", "recovery.rs", " || record.kind == RecordKind::Gap", ""),
    (ORDER, "nothing is kept behind the first bad byte", "recovery.rs", "!committed && (*offset != tail.end || ", "!committed && (false || "),
    (ORDER, "a poisoned tail is void", "reader.rs", "(next..segment.end).contains(&record.position)", "(next..u64::MAX).contains(&record.position)"),
    (ORDER, "other cursors hold space back", "log.rs", "released.min(self.others)", "released"),
    (ORDER, "a start continues in a new segment", "recovery.rs", "segments.last().map_or(0, |s| s.id + 1)", "segments.last().map_or(0, |s| s.id)"),
    (ORDER, "a segment ends before the next one has a name", "log.rs", "        self.seal();\n        let id = self.next_id;", "        let id = self.next_id;"),
    (ORDER, "what a reader holds is not written over", "spares.rs", "Arc::strong_count(&segment.hold) == 1 && ", ""),
    (ORDER, "what is poisoned is not written over", "spares.rs", " && !segment.poisoned", ""),
    (ORDER, "a header of an older life says nothing", "format.rs", ".filter(|header| header.id == segment_id)", ""),
    (ORDER, "age over a reboot is the uptime", "age.rs", "_ => now.uptime_ms,", "_ => now.uptime_ms + 1,"),
    (ORDER, "age never goes back", "age.rs", "self.latest_ms.max(self.base_ms.saturating_add(passed_ms))", "self.base_ms.saturating_add(passed_ms)"),
    (BOUND, "spare files", "spares.rs", " || self.0.len() == SPARES_MAX", ""),
    (BOUND, "spare files are part of the size", "shared.rs", "segments.sum::<u64>() + self.spare_bytes", "segments.sum::<u64>()"),
    (BOUND, "ttl_ms", "log.rs", "now_ms.saturating_sub(ms) > ttl_ms", "now_ms.saturating_sub(ms) > ttl_ms * 2"),
    (BOUND, "ttl_ms, not before", "log.rs", "now_ms.saturating_sub(ms) > ttl_ms", "now_ms.saturating_sub(ms) > ttl_ms / 2"),
    (BOUND, "payload_bytes_max", "options.rs", "longest > PAYLOAD_BYTES_MAX", "false && longest > PAYLOAD_BYTES_MAX"),
    (BOUND, "append_bytes_max", "options.rs", "bytes > append_bytes_max", "false && bytes > append_bytes_max"),
    (BOUND, "size_max_bytes, drop_oldest", "engine.rs", "if !self.drop_oldest(class)? {", "if true {"),
    (BOUND, "size_max_bytes, block", "engine.rs", "if !self.fits(class, size_max)? {", "if false {"),
    (BOUND, "reserve for higher classes", "engine.rs", "const RESERVE_SEGMENTS: u64 = 3;", "const RESERVE_SEGMENTS: u64 = 0;"),
    (BOUND, "bulk never drops a higher class", "engine.rs", "filter(|v| *v <= class)", "filter(|_| true)"),
    (BOUND, "free_bytes_min", "engine.rs", "if growth > 0 && free < min + growth {", "if false {"),
    (BOUND, "queue_bytes_max", "writer.rs", "room.acquire_many_owned(bytes).await.ok()", "room.acquire_many_owned(bytes.min(0)).await.ok()"),
    (BOUND, "commit.records_max", "writer.rs", "let over = records > self.commit.records_max\n                || ", "let over = "),
    (BOUND, "commit.bytes_max", "writer.rs", "                || bytes > self.commit.bytes_max\n", ""),
    (BOUND, "interrupted calls", "fs.rs", "const INTERRUPTED_MAX: u32 = 1000;", "const INTERRUPTED_MAX: u32 = 10_000;"),
    (BOUND, "newest format known", "engine.rs", "(1..=FORMAT_VERSION).contains(&version)", "(1..=u16::MAX).contains(&version)"),
    (BOUND, "one agent a directory", "fs.rs", "match file.try_lock() {", "match Ok::<(), TryLockError>(()) {"),
]


def run(crate):
    """What the tests say of the crate as it is, the quick ones first: `green`, or why not; and all that they said."""
    status, said = buffer_crate.run(crate, "quick", "--no-run")
    if status:
        return "does not compile", said
    for profile in buffer_crate.PROFILES:
        status, said = buffer_crate.run(crate, profile)
        if status:
            failed = re.search(r"(FAIL|TIMEOUT|SIG[A-Z]+) \[.*?\] .*? buffer::(?:tests::)?(\S+)", said)
            if not failed:
                return "ends with an error", said
            return failed[2] + (", which hangs" if failed[1] == "TIMEOUT" else ""), said
    return "green", said


def one(crates, mutant):
    """The verdict on a mutant, and what was said; in a crate that nobody else has meanwhile."""
    _, _, file, piece, instead = mutant
    crate = crates.get()
    path = crate / "src/buffer" / file
    source = path.read_text()
    try:
        path.write_text(source.replace(piece, instead))
        return run(crate)
    finally:
        path.write_text(source)
        crates.put(crate)


def main(words):
    if words and words[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0
    chosen = [m for m in MUTANTS if not words or any(word in f"{m[0]} {m[1]}" for word in words)]
    for kind, name, file, piece, _ in chosen:
        count = (ROOT / "src/buffer" / file).read_text().count(piece)
        if count != 1:
            print(f"{file} has {count} times: {piece!r}\n  Remedy: make MUTANTS follow the code")
            return 1
    began = time.monotonic()
    places = [CRATE / str(number) for number in range(JOBS)]
    crates = queue.Queue()
    buffer_crate.make(places)
    for crate in places:
        verdict, said = run(crate)
        if verdict != "green":
            print(f"{said}\nthe tests fail without any change: {verdict}")
            return 1
        crates.put(crate)
    print(f"without any change: green, {time.monotonic() - began:.0f} s")
    survived = 0
    print(f"{'what is taken away':<58} what turns red")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        verdicts = pool.map(lambda mutant: one(crates, mutant), chosen)
        for (kind, name, *_), (verdict, said) in zip(chosen, verdicts):
            if verdict == "does not compile":
                print(f"{said}\n{kind}: {name}: the change does not compile, so it shows nothing")
                return 1
            survived += verdict == "green"
            print(f"{kind + ': ' + name:<58} {'NOTHING' if verdict == 'green' else verdict}", flush=True)
    print(f"mutants {len(chosen)}, caught {len(chosen) - survived}, survived {survived}, {time.monotonic() - began:.0f} s")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
