#!/usr/bin/env python3
"""Reads, writes and flushes of an emulated board's disk that fail, under load.

    lab/disk_errors.py --errors 20

The board is that of board.py. QEMU's blkdebug answers a write, a flush or a read of its disk with EIO, or a write with
ENOSPC: the next one alone, or all of them until the agent has said that it cannot go on. (The board sees EIO both times:
virtio has one error. Where QEMU is told so, it stops the board when the disk is full, and the board sees nothing.) Reads
fail while the agent starts on a store, with an empty page cache. From then on the agent may acknowledge only what is
stored, and nothing while every write or flush fails; where it says that it cannot write, its status must say `degraded`.
When the disk works again it must go on by itself, and `degraded` be gone, or, where it ended or the board's file system has
turned read-only over the error, go on after the next boot. Then the power is cut, the same disk booted again, and
read_log.py must find whatever was acknowledged.

With `--control` the agent's syncs hide their errors, while every write fails: records must be lost. With `--nth N` it is
the drive itself (nbd.py) that answers the N-th write or flush, and in every other pair all later ones, with EIO. Ends with a
table and a line `disk errors N, acked A, lost L`. Takes no root.
"""

import argparse
import collections
import errno
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

import board
from ledger import Ledger
from qmp import FLUSHES, Qmp

ALONE_S = 4
# Longest wait for the agent to say something, and for an error to happen: some are never met.
SAID_S = 3
FAILS_S = 10
QUIET_S = 1
AMISS = "acknowledged what cannot be stored,"
READ = "read"


class Case(collections.namedtuple("Case", "operation error once stops")):
    """What fails, how often, and whether QEMU stops the board over it."""

    def __str__(self):
        often = "once" if self.once else "until healed"
        return f"{self.operation:<6} {errno.errorcode[self.error]:<6} {often}{', the board stops' if self.stops else ''}"


# In turn.
CASES = [
    Case(operation, error, once, False)
    for operation, error in (("write", errno.EIO), ("flush", errno.EIO), (READ, errno.EIO), ("write", errno.ENOSPC))
    for once in (True, False)
] + [Case("write", errno.ENOSPC, False, True)]
# Each write, so that whatever is acknowledged meanwhile is not there.
CONTROL = Case("write", errno.EIO, False, False)


class Trial:
    """An error, from a new disk to the boot after it."""

    def __init__(self, options, number, root):
        self.options, self.number, self.root = options, number, root
        if options.nth:
            self.case = Case(("write", "flush")[number % 2], errno.EIO, number // 2 % 2 == 0, False)
        else:
            self.case = CONTROL if options.control else CASES[number % len(CASES)]
        self.ledger = Ledger(root / "ledger", board.CONFIG["drivers"], board.CONFIG["state"], options.rate, run=board.CONFIG["dir"])
        self.image = root / "disk"
        self.complaints = []
        self.qmp = None

    def boot(self, mode="run"):
        """A board that is about to run the agent; what the disk holds is in `found`."""
        text = self.ledger.config.read_text()
        if self.options.control and mode == "run":
            mode = "deaf"
        self.machine = board.Board(self.root / "boot", self.image, self.options.fs, mode, text, stops=self.case.stops)
        # What fsck has to say of a file system that saw errors is not held against the agent.
        self.machine.recovered()
        complaint = self.machine.found(self.root / "found")
        self.complaints += [complaint] if complaint else []

    def cut(self):
        """The power goes, and the next boot will find what it left."""
        self.ledger.log = self.machine.acks
        self.machine.cut(self.number, self.root / "after")
        self.machine.close()
        self.ledger.note()
        # For whoever looks into a loss: the disk as the cut left it, and what the agent had said.
        shutil.copy(self.root / "after", self.root / "cut")
        shutil.copy(self.machine.acks, self.root / "said")
        (self.root / "after").replace(self.image)

    def acknowledged(self):
        return self.machine.acks.read_bytes().count(b'"durable through"')

    def goes_on(self, limit_s):
        """Whether something is acknowledged within a time."""
        before, began = self.acknowledged(), time.monotonic()
        while self.acknowledged() == before and time.monotonic() - began < limit_s:
            time.sleep(0.02)
        return self.acknowledged() > before

    def errors(self):
        """What the agent said first of errors of the disk, running or as it ended. The last line may not be whole."""
        for line in self.machine.acks.read_text(errors="replace").rpartition("\n")[0].splitlines():
            if any(error in line for error in ("Input/output error", "No space left", "Read-only file system")):
                return re.sub(r"/data/\S*\.seg", "a segment", json.loads(line)["message"] if line.startswith("{") else line)
        return ""

    def ended(self):
        return b"store-init: the agent ended" in self.machine.console.read_bytes()

    def wait(self, limit_s, condition):
        began = time.monotonic()
        while not condition() and time.monotonic() - began < limit_s:
            time.sleep(0.02)

    def nothing_is_acknowledged(self, why):
        """After what was under way has arrived, and unless the disk works again."""
        time.sleep(0.2)
        if self.goes_on(QUIET_S) and not self.works_again():
            self.complaints.append(f"{AMISS} {why}")

    def works_again(self):
        """Whether flushes do, by themselves: qmp.py."""
        return self.qmp and self.case.operation == "flush" and self.qmp.failed("flush") >= FLUSHES

    def has_status(self, degraded):
        """Whether the agent's status comes to say that it is degraded, or not."""
        self.wait(SAID_S, lambda: self.ended() or self.machine.status()["degraded"] == degraded)
        if not self.ended() and self.machine.status()["degraded"] != degraded:
            self.complaints.append(f"the status does not say degraded: {degraded}")

    def fail(self):
        """Lets the disk fail, until the agent has said something or ended; how it went on when the disk works again."""
        if self.options.nth:
            self.machine.server.fail(self.case.operation, self.options.nth, not self.case.once)
            self.machine.wait_for("the disk fails", lambda: self.machine.server.failed)
            heal = self.machine.server.heal
        else:
            qmp = self.qmp = Qmp(self.root / "boot/qmp")
            qmp.fail(self.case.operation, self.case.error, self.case.once)
            if self.case.operation == READ:
                self.machine.go()
            failed = qmp.stands if self.case.stops else lambda: qmp.failed(self.case.operation)
            self.wait(FAILS_S, failed)
            if not failed():
                self.complaints.append("nothing failed")

            def heal():
                qmp.heal()
                if self.case.stops:
                    qmp.run("cont")

        if self.case.stops:
            # Nobody on the board can say anything.
            self.nothing_is_acknowledged("by a board that stands still")
        else:
            self.wait(SAID_S, lambda: self.errors() or self.ended())
            if not self.case.once and self.case.operation != READ:
                self.nothing_is_acknowledged(f"while each {self.case.operation} fails")
        said = self.errors() or ("nothing" if not self.ended() else "ended without a reason")
        noticed = "the buffer cannot write" in said
        if noticed and not self.case.once:
            self.has_status(degraded=True)
        if not self.ended():
            heal()
        alone = not self.ended() and self.goes_on(ALONE_S)
        if alone and noticed:
            self.has_status(degraded=False)
        return said, "alone" if alone else "after a boot"

    def run(self):
        """(acked, lost, row of the table, complaints)."""
        board.make_disk(self.image, self.options.fs)
        self.boot()
        try:
            self.machine.wait_for("the first acknowledgement", self.acknowledged)
            time.sleep(random.Random(self.number).random())
            if self.case.operation == READ:
                self.cut()
                self.boot("hold")
                self.machine.wait_for("the page cache is empty", lambda: b"store-init: held" in self.machine.console.read_bytes())
            said, how = self.fail()
            self.cut()
            self.boot()
            self.ledger.store = self.root / "found/state/sinks/cloud/buffer"
            acked, lost, wrong = self.ledger.check(holes=True)
            self.machine.wait_for("the agent goes on after a boot", self.acknowledged)
        finally:
            self.machine.close()
        row = (self.options.fs, str(self.case), how, said)
        return acked, lost, row, [f"error {self.number}, {self.options.fs}, {self.case}: {c}" for c in self.complaints + wrong]


class Error:
    """`Trial.run`, as a pool of processes can call it."""

    def __init__(self, options):
        self.options = options

    def __call__(self, number):
        root = pathlib.Path(tempfile.mkdtemp(prefix="disk-errors-", dir=os.path.abspath(self.options.dir)))
        return root, *Trial(self.options, number, root).run()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", type=int, default=len(CASES))
    parser.add_argument("--fs", choices=("ext4", "f2fs"), default="ext4")
    parser.add_argument("--control", action="store_true", help="syncs of the agent hide their errors; records must be lost")
    parser.add_argument("--nth", type=int, help="the drive fails this write, or flush, after the first acknowledgement")
    parser.add_argument("--rate", type=int, default=2000, help="records a second that the agent is given")
    parser.add_argument("--jobs", type=int, default=2, help="boards at a time")
    parser.add_argument("--dir", default="target/tmp")
    options = parser.parse_args()
    board.require()
    os.makedirs(options.dir, exist_ok=True)
    acked = lost = 0
    complaints, table = [], {}
    with multiprocessing.Pool(options.jobs) as pool:
        for number, (root, records, missing, row, found) in enumerate(pool.imap(Error(options), range(options.errors))):
            acked, lost = acked + records, lost + missing
            complaints += [f"{complaint}; kept in {root}" for complaint in found]
            table[row] = table.get(row, 0) + 1
            if not found or options.control:
                shutil.rmtree(root)
            if sys.stderr.isatty() or number % 8 == 7:
                print(f"{number + 1}/{options.errors} disk errors", file=sys.stderr)
    if options.control:
        watched = sum(AMISS in complaint for complaint in complaints)
        print(
            f"control: with errors of syncs hidden {lost} of {acked} acknowledged records were lost in {options.errors} disk errors,"
            f" {watched} of them seen at once"
        )
        sys.exit(0 if lost and watched else 1)
    for row, count in sorted(table.items()):
        print(f"{count:>4}  {row[0]:<5} {row[1]:<44} goes on {row[2]:<12}  says {row[3]}")
    for complaint in complaints[:20]:
        print(complaint)
    noticed = sum(count for row, count in table.items() if "error" in row[3])
    print(f"disk errors {options.errors}, acked {acked}, lost {lost}")
    if not noticed and options.errors:
        sys.exit("no error reached the agent: the rig shows nothing")
    sys.exit(1 if lost or complaints else 0)


if __name__ == "__main__":
    main()
