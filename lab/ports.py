#!/usr/bin/env python3
"""Prints N loopback TCP ports that nobody uses now, all different: lab/ports.py N"""

import socket
import sys

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(each.getsockname()[1] for each in sockets))
