#!/usr/bin/env python3
"""A bad path for packets of any kind, between this network namespace and another: lab/tun_relay.py NAMESPACE DELAY_MS LOSS

Makes a namespace with one end (10.0.2.2) and gives this one the other (10.0.2.1); carries IP packets between them, each
DELAY_MS later, LOSS of them (0 to 1) never. TCP and UDP are damaged alike, as on a radio. Needs root. Prints `ready`, and on
each line that it reads how many bytes of IP packets passed in both directions since the last.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# Packets on their way in one direction, about what a router's buffer of a fast path holds.
QUEUE_MAX = 20_000


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    namespace, delay, loss = sys.argv[1], float(sys.argv[2]) / 1000, float(sys.argv[3])
    names = f"{namespace[:12]}a", f"{namespace[:12]}b"
    ends = [tun(name) for name in names]
    ip("netns", "add", namespace)
    try:
        ip("link", "set", names[1], "netns", namespace)
        ip("addr", "add", "10.0.2.1/30", "dev", names[0])
        ip("link", "set", names[0], "mtu", "1500", "up")
        ip("-n", namespace, "addr", "add", "10.0.2.2/30", "dev", names[1])
        ip("-n", namespace, "link", "set", names[1], "mtu", "1500", "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        print("ready", flush=True)
        carry(ends, delay, loss)
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)


def carry(ends, delay, loss):
    waiting, number, passed = [], 0, 0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, packet = heapq.heappop(waiting)
            try:
                os.write(to, packet)
            except BlockingIOError:
                pass
        pause = max(0, waiting[0][0] - now) if waiting else None
        ready, _, _ = select.select([*ends, sys.stdin], [], [], pause)
        for fd in ready:
            if fd is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(passed, flush=True)
                passed = 0
                continue
            to = ends[1] if fd == ends[0] else ends[0]
            for _ in range(64):
                try:
                    packet = os.read(fd, 2048)
                except BlockingIOError:
                    break
                passed += len(packet)
                if random.random() < loss or len(waiting) > QUEUE_MAX:
                    continue
                if delay:
                    number += 1
                    heapq.heappush(waiting, (time.monotonic() + delay, number, to, packet))
                else:
                    try:
                        os.write(to, packet)
                    except BlockingIOError:
                        pass


if __name__ == "__main__":
    main()
