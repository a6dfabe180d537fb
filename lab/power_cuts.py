#!/usr/bin/env python3
"""Cuts the power of the agent's disk, under load, and looks for lost records.

    lab/power_cuts.py --binary target/release/dunlin --drivers target/release/drivers --cuts 100

The agent writes to ext4 on a loop device over volatile_disk.py, which knows what was flushed. At random moments the
agent's acknowledgements are noted first, and then the disk is copied as a power cut at that moment would leave it. The
copy must be mounted, must pass fsck, and read_log.py must find in it whatever had been acknowledged; then the agent
starts on it, and must acknowledge more. The first agent is killed and begins anew in an empty store every `--per-agent`
cuts. With `--control` the agent's syncs do nothing, which shows that the rig can fail. Cut number n uses seed n; each that was checked is noted in `--ledger`, so that a run that was ended goes on where it
was. Ends with a line `cuts C, acked A, lost L`. Takes root, for mounting.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from drive import SECTOR
from ledger import Ledger

DISK_MB = 192


def shell(*command):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class Drive:
    """ext4 on a loop device on a drive with a volatile cache, which tears what is longer than a sector."""

    def __init__(self, root, sector=SECTOR):
        self.root, self.loop, self.process = root, None, None
        for name in ("drive", "disk"):
            (root / name).mkdir()
        with open(root / "backing", "wb") as file:
            file.truncate(DISK_MB << 20)
        script = pathlib.Path(__file__).parent / "volatile_disk.py"
        command = ["/usr/bin/python3", script, root / "drive", root / "backing", root / "socket", str(sector)]
        self.process = subprocess.Popen(command)
        began = time.monotonic()
        while not (root / "drive/disk").exists():
            if self.process.poll() is not None or time.monotonic() - began > 20:
                sys.exit("volatile_disk.py does not serve\n  Remedy: scripts/setup.sh test installs python3-fusepy")
            time.sleep(0.05)
        shell("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-F", root / "drive/disk")
        self.loop = shell("losetup", "--find", "--show", root / "drive/disk")
        shell("mount", self.loop, root / "disk")

    def cut(self, seed, target):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.root / "socket"))
            with peer.makefile("rw") as lines:
                lines.write(f"cut {seed} {target}\n")
                lines.flush()
                return [int(number) for number in lines.readline().split()]

    def close(self):
        subprocess.run(["umount", self.root / "disk"], check=False)
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop], check=False)
        # The kernel lets go of a loop device a moment after it was told to: not waited for.
        subprocess.run(["umount", "--lazy", self.root / "drive"], check=False)
        self.process.terminate()
        self.process.wait()


def start(options, ledger, lying=False):
    command = [options.binary, "run", "--log", "debug", str(ledger.config)]
    if lying:
        # Says that it synced, and does nothing.
        lies = ["-e", "inject=fdatasync:retval=0", "-e", "inject=fsync:retval=0"]
        command = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", *lies, *command]
    with open(ledger.log, "wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)


def end(agent):
    if agent.poll() is None:
        agent.send_signal(signal.SIGKILL)
    agent.wait()


def examine(options, root, image, acked, goes_on):
    """Mounts what the cut left; (lost, complaints)."""
    after = root / "after"
    after.mkdir(exist_ok=True)
    complaints = []
    # The journal is replayed by the mount, as at a boot; what fsck finds after that is damage.
    shell("mount", "-o", "loop", image, after)
    shell("umount", after)
    checked = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        complaints.append(f"e2fsck: {checked.stdout}")
    shell("mount", "-o", "loop", image, after)
    try:
        again = Ledger(root / "again", options.drivers, after / "state", rate_hz=5000)
        again.acked = dict(acked)
        _, lost, found = again.check(holes=True)
        complaints += found
        if goes_on and not complaints:
            agent = start(options, again)
            began = time.monotonic()
            while b'"durable through"' not in again.log.read_bytes():
                if agent.poll() is not None or time.monotonic() - began > 20:
                    complaints.append(f"does not go on: {again.log.read_text(errors='replace')[-1000:]}")
                    break
                time.sleep(0.02)
            end(agent)
            again.note()
            _, more, found = again.check(holes=True)
            lost, complaints = lost + more, complaints + found
        shutil.rmtree(root / "again")
        return lost, complaints
    finally:
        shell("umount", after)


def campaign(options, done, root):
    """Cuts until the agent has had its share; yields (acked, lost, bytes in the cache, bytes lost, complaints)."""
    drive = Drive(root)
    agent = None
    try:
        ledger = Ledger(root / "agent", options.drivers, root / "disk/state", rate_hz=5000)
        agent = start(options, ledger, options.control)
        for seed in range(done, min(done + options.per_agent, options.cuts)):
            time.sleep(0.05 + random.Random(seed).random() * 0.4)
            if agent.poll() is not None:
                sys.exit(f"the agent ended by itself:\n{ledger.log.read_text(errors='replace')[-2000:]}")
            ledger.note()
            image = root / "image"
            cached, gone = drive.cut(seed, image)
            lost, complaints = examine(options, root, image, ledger.acked, seed % 5 == 0)
            if complaints and not options.control:
                shutil.copy(image, f"{options.ledger}.cut-{seed}.image")
            yield ledger.records(), lost, cached, gone, [f"cut {seed}: {c}" for c in complaints]
    finally:
        if agent:
            end(agent)
        drive.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=os.path.abspath)
    parser.add_argument("--drivers", required=True, type=os.path.abspath)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--per-agent", type=int, default=20)
    parser.add_argument("--ledger", default="target/durability/cuts.jsonl", help="what was checked; a run goes on after it")
    parser.add_argument("--control", action="store_true", help="syncs of the agent do nothing; records must be lost")
    parser.add_argument("--dir", default="target/tmp")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("mounting takes root\n  Remedy: run this as root")
    options.ledger = os.path.abspath(options.ledger)
    os.makedirs(os.path.dirname(options.ledger), exist_ok=True)
    os.makedirs(options.dir, exist_ok=True)
    noted = pathlib.Path(options.ledger)
    lines = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    if lines:
        print(f"going on after {len(lines)} cuts in {noted}", file=sys.stderr)
    while len(lines) < options.cuts:
        root = pathlib.Path(tempfile.mkdtemp(prefix="cuts-", dir=os.path.abspath(options.dir)))
        for acked, lost, cached, gone, complaints in campaign(options, len(lines), root):
            lines.append({"acked": acked, "lost": lost, "cached": cached, "gone": gone, "complaints": complaints})
            with open(noted, "a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            if sys.stderr.isatty() or len(lines) % 20 == 0:
                part = len(lines) * 40 // options.cuts
                print(f"[{'#' * part}{'.' * (40 - part)}] {len(lines)}/{options.cuts} cuts", file=sys.stderr)
        shutil.rmtree(root)
    total = {key: sum(line[key] for line in lines) for key in ("acked", "lost", "cached", "gone")}
    complaints = [complaint for line in lines for complaint in line["complaints"]]
    if options.control:
        print(f"control: without syncs {total['lost']} of {total['acked']} acknowledged records were lost in {len(lines)} cuts")
        sys.exit(0 if total["lost"] else 1)
    for complaint in complaints[:20]:
        print(complaint)
    with_loss = sum(line["gone"] > 0 for line in lines)
    print(f"{with_loss} of {len(lines)} cuts lost something of the drive's cache: {total['gone']} of {total['cached']} bytes in it")
    print(f"cuts {len(lines)}, acked {total['acked']}, lost {total['lost']}")
    sys.exit(1 if total["lost"] or complaints else 0)


if __name__ == "__main__":
    main()
