#!/usr/bin/env python3
"""Prints what takes the room in a binary: sections, crates, symbols; then the files beside what they were before.

    deploy/cross/sizes.py [--tools PREFIX] [--before TSV] [--check] WHOLE OUT

WHOLE is the full binary with its symbols, OUT the folder with the stripped one, core/dunlin and drivers/. TSV has two columns a line,
what and bytes; lines that begin with `budget` are bars: with --check, a file above its bar is an error. Sizes in bytes.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import Counter

ROWS = 12


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sections(tools, path):
    """(name, bytes) of what is loaded, largest first."""
    rows = []
    for line in output(f"{tools}size", "-A", path).splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[0].startswith(".") and parts[2] != "0":
            rows.append((parts[0], int(parts[1])))
    return sorted(rows, key=lambda row: -row[1])


def symbols(tools, path):
    """(name, bytes) of each symbol with a size."""
    for line in output(f"{tools}nm", "--print-size", "--demangle", "--defined-only", path).splitlines():
        match = re.match(r"[0-9a-f]+ ([0-9a-f]+) [a-zA-Z] (.*)", line)
        if match:
            yield match.group(2), int(match.group(1), 16)


def crate(name):
    """The crate that a demangled name belongs to; C has no paths."""
    if "::" not in name:
        return "C (OpenSSL, start files)"
    # <impl of a trait for a type>: whose type it is; core's generic code over it counts as core's.
    match = re.search(r"[A-Za-z_][A-Za-z0-9_]*(?=(\[[0-9a-f]+\])?::)", name)
    return match.group(0) if match else "unknown"


def before(path):
    known, budgets = {}, {}
    if path and os.path.exists(path):
        for line in open(path, encoding="utf-8"):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            what, count = line.rsplit("\t", 1)
            (budgets if what.startswith("budget ") else known)[what.removeprefix("budget ")] = int(count)
    return known, budgets


def table(title, rows, total):
    print(f"\n{title:<48}{'bytes':>12}{'share':>9}")
    for name, count in rows[:ROWS]:
        name = name if len(name) <= 47 else name[:44] + "..."
        print(f"{name:<48}{count:>12,}{count / total:>9.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default="")
    parser.add_argument("--before")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("whole")
    parser.add_argument("out")
    given = parser.parse_args()

    stripped = os.path.join(given.out, "dunlin")
    parts = sections(given.tools, stripped)
    table("sections of the stripped binary", parts, sum(count for _, count in parts))
    named = list(symbols(given.tools, given.whole))
    total = sum(count for _, count in named)
    crates = Counter()
    for name, count in named:
        crates[crate(name)] += count
    table("crates, by the symbols that carry their names", crates.most_common(), total)
    table("symbols", sorted(named, key=lambda row: -row[1]), total)

    known, budgets = before(given.before)
    files = {"core": os.path.join(given.out, "core", "dunlin"), "full": stripped}
    folder = os.path.join(given.out, "drivers")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".so") and not name.startswith("."):
            files[f"drivers/{name}"] = os.path.join(folder, name)
    over = []
    print(f"\n{'file':<20}{'bytes':>12}{'before':>12}{'change':>9}{'bar':>12}")
    for what, path in files.items():
        count = os.path.getsize(path)
        old, bar = known.get(what), budgets.get(what)
        change = f"{(count - old) / old:+.1%}" if old else "new"
        print(f"{what:<20}{count:>12,}{old or '-':>12}{change:>9}{bar or '-':>12}")
        if bar and count > bar:
            over.append(f"{what} is {count} bytes, {count - bar} above its bar of {bar}")
    whole = os.path.getsize(given.whole)
    print(f"stripped to {os.path.getsize(stripped) / whole:.1%} of {whole:,} bytes; the tables are those of the full build")
    if given.check and over:
        sys.exit("sizes: " + "; ".join(over) + "\n  Remedy: the tables above say what takes the room")


if __name__ == "__main__":
    main()
