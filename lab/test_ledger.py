"""The referee of the kill rigs must see what is missing: a store with a hole, a cut, a flipped bit."""

import pathlib
import struct
import tempfile
import unittest

import ledger
import read_log

BOOT, STREAM = "1-00000002", "sim"


def stored(first, count):
    """A stored message of records `first` to `first + count - 1`."""
    head = struct.pack("<BBHHHIIIIQ", 1, 1, len(STREAM), 1, 0, count, 1, 2, 0, first)
    return head + STREAM.encode() + b"t" + b"{}"


def segment(number, base, groups):
    """A segment of one message a group."""
    out = bytearray(64)
    struct.pack_into("<8sHHB3xQQQ", out, 0, b"DUNLINSG", 1, 64, 1, number, base, 0)
    struct.pack_into("<I", out, 60, read_log.crc32c(out[:60]))
    position = base
    for payload in groups:
        for kind, body in ((read_log.DATA, payload), (read_log.COMMIT, bytes(8))):
            at = position + (kind == read_log.COMMIT)
            record = struct.pack("<IIQ", len(body) | kind << 24, 0, at) + body
            record += bytes(-len(record) % 8)
            crc = read_log.crc32c(struct.pack("<QQ", number, len(out)) + record[:4] + record[8:])
            out += record[:4] + struct.pack("<I", crc) + record[8:]
        position += 1
    return bytes(out)


class Referee(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.ledger = ledger.Ledger(pathlib.Path(self.temporary.name) / "agent", "drivers")
        self.normal = self.ledger.store / "normal"
        self.normal.mkdir(parents=True)
        (self.ledger.store / "format").write_text("dunlin-buffer 1\n")
        self.one = segment(0, 0, [stored(0, 10), stored(10, 10)])
        self.two = segment(1, 2, [stored(20, 10), stored(30, 10)])
        self.write(self.one, self.two)
        self.ledger.acked = {(BOOT, STREAM): 40}

    def write(self, one, two):
        for number, base, data in ((0, 0, one), (1, 2, two)):
            (self.normal / f"{number:016x}-{base:016x}.seg").write_bytes(data)

    def test_a_whole_store_has_all(self):
        self.assertEqual(self.ledger.check(), (40, 0, []))

    def test_a_store_that_cannot_be_read_has_nothing(self):
        (self.ledger.store / "format").write_text("")
        acked, lost, complaints = self.ledger.check()
        self.assertEqual((acked, lost), (40, 40))
        self.assertIn("format says ''", complaints[0])

    def test_a_missing_segment_is_seen(self):
        next(self.normal.glob("*-0000000000000000.seg")).unlink()
        self.assertEqual(self.ledger.check()[:2], (40, 20))

    def test_a_cut_is_seen(self):
        self.write(self.one, self.two[:-60])
        self.assertEqual(self.ledger.check()[:2], (40, 10))

    def test_a_flipped_bit_is_seen(self):
        for at in range(64, len(self.one) - 24):
            damaged = bytearray(self.one)
            damaged[at] ^= 1
            self.write(bytes(damaged), self.two)
            lost = self.ledger.check()[1]
            in_a_commit = 64 + 56 <= at < 64 + 56 + 24
            self.assertEqual(lost, 0 if in_a_commit else 10, at)

    def test_a_segment_that_took_the_place_of_another_is_seen(self):
        self.write(self.one, segment(0, 2, [stored(20, 10), stored(30, 10)]))
        self.assertEqual(self.ledger.check()[:2], (40, 20))

    def test_what_was_said_last_counts(self):
        line = '{{"message":"durable through","boot":"{}","stream":"sim","seq":{}}}\n'
        self.ledger.acked = {}
        self.ledger.log.write_text(line.format(BOOT, 3) + line.format(BOOT, 39) + '{"message":"durable through","bo')
        self.assertEqual(self.ledger.note(), 40)
        self.assertEqual(self.ledger.check(), (40, 0, []))
        self.ledger.log.write_text(line.format(BOOT, 44))
        self.assertEqual(self.ledger.note(), 5)
        self.assertEqual(self.ledger.check()[1], 5)


if __name__ == "__main__":
    unittest.main()
