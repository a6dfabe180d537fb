#!/usr/bin/env python3
"""Counts what a subscriber received, without any of dunlin's code.

    lab/count.py FILE [--uplinked N] [--json]

FILE holds one JSON payload a line, as `mosquitto_sub -F %p` writes them:

    {"v":1,"agent":"gw","boot":"1-abcdef01","stream":"sim","seq":0,"records":[...]}

Record i of a payload has sequence seq + i. A record is known by (agent, boot, stream, sequence); sequences are dense
from 0 in each (agent, boot, stream). Prints a table with one row a stream: distinct records, duplicates, holes, and
steps back (a first copy of a record that arrived after a later record of its stream).

Exit status 1 where there are holes, lines that are no payloads, or fewer distinct records than --uplinked.
"""

import argparse
import json
import sys


class Stream:
    """What arrived of one (agent, boot, stream): sorted disjoint ranges [first, end) of sequences."""

    def __init__(self):
        self.ranges = []
        self.received = self.duplicates = self.steps_back = 0

    def add(self, first, end):
        self.received += end - first
        if self.ranges and first < self.ranges[-1][1]:
            fresh = self._merge(first, end)
            self.steps_back += 1 if fresh else 0
        elif self.ranges and first == self.ranges[-1][1]:
            self.ranges[-1][1] = end
            fresh = end - first
        else:
            self.ranges.append([first, end])
            fresh = end - first
        self.duplicates += end - first - fresh

    def _merge(self, first, end):
        before = self.distinct
        merged = []
        for low, high in sorted(self.ranges + [[first, end]]):
            if merged and low <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], high)
            else:
                merged.append([low, high])
        self.ranges = merged
        return self.distinct - before

    @property
    def distinct(self):
        return sum(high - low for low, high in self.ranges)

    @property
    def end(self):
        return self.ranges[-1][1] if self.ranges else 0

    @property
    def holes(self):
        """Sequences below the highest that never arrived."""
        return self.end - self.distinct


def read(lines):
    """All streams in order of appearance, and how many lines were no payloads. A torn last line, without its newline,
    is being written still and is not counted."""
    streams, bad = {}, 0
    for line in lines:
        if not line.endswith("\n"):
            break
        try:
            payload = json.loads(line)
            if payload["v"] != 1:
                raise ValueError("unknown version")
            key = (payload["agent"], payload["boot"], payload["stream"])
            first, count = int(payload["seq"]), len(payload["records"])
        except (ValueError, KeyError, TypeError):
            bad += 1
            continue
        if count:
            streams.setdefault(key, Stream()).add(first, first + count)
    return streams, bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--uplinked", type=int, default=0, help="records that the agent says the broker acknowledged")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    arguments = parser.parse_args()

    with open(arguments.file, encoding="utf-8", errors="replace", newline="\n") as file:
        streams, bad = read(file)

    distinct = sum(stream.distinct for stream in streams.values())
    holes = sum(stream.holes for stream in streams.values())
    # Holes are records that the agent numbered and the broker never passed on. What is missing at the end of a stream
    # is no hole: only the agent's own count shows it.
    lost = max(holes, arguments.uplinked - distinct, 0)
    if arguments.json:
        json.dump(
            {
                "received": distinct,
                "duplicates": sum(stream.duplicates for stream in streams.values()),
                "holes": holes,
                "steps_back": sum(stream.steps_back for stream in streams.values()),
                "bad_lines": bad,
                "lost": lost,
            },
            sys.stdout,
        )
        print()
    else:
        print(f"{'agent':<12} {'boot':<14} {'stream':<16} {'received':>10} {'duplicates':>10} {'holes':>6} {'back':>5}")
        for (agent, boot, name), stream in streams.items():
            print(
                f"{agent:<12} {boot:<14} {name:<16} {stream.distinct:>10} {stream.duplicates:>10} "
                f"{stream.holes:>6} {stream.steps_back:>5}"
            )
        if bad:
            print(f"{bad} lines are no payloads")
    return 1 if lost or bad else 0


if __name__ == "__main__":
    sys.exit(main())
