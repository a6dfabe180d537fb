#!/usr/bin/env python3
"""Every flush of an emulated board's disk under load, replayed: what a power cut between it and the next one may leave.

    lab/block_log.py --fs ext4 --states 60

The board of board.py runs the agent, while the server of its disk notes every write and every flush, as QEMU's
blklogwrites and the kernel's dm-log-writes do, and at each flush how much the agent had acknowledged to the host. Then
for flush after flush a disk is made of all writes before it and a random part of the writes from there to the next one,
some torn by sectors; two parts of each. A second board mounts one after the other. fsck must find nothing wrong after
it, and read_log.py must find what had been acknowledged before the next flush was answered.

With `--states N` no more than N disks are tried, spread over the flushes; 0 tries all. As a control some disks are made
one flush earlier, and there records must be lost. Ends with a line `block log FS S, acked A, lost L`. Takes no root.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

import board
from drive import survivors
from ledger import Ledger

PARTS = 2
CONTROL_STATES = 6


class Log:
    """What reached the drive: for each flush the writes since the one before, and the size of the file of acknowledgements."""

    def __init__(self, acks):
        self.acks, self.epochs, self.open = acks, [], []

    def write(self, offset, data):
        self.open.append((offset, data))

    def flush(self):
        self.epochs.append((self.open, self.acks.stat().st_size if self.acks.exists() else 0))
        self.open = []


def record(options, root, ledger):
    """Runs the agent, and returns the log and the text of the acknowledgements."""
    image = root / "disk"
    board.make_disk(image, options.fs)
    shutil.copy(image, root / "new")
    log = Log(root / "boot/acks")
    machine = board.Board(root / "boot", image, options.fs, "run", ledger.config.read_text(), log, options.sector)
    try:
        complaint = machine.recovered() or machine.found(root / "found")
        if complaint:
            raise machine.fails(complaint)
        machine.wait_for("the first acknowledgement", lambda: b'"durable through"' in machine.acks.read_bytes())
        time.sleep(options.load_s)
        machine.server.freeze()
    finally:
        machine.close()
    return log, machine.acks.read_bytes()


class Looker:
    """A board that mounts one disk after the other."""

    def __init__(self, options, root, config):
        self.options, self.root, self.config, self.machine = options, root, config, None

    def look(self, image):
        """Complaints of the board that mounts it, and of fsck after that."""
        if self.machine is None:
            fs, sector = self.options.fs, self.options.sector
            self.machine = board.Board(self.root / "look", image, fs, "look", self.config, sector=sector)
            self.machine.wait_for("the board looks", lambda: b"store-init: ready" in self.machine.console.read_bytes())
        else:
            self.machine.drive.load(image)
        return [c for c in (self.machine.look(self.root / "found"), self.machine.checked()) if c]

    def close(self):
        if self.machine:
            self.machine.close()


def replay(options, root, ledger, log, said, looker, short=False):
    """Tries the states; (states, acked, lost, complaints). `short`: the control, where the last flush did nothing."""
    image, trial = root / "replayed", root / "trial"
    shutil.copy(root / "new", image)
    boundaries = len(log.epochs) - 1
    total = boundaries * PARTS
    # Every k-th, where not all are wanted. The control takes flushes that acknowledgements rest on.
    wanted = min(options.states or total, total)
    chosen = {number for number in range(total) if number * wanted % total < wanted}
    if short:
        rising = [at for at in range(boundaries) if log.epochs[at + 1][1] > log.epochs[at][1]]
        chosen = {at * PARTS for at in rising[:: max(1, len(rising) // CONTROL_STATES)]}
    states = acked_sum = lost_sum = 0
    complaints = []
    # Of each disk what was flushed is in `image`; what the board writes while it looks goes to a copy.
    base = os.open(image, os.O_RDWR)
    for at in range(boundaries):
        if not short:
            put(base, log.epochs[at][0])
        unflushed, heard = log.epochs[at + 1]
        for part in range(PARTS):
            number = at * PARTS + part
            if number not in chosen:
                continue
            shutil.copy(image, trial)
            if not short:
                disk = os.open(trial, os.O_RDWR)
                put(disk, survivors(unflushed, number, options.sector)[0])
                os.close(disk)
            found = looker.look(trial)
            ledger.acked.clear()
            ledger.read(said[:heard])
            ledger.store = root / "found/state/sinks/cloud/buffer"
            acked, lost, wrong = ledger.check(holes=True)
            states, acked_sum, lost_sum = states + 1, acked_sum + acked, lost_sum + lost
            complaints += [f"flush {at}, part {part}: {complaint}" for complaint in found + wrong]
            if complaints and not short:
                shutil.copy(trial, root / f"state-{number}")
            if sys.stderr.isatty() or states % 50 == 0:
                done = states * 40 // len(chosen)
                print(f"[{'#' * done}{'.' * (40 - done)}] {states}/{len(chosen)} disks, {options.fs}", file=sys.stderr)
        if short:
            put(base, log.epochs[at][0])
    os.close(base)
    return states, acked_sum, lost_sum, complaints


def put(disk, writes):
    for offset, data in writes:
        os.pwrite(disk, data, offset)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fs", choices=("ext4", "f2fs"), required=True)
    parser.add_argument("--states", type=int, default=0)
    parser.add_argument("--rate", type=int, default=2000, help="records a second that the agent is given")
    parser.add_argument("--load-s", type=float, default=2.0)
    parser.add_argument("--dir", default="target/tmp")
    parser.add_argument("--sector", type=int, choices=(512, 4096), help="what the drive never tears (ext4 512, f2fs 4096)")
    options = parser.parse_args()
    options.sector = options.sector or board.SECTOR[options.fs]
    board.require()
    os.makedirs(options.dir, exist_ok=True)
    root = pathlib.Path(tempfile.mkdtemp(prefix="block-log-", dir=os.path.abspath(options.dir)))
    ledger = Ledger(root / "ledger", board.CONFIG["drivers"], board.CONFIG["state"], options.rate, run=board.CONFIG["dir"])
    log, said = record(options, root, ledger)
    writes = sum(len(writes) for writes, _ in log.epochs)
    print(f"{options.fs}: {len(log.epochs)} flushes, {writes} writes", file=sys.stderr)
    looker = Looker(options, root, ledger.config.read_text())
    try:
        states, acked, lost, complaints = replay(options, root, ledger, log, said, looker)
        disks, _, missing, _ = replay(options, root, ledger, log, said, looker, short=True)
    finally:
        looker.close()
    print(f"control: one flush short, {missing} acknowledged records were lost in {disks} disks of {options.fs}")
    if not missing:
        complaints.append("the control lost nothing: the rig shows nothing")
    for complaint in complaints[:20]:
        print(complaint)
    if complaints:
        print(f"kept in {root}")
    else:
        shutil.rmtree(root)
    print(f"block log {options.fs} {states}, acked {acked}, lost {lost}")
    sys.exit(1 if lost or complaints or not states else 0)


if __name__ == "__main__":
    main()
