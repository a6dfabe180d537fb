#!/usr/bin/env python3
"""Prints N loopback ports that nobody uses now, all different: lab/ports.py N

Below those that the kernel gives to connections (ip_local_port_range begins at 32768): the ports are bound only later, and
again after a kill, and no connection of a neighbour may take them meanwhile.
"""

import random
import socket
import sys


def free(count):
    """That many ports, free for TCP and UDP."""
    found = []
    for port in random.SystemRandom().sample(range(15000, 32000), 2000):
        if len(found) == count:
            return found
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as each:
                    each.bind(("127.0.0.1", port))
        except OSError:
            continue
        found.append(port)
    sys.exit(f"ports.py: of 2000 ports on loopback no {count} are free\n  Remedy: end what listens there")


if __name__ == "__main__":
    print(*free(int(sys.argv[1])))
