#!/usr/bin/env python3
"""Reads buffer directories as docs/buffer.md describes them, and shares no code with the agent that writes them.

    lab/read_log.py DIR...            one line of JSON a directory: per class what a reader must deliver
    lab/read_log.py --summary DIR...  the same for people

It opens files for reading only. Of each class it says: `released`, `floor`, `next` (positions), `frames` (position, kind,
payload in hexadecimal) from the first position that is neither released nor dropped, and `lost` (ranges of positions
that should be there and are not). A test compares all of it with what the agent makes of the same files.

It is the second opinion, so it is written to be read beside that page, and not to be fast: about 5 MB a second.
"""

import json
import pathlib
import struct
import sys

FORMATS = (1, 2)
CLASSES = ["bulk", "normal", "critical"]
DATA, GAP, COMMIT, PACKED = 0xD1, 0xD2, 0xD3, 0xD4
HEADER_BYTES, RECORD_HEADER_BYTES, ALIGN = 64, 16, 8
SLOT_OFFSETS = (0, 4096)


def crc_table():
    """CRC32C (Castagnoli), reflected polynomial 0x82F63B78, as RFC 3720 section B.4 has it."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def record_at(data, offset, segment):
    """(kind, position, payload, bytes) of the record at an offset, or None."""
    if offset + RECORD_HEADER_BYTES > len(data):
        return None
    word, stored, position = struct.unpack_from("<IIQ", data, offset)
    kind, length = word >> 24, word & 0xFFFFFF
    if kind not in (DATA, GAP, COMMIT, PACKED) or kind == COMMIT and length != 8:
        return None
    total = -(-(RECORD_HEADER_BYTES + length) // ALIGN) * ALIGN
    record = data[offset : offset + total]
    if len(record) < total:
        return None
    if stored != crc32c(struct.pack("<QQ", segment, offset) + record[:4] + record[8:]):
        return None
    payload = record[RECORD_HEADER_BYTES : RECORD_HEADER_BYTES + length]
    if kind == PACKED:
        payload = unpack(payload)
        if payload is None:
            return None
    return kind, position, payload, total


def unpack(packed):
    """The payload of a packed record: its length (4 bytes), then an LZ4 block. None where that is not what it is."""
    if len(packed) < 4:
        return None
    size, at, out = struct.unpack_from("<I", packed)[0], 4, bytearray()

    def length(nibble):
        nonlocal at
        total = nibble
        while nibble == 15:
            total += packed[at]
            at += 1
            if packed[at - 1] != 255:
                break
        return total

    try:
        while at < len(packed):
            token = packed[at]
            at += 1
            literals = length(token >> 4)
            out += packed[at : at + literals]
            at += literals
            if at >= len(packed):
                break
            back = packed[at] | packed[at + 1] << 8
            at += 2
            start = len(out) - back
            if back == 0 or start < 0:
                return None
            for more in range(length(token & 15) + 4):
                out.append(out[start + more])
    except IndexError:
        return None
    return bytes(out) if len(out) == size else None


def scan(data, segment):
    """Every good record of a segment: (offset, kind, position, payload, bytes). Damage is stepped over by 8 bytes."""
    records, offset = [], HEADER_BYTES
    while offset < len(data):
        found = record_at(data, offset, segment)
        if found:
            records.append((offset, *found))
            offset += found[3]
        else:
            offset += ALIGN
    return records


def header_floor(data, segment):
    """The floor in a segment's header, or None where the header does not check, or is of the file's older life."""
    head = data[:HEADER_BYTES]
    if len(head) < HEADER_BYTES or head[:8] != b"DUNLINSG" or head[12] >= len(CLASSES):
        return None
    if struct.unpack_from("<I", head, 60)[0] != crc32c(head[:60]):
        return None
    if struct.unpack_from("<Q", head, 16)[0] != segment:
        return None
    return struct.unpack_from("<Q", head, 32)[0]


def kept_tail(records):
    """Of the last segment: all up to the last commit; after it whole data frames up to the first bad byte or gap."""
    committed = max((at + 1 for at, record in enumerate(records) if record[1] == COMMIT), default=0)
    kept, end = [], HEADER_BYTES
    for at, record in enumerate(records):
        if at >= committed and (record[0] != end or record[1] == GAP):
            break
        kept.append(record)
        end = record[0] + record[4]
    return kept


def released_of(path):
    """Released position of a cursor file: that of its valid slot of the higher sequence, or None."""
    data, best = path.read_bytes(), None
    for offset in SLOT_OFFSETS:
        slot = data[offset : offset + 64]
        if len(slot) == 64 and slot[:8] == b"DUNLINCR" and struct.unpack_from("<I", slot, 60)[0] == crc32c(slot[:60]):
            sequence, released = struct.unpack_from("<QQ", slot, 16)
            if best is None or sequence > best[0]:
                best = (sequence, released)
    return best and best[1]


def read_class(folder, cursor):
    segments = []
    for path in folder.glob("*.seg"):
        name = path.name[: -len(".seg")].split("-")
        if len(name) == 2 and all(len(digits) == 16 for digits in name):
            segments.append((int(name[0], 16), int(name[1], 16), path.read_bytes()))
    segments.sort(key=lambda segment: segment[:2])

    path = folder / f"{cursor}.cursor"
    released = (released_of(path) or 0) if path.exists() else 0
    contents, end = [], released
    for at, (number, base, data) in enumerate(segments):
        records = scan(data, number)
        if at + 1 < len(segments):
            until = max(segments[at + 1][1], base)
        else:
            records = kept_tail(records)
            until = max([base] + [r[2] + (r[1] != COMMIT) for r in records])
            end = max(released, until)
        contents.append((base, until, records, (data, number)))

    floor = 0
    for base, until, records, head in reversed(contents):
        commits = [r for r in records if r[1] == COMMIT and r[2] <= until]
        found = struct.unpack("<Q", commits[-1][3])[0] if commits else header_floor(*head)
        if found is not None:
            floor = found
            break

    at, frames, lost = max(released, floor), [], []
    for base, until, records, _ in contents:
        for _, kind, position, payload, _ in records:
            if kind == COMMIT or not at <= position < until:
                continue
            if position > at:
                lost.append([at, position])
            frames.append([position, "gap" if kind == GAP else "data", payload.hex()])
            at = position + 1
        if until > at:
            lost.append([at, until])
            at = until
    if end > at:
        lost.append([at, end])
    return {"released": released, "floor": floor, "next": end, "frames": frames, "lost": joined(lost)}


def joined(ranges):
    """Neighbouring ranges as one."""
    out = []
    for start, end in ranges:
        if out and out[-1][1] == start:
            out[-1][1] = end
        else:
            out.append([start, end])
    return out


def read(directory, cursor="uplink"):
    """What a buffer directory holds, by class. ValueError where `format` does not say what this reader knows."""
    directory = pathlib.Path(directory)
    text = (directory / "format").read_text().strip()
    if text not in [f"dunlin-buffer {known}" for known in FORMATS]:
        raise ValueError(f"{directory}/format says {text!r}: this reader knows dunlin-buffer {FORMATS[-1]} and before")
    return {name: read_class(directory / name, cursor) for name in CLASSES if (directory / name).is_dir()}


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return
    summary = arguments[0] == "--summary"
    for directory in arguments[summary:]:
        try:
            classes = read(directory)
        except ValueError as error:
            raise SystemExit(str(error)) from error
        if not summary:
            print(json.dumps(classes))
            continue
        for name, log in classes.items():
            payload = sum(len(frame[2]) // 2 for frame in log["frames"])
            print(
                f"{directory} {name}: {len(log['frames'])} frames, {payload} bytes from position "
                f"{max(log['released'], log['floor'])} to {log['next']}, lost {log['lost'] or 'none'}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
