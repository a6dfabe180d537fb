#!/usr/bin/env python3
"""A gateway that roams: its own address changes while it delivers over QUIC. Needs root, for network namespaces.

    lab/roam.py --binary B --drivers D --dir WORK --broker MOSQUITTO

The agent is in a namespace of its own. Its interface gets another address and loses the first one, twice; a packet of the
agent then comes from an address that the other side (aioquic) does not know. Prints

    roam produced P received R lost L connections C

and exits with 0 where nothing was lost and the first connection was still the one in use.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys

import ports
from interop import CONFIG, FILES, Pair

# 10.0.2.2 is in the server's certificate (lab/certs.sh).
SERVER, HOMES = "10.0.2.2", ("10.0.2.20", "10.0.2.21", "10.0.2.22")


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--binary", "--drivers", "--dir", "--broker"):
        parser.add_argument(flag, required=True)
    args = parser.parse_args()
    name = f"dl{os.getpid()}"
    args.ports = iter(ports.free(5))
    station = Pair(args, 90, "mosquitto", "mqtt", "mosquitto_sub", "none")
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{SERVER}/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        inside = ("-n", name)
        ip(*inside, "addr", "add", f"{HOMES[0]}/24", "dev", f"{name}b")
        ip(*inside, "link", "set", f"{name}b", "up")
        await station.start_broker()
        await station.start_front(station.ports["quic"], station.ports["tcp"], "--host", SERVER)
        await station.start_subscriber()
        config = os.path.join(station.dir, "dunlin.toml")
        with open(config, "w", encoding="utf-8") as file:
            endpoint = f"quic://{SERVER}:{station.ports['quic']}"
            file.write(
                CONFIG.format(dir=station.dir, drivers=args.drivers, endpoint=endpoint, extra=FILES.format(certs=station.certs))
            )
        agent = await station.run("agent", "ip", "netns", "exec", name, args.binary, "run", config)
        await station.until(lambda: os.path.getsize(station.received) > 0, 20, "nothing arrived")
        for old, new in zip(HOMES, HOMES[1:]):
            await asyncio.sleep(1.5)
            ip(*inside, "addr", "add", f"{new}/24", "dev", f"{name}b")
            ip(*inside, "addr", "del", f"{old}/24", "dev", f"{name}b")
            # With the first address of a network go the others of it.
            subprocess.run(["ip", *inside, "addr", "add", f"{new}/24", "dev", f"{name}b"], stderr=subprocess.DEVNULL)
        size = os.path.getsize(station.received)
        await station.until(lambda: os.path.getsize(station.received) > size, 20, "nothing arrived from the new address")
        await asyncio.sleep(1.5)
        agent.send_signal(signal.SIGTERM)
        await asyncio.wait_for(agent.wait(), 60)
        with open(os.path.join(station.dir, "runtime", "status.json"), encoding="utf-8") as file:
            status = json.load(file)
        await asyncio.sleep(1)
        received = station.counted()[0]
    finally:
        station.end()
        ip("netns", "del", name)
    connections = status["sinks"]["cloud"]["connects"]
    lost = status["produced"] - received
    print(f"roam produced {status['produced']} received {received} lost {lost} connections {connections}")
    return 0 if lost == 0 and connections == 1 and received else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
