"""The rigs that every rival goes through: kill -9, power cuts, flipped bits, a full disk, and speed.

Each is a generator: `rig(peer, setting, root, options)` yields what it found so far, and the last of it counts.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time

import peers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import full_disk  # noqa: E402
import power_cuts  # noqa: E402
from drive import SECTOR  # noqa: E402

# What every rig but speed sends at a time, and how long it waits between: no rival is to be drowned.
WINDOW, PAUSE_S = 16, 0.008


class Image:
    """An ext4 of its own, on a loop device."""

    def __init__(self, root, megabytes):
        self.image, self.disk = root / "image", root / "disk"
        self.disk.mkdir(parents=True)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        power_cuts.shell("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-F", self.image)
        self.loop = power_cuts.shell("losetup", "--find", "--show", self.image)
        power_cuts.shell("mount", self.loop, self.disk)

    def written(self):
        """Bytes that the device was given since the machine started."""
        power_cuts.shell("sync", "--file-system", self.disk)
        statistics = pathlib.Path(f"/sys/block/{pathlib.Path(self.loop).name}/stat").read_text().split()
        return int(statistics[6]) * SECTOR

    def close(self):
        subprocess.run(["umount", "-l", self.disk], check=False)
        subprocess.run(["losetup", "--detach", self.loop], check=False)


class Running:
    """Load from a thread of its own, until `end`."""

    def __init__(self, load, pause_s=PAUSE_S, window=WINDOW):
        self.load, self.over = load, threading.Event()
        self.thread = threading.Thread(target=self.run, args=(pause_s, window))
        self.thread.start()

    def run(self, pause_s, window):
        while not self.over.is_set():
            # A peer that is gone or silent is tried again, as a client that loses its connection does.
            self.over.wait(pause_s if self.load.step(window, 2.0) else 0.2)

    def end(self):
        self.over.set()
        self.thread.join()
        self.load.drop()


def speed(kind, setting, root, options):
    """Records a second with one, and with 64, under way; pages of the device; memory."""
    for window in (1, 64):
        at = root / str(window)
        image = Image(at, 4096)
        peer = kind(image.disk / "peer", setting)
        try:
            peer.prepare()
            peer.start()
            load, before = peers.Load(peer), image.written()
            began = time.monotonic()
            while time.monotonic() - began < options.seconds and load.step(window):
                pass
            took, rss = time.monotonic() - began, peer.rss_mb() if peer.alive() else 0.0
            load.drop()
            peer.stop()
            amplification = (image.written() - before) / max(1, len(load.acked) * peers.wire.RECORD)
            spent = sorted(load.took) or [0.0]
            yield {
                "window": window, "per_s": len(load.acked) / took, "p99_ms": spent[len(spent) * 99 // 100] * 1e3,
                "amplification": amplification, "rss_mb": rss, "records": len(load.acked),
            }  # fmt: skip
        finally:
            peer.kill() if peer.alive() else None
            image.close()
            shutil.rmtree(at)


def kill(kind, setting, root, options):
    """SIGKILL under load, again and again on one store, then everything is read."""
    peer, chance = kind(root / "peer", setting), random.Random(1)
    peer.prepare()
    load = peers.Load(peer)
    for number in range(options.kills):
        peer.start()
        running = Running(load)
        time.sleep(0.2 + chance.random() * 0.4)
        peer.kill()
        running.end()
        print(f"  kill {number + 1}/{options.kills}, {len(load.acked)} acked", file=sys.stderr)
    found = peers.Found(peer, load.acked)
    yield {"acked": len(load.acked), "lost": found.lost, "corrupted": found.corrupted, "unreadable": int(bool(found.why))}


def cut(kind, setting, root, options):
    """Power cuts of the ext4 that it is on, under load: the disk as the cut left it is mounted, and read by the peer."""
    # By whole blocks: ext4's own superblock is two sectors of one, and whoever is on it loses all where that is torn.
    drive = power_cuts.Drive(root, sector=4096)
    peer = kind(root / "disk/peer", setting)
    running = None
    total = {"acked": 0, "lost": 0, "corrupted": 0, "unreadable": 0, "cuts": 0}
    try:
        peer.prepare()
        peer.start()
        load = peers.Load(peer)
        running = Running(load)
        for seed in range(options.cuts):
            time.sleep(0.5 + random.Random(seed).random() * 0.5)
            acked, image, after = list(load.acked), root / "cut", root / "after"
            drive.cut(seed, image)
            after.mkdir(exist_ok=True)
            power_cuts.shell("mount", "-o", "loop", image, after)
            try:
                found = peers.Found(peer.at(after / "peer"), acked)
            finally:
                power_cuts.shell("umount", after)
            for key, more in (
                ("acked", len(acked)), ("lost", found.lost), ("corrupted", found.corrupted),
                ("unreadable", int(bool(found.why))), ("cuts", 1),
            ):  # fmt: skip
                total[key] += more
            print(f"  cut {seed + 1}/{options.cuts}: {len(acked)} acked, {found.lost} lost {found.why}", file=sys.stderr)
        yield total
    finally:
        if running:
            running.end()
        peer.kill() if peer.alive() else None
        drive.close()


def flip(kind, setting, root, options):
    """One bit of what it stored is flipped, and it is started on that; each time on a fresh copy."""
    peer = kind(root / "peer", setting)
    peer.prepare()
    peer.start()
    load = peers.Load(peer)
    while len(load.acked) < options.stored and load.step(WINDOW):
        pass
    load.drop()
    peer.stop()
    # What it gives back unharmed is the measure: this rig counts what the bit costs, and nothing else.
    whole = copied(peer, root / "whole")
    base = peers.Found(whole, load.acked)
    total = {"flips": 0, "stored": len(base.has), "lost": 0, "worst": 0, "corrupted": 0, "refused": 0}
    for seed in range(options.flips):
        each = copied(peer, root / "flipped")
        if not flip_one(each.data, random.Random(seed)):
            break
        found = peers.Found(each, base.has)
        total["flips"] += 1
        total["lost"] += found.lost
        total["worst"] = max(total["worst"], found.lost)
        total["corrupted"] += bool(found.corrupted)
        total["refused"] += bool(found.why)
    yield total


def copied(peer, to):
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(peer.dir, to, symlinks=True)
    return peer.at(to)


def flip_one(directory, chance):
    """A bit in a sector that holds something; False where there is none."""
    sectors = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            sectors += [(path, at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR) if data[at : at + SECTOR].strip(b"\0")]
    if not sectors:
        return False
    path, at, data = chance.choice(sectors)
    bit = chance.randrange(len(data) * 8)
    with open(path, "r+b") as file:
        file.seek(at + bit // 8)
        file.write(bytes([data[bit // 8] ^ 1 << bit % 8]))
    return True


def full(kind, setting, root, options):
    """The disk is filled to the last block under load, and emptied again."""
    image = Image(root, 64)
    peer, running = kind(image.disk / "peer", setting), None
    try:
        peer.prepare()
        peer.start()
        load = peers.Load(peer)
        running = Running(load)
        time.sleep(1)
        full_disk.take_blocks(image.disk)
        # What fits into blocks that it has already may still be taken.
        time.sleep(options.full_s)
        before = len(load.acked)
        time.sleep(1)
        during = len(load.acked) - before
        full_disk.give_blocks(image.disk)
        began, before = time.monotonic(), len(load.acked)
        while len(load.acked) == before and time.monotonic() - began < 10 and peer.alive():
            time.sleep(0.05)
        goes_on, alive = len(load.acked) > before, peer.alive()
        running.end()
        running = None
        peer.stop()
        found = peers.Found(peer, load.acked)
        yield {
            "acked": len(load.acked), "lost": found.lost, "corrupted": found.corrupted, "unreadable": int(bool(found.why)),
            "during": during, "alone": "goes on" if goes_on else "hangs" if alive else "ended",
        }  # fmt: skip
    finally:
        if running:
            running.end()
        peer.kill() if peer.alive() else None
        image.close()


RIGS = {"speed": speed, "kill": kill, "cut": cut, "flip": flip, "full": full}
