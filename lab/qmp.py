"""QEMU's machine protocol: a JSON object a line, over a Unix socket. Here to let a board's disk fail by blkdebug."""

import json
import socket
import time

ANSWER_S = 30
# Flushes that fail in a row.
FLUSHES = 20


class Qmp:
    """A connection to a QEMU that was started with `-qmp unix:PATH,server=on,wait=off`."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S)
        began = time.monotonic()
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                # QEMU makes it a little after its start.
                if time.monotonic() - began > ANSWER_S:
                    raise
                time.sleep(0.02)
        self.lines = self.socket.makefile("rw", encoding="utf-8")
        self.line()
        self.run("qmp_capabilities")

    def line(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError("QEMU closed its QMP socket")
        return json.loads(line)

    def run(self, command, **arguments):
        """What a command returns. Events that come meanwhile are left out."""
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            answer = self.line()
            if "error" in answer:
                raise RuntimeError(f"QEMU refuses {command} {arguments}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def failed(self, operation):
        """How many reads, writes or flushes of the disk failed and the board was told. Not by events: QEMU limits their rate."""
        name = {"read": "rd", "write": "wr"}.get(operation, operation)
        return sum(disk["stats"][f"failed_{name}_operations"] for disk in self.run("query-blockstats"))

    def stands(self):
        """Whether QEMU has stopped the board over an error."""
        return self.run("query-status")["status"] == "io-error"

    def fail(self, operation, error, once, node="disk", medium="medium"):
        """From now on what reads, writes or flushes fails at `medium` by blkdebug: the next time, or each time.

        `heal` flushes, so it would never succeed where flushes never did: of those no more than FLUSHES fail.
        """
        rule = {"event": "none", "iotype": operation, "errno": error, "once": once or operation == "flush"}
        rules = [rule] * (FLUSHES if operation == "flush" and not once else 1)
        self.run("blockdev-add", driver="blkdebug", **{"node-name": "faulty", "image": medium, "inject-error": rules})
        self.run("blockdev-reopen", options=[{"driver": "raw", "node-name": node, "file": "faulty"}])

    def heal(self, node="disk", medium="medium"):
        """Nothing fails any more."""
        for left in range(FLUSHES, -1, -1):
            try:
                self.run("blockdev-reopen", options=[{"driver": "raw", "node-name": node, "file": medium}])
                break
            except RuntimeError as error:
                if not left or "flushing" not in str(error):
                    raise
        self.run("blockdev-del", **{"node-name": "faulty"})

    def close(self):
        self.socket.close()
