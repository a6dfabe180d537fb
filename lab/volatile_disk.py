#!/usr/bin/env python3
"""A file system of one file, `disk`, that knows what a drive with a volatile cache knows: what was flushed, and what not.

    lab/volatile_disk.py MOUNT_POINT BACKING_FILE SOCKET

A loop device over `disk` turns the flushes of the file system on it into fsyncs of this one. Whatever was written since
the last one is in the cache of the drive that this pretends to be. A line `cut SEED FILE` on the socket lets one of the
next seven writes be the last, and writes the disk to FILE as a power cut would leave it: all that was flushed, and of
what was not each write whole, not at all, or by sectors of 512 bytes; by seed. It answers with the number of bytes that
were in the cache and of those lost. The disk itself goes on.
"""

import os
import queue
import random
import socket
import stat
import subprocess
import sys
import threading

import fusepy as fuse

SECTOR = 512


class Disk(fuse.Operations):
    def __init__(self, backing):
        self.file = os.open(backing, os.O_RDWR)
        self.backing = backing
        self.size = os.fstat(self.file).st_size
        # Writes since the last flush, in order.
        self.cache = []
        self.guard = threading.Lock()
        # A cut that waits: writes still to come before it, its seed, its file, and what says that it is done.
        self.armed = None

    def getattr(self, path, fh=None):
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == "/disk":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size}
        raise fuse.FuseOSError(2)

    def readdir(self, path, fh):
        return [".", "..", "disk"]

    def read(self, path, size, offset, fh):
        with self.guard:
            data = bytearray(os.pread(self.file, size, offset))
            for at, written in self.cache:
                start, end = max(at, offset), min(at + len(written), offset + len(data))
                if start < end:
                    data[start - offset : end - offset] = written[start - at : end - at]
            return bytes(data)

    def write(self, path, data, offset, fh):
        with self.guard:
            self.cache.append((offset, data))
            if self.armed:
                self.armed[0] -= 1
                if self.armed[0] <= 0:
                    _, seed, target, answer = self.armed
                    self.armed = None
                    answer.put(self.cut(seed, target))
        return len(data)

    def fsync(self, path, datasync, fh):
        with self.guard:
            for offset, data in self.cache:
                os.pwrite(self.file, data, offset)
            self.cache.clear()
        return 0

    def flush(self, path, fh):
        # Closing a file is not a flush of the drive.
        return 0

    def arm(self, seed, target):
        """Cuts at one of the next writes, where the cache is not empty, and returns what `cut` does."""
        answer = queue.Queue(1)
        with self.guard:
            self.armed = [1 + seed % 7, seed, target, answer]
        return answer.get()

    def cut(self, seed, target):
        """The disk after a power cut, in a file; bytes that were in the cache, and bytes lost."""
        chance = random.Random(seed)
        cached = lost = 0
        subprocess.run(["cp", "--sparse=always", self.backing, target], check=True)
        out = os.open(target, os.O_RDWR)
        for offset, data in self.cache:
            cached += len(data)
            fate = chance.randrange(4)
            for at in range(0, len(data), SECTOR):
                part = data[at : at + SECTOR]
                # A quarter of the writes arrive whole, a quarter not at all.
                if fate == 0 or fate > 1 and chance.random() < 0.5:
                    os.pwrite(out, part, offset + at)
                else:
                    lost += len(part)
        os.close(out)
        return cached, lost


def serve(disk, path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    while True:
        peer, _ = listener.accept()
        with peer, peer.makefile("rw") as lines:
            for line in lines:
                _, seed, target = line.split(maxsplit=2)
                cached, lost = disk.arm(int(seed), target.strip())
                lines.write(f"{cached} {lost}\n")
                lines.flush()


def main(mount_point, backing, path):
    disk = Disk(backing)
    threading.Thread(target=serve, args=(disk, path), daemon=True).start()
    fuse.FUSE(disk, mount_point, foreground=True, nothreads=True, big_writes=True, max_write=131072)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__.strip())
    main(*sys.argv[1:])
