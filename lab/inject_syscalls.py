#!/usr/bin/env python3
"""Makes single system calls of the agent fail, under load, and looks for records acknowledged and not stored.

    lab/inject_syscalls.py --binary target/release/dunlin --drivers target/release/drivers

strace answers the n-th call of one number, counted over all threads, with an error instead of making it: that call
alone, or it and all later ones. Each number is swept by itself, since strace counts each number by itself. After
`--seconds` the agent is killed, started again without errors, and killed again; after either, read_log.py must find in
the store what the agent had acknowledged, and the second start must acknowledge more. Ends with a line
`injections I, acked A, lost L`.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ledger import Ledger

# Per call: the errors, and the counts from which on it fails. What opens and creates is called by the loader too.
CALLS = {
    "fdatasync": (["EIO", "ENOSPC", "EDQUOT", "EROFS"], [1, 2, 3, 4, 5, 7, 11, 20]),
    "fsync": (["EIO", "ENOSPC"], [1, 2, 3, 4, 5, 6, 8, 10]),
    "pwrite64": (["EIO", "ENOSPC", "EDQUOT", "EINTR"], [1, 2, 3, 5, 8, 13]),
    "fallocate": (["ENOSPC", "EDQUOT", "EIO", "EOPNOTSUPP"], [1, 2]),
    "ftruncate": (["EIO", "ENOSPC"], [1, 2, 3]),
    "rename": (["EIO", "ENOSPC", "EROFS"], [1, 2, 3, 4]),
    "unlink": (["EIO", "EROFS"], [1, 2]),
    "mkdir": (["ENOSPC", "EROFS"], [1, 3, 5, 7]),
    "openat": (["EMFILE", "EIO", "ENOSPC"], [12, 16, 20, 24, 30, 36, 44]),
}


def run(options, ledger, inject):
    """One start, killed after a time; returns how many records it acknowledged."""
    command = [options.binary, "run", "--log", "debug", str(ledger.config)]
    if inject:
        call = inject.split(":")[0]
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}", *command]
    with open(ledger.log, "wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    began = time.monotonic()
    # The second start is there to show that it goes on: it gets the time that this takes, within reason.
    while child.poll() is None and time.monotonic() - began < (options.seconds if inject else 20):
        time.sleep(0.02)
        if not inject and b'"durable through"' in ledger.log.read_bytes():
            break
    agent = child.pid
    if inject and child.poll() is None:
        children = pathlib.Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        agent = int(children[0]) if children else agent
    if child.poll() is None:
        os.kill(agent, signal.SIGKILL)
    child.wait()
    return ledger.note()


def attempt(try_):
    """One point: a start with errors, one without; (acked, lost, complaints)."""
    at, point, root, options = try_
    ledger = Ledger(root / str(at), options.drivers)
    run(options, ledger, point)
    complaints = [f"before the second start: {complaint}" for complaint in ledger.check()[2]]
    more = run(options, ledger, None)
    records, lost, found = ledger.check()
    complaints += found
    if not more:
        complaints.append("the start without errors acknowledges nothing")
    if not complaints:
        shutil.rmtree(ledger.dir)
    return records, lost, [f"{point}: {complaint} (kept in {ledger.dir})" for complaint in complaints]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=os.path.abspath)
    parser.add_argument("--drivers", required=True, type=os.path.abspath)
    parser.add_argument("--seconds", type=float, default=0.4, help="how long a start with errors runs")
    parser.add_argument("--call", action="append", choices=sorted(CALLS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="mostly they wait")
    parser.add_argument("--dir", default="target/tmp")
    options = parser.parse_args()
    os.makedirs(options.dir, exist_ok=True)
    root = pathlib.Path(tempfile.mkdtemp(prefix="inject-", dir=os.path.abspath(options.dir)))
    points = []
    for call, (errors, counts) in CALLS.items():
        if not options.call or call in options.call:
            points += [f"{call}:error={e}:when={n}{more}" for e in errors for n in counts for more in ("", "+")]
    acked = lost = 0
    complaints = []
    tries = [(at, point, root, options) for at, point in enumerate(points)]
    with multiprocessing.Pool(options.jobs) as pool:
        for done, (records, missing, found) in enumerate(pool.imap_unordered(attempt, tries), 1):
            acked, lost, complaints = acked + records, lost + missing, complaints + found
            if sys.stderr.isatty() or done % 50 == 0:
                print(f"{done}/{len(points)} injections, {acked} acked, {lost} lost", file=sys.stderr)
    for complaint in complaints[:20]:
        print(complaint)
    print(f"injections {len(points)}, acked {acked}, lost {lost}")
    sys.exit(1 if lost or complaints else 0)


if __name__ == "__main__":
    main()
