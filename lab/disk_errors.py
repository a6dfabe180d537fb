#!/usr/bin/env python3
"""Writes and flushes of an emulated board's disk that fail, under load.

    lab/disk_errors.py --errors 16

The board is that of board.py. Its disk answers the n-th write, or the n-th flush, with an I/O error: that one alone, or
that and all later ones until the agent has said that it cannot write. n and the kind change from one error to the next. From then on the agent may acknowledge only what is stored; when the disk works again it must go on by
itself, or, where the board's file system has turned read-only over the error, after the next boot. Then the power is
cut, the same disk booted again, and read_log.py must find whatever was acknowledged. Ends with a table and a line `disk errors N, acked A, lost L`. Takes no root.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time

import board
from ledger import Ledger

ALONE_S = 4


def acknowledged(machine):
    return machine.acks.read_bytes().count(b'"durable through"')


def one(options, number, root):
    """An error, from a new disk to the boot after it: (acked, lost, what became of it, complaints)."""
    fs = options.fs
    kind = ("write", "flush")[number % 2]
    for_ever = number // 2 % 2 == 1
    nth = options.nth or 1 + number // 4 * 3 + number % 3
    ledger = Ledger(root / "ledger", board.CONFIG["drivers"], board.CONFIG["state"], options.rate, run=board.CONFIG["dir"])
    image = root / "disk"
    board.make_disk(image, fs)
    complaints, how = [], "not noticed"
    machine = board.Board(root / "boot", image, fs, "run", ledger.config.read_text())
    try:
        machine.recovered()
        machine.found(root / "found")
        machine.wait_for("the first acknowledgement", lambda: acknowledged(machine))
        machine.server.fail(kind, nth, for_ever)
        machine.wait_for("the disk fails", lambda: machine.server.failed)
        began = time.monotonic()
        while b"the buffer cannot write" not in machine.acks.read_bytes() and time.monotonic() - began < 3:
            time.sleep(0.02)
        if b"the buffer cannot write" in machine.acks.read_bytes():
            how = "degraded"
        machine.server.heal()
        before, began = acknowledged(machine), time.monotonic()
        while acknowledged(machine) == before and time.monotonic() - began < ALONE_S:
            time.sleep(0.02)
        goes_on = acknowledged(machine) > before
        how += ", went on alone" if goes_on else ", went on after a boot"
        ledger.log = machine.acks
        machine.cut(number, root / "after")
        machine.close()
        ledger.note()
        # For whoever looks into a loss: the disk as the cut left it, and what the agent had said.
        shutil.copy(root / "after", root / "cut")
        shutil.copy(machine.acks, root / "said")
        (root / "after").replace(image)
        machine = board.Board(root / "boot", image, fs, "run", ledger.config.read_text())
        # What fsck has to say of a file system that saw errors is not held against the agent.
        machine.recovered()
        complaints += [c for c in (machine.found(root / "found"),) if c]
        ledger.store = root / "found/state/sinks/cloud/buffer"
        acked, lost, wrong = ledger.check(holes=True)
        machine.wait_for("the agent goes on after a boot", lambda: acknowledged(machine))
    finally:
        machine.close()
    errors = "all from one on" if for_ever else "one"
    return acked, lost, (fs, kind, errors, how), [f"error {number}, {fs}, {kind} {nth}: {c}" for c in complaints + wrong]


class Error:
    """`one`, as a pool of processes can call it."""

    def __init__(self, options):
        self.options = options

    def __call__(self, number):
        root = pathlib.Path(tempfile.mkdtemp(prefix="disk-errors-", dir=os.path.abspath(self.options.dir)))
        return root, *one(self.options, number, root)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", type=int, default=16)
    parser.add_argument("--fs", choices=("ext4", "f2fs"), default="ext4")
    parser.add_argument("--nth", type=int, help="this write, or flush, after the first acknowledgement, and no other")
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
            if not found:
                shutil.rmtree(root)
            if sys.stderr.isatty() or number % 8 == 7:
                print(f"{number + 1}/{options.errors} disk errors", file=sys.stderr)
    for row, count in sorted(table.items()):
        print(f"{count:>4}  {row[0]:<5} {row[1]:<6} {row[2]:<16} {row[3]}")
    for complaint in complaints[:20]:
        print(complaint)
    degraded = sum(count for row, count in table.items() if row[3].startswith("degraded"))
    print(f"disk errors {options.errors}, acked {acked}, lost {lost}")
    if not degraded and options.errors:
        sys.exit("no error reached the agent: the rig shows nothing")
    sys.exit(1 if lost or complaints else 0)


if __name__ == "__main__":
    main()
