#!/usr/bin/env python3
"""Kills the agent with SIGKILL at every stop at a system call, entry and exit, under load, and looks for lost records.

    lab/kill_syscalls.py --binary target/release/dunlin --drivers target/release/drivers --kills 5000

Run number k is killed at its k-th stop, counted over all threads of the agent by ptrace, from execve on; after
`--stops` stops the count begins anew, and since threads interleave differently each time, so do the states. A start
goes on in the directory that the kills before it left. After every `--per-store` kills the store is read by
read_log.py and held against what the agent had acknowledged. Ends with a line `kills K, acked A, lost L`, and with 1
where L is not 0. The page cache survives SIGKILL: lost fsyncs show on the simulated disk and in the power cuts.
"""

import argparse
import ctypes
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from ledger import Ledger

TRACEME, SYSCALL, SETOPTIONS = 0, 24, 0x4200
EXITKILL, TRACESYSGOOD, TRACECLONE, TRACEEXEC = 0x100000, 1, 8, 16
WALL = 0x40000000
STRIDE = 7919
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def start(binary, ledger):
    """Starts the agent stopped and traced, its log in the ledger's file."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        options = EXITKILL | TRACESYSGOOD | TRACECLONE | TRACEEXEC
        if libc.ptrace(SETOPTIONS, pid, None, options) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
        return pid
    try:
        log = os.open(ledger.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (null, 1), (log, 2)):
            os.dup2(source, target)
        libc.ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execv(binary, [binary, "run", "--log", "debug", str(ledger.config)])
    finally:
        os._exit(127)


def kill_at(binary, ledger, stop):
    """Runs the agent to its `stop`-th stop and kills it there; returns whether it lived that long."""
    pid = start(binary, ledger)
    libc.ptrace(SYSCALL, pid, None, None)
    stops, alive = 0, True
    while True:
        try:
            thread, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            return alive
        if not os.WIFSTOPPED(status):
            if thread == pid:
                alive = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            continue
        what, pass_on = os.WSTOPSIG(status), 0
        if what == signal.SIGTRAP | 0x80:
            stops += 1
            if stops == stop:
                os.kill(pid, signal.SIGKILL)
        elif status >> 16 == 0 and what not in (signal.SIGSTOP, signal.SIGTRAP):
            pass_on = what
        # A thread that is gone meanwhile says ESRCH, and waitpid tells the rest.
        libc.ptrace(SYSCALL, thread, None, pass_on)


def work(number, options, results):
    root = pathlib.Path(tempfile.mkdtemp(prefix="kills-", dir=options.dir))
    ledger, since = None, 0
    stop = number
    while stop < options.kills:
        ledger = ledger or Ledger(root / f"store-{stop}", options.drivers)
        # All stops of a round come, and a part of a round is spread over all of it: a prime stride.
        at = 1 + stop * STRIDE % options.stops
        if not kill_at(options.binary, ledger, at):
            text = ledger.log.read_text(errors="replace")[-2000:]
            results.put((0, 0, 0, [f"the agent ended by itself before stop {at}:\n{text}"]))
            return
        ledger.note()
        since += 1
        stop += options.jobs
        done = stop >= options.kills
        if since >= options.per_store or done:
            acked, lost, complaints = ledger.check()
            if complaints:
                complaints.append(f"kept in {ledger.dir}")
            else:
                shutil.rmtree(ledger.dir)
            results.put((since, acked, lost, complaints))
            ledger, since = None, 0
    results.put(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=os.path.abspath)
    parser.add_argument("--drivers", required=True, type=os.path.abspath)
    parser.add_argument("--kills", type=int, default=5000)
    parser.add_argument("--stops", type=int, default=1500, help="stops after which the count begins anew")
    parser.add_argument("--per-store", type=int, default=25, help="kills on one store before it is checked")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--dir", default="target/tmp", help="where stores are kept while they are tried")
    options = parser.parse_args()
    os.makedirs(options.dir, exist_ok=True)
    options.dir = os.path.abspath(options.dir)

    results = multiprocessing.Queue(maxsize=64)
    workers = [multiprocessing.Process(target=work, args=(n, options, results)) for n in range(options.jobs)]
    for worker in workers:
        worker.start()
    kills = acked = lost = running = 0
    complaints, began = [], time.monotonic()
    running = len(workers)
    while running:
        found = results.get()
        if found is None or found[0] == 0:
            running -= 1
            complaints += found[3] if found else []
            continue
        kills, acked, lost = kills + found[0], acked + found[1], lost + found[2]
        complaints += found[3]
        if sys.stderr.isatty() or kills % 500 < found[0]:
            rate = kills / (time.monotonic() - began)
            print(f"{kills}/{options.kills} kills, {acked} acked, {lost} lost, {rate:.0f} kills/s", file=sys.stderr)
    for worker in workers:
        worker.join()
    for complaint in complaints[:20]:
        print(complaint)
    print(f"kills {kills}, acked {acked}, lost {lost}")
    sys.exit(1 if lost or complaints or kills < options.kills else 0)


if __name__ == "__main__":
    main()
