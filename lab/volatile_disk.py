#!/usr/bin/env python3
"""A file system of one file, `disk`, that knows what a drive with a volatile cache knows: what was flushed, and what not.

    lab/volatile_disk.py MOUNT_POINT BACKING_FILE SOCKET [SECTOR_BYTES]

A loop device over `disk` turns the flushes of the file system on it into fsyncs of this one. Whatever was written since
the last one is in the cache of the drive that this pretends to be (drive.py). A line `cut SEED FILE` on the socket lets
one of the next seven writes be the last, or the next moment where none comes for two seconds, and writes the disk to FILE
as a power cut would leave it. It answers with the number of bytes that were in the cache and of those lost. The disk itself
goes on.
"""

import queue
import socket
import stat
import sys
import threading

import fusepy as fuse

from drive import SECTOR, Drive

# How long a cut waits for a write.
QUIET_S = 2


class Disk(fuse.Operations):
    def __init__(self, backing, sector):
        self.drive, self.sector = Drive(backing), sector
        # A cut that waits: writes still to come before it, its seed, its file, and what says that it is done.
        self.armed = None

    def getattr(self, path, fh=None):
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == "/disk":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.drive.size}
        raise fuse.FuseOSError(2)

    def readdir(self, path, fh):
        return [".", "..", "disk"]

    def read(self, path, size, offset, fh):
        return self.drive.read(offset, size)

    def write(self, path, data, offset, fh):
        self.drive.write(offset, data)
        with self.drive.guard:
            if self.armed:
                self.armed[0] -= 1
                if self.armed[0] <= 0:
                    _, seed, target, answer = self.armed
                    self.armed = None
                    answer.put(self.drive.cut(seed, target, self.sector))
        return len(data)

    def fsync(self, path, datasync, fh):
        self.drive.flush()
        return 0

    def flush(self, path, fh):
        # Closing a file is not a flush of the drive.
        return 0

    def arm(self, seed, target):
        """Cuts at one of the next writes, where the cache is not empty, and returns what `cut` does."""
        answer = queue.Queue(1)
        with self.drive.guard:
            self.armed = [1 + seed % 7, seed, target, answer]
        try:
            return answer.get(timeout=QUIET_S)
        except queue.Empty:
            # Nobody writes: a rival that keeps all in memory.
            with self.drive.guard:
                if self.armed:
                    self.armed = None
                    return self.drive.cut(seed, target, self.sector)
            return answer.get()


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


def main(mount_point, backing, path, sector=SECTOR):
    disk = Disk(backing, int(sector))
    threading.Thread(target=serve, args=(disk, path), daemon=True).start()
    fuse.FUSE(disk, mount_point, foreground=True, nothreads=True, big_writes=True, max_write=131072)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__.strip())
    main(*sys.argv[1:])
