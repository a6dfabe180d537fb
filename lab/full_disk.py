#!/usr/bin/env python3
"""Takes the agent's disk away and gives it back, again and again, under load: its blocks, its inodes, its quota, or the
permission to write.

    lab/full_disk.py --binary target/release/dunlin --drivers target/release/drivers --cycles 100

The disk is an image, loop-mounted: that takes root. Blocks and inodes are those of an ext4, filled to the last; the quota is
that of a btrfs subvolume, set below what it holds; to forbid writing, a read-only bind mount is laid over the store, since
no kernel makes a file system read-only in which files are open for writing. In each cycle the sink must say `degraded` in the status file, and acknowledge nothing while that lasts; when the space is
given back it must go on by itself. At the end the agent is killed, and read_log.py must find every record that it
acknowledged. Ends with a line `full disks N, acked A, lost L`.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ledger import Ledger

WAIT_S = 60


def take_blocks(disk):
    ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 20, 1 << 12):
        try:
            while True:
                os.write(ballast, bytes(size))
        except OSError:
            pass
    os.close(ballast)


def give_blocks(disk):
    (disk / "ballast").unlink()


def take_inodes(disk):
    (disk / "many").mkdir(exist_ok=True)
    number = 0
    try:
        while True:
            (disk / f"many/{number}").touch(exist_ok=False)
            number += 1
    except OSError:
        pass


def give_inodes(disk):
    shutil.rmtree(disk / "many")


def limit_quota(disk, limit):
    """By number and from outside: the subvolume itself has no room for a change of its limit once that is reached."""
    number = ["btrfs", "inspect-internal", "rootid", disk / "state"]
    number = subprocess.run(number, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["btrfs", "qgroup", "limit", limit, f"0/{number}", disk], check=True, stdout=subprocess.DEVNULL)


def take_quota(disk):
    limit_quota(disk, "1M")


def give_quota(disk):
    limit_quota(disk, "none")


def take_writing(disk):
    # Made read-only beside the store and put over it then: over it, the agent could open a file before it is.
    store, beside = disk / "state/sinks/cloud/buffer", disk / "read-only"
    beside.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", store, beside], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", beside], check=True)
    subprocess.run(["mount", "--bind", beside, store], check=True)
    subprocess.run(["umount", beside], check=True)


def give_writing(disk):
    # The agent may be reading there.
    subprocess.run(["umount", "--lazy", disk / "state/sinks/cloud/buffer"], check=True)


# How it is taken and given, and what the sink's fault must say meanwhile.
WAYS = {
    "blocks": (take_blocks, give_blocks, "No space left"),
    "inodes": (take_inodes, give_inodes, "No space left"),
    "quota": (take_quota, give_quota, "quota exceeded"),
    "writing": (take_writing, give_writing, "Read-only file system"),
}


def make(way, image, disk):
    """A file system of which what `way` names can be taken."""
    if way == "quota":
        subprocess.run(["mkfs.btrfs", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, disk], check=True)
        subprocess.run(["btrfs", "subvolume", "create", disk / "state"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["btrfs", "quota", "enable", disk], check=True)
        return
    inodes = ["-N", "1200"] if way == "inodes" else []
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", *inodes, image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)


def status(ledger):
    """The sink's part of the status file."""
    try:
        return json.loads((ledger.dir / "run/status.json").read_text())["sinks"]["cloud"]
    except (OSError, ValueError):
        return {"degraded": None, "durable": 0, "fault": ""}


def wait_for(what, agent, condition):
    began = time.monotonic()
    while not condition():
        if agent.poll() is not None:
            sys.exit(f"the agent ended by itself while this was awaited: {what}")
        if time.monotonic() - began > WAIT_S:
            sys.exit(f"not within {WAIT_S} s: {what}")
        time.sleep(0.05)


def campaign(way, options, root):
    take, give, says = WAYS[way]
    disk, image = root / "disk", root / "image"
    disk.mkdir(parents=True)
    with open(image, "wb") as file:
        # More than a hundred cycles store, on a machine that is busy. A btrfs keeps what it knows of its files twice, and is
        # not filled to the last.
        file.truncate((3000 if way == "quota" else 900) << 20)
    make(way, image, disk)
    agent = None
    try:
        ledger = Ledger(root / "agent", options.drivers, disk / "state", rate_hz=10000, size_mb=600)
        with open(ledger.log, "wb") as log:
            command = [options.binary, "run", "--log", "debug", str(ledger.config)]
            agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        wait_for("the first acknowledgement", agent, lambda: status(ledger)["durable"] > 0)
        for cycle in range(options.cycles):
            take(disk)
            wait_for("the sink is degraded", agent, lambda: status(ledger)["degraded"])
            before = status(ledger)
            if says not in before["fault"]:
                sys.exit(f"the fault does not say why: {before['fault']!r}")
            # Two more turns of the status file, which is written once a second.
            time.sleep(1.2)
            if status(ledger)["degraded"] and status(ledger)["durable"] != before["durable"]:
                sys.exit("records are acknowledged while nothing can be stored")
            give(disk)
            wait_for("it goes on by itself", agent, lambda: status(ledger)["degraded"] is False)
            durable = status(ledger)["durable"]
            wait_for("it acknowledges again", agent, lambda: status(ledger)["durable"] > durable)
            if sys.stderr.isatty() or cycle % 10 == 9:
                print(f"{way}: {cycle + 1}/{options.cycles} cycles", file=sys.stderr)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        ledger.note()
        return ledger.check()
    finally:
        if agent and agent.poll() is None:
            agent.kill()
            agent.wait()
        subprocess.run(["umount", "--recursive", "-l", disk], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=os.path.abspath)
    parser.add_argument("--drivers", required=True, type=os.path.abspath)
    parser.add_argument("--cycles", type=int, default=100, help="of each kind")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--dir", default="target/tmp")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("mounting an image takes root\n  Remedy: run this as root")
    os.makedirs(options.dir, exist_ok=True)
    root = pathlib.Path(tempfile.mkdtemp(prefix="full-", dir=os.path.abspath(options.dir)))
    acked = lost = 0
    complaints = []
    for way in options.ways:
        records, missing, found = campaign(way, options, root / way)
        print(f"{way}: {options.cycles} cycles, acked {records}, lost {missing}", flush=True)
        acked, lost, complaints = acked + records, lost + missing, complaints + [f"{way}: {c}" for c in found]
    if not complaints:
        shutil.rmtree(root)
    for complaint in complaints[:20]:
        print(complaint)
    print(f"full disks {options.cycles * len(options.ways)}, acked {acked}, lost {lost}")
    sys.exit(1 if lost or complaints else 0)


if __name__ == "__main__":
    main()
