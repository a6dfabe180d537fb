"""A drive with a volatile cache: it knows what was flushed, and what not. Served by volatile_disk.py (FUSE) and nbd.py.

A power cut leaves all that was flushed, and of what was not each write whole, not at all, or by sectors; by seed. Where writes overlap, what arrives does so in their order.
"""

import os
import random
import subprocess
import threading

SECTOR = 512


def survivors(writes, seed, sector=SECTOR):
    """What of `writes` a power cut leaves, as (offset, bytes), and how many bytes it takes."""
    chance = random.Random(seed)
    kept, lost = [], 0
    for offset, data in writes:
        fate = chance.randrange(4)
        for at in range(0, len(data), sector):
            part = data[at : at + sector]
            # A quarter of the writes arrive whole, a quarter not at all.
            if fate == 0 or fate > 1 and chance.random() < 0.5:
                kept.append((offset + at, part))
            else:
                lost += len(part)
    return kept, lost


class Drive:
    """The bytes are in a file; what was written since the last flush is in memory."""

    def __init__(self, backing):
        self.file = os.open(backing, os.O_RDWR)
        self.backing = backing
        self.size = os.fstat(self.file).st_size
        # Writes since the last flush, in order.
        self.cache = []
        self.guard = threading.Lock()

    def load(self, backing):
        """Another medium, of the same size."""
        with self.guard:
            os.close(self.file)
            self.file, self.backing = os.open(backing, os.O_RDWR), backing
            self.cache.clear()

    def close(self):
        os.close(self.file)

    def read(self, offset, size):
        with self.guard:
            data = bytearray(os.pread(self.file, size, offset))
            for at, written in self.cache:
                start, end = max(at, offset), min(at + len(written), offset + len(data))
                if start < end:
                    data[start - offset : end - offset] = written[start - at : end - at]
            return bytes(data)

    def write(self, offset, data):
        with self.guard:
            self.cache.append((offset, data))

    def flush(self):
        with self.guard:
            for offset, data in self.cache:
                os.pwrite(self.file, data, offset)
            self.cache.clear()

    def cut(self, seed, target, sector=SECTOR):
        """The drive after a power cut, in a file; bytes that were in the cache, and bytes lost. The guard is held."""
        subprocess.run(["cp", "--sparse=always", self.backing, target], check=True)
        kept, lost = survivors(self.cache, seed, sector)
        out = os.open(target, os.O_RDWR)
        for offset, data in kept:
            os.pwrite(out, data, offset)
        os.close(out)
        return sum(len(data) for _, data in self.cache), lost
