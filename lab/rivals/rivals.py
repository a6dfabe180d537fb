#!/usr/bin/env python3
"""dunlin's buffer and its rivals under the same rigs, each at its default and at its safest documented setting.

    lab/rivals/rivals.py                                    all of them, about ten minutes
    lab/rivals/rivals.py --peers redis --rigs kill cut      some

A record is 256 bytes that say which one it is. A client sends them and notes which were acknowledged; after the rig the
peer is started anew, and everything that it has is read. Acknowledged and not there is `lost`; there and not what was sent
is `corrupted`. `kill` is SIGKILL under load; `cut` is a power cut of the ext4 it is on, by volatile_disk.py; `flip` one bit of
what it stored; `full` a disk without a free block, for a while; `speed` a client that waits for each, and one that has 64
under way, on an ext4 on a loop device, whose statistics say what was written. Takes root, for mounting.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import peers
import rigs

COLUMNS = {
    "speed": (("window", "in flight", "d"), ("per_s", "records/s", ".0f"), ("p99_ms", "p99 ack ms", ".2f"),
              ("amplification", "w.amp", ".2f"), ("rss_mb", "RSS MB", ".1f"), ("records", "records", "d")),
    "kill": (("acked", "acked", "d"), ("lost", "lost", "d"), ("corrupted", "corrupted", "d"), ("unreadable", "unreadable", "d")),
    "cut": (("cuts", "cuts", "d"), ("acked", "acked", "d"), ("lost", "lost", "d"), ("corrupted", "corrupted", "d"),
            ("unreadable", "unreadable", "d")),
    "flip": (("flips", "flips", "d"), ("stored", "stored", "d"), ("lost", "lost, all", "d"), ("worst", "by one bit", "d"),
             ("corrupted", "corrupted", "d"), ("refused", "does not start", "d")),
    "full": (("acked", "acked", "d"), ("lost", "lost", "d"), ("corrupted", "corrupted", "d"), ("unreadable", "unreadable", "d"),
             ("during", "acked while full", "d"), ("alone", "then", "s")),
}  # fmt: skip


def table(rig, rows):
    columns = COLUMNS[rig]
    lines = [[f"{'rival':<12} {'setting':<8}", *(title for _, title, _ in columns)]]
    lines += [[f"{name:<12} {setting:<8}", *(format(found[key], how) for key, _, how in columns)] for name, setting, found in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns) + 1)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=list(peers.PEERS))
    parser.add_argument("--settings", nargs="+", choices=("default", "safest"), default=["default", "safest"])
    parser.add_argument("--rigs", nargs="+", choices=rigs.RIGS, default=list(rigs.RIGS))
    parser.add_argument("--seconds", type=float, default=3, help="of speed, for each of the two windows")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--cuts", type=int, default=4)
    parser.add_argument("--flips", type=int, default=16)
    parser.add_argument("--stored", type=int, default=800, help="records before a bit is flipped")
    parser.add_argument("--full-s", type=float, default=3, help="how long a disk stays full")
    parser.add_argument("--dir", default="target/tmp")
    parser.add_argument("--out", default="target/durability/rivals.jsonl", help="a line for each row, as it comes")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("mounting takes root\n  Remedy: run this as root")
    os.makedirs(options.dir, exist_ok=True)
    os.makedirs(os.path.dirname(options.out), exist_ok=True)
    began, rows, broken = time.monotonic(), {rig: [] for rig in options.rigs}, 0
    todo = [(rig, name, setting) for rig in options.rigs for name in options.peers for setting in options.settings]
    for number, (rig, name, setting) in enumerate(todo):
        print(f"[{time.monotonic() - began:4.0f} s] {number + 1}/{len(todo)} {rig}: {name}, {setting}", file=sys.stderr)
        root = pathlib.Path(tempfile.mkdtemp(prefix=f"rivals-{rig}-", dir=os.path.abspath(options.dir)))
        for found in rigs.RIGS[rig](peers.PEERS[name], setting, root, options):
            rows[rig].append((name, setting, found))
            with open(options.out, "a", encoding="utf-8") as file:
                file.write(json.dumps({"rig": rig, "rival": name, "setting": setting, **found}) + "\n")
            # dunlin itself is held to what it promises; the others are shown.
            if name == "dunlin" and (found.get("corrupted") or rig in ("kill", "cut", "full") and (found["lost"] or found["unreadable"])):
                print(f"dunlin, {setting}, {rig}: {found}; kept in {root}", file=sys.stderr)
                broken += 1
        if not broken:
            shutil.rmtree(root, ignore_errors=True)
    for name in options.peers:
        print(f"{name} {peers.PEERS[name].version()}")
        for setting in options.settings:
            print(f"  {setting}: {peers.PEERS[name].settings[setting]}")
    for rig in options.rigs:
        print(f"\n{rig}: {rigs.RIGS[rig].__doc__}\n{table(rig, rows[rig])}")
    print(f"\nrivals {len(options.peers)}, rows {sum(map(len, rows.values()))}, {time.monotonic() - began:.0f} s")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
