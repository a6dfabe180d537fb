#!/usr/bin/env python3
"""Who understands dunlin: the real agent with brokers and subscribers that are not ours.

    lab/interop.py --binary B --drivers D --dir WORK --broker MOSQUITTO --paho PAHO [--peers DIR] [--only PART...]

Each pair has a broker, a subscriber and an agent of its own. The agent makes records all the time. In the middle the one
that the pair is about loses its connection: the agent's breaks in a relay, or the subscriber is ended without a word and
started again a second later. Then the agent is stopped in order. What the subscriber got is counted by lab/count.py's
rules. Prints a table, and last

    interop N pairs, F failed

A pair fails where a record is missing at the subscriber, where a first copy came after a later record of its stream, or
where the session was not found again after the break by a broker that keeps sessions.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time

import ports
from relay import Network, TcpRelay, UdpRelay
from station import HERE, Station

CONFIG = """\
[agent]
name = "interop"
state_dir = "{dir}/state"
runtime_dir = "{dir}/runtime"
driver_dir = "{drivers}"

[sources.sim]
type = "driver"
driver = "sim"
options = {{ rate_hz = 200 }}

[sinks.cloud]
type = "uplink"
inputs = ["sim"]
endpoint = "{endpoint}"
keep_alive_s = 5
backoff_max_ms = 1000
{extra}
"""
FILES = 'ca_file = "{certs}/ca.pem"\ncert_file = "{certs}/agent.pem"\nkey_file = "{certs}/agent.key"\n'
# Before the break, the break, and after it. Over QUIC, where nothing passes, the agent gives the connection up only after a
# ping that has no answer.
BEFORE_S, AWAY_S, SILENT_S, AFTER_S = 1.5, 2, 11, 2.5
DRAIN_S = 30


class Pair(Station):
    """The processes of one pair."""

    def __init__(self, args, number, broker, scheme, subscriber, breaks):
        super().__init__(args, number, ("tcp", "tls", "front", "quic", "relay"))
        self.broker, self.scheme, self.subscriber, self.breaks = broker, scheme, subscriber, breaks
        self.network = Network()

    def log(self, name):
        try:
            with open(os.path.join(self.dir, f"{name}.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    async def until(self, ready, seconds, what):
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise RuntimeError(f"{what}; look into {self.dir}")
            await asyncio.sleep(0.05)

    async def start_broker(self):
        at = self.ports
        if self.broker == "mosquitto":
            self.configure_mosquitto(at["tcp"], at["tls"])
            await self.start_mosquitto(at["tcp"])
            if self.scheme == "quic":
                await self.start_front(at["quic"], at["tcp"])
        else:
            binary = os.path.join(self.args.peers, f"{self.broker}-broker")
            broker = await self.run("broker", binary, *(str(at[name]) for name in ("tcp", "tls", "quic")), self.certs)
            await self.listens(broker, at["tcp"])

    async def start_relay(self):
        to = self.ports[{"mqtt": "tcp", "mqtts": "tls", "quic": "quic"}[self.scheme]]
        self.relay = (UdpRelay if self.scheme == "quic" else TcpRelay)(self.network, to)
        await self.relay.start(self.ports["relay"])

    def config(self):
        extra = "" if self.scheme == "mqtt" else FILES.format(certs=self.certs)
        path = os.path.join(self.dir, "dunlin.toml")
        endpoint = f"{self.scheme}://127.0.0.1:{self.ports['relay']}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(dir=self.dir, drivers=self.args.drivers, endpoint=endpoint, extra=extra))
        return path

    async def start_subscriber(self):
        if self.subscriber == "mosquitto_sub":
            self.witness = await self.start_witness("subscriber", self.ports["tcp"], "dunlin/#")
            return
        port, out = str(self.ports["tcp"]), open(self.received, "ab")
        if self.subscriber == "dunlin sub":
            # By the way that the agent has: the relay, and what is behind it.
            command = [self.args.binary, "sub", self.config(), "--json", "--seconds", "600"]
            self.witness = await self.run("subscriber", *command, stdout=out)
            await asyncio.sleep(1)
            return
        before = self.log("subscriber").count("session present")
        command = {
            "paho": [sys.executable, os.path.join(HERE, "subscribers.py"), "paho", port, "witness"],
            "gmqtt": [sys.executable, os.path.join(HERE, "subscribers.py"), "gmqtt", port, "witness"],
            "paho C": [self.args.paho, "sub", f"127.0.0.1:{port}", "witness"],
        }[self.subscriber]
        self.witness = await self.run("subscriber", *command, stdout=out)
        await self.until(
            lambda: self.log("subscriber").count("session present") > before, 10, "the subscriber did not connect"
        )
        await asyncio.sleep(0.3)

    async def break_agent(self):
        if self.scheme == "quic":
            self.network.set(cut=1)
            await asyncio.sleep(SILENT_S)
            self.network.heal()
        else:
            self.relay.reset()
            await asyncio.sleep(AWAY_S)

    async def break_subscriber(self):
        self.witness.kill()
        await self.witness.wait()
        await asyncio.sleep(1)
        await self.start_subscriber()
        await asyncio.sleep(AWAY_S - 1)

    async def play(self):
        await self.start_broker()
        await self.start_relay()
        await self.start_subscriber()
        agent = await self.run("agent", self.args.binary, "run", self.config(), "--log", "debug")
        await self.until(
            lambda: os.path.getsize(self.received) > 0 or agent.returncode is not None, 20, "nothing arrived"
        )
        if agent.returncode is not None:
            raise RuntimeError(f"the agent ended; look into {self.dir}/agent.log")
        await asyncio.sleep(BEFORE_S)
        if self.breaks == "agent":
            await self.break_agent()
        elif self.breaks == "subscriber":
            await self.break_subscriber()
        await asyncio.sleep(AFTER_S)
        agent.send_signal(signal.SIGTERM)
        await asyncio.wait_for(agent.wait(), DRAIN_S)
        with open(os.path.join(self.dir, "runtime", "status.json"), encoding="utf-8") as file:
            status = json.load(file)
        size, still = -1, 0
        while still < 10 and self.counted()[0] < status["produced"]:
            await asyncio.sleep(0.2)
            still = still + 1 if os.path.getsize(self.received) == size else 0
            size = os.path.getsize(self.received)
        return status

    def resumed(self):
        """Whether the session was there again after the break: what the party that was broken says of CONNACK."""
        if self.breaks == "agent":
            found = re.findall(r"uplink connected.*?session_present\"?[=:] ?(true|false)|session_present\"?[=:] ?(true|false)",
                               self.log("agent"))  # fmt: skip
            found = [first or second for first, second in found]
        else:
            found = re.findall(r"session present (\d)", self.log("subscriber"))
            found = ["true" if each == "1" else "false" for each in found]
        if self.breaks == "none":
            return "-"
        return "yes" if len(found) > 1 and found[-1] == "true" else "no"


async def one(args, number, pair, turn):
    broker, scheme, subscriber, breaks, front = pair
    name = f"{front or broker} {scheme}"
    async with turn:
        station = Pair(args, number, broker, scheme, subscriber, breaks)
        try:
            status = await station.play()
            received, _, repeats, back = station.counted()
            produced, lost = status["produced"], max(status["produced"] - received, 0)
            resumed = station.resumed()
            failed = lost > 0 or back > 0 or produced == 0 or resumed == "no"
        except (RuntimeError, OSError, asyncio.TimeoutError) as error:
            print(f"{name:<24} {subscriber:<14} {breaks:<10} FAILED: {error or type(error).__name__}", flush=True)
            return True
        finally:
            station.end()
        print(
            f"{name:<24} {subscriber:<14} {breaks:<10} {produced:>8} {received:>8} {lost:>5} {repeats:>7} "
            f"{'yes' if back == 0 else 'NO':<5} {resumed:<7} {'FAILED' if failed else 'ok'}",
            flush=True,
        )
        return failed


def pairs(peers):
    """Broker, scheme, subscriber, whose connection breaks, and what the broker is shown as."""
    found = [
        ("mosquitto", "mqtt", "mosquitto_sub", "agent", None),
        ("mosquitto", "mqtts", "mosquitto_sub", "agent", None),
        ("mosquitto", "quic", "mosquitto_sub", "agent", "aioquic+mosquitto"),
    ]
    if peers:
        for broker in ("mqtt5", "rmqtt"):
            for scheme in ("mqtt", "mqtts", "quic"):
                found.append((broker, scheme, "mosquitto_sub", "agent", None))
    for subscriber in ("paho", "gmqtt", "paho C"):
        found.append(("mosquitto", "mqtts", subscriber, "subscriber", None))
    found.append(("mosquitto", "mqtts", "dunlin sub", "none", None))
    found.append(("mosquitto", "quic", "dunlin sub", "none", "aioquic+mosquitto"))
    if peers:
        found.append(("mqtt5", "quic", "dunlin sub", "none", None))
        found.append(("rmqtt", "quic", "dunlin sub", "none", None))
    return found


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--binary", "--drivers", "--dir", "--broker", "--paho"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--peers", help="where lab/peers was built; without it, pairs without those brokers")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--parallel", type=int, default=3)
    args = parser.parse_args()
    chosen = [
        pair for pair in pairs(args.peers) if not args.only or any(part in " ".join(map(str, pair)) for part in args.only)
    ]
    if not chosen:
        sys.exit("no pair of that name")
    args.ports = iter(ports.free(5 * len(chosen)))
    print(
        f"{'broker':<24} {'subscriber':<14} {'broken':<10} {'produced':>8} {'received':>8} {'lost':>5} {'repeats':>7} "
        f"{'order':<5} session"
    )
    turn = asyncio.Semaphore(args.parallel)
    failed = sum(await asyncio.gather(*(one(args, number, pair, turn) for number, pair in enumerate(chosen))))
    print(f"interop {len(chosen)} pairs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
