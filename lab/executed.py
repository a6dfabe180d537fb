#!/usr/bin/env python3
"""Adds up the instructions that a program executed, from the log of an emulator.

    qemu-aarch64-static -d in_asm,exec,nochain -D /dev/stdout PROGRAM | executed.py

The log has each block of instructions when it is translated, and a line for each time one is executed. A block is known by
the address of its first instruction. The program's own output may stand between the lines.
"""

import re
import sys

INSTRUCTION = re.compile(r"0x([0-9a-f]+):  [0-9a-f]{8}  ")
EXECUTED = re.compile(r"Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")


def executed(lines):
    """Instructions executed, of an iterable of lines."""
    lengths, total, block = {}, 0, None
    for line in lines:
        if line.startswith("IN:"):
            block = None
        elif found := INSTRUCTION.match(line):
            if block is None:
                block = int(found[1], 16)
                lengths[block] = 0
            lengths[block] += 1
        elif found := EXECUTED.match(line):
            address = int(found[1], 16)
            if address not in lengths:
                raise SystemExit(f"a block at {address:#x} was executed that was never translated: {line.strip()}")
            total += lengths[address]
    if not total:
        raise SystemExit("nothing was executed: is it the log of -d in_asm,exec,nochain?")
    return total


if __name__ == "__main__":
    print(executed(sys.stdin))
