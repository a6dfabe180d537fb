#!/usr/bin/env python3
"""Cuts the power of an emulated board under load, boots the same disk again, and looks for lost records.

    lab/board_cuts.py --cuts 100

The board is QEMU's `virt` with an aarch64 kernel and the aarch64 agent; the disk, ext4 and f2fs in turn, is a drive that
forgets what was not flushed (drive.py). At a random moment the drive stops, QEMU gets SIGKILL, and the disk is what the
flushes before and a random part of the writes after them left. At the next boot the board's kernel must mount it, fsck
must find nothing wrong with it, read_log.py must find in the store whatever had been acknowledged to the host at any boot
before, and the agent must go on to acknowledge more, until its power is cut in its turn. A disk is made anew after
`--per-disk` cuts. With `--control` the agent's syncs do nothing, and records must be lost.

Cut number n uses seed n and file system n / per-disk mod 2; each that was checked is noted in `--ledger`, so that a run
that was ended goes on where it was. Ends with a table and a line `board cuts C, acked A, lost L`. Takes no root.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

import board
from ledger import Ledger

SYSTEMS = ("ext4", "f2fs")


def boot(root, ledger, image, fs, lying=False):
    """A board that runs the agent on `image`, and what is wrong with what the last cut left."""
    machine = board.Board(root / "boot", image, fs, "lie" if lying else "run", ledger.config.read_text())
    try:
        complaints = [machine.recovered(), machine.found(root / "found")]
        ledger.store = root / "found/state/sinks/cloud/buffer"
        _, lost, found = ledger.check(holes=True)
        return machine, lost, [c for c in complaints if c] + found
    except BaseException:
        machine.close()
        raise


def one_disk(options, first, count, root):
    """Cuts `first` and the following on a disk of their own; yields a line of the ledger for each."""
    fs = SYSTEMS[first // options.per_disk % len(SYSTEMS)]
    ledger = Ledger(root / "ledger", board.CONFIG["drivers"], board.CONFIG["state"], options.rate, run=board.CONFIG["dir"])
    image = root / "disk"
    board.make_disk(image, fs)
    machine, _, complaints = boot(root, ledger, image, fs, options.control)
    try:
        if complaints:
            raise machine.fails(f"a new disk: {complaints}")
        for seed in range(first, first + count):
            began = time.monotonic()
            ledger.log = machine.acks
            machine.wait_for("the first acknowledgement of a boot", lambda: b'"durable through"' in machine.acks.read_bytes())
            time.sleep(random.Random(seed).random() * options.load_s)
            after = root / "after"
            flushes = machine.server.flushes
            cached, gone = machine.cut(seed, after)
            machine.close()
            acked = ledger.note()
            after.replace(image)
            if options.keep:
                shutil.copy(image, root / f"cut-{seed}")
            machine, lost, complaints = boot(root, ledger, image, fs, options.control)
            line = {"cut": seed, "fs": fs, "acked": ledger.records(), "new": acked, "lost": lost, "cached": cached, "gone": gone}
            line |= {"flushes": flushes, "seconds": round(time.monotonic() - began, 2)}
            yield line | {"complaints": [f"cut {seed}, {fs}: {complaint}" for complaint in complaints]}
            if lost or complaints:
                # What was lost stays lost; the next cut begins on a new disk.
                return
        machine.wait_for("the agent goes on", lambda: b'"durable through"' in machine.acks.read_bytes())
    finally:
        machine.close()


def work(options, chunks, results):
    """Takes disks from a queue until there is none."""
    while True:
        chunk = chunks.get()
        if chunk is None:
            results.put(None)
            return
        root = pathlib.Path(tempfile.mkdtemp(prefix="board-cuts-", dir=options.dir))
        try:
            complaints = []
            for line in one_disk(options, *chunk, root):
                complaints += line["complaints"]
                results.put(line)
            if not complaints or options.control:
                shutil.rmtree(root)
        except (RuntimeError, OSError) as error:
            results.put({"cut": chunk[0], "error": f"{error}; kept in {root}"})


def show(lines):
    """The summary, a row a file system."""
    print(f"{'file system':<12} {'cuts':>5} {'lossy':>5} {'bytes in cache':>14} {'bytes lost':>10} {'acked':>9} {'lost':>5} {'s a cut':>7}")
    for fs in SYSTEMS:
        of = [line for line in lines if line["fs"] == fs]
        if not of:
            continue
        total = {key: sum(line[key] for line in of) for key in ("cached", "gone", "acked", "lost", "seconds")}
        lossy = sum(line["gone"] > 0 for line in of)
        print(
            f"{fs:<12} {len(of):>5} {lossy:>5} {total['cached']:>14} {total['gone']:>10} {total['acked']:>9} {total['lost']:>5}"
            f" {total['seconds'] / len(of):>7.1f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--per-disk", type=int, default=5)
    parser.add_argument("--rate", type=int, default=2000, help="records a second that the agent is given")
    parser.add_argument("--load-s", type=float, default=2.0, help="longest time from the first acknowledgement to the cut")
    parser.add_argument("--jobs", type=int, default=2, help="boards at a time")
    parser.add_argument("--ledger", default="target/durability/board-cuts.jsonl", help="what was checked; a run goes on after it")
    parser.add_argument("--control", action="store_true", help="syncs of the agent do nothing; records must be lost")
    parser.add_argument("--keep", action="store_true", help="keep each disk as its cut left it, where something was lost")
    parser.add_argument("--dir", default="target/tmp")
    options = parser.parse_args()
    board.require()
    noted = pathlib.Path(options.ledger).absolute()
    noted.parent.mkdir(parents=True, exist_ok=True)
    os.makedirs(options.dir, exist_ok=True)
    options.dir = os.path.abspath(options.dir)
    lines = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    done = {line["cut"] for line in lines}
    if lines:
        print(f"going on after {len(lines)} cuts in {noted}", file=sys.stderr)

    chunks, results = multiprocessing.Queue(), multiprocessing.Queue()
    for start in range(0, options.cuts, options.per_disk):
        left = [cut for cut in range(start, min(start + options.per_disk, options.cuts)) if cut not in done]
        if left:
            chunks.put((left[0], left[-1] - left[0] + 1))
    workers = [multiprocessing.Process(target=work, args=(options, chunks, results)) for _ in range(options.jobs)]
    for worker in workers:
        chunks.put(None)
        worker.start()
    running, began, errors = len(workers), time.monotonic(), []
    before = len(lines)
    while running:
        line = results.get()
        if line is None:
            running -= 1
        elif "error" in line:
            errors.append(line["error"])
        else:
            lines.append(line)
            with open(noted, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if sys.stderr.isatty() or len(lines) % 10 == 0 or len(lines) == options.cuts:
                part = min(40, len(lines) * 40 // options.cuts)
                each = (time.monotonic() - began) / (len(lines) - before)
                left = each * (options.cuts - len(lines))
                print(f"[{'#' * part}{'.' * (40 - part)}] {len(lines)}/{options.cuts} board cuts, {left:.0f} s left", file=sys.stderr)
    for worker in workers:
        worker.join()

    complaints = errors + [complaint for line in lines for complaint in line["complaints"]]
    total = {key: sum(line[key] for line in lines) for key in ("acked", "lost")}
    if options.control:
        print(f"control: without syncs {total['lost']} of {total['acked']} acknowledged records were lost in {len(lines)} board cuts")
        sys.exit(0 if total["lost"] and not errors else 1)
    for complaint in complaints[:20]:
        print(complaint)
    show(lines)
    print(f"board cuts {len(lines)}, acked {total['acked']}, lost {total['lost']}")
    sys.exit(1 if total["lost"] or complaints or len(lines) < options.cuts else 0)


if __name__ == "__main__":
    main()
