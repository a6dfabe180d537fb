#!/usr/bin/env python3
"""Bytes that reach the disk of an emulated board for each byte that the agent stores, by the board's own block statistics.

    lab/board_wear.py --rates 1000 10000 --commit-ms 5 100

The board is that of board.py, its disk ext4 or f2fs, the agent's source sim: frames of `--bytes`, or samples of one number
where that is 0. After a few seconds of load the statistics of the disk, synced, and the agent's status are read, and again
after `--seconds`. `records/s` and `payload B/s`, the bytes of the messages, are what the board reached: an emulated CPU is
slow. `device` is what the disk was written, the file system's journal included, over the payload; `store` what the store
counts itself, in pages.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import board
from ledger import CONFIG

WARM_S = 4
SECTOR_BYTES = 512


def asked(machine):
    """Sectors written to the disk, and the agent's figures of the sink."""
    return int(machine.ask("written").split()[6]), machine.status()


def measured(options, root, rate, commit_ms):
    text = CONFIG.format(run="/run/dunlin", state="/data/state", drivers="/usr/lib/dunlin/drivers", rate_hz=rate, size_mb=64)
    text = text.replace("commit_ms_max = 0", f"commit_ms_max = {commit_ms}")
    if options.bytes:
        frames = f"rate_hz = 0.001, frames = true, frame_rate_hz = {rate}, frame_bytes = {options.bytes}"
        text = text.replace(f"rate_hz = {rate}", frames)
    image = root / "disk"
    board.make_disk(image, options.fs)
    machine = board.Board(root / "boot", image, options.fs, "run", text)
    try:
        complaint = machine.recovered() or machine.found(root / "found")
        if complaint:
            raise machine.fails(complaint)
        machine.wait_for("the first acknowledgement", lambda: b'"durable through"' in machine.acks.read_bytes())
        time.sleep(WARM_S)
        began, (sectors, before) = time.monotonic(), asked(machine)
        time.sleep(options.seconds)
        passed, (sectors_after, after) = time.monotonic() - began, asked(machine)
    finally:
        machine.close()
    gained = {key: after[key] - before[key] for key in ("durable", "payload_bytes", "page_bytes")}
    device = (sectors_after - sectors) * SECTOR_BYTES / gained["payload_bytes"]
    print(
        f"{options.fs:<6}{rate:>10}{commit_ms:>10}{gained['durable'] / passed:>12.0f}{gained['payload_bytes'] / passed:>14.0f}"
        f"{device:>9.2f}{gained['page_bytes'] / gained['payload_bytes']:>9.2f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 10000], help="records a second that the agent is given")
    parser.add_argument("--commit-ms", type=int, nargs="+", default=[5], help="commit_ms_max of the sink's buffer")
    parser.add_argument("--bytes", type=int, default=256, help="of a record; 0: a number")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--fs", choices=("ext4", "f2fs"), default="ext4")
    parser.add_argument("--dir", default="target/tmp")
    options = parser.parse_args()
    board.require()
    os.makedirs(options.dir, exist_ok=True)
    print(f"{'':<6}{'asked/s':>10}{'wait ms':>10}{'records/s':>12}{'payload B/s':>14}{'device':>9}{'store':>9}")
    for rate in options.rates:
        for commit_ms in options.commit_ms:
            with tempfile.TemporaryDirectory(prefix="board-wear-", dir=os.path.abspath(options.dir)) as root:
                measured(options, pathlib.Path(root), rate, commit_ms)


if __name__ == "__main__":
    sys.exit(main())
