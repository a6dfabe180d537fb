#!/usr/bin/env python3
"""Tests of count.py: it must see every loss, or a 0 in its column means nothing."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

COUNT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count.py")


def payload(seq, records, stream="sim", boot="1-00000001"):
    return json.dumps({"v": 1, "agent": "gw", "boot": boot, "stream": stream, "seq": seq, "records": [{}] * records})


def count(lines, uplinked=0, tail="\n"):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(lines) + tail)
        file.flush()
        done = subprocess.run(
            [sys.executable, COUNT, file.name, "--json", "--uplinked", str(uplinked)], capture_output=True, text=True
        )
    return done.returncode, json.loads(done.stdout)


class Count(unittest.TestCase):
    def check(self, lines, status, uplinked=0, tail="\n", **expected):
        code, found = count(lines, uplinked, tail)
        self.assertEqual({key: found[key] for key in expected}, expected)
        self.assertEqual(code, status)

    def test_whole(self):
        self.check([payload(0, 10), payload(10, 5), payload(0, 3, "host")], 0, 18, received=18, holes=0, lost=0)

    def test_duplicates_are_counted_once(self):
        self.check([payload(0, 10), payload(0, 10), payload(5, 10)], 0, 15, received=15, duplicates=15, steps_back=1)

    def test_hole(self):
        self.check([payload(0, 10), payload(11, 5)], 1, 15, received=15, holes=1, lost=1)

    def test_first_missing(self):
        self.check([payload(1, 10)], 1, 10, holes=1, lost=1)

    def test_last_missing(self):
        self.check([payload(0, 10)], 1, 12, received=10, holes=0, lost=2)

    def test_late_record_fills_its_hole_and_shows_as_out_of_order(self):
        self.check([payload(0, 10), payload(20, 5), payload(10, 10)], 0, 25, received=25, holes=0, steps_back=1)

    def test_each_boot_counts_from_zero(self):
        self.check([payload(0, 4), payload(0, 4, boot="2-00000002")], 0, 8, received=8, duplicates=0, holes=0)

    def test_a_loss_in_one_stream_is_not_hidden_by_another(self):
        self.check([payload(0, 9), payload(1, 5, "host")], 1, 14, received=14, holes=1, lost=1)

    def test_garbage(self):
        self.check([payload(0, 2), "{", '{"v":2}', "[]"], 1, 2, received=2, bad_lines=3)

    def test_torn_last_line_is_not_yet_there(self):
        self.check([payload(0, 2), payload(2, 2)], 0, 2, tail="", received=2, bad_lines=0)


if __name__ == "__main__":
    unittest.main()
