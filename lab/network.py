#!/usr/bin/env python3
"""Scenarios of a bad network: the real agent, its QUIC and TLS endpoints through lab/relay.py, a real broker behind.

    lab/network.py --binary B --drivers D --dir WORK [--only NAME...] [--parallel N] [--long]

Each scenario has a broker, a QUIC front, a subscriber and an agent of its own. The agent produces all the time; the
network is damaged as the scenario says and then healed; the agent is stopped in order. What the subscriber got is
counted by lab/count.py's rules. Prints a table, and last

    scenarios N, lost L, double D, worst reconnect S s

Lost: records that the agent made and the subscriber never got. Double: records that came under the same identity with
another content, or out of order. Reconnect: from the healing to the next message at the subscriber.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time

import ports
from relay import Network, TcpRelay, UdpRelay
from station import Station

CONFIG = """\
[agent]
name = "bad-network"
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
endpoint = "quic://127.0.0.1:{quic}"
standby = ["mqtts://127.0.0.1:{tls}"]
ca_file = "{certs}/ca.pem"
cert_file = "{certs}/agent.pem"
key_file = "{certs}/agent.key"
keep_alive_s = 5
connect_timeout_ms = 8000
backoff_max_ms = 2000
breaker = {{ calm_ms = 2000, open_ms = 1000 }}
"""
# Longest time for what is stored to be delivered after the healing.
DRAIN_S = 60


def step(at, **what):
    return (at, what)


def scenarios(long):
    """Name, seconds until the healing, steps: settings of the network, or an `act`."""
    found = [("nothing wrong", 3, [])]
    for loss in (0.01, 0.05, 0.1, 0.2, 0.3):
        found.append((f"loss {loss:.0%}", 5, [step(0.5, loss=loss)]))
    for rtt in (0.02, 0.1, 0.3, 0.6, 1, 2):
        found.append((f"round trip {rtt} s", 6, [step(0.5, delay=rtt / 2)]))
    for loss, rtt in ((0.05, 0.1), (0.1, 0.3), (0.2, 0.6), (0.3, 1)):
        found.append((f"loss {loss:.0%}, round trip {rtt} s", 6, [step(0.5, loss=loss, delay=rtt / 2)]))
    for jitter in (0.05, 0.2, 0.5):
        found.append((f"jitter {jitter} s", 5, [step(0.5, delay=0.02, jitter=jitter)]))
    for share in (0.05, 0.25):
        found.append((f"reordered {share:.0%}", 5, [step(0.5, reorder=share, delay=0.03)]))
        found.append((f"duplicated {share:.0%}", 5, [step(0.5, duplicate=share)]))
        found.append((f"corrupted {share:.0%}", 5, [step(0.5, corrupt=share)]))
    for rate in (20_000, 100_000):
        found.append((f"rate {rate // 1000} kB/s", 5, [step(0.5, rate=rate)]))
    for mtu in (1200, 1280, 1400):
        found.append((f"packets up to {mtu} B", 5, [step(0, mtu=mtu)]))
    for seconds in (1, 2, 5, 10, 20) + ((60, 300) if long else ()):
        found.append((f"nothing passes for {seconds} s", 1.5 + seconds, [step(1.5, cut=1)]))
    for way in ("up", "down"):
        for seconds in (3, 8):
            found.append((f"{way} is cut for {seconds} s", 1.5 + seconds, [step(1.5, **{f"{way}_cut": 1})]))
    for period in (0.5, 1, 2):
        steps = [step(1 + period * i, cut=i % 2) for i in range(1, int(8 / period))]
        found.append((f"flapping every {period} s", 9, steps))
    for seconds in (3, 10):
        found.append((f"UDP is blocked for {seconds} s", 1.5 + seconds, [step(1.5, udp={"cut": 1})]))
    found.append(("UDP is blocked from the start", 10, [step(0, udp={"cut": 1})]))
    found.append(("UDP is blocked and TCP breaks", 12, [step(0, udp={"cut": 1}), step(7, act="reset")]))
    for times in (1, 3):
        found.append((f"another address, {times} times", 6, [step(1.5 + i, act="rebind") for i in range(times)]))
    found.append(("another address under loss 10%", 6, [step(0.5, loss=0.1), step(2, act="rebind"), step(4, act="rebind")]))
    for times in (1, 2):
        found.append((f"broker killed {times} times", 8, [step(2 + 3 * i, act="kill_broker") for i in range(times)]))
    found.append(("broker killed under loss 10%", 7, [step(0.5, loss=0.1), step(2.5, act="kill_broker")]))
    found.append(("broker restarts in order", 7, [step(2, act="restart_broker")]))
    for times in (1, 2):
        found.append((f"QUIC front killed {times} times", 9, [step(2 + 4 * i, act="kill_front") for i in range(times)]))
    found.append(("agent killed while nothing passes", 7, [step(1.5, cut=1), step(3, act="kill_agent")]))
    found.append(("agent killed under loss 20%", 6, [step(0.5, loss=0.2), step(2.5, act="kill_agent")]))
    return found


class Scenario(Station):
    """All the processes of one scenario."""

    def __init__(self, args, name, number):
        super().__init__(args, number, ("plain", "broker_tls", "tls", "front", "quic"))
        self.name = name
        self.udp, self.tcp = Network(), Network()
        self.peak_kb = 0

    async def start(self):
        persistence = f"persistence true\npersistence_location {self.dir}/\nautosave_interval 1\n"
        self.configure_mosquitto(self.ports["plain"], self.ports["broker_tls"], persistence)
        with open(os.path.join(self.dir, "dunlin.toml"), "w") as file:
            file.write(
                CONFIG.format(
                    dir=self.dir, drivers=self.args.drivers, certs=self.certs, quic=self.ports["quic"], tls=self.ports["tls"]
                )
            )
        await self.open_broker()
        await self.open_front()
        self.relays = UdpRelay(self.udp, self.ports["front"]), TcpRelay(self.tcp, self.ports["broker_tls"])
        await self.relays[0].start(self.ports["quic"])
        await self.relays[1].start(self.ports["tls"])
        self.witness = await self.start_witness("witness", self.ports["plain"], "#")
        await self.start_agent()

    async def open_broker(self):
        self.broker = await self.start_mosquitto(self.ports["plain"])

    async def open_front(self):
        self.front = await self.start_front(self.ports["front"], self.ports["plain"])

    async def start_agent(self):
        self.agent = await self.run("agent", self.args.binary, "run", os.path.join(self.dir, "dunlin.toml"))

    async def act(self, what):
        if what == "rebind":
            self.relays[0].rebind()
        elif what == "reset":
            self.relays[1].reset()
        elif what == "kill_broker":
            # What mosquitto has acknowledged and not written is lost with it, so it is let write first: the subject is
            # the uplink. autosave_interval is in seconds, as changes are with autosave_on_changes off.
            self.broker.send_signal(signal.SIGUSR1)
            await asyncio.sleep(0.05)
            self.broker.kill()
            await self.broker.wait()
            await self.open_broker()
        elif what == "restart_broker":
            self.broker.terminate()
            await self.broker.wait()
            await self.open_broker()
        elif what == "kill_front":
            self.front.kill()
            await self.front.wait()
            await self.open_front()
        elif what == "kill_agent":
            self.agent.kill()
            await self.agent.wait()
            await self.start_agent()

    def size(self):
        return os.path.getsize(self.received)

    async def play(self, until, steps):
        # From the first message on: the agent is up.
        await self.until(lambda: self.size() > 0 or any(at == 0 for at, _ in steps), 15)
        start = time.monotonic()
        for at, what in steps:
            await asyncio.sleep(max(0, start + at - time.monotonic()))
            what = dict(what)
            if act := what.pop("act", None):
                await self.act(act)
            udp, tcp = what.pop("udp", {}), what.pop("tcp", {})
            self.udp.set(**what, **udp)
            self.tcp.set(**{key: value for key, value in what.items() if key != "mtu"}, **tcp)
        await asyncio.sleep(max(0, start + until - time.monotonic()))
        self.udp.heal()
        self.tcp.heal()
        healed, size = time.monotonic(), self.size()
        reconnected = await self.until(lambda: self.size() > size, DRAIN_S)
        reconnect = time.monotonic() - healed
        await asyncio.sleep(0.5)
        return reconnect if reconnected else float("inf")

    async def until(self, ready, seconds):
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
            self.look()
        return True

    def look(self):
        try:
            with open(f"/proc/{self.agent.pid}/status") as file:
                peak = next(line for line in file if line.startswith("VmHWM:"))
            self.peak_kb = max(self.peak_kb, int(peak.split()[1]))
        except (OSError, StopIteration):
            pass

    async def stop(self):
        self.look()
        self.agent.terminate()
        try:
            await asyncio.wait_for(self.agent.wait(), DRAIN_S)
        except asyncio.TimeoutError:
            self.agent.kill()
        with open(os.path.join(self.dir, "runtime", "status.json")) as file:
            status = json.load(file)
        size, still = -1, 0
        while still < 5 and self.counted()[0] < status["uplinked"]:
            await asyncio.sleep(0.2)
            still = still + 1 if self.size() == size else 0
            size = self.size()
        for each in (self.witness, self.front, self.broker):
            if each.returncode is None:
                each.kill()
                await each.wait()
        return status

    def contradictions(self):
        """Records whose identity came twice with another content."""
        seen, found = {}, 0
        with open(self.received, encoding="utf-8") as file:
            for line in file:
                payload = json.loads(line)
                for at, record in enumerate(payload["records"]):
                    key = (payload["boot"], payload["stream"], payload["seq"] + at)
                    content = hash(json.dumps(record, sort_keys=True))
                    found += seen.setdefault(key, content) != content
        return found


async def one(args, number, name, until, steps, turn):
    async with turn:
        station = Scenario(args, name, number)
        try:
            await station.start()
            reconnect = await station.play(until, steps)
            status = await station.stop()
        finally:
            station.end()
        received, holes, duplicates, back = station.counted()
        lost = max(holes, status["uplinked"] - received, 0)
        # After a kill the account is the second process's, which also delivers what the first one left.
        undelivered = max(status["durable"] - status["uplinked"], 0)
        row = (name, received, lost, undelivered, duplicates, back + station.contradictions(), reconnect, station.peak_kb)
        print(
            f"{name:<36} {received:>8} {lost:>5} {undelivered:>6} {duplicates:>6} {row[5]:>6} "
            f"{reconnect:>9.1f} {station.peak_kb / 1024:>8.1f}",
            flush=True,
        )
        return row


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--binary", "--drivers", "--dir", "--broker"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--parallel", type=int, default=6)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--long", action="store_true")
    args = parser.parse_args()
    chosen = [each for each in scenarios(args.long) if not args.only or any(part in each[0] for part in args.only)]
    if not chosen:
        sys.exit("no scenario of that name")
    args.ports = iter(ports.free(5 * len(chosen)))
    print(
        f"{'scenario':<36} {'received':>8} {'lost':>5} {'stored':>6} {'repeats':>6} {'double':>6} "
        f"{'reconnect':>9} {'peak MiB':>8}"
    )
    turn = asyncio.Semaphore(args.parallel)
    rows = await asyncio.gather(*(one(args, number, *each, turn) for number, each in enumerate(chosen)))
    lost = sum(row[2] for row in rows) + sum(row[3] for row in rows)
    double, worst = sum(row[5] for row in rows), max(row[6] for row in rows)
    print(f"scenarios {len(rows)}, lost {lost}, double {double}, worst reconnect {worst:.1f} s")
    return 1 if lost or double or worst == float("inf") else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
