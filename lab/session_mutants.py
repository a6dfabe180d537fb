#!/usr/bin/env python3
"""Takes the guards of src/uplink/session away, one at a time, and shows that the model test notices.

    lab/session_mutants.py             all of them, and a table
    lab/session_mutants.py WORD...     only those whose name has one of the words

Each has a line in MUTANTS: a piece of the source, which occurs once, and what takes its place. The tracked files are
copied below target/, never changed in the tree. Without a change the model test must pass; with one it must fail.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target/session-mutants"
TREE = OUT / "tree"
TIMEOUT_S = 300
TEST = ["cargo", "test", "--locked", "--quiet", "--test", "uplink", "the_session_keeps_every_promise"]

# (name, file below src/uplink, piece, what takes its place)
MUTANTS = [
    ("DUP on what goes again", "session/send.rs", "self.encode(&given, packet_id, true,", "self.encode(&given, packet_id, false,"),
    ("Receive Maximum", "session/send.rs", "self.window.sent() < inflight_max && ", ""),
    ("Maximum Packet Size", "session/send.rs", "if bytes > packet_max_bytes {", "if bytes > usize::MAX - packet_max_bytes {"),
    ("Topic Alias Maximum", "session/send.rs", ".filter(|next| *next <= alias_max)", ".filter(|_| alias_max > 0)"),
    ("a lost session's messages keep their order", "session.rs", "forget_session().into_iter().rev()", "forget_session().into_iter()"),
    ("a kept session's messages keep their ids", "session.rs", "if !connack.session_present {", "if !connack.session_present || self.connections > 1 {"),
    ("the first connection starts clean", "session.rs", "let clean_start = !self.established\n            || (", "let clean_start = ("),
    ("a PUBACK counts once", "session/window.rs", "matches!(self.slots.get(index)?, Slot::Sent(..)).then_some(index)", "self.slots.get(index).map(|_| index)"),
    ("a message without PUBACK is not waited for without end", "session/timers.rs", "now_ms >= connection.progress_ms + ack_timeout_ms", "now_ms > u64::MAX - ack_timeout_ms"),
    ("a refused message is tried again", "session/send.rs", "        self.parking.wake(now_ms);\n", ""),
    ("what follows a refused message waits behind it", "session/send.rs", "if !self.parking.holds(&next.topic) {", "if !self.parking.holds(&next.topic) || next.seq > 0 {"),
    ("what the connection lost goes again", "session.rs", "        self.window.rewind();\n", ""),
]


def copy():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, TREE / name
        if not name or not source.is_file():
            continue
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def passes():
    """Whether the test passes, and what it said. What does not compile is no verdict."""
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(OUT / "build"),
        # That it fails is enough; the shortest sequence is not asked for.
        "PROPTEST_MAX_SHRINK_ITERS": "0",
    }
    done = subprocess.run(TEST, cwd=TREE, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    said = done.stdout + done.stderr
    if "test result:" not in said:
        sys.exit(f"no verdict:\n{said[-2000:]}")
    return done.returncode == 0, said


def main():
    words = sys.argv[1:]
    copy()
    if not passes()[0]:
        sys.exit("the model test fails without any change")
    survived = 0
    chosen = [m for m in MUTANTS if not words or any(word in m[0] for word in words)]
    for name, file, piece, other in chosen:
        path = TREE / "src/uplink" / file
        source = path.read_text()
        if source.count(piece) != 1:
            sys.exit(f"{file} has {piece!r} {source.count(piece)} times; the table must follow the code")
        started = time.monotonic()
        path.write_text(source.replace(piece, other))
        try:
            passed, said = passes()
        finally:
            path.write_text(source)
        survived += passed
        why = next((line for line in said.splitlines() if line.startswith("Test failed: ")), "")
        print(f"{'SURVIVED' if passed else 'caught':8}  {name:55} {time.monotonic() - started:4.0f} s  {why[13:110]}", flush=True)
    print(f"mutants {len(chosen)}, survived {survived}")
    sys.exit(survived > 0)


if __name__ == "__main__":
    main()
