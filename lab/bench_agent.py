#!/usr/bin/env python3
"""Measures the release binary from outside: start to ready, memory, records a second from driver to PUBACK.

    lab/bench_agent.py agent|endtoend --binary B --drivers D --broker PORT --certs C --dir WORK

Ready is what the agent says to its supervisor: READY=1 on the socket that NOTIFY_SOCKET names, as systemd would hear
it. Memory is the sum of Pss in smaps_rollup over the agent and all its driver hosts, so that what they share counts
once. Counts come from status.json. Every figure is the median of several runs, with the spread beside it.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import ports

RUNS = 5
SETTLE_S = 5
LOAD_S = 10
READY_TIMEOUT_S = 30
# Records in a message, the default of an uplink, and messages that the peer sends.
RECORDS, MESSAGES = 256, 4000

# aws-greengrass-lite 2.5.0 on a Raspberry Pi 4, nine daemons, idle and at about 3 messages/s: its own
# docs/RESOURCE_LIMITS.md and benchmark/REPORT.md. Another machine than this one, hence only an orientation.
PEER = "Greengrass nucleus lite 2.5.0"
PEER_START_MS, PEER_IDLE_MB, PEER_LOAD_MB = 1700.0, 14.6, 15.8


class Agent:
    """One agent, from start to SIGTERM."""

    def __init__(self, options, rate_hz, waves=1, endpoint=None, records=RECORDS):
        self.dir = options.dir
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(f"{self.dir}/runtime")
        os.makedirs(f"{self.dir}/state")
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench.toml"), encoding="utf-8") as file:
            text = file.read()
        values = {
            "DIR": self.dir, "DRIVERS": options.drivers, "RATE": rate_hz,
            "WAVES": ", ".join(f'{{ name = "wave{n}", shape = "sine" }}' for n in range(waves)),
            "ENDPOINT": endpoint or f"mqtts://127.0.0.1:{options.broker}", "RECORDS": records, "CERTS": options.certs,
        }
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        with open(f"{self.dir}/agent.toml", "w", encoding="utf-8") as file:
            file.write(text)
        self.log = open(f"{self.dir}/agent.log", "wb")
        notify = f"{self.dir}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(notify)
        self.socket.settimeout(READY_TIMEOUT_S)
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [options.binary, "run", f"{self.dir}/agent.toml"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={**os.environ, "NOTIFY_SOCKET": notify},
        )
        try:
            while b"READY=1" not in self.socket.recv(4096).split(b"\n"):
                pass
        except TimeoutError:
            self.process.kill()
            self.process.wait()
            sys.exit(f"the agent was not ready within {READY_TIMEOUT_S} s; see {self.dir}/agent.log")
        self.ready_ms = (time.monotonic() - begin) * 1000

    def uplinked(self):
        """Records acknowledged by the broker, and when that was counted, in seconds. The status file is renamed into
        place about once a second: waits for the next, since its age would be an error of the rate."""
        path = f"{self.dir}/runtime/status.json"
        before = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if os.path.exists(path) and os.stat(path).st_mtime_ns != before:
                with open(path, encoding="utf-8") as file:
                    return json.load(file)["uplinked"], os.fstat(file.fileno()).st_mtime_ns / 1e9
            time.sleep(0.005)
        sys.exit(f"the agent writes no status; see {self.dir}/agent.log")

    def rate(self, seconds):
        """Records a second that the broker acknowledged."""
        first, begin = self.uplinked()
        time.sleep(seconds)
        last, end = self.uplinked()
        return (last - first) / (end - begin)

    def pss_mb(self):
        total = 0
        for pid in family(self.process.pid):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return total * 1024 / 1e6

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.socket.close()
        self.log.close()
        if code != 0:
            sys.exit(f"the agent ended with status {code}; see {self.dir}/agent.log")


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        for thread in os.listdir(f"/proc/{each}/task"):
            with open(f"/proc/{each}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    return found


def table(title, rows, name=PEER):
    """Rows of (what, peer, runs, unit, higher is better); name is the peer's."""
    print(f"{title:<34} {name:>30} {'dunlin':>12} {'spread':>20} {'ratio':>8}")
    for what, peer, runs, unit, higher in rows:
        middle = statistics.median(runs)
        ratio = (middle / peer if higher else peer / middle) if peer else None
        print(
            f"{what + ', ' + unit:<34} {f'{peer:.1f}' if peer else '-':>30} {middle:>12.1f} "
            f"{f'{min(runs):.1f} to {max(runs):.1f}':>20} {f'{ratio:.1f} x' if ratio else '-':>8}"
        )


def agent(options):
    ready, idle, loaded = [], [], []
    for _ in range(RUNS):
        each = Agent(options, 1)
        ready.append(each.ready_ms)
        time.sleep(SETTLE_S)
        idle.append(each.pss_mb())
        each.stop()
        each = Agent(options, 1000)
        rate = each.rate(LOAD_S)
        loaded.append(each.pss_mb())
        each.stop()
        if rate < 800:
            sys.exit(f"the load was {rate:.0f} records/s instead of 1,000: the figure would be of something else")
    table(
        f"start and memory, median of {RUNS}",
        [
            ("start to ready", PEER_START_MS, ready, "ms", False),
            ("PSS idle (1 record/s)", PEER_IDLE_MB, idle, "MB", False),
            ("PSS at 1,000 records/s", PEER_LOAD_MB, loaded, "MB", False),
        ],
    )
    print(f"The peer's figures are its own, from a Raspberry Pi 4 (aarch64), its load about 3 messages/s; ours are of {os.uname().machine}.")


def publish(options):
    """Records a second that Debian's mosquitto_pub brings to the same broker, in messages of the agent's shape. It reads
    no driver and stores nothing: it is what the network and the broker leave."""
    sample = {"mono_ns": 10**12, "wall_ns": 179 * 10**16, "sample": {"ch": "wave0", "v": 0.123456789012345, "unit": "1"}}
    records = [dict(sample, mono_ns=10**12 + n) for n in range(RECORDS)]
    head = {"v": 1, "agent": "bench", "boot": "1-00000000", "stream": "sim", "seq": 0, "records": records}
    line = json.dumps(head, separators=(",", ":")).encode() + b"\n"
    command = [
        "mosquitto_pub", "-V", "5", "-q", "1", "-l", "-t", "dunlin/bench/peer", "-h", "127.0.0.1", "-p", options.broker,
        "--cafile", f"{options.certs}/ca.pem", "--cert", f"{options.certs}/agent.pem", "--key", f"{options.certs}/agent.key",
    ]
    begin = time.monotonic()
    subprocess.run(command, input=line * MESSAGES, check=True)
    return RECORDS * MESSAGES / (time.monotonic() - begin)


def endtoend(options):
    peers, rates = [], []
    for _ in range(RUNS):
        peers.append(publish(options))
        # More than can be had, so that what is measured is the limit of the whole and not of the source.
        each = Agent(options, 100_000, waves=8)
        time.sleep(2)
        rates.append(each.rate(LOAD_S))
        each.stop()
    table(
        f"end to end, median of {RUNS}",
        [("driver to PUBACK", statistics.median(peers), rates, "records/s", True)],
        "mosquitto_pub -l",
    )
    if options.sink:
        single(options)
    print(f"dunlin: sim -> buffer (fsync before the ack) -> MQTT 5, QoS 1, {RECORDS} records a message, mutual TLS -> mosquitto, loopback.")
    print("mosquitto_pub: the same messages from memory, without a driver and without a buffer.")


def single(options):
    """The same to a server that only acknowledges (lab/peers), so that no broker is measured, by both ways and with one
    record a message as well."""
    tcp, tls, quic = ports.free(3)
    command = [options.sink, "127.0.0.1", str(tcp), str(tls), str(quic), options.certs, "1000"]
    sink = subprocess.Popen(command, stdout=subprocess.PIPE)
    sink.stdout.readline()
    rows = []
    try:
        for name, url in (("QUIC", f"quic://127.0.0.1:{quic}"), ("TLS", f"mqtts://127.0.0.1:{tls}")):
            for records in (1, RECORDS):
                rates = []
                for _ in range(3):
                    each = Agent(options, 100_000, waves=8, endpoint=url, records=records)
                    time.sleep(2)
                    rates.append(each.rate(4))
                    each.process.kill()
                    each.process.wait()
                    each.socket.close()
                rows.append((f"{name}, {records} a message", None, rates, "records/s", True))
    finally:
        sink.kill()
        sink.wait()
    table("to a server that acknowledges", rows, "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=["agent", "endtoend"])
    for name in ("binary", "drivers", "broker", "certs", "dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--sink", help="lab/peers' sink: endtoend measures to it, too")
    options = parser.parse_args()
    {"agent": agent, "endtoend": endtoend}[options.bench](options)


if __name__ == "__main__":
    main()
