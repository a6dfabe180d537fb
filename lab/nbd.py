"""A server of the Network Block Device protocol over a Unix socket: QEMU's disk is a drive of drive.py.

    drive = Drive("disk")
    server = Server(drive, "/run/disk.socket")     QEMU: -blockdev driver=nbd,server.type=unix,server.path=...
    server.freeze(3)                               nothing is answered from the third write on: the power is gone

The drive is one that must be told to flush: neither FUA nor TRIM is offered. Requests are served one after another. What
QEMU asks beyond a plain export is refused, as the protocol allows.

Faults: `server.fail(kind, n, for_ever)` lets the n-th write or flush from now on, or that and all later ones, end in EIO.
With `log` it keeps what blklogwrites keeps: every write, and where the flushes were.
"""

import errno
import os
import socket
import struct
import threading

MAGIC, OPTION_MAGIC, REPLY_MAGIC = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
REQUEST_MAGIC, SIMPLE_MAGIC = 0x25609513, 0x67446698
EXPORT_NAME, ABORT, LIST, INFO, GO = 1, 2, 3, 6, 7
ACK, REPLY_INFO, UNSUPPORTED = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
# HAS_FLAGS, SEND_FLUSH
FLAGS = 1 | 4


class Server:
    def __init__(self, drive, path, log=None):
        self.drive, self.log = drive, log
        self.frozen = threading.Event()
        # Requests are served under it, so that a freeze falls between two of them.
        self.guard = threading.Lock()
        self.writes_left = 0
        self.faults = {}
        self.failed = 0
        self.flushes = 0
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.frozen.set()
        self.listener.close()

    def freeze(self, writes=0, limit_s=2):
        """After so many more writes, or when the limit is over, nothing more is written and nothing answered."""
        with self.guard:
            self.writes_left = writes
        if writes:
            self.frozen.wait(limit_s)
        with self.guard:
            self.frozen.set()

    def fail(self, kind, number, for_ever=False):
        with self.guard:
            self.faults[kind] = [number, for_ever]

    def heal(self):
        with self.guard:
            self.faults.clear()

    def accept(self):
        while not self.frozen.is_set():
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                try:
                    if self.greet(peer):
                        self.serve(peer)
                except (ConnectionError, BrokenPipeError):
                    # QEMU was killed, or ended.
                    pass

    def greet(self, peer):
        """The handshake ("newstyle"); whether the client came to transmission."""
        peer.sendall(struct.pack(">QQH", MAGIC, OPTION_MAGIC, 1 | 2))
        flags = struct.unpack(">I", take(peer, 4))[0]
        while True:
            _, option, length = struct.unpack(">QII", take(peer, 16))
            take(peer, length)
            if option == EXPORT_NAME:
                peer.sendall(struct.pack(">QH", self.drive.size, FLAGS) + (b"" if flags & 2 else bytes(124)))
                return True
            if option in (INFO, GO):
                reply(peer, option, REPLY_INFO, struct.pack(">HQH", 0, self.drive.size, FLAGS))
                reply(peer, option, ACK)
                if option == GO:
                    return True
            elif option == ABORT:
                reply(peer, option, ACK)
                return False
            else:
                reply(peer, option, UNSUPPORTED)

    def serve(self, peer):
        while True:
            _, _, kind, handle, offset, length = struct.unpack(">IHHQQI", take(peer, 28))
            data = take(peer, length) if kind == WRITE else b""
            with self.guard:
                if self.frozen.is_set():
                    return
                if kind == DISCONNECT:
                    return
                fault, answer = self.due(kind), b""
                if fault:
                    self.failed += 1
                elif kind == READ:
                    answer = self.drive.read(offset, length)
                elif kind == WRITE:
                    self.drive.write(offset, data)
                    if self.log:
                        self.log.write(offset, data)
                    self.writes_left -= 1
                    if self.writes_left == 0:
                        self.frozen.set()
                        return
                elif kind == FLUSH:
                    # What was acknowledged by now rests on the flushes before this one.
                    if self.log:
                        self.log.flush()
                    self.drive.flush()
                    self.flushes += 1
                else:
                    fault = errno.EINVAL
                peer.sendall(struct.pack(">IIQ", SIMPLE_MAGIC, fault, handle) + answer)

    def due(self, kind):
        """The errno of the fault that this request has to meet, or 0."""
        fault = self.faults.get({WRITE: "write", FLUSH: "flush"}.get(kind))
        if fault is None:
            return 0
        fault[0] -= 1
        return errno.EIO if fault[0] == 0 or fault[0] < 0 and fault[1] else 0


def take(peer, size):
    data = bytearray()
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise ConnectionError("the client is gone")
        data += piece
    return bytes(data)


def reply(peer, option, kind, data=b""):
    peer.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)
