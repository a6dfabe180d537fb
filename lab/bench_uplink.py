#!/usr/bin/env python3
"""dunlin's uplink beside other publishers, at the same QoS, payload and window, to the same acknowledging server.

    lab/bench_uplink.py --dunlin UPLINK_PUB --peers DIR --paho PAHO --certs CERTS [--svg FILE] [--quick]

The server is lab/peers' `sink`, so that publishers are measured and no broker. Three paths: loopback; a tunnel without
damage, where the bytes of IP packets are counted, both directions; the same with 50 ms each way and 5 % of the packets lost
(lab/tun_relay.py, needs root). CPU and the largest PSS are those of the publisher's process, start included.
Then the time from dial to CONNACK on loopback. dunlin speaks clear text to loopback only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time

import ports

PAYLOAD, INFLIGHT = 34, 100
NAMESPACE = "dunlin-bench"


class Server:
    def __init__(self, args, address, enter=()):
        self.ports = dict(zip(("tcp", "tls", "quic"), ports.free(3)))
        self.process = subprocess.Popen(
            [*enter, f"{args.peers}/sink", address, *map(str, self.ports.values()), args.certs, str(INFLIGHT)],
            stdout=subprocess.PIPE,
        )
        if self.process.stdout.readline() != b"ready\n":
            sys.exit("bench_uplink.py: the sink did not start\n  Remedy: look at its words above")

    def stop(self):
        self.process.kill()
        self.process.wait()


def command(args, client, scheme, host, port, count):
    """What starts a publisher, and what it reads."""
    at = f"{host}:{port}"
    certs = [args.certs] if scheme == "tls" else []
    if client == "dunlin":
        url = {"tcp": "mqtt", "tls": "mqtts", "quic": "quic"}[scheme]
        return [args.dunlin, "pub", f"{url}://{at}", args.certs, str(count), str(INFLIGHT), str(PAYLOAD)], None
    if client == "paho C":
        return [args.paho, "pub", at, str(count), str(INFLIGHT), str(PAYLOAD), *certs], None
    if client == "rumqttc":
        return [f"{args.peers}/rumqttc-pub", at, str(count), str(INFLIGHT), str(PAYLOAD), *certs], None
    files = ["--cafile", f"{args.certs}/ca.pem", "--cert", f"{args.certs}/agent.pem", "--key", f"{args.certs}/agent.key"]
    line = ["mosquitto_pub", "-h", host, "-p", str(port), "-V", "5", "-l", "-q", "1", "-t", "bench/stream"]
    return [*line, "-M", str(INFLIGHT), *(files if certs else [])], (b"x" * PAYLOAD + b"\n") * count


def run(args, client, scheme, host, port, count, bound):
    """Messages a second, CPU microseconds a message, largest PSS in MiB."""
    line, fed = command(args, client, scheme, host, port, count)
    start = time.monotonic()
    child = subprocess.Popen(
        line, stdin=subprocess.PIPE if fed else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    if fed:
        threading.Thread(target=feed, args=(child.stdin, fed), daemon=True).start()
    pss, ended = 0, None
    while ended is None:
        time.sleep(0.02)
        pss = max(pss, pss_kb(child.pid))
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            ended = status
        elif time.monotonic() - start > bound:
            child.kill()
            _, ended, usage = os.wait4(child.pid, 0)
    child.returncode = ended
    said = child.stdout.read().split()
    if ended:
        return None
    seconds = float(said[0]) if said else time.monotonic() - start
    return count / seconds, (usage.ru_utime + usage.ru_stime) / count * 1e6, pss / 1024


def feed(to, data):
    try:
        to.write(data)
        to.close()
    except BrokenPipeError:
        pass


def pss_kb(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def median(found):
    found = [each for each in found if each]
    return tuple(statistics.median(column) for column in zip(*found)) if found else None


class Tunnel:
    def __init__(self, delay_ms, loss):
        here = os.path.dirname(os.path.abspath(__file__))
        self.process = subprocess.Popen(
            [sys.executable, f"{here}/tun_relay.py", NAMESPACE, str(delay_ms), str(loss)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self.process.stdout.readline() != "ready\n":
            sys.exit("bench_uplink.py: no tunnel\n  Remedy: run it as root, with /dev/net/tun")
        time.sleep(0.5)

    def passed(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


CLIENTS = [
    ("dunlin", "quic"), ("dunlin", "tls"), ("dunlin", "tcp"),
    ("mosquitto_pub", "tls"), ("mosquitto_pub", "tcp"),
    ("paho C", "tls"), ("paho C", "tcp"),
    ("rumqttc", "tls"), ("rumqttc", "tcp"),
]  # fmt: skip


def measure(args):
    loop, wire, bad = {}, {}, {}
    runs, count = (1, 20_000) if args.quick else (3, 100_000)
    server = Server(args, "127.0.0.1")
    try:
        # In turn, so that what the machine does meanwhile meets all of them.
        found = {each: [] for each in CLIENTS}
        for _ in range(runs):
            for client, scheme in CLIENTS:
                port = server.ports[scheme]
                found[client, scheme].append(run(args, client, scheme, "127.0.0.1", port, count, 60))
        loop = {each: median(rows) for each, rows in found.items()}
        times = {}
        for scheme, url in (("quic", "quic"), ("tls", "mqtts")):
            for mode in ("connect", "resume", "early")[: 3 if scheme == "quic" else 2]:
                line = [args.dunlin, mode, f"{url}://127.0.0.1:{server.ports[scheme]}", args.certs, "50"]
                output = subprocess.run(line, stdout=subprocess.PIPE, check=True, timeout=60).stdout
                times[scheme, mode] = sorted(int(each) / 1000 for each in output.split())
    finally:
        server.stop()
    remote = [each for each in CLIENTS if each != ("dunlin", "tcp")]
    for delay_ms, loss, into in ((0, 0, wire), (50, 0.05, bad)):
        tunnel = Tunnel(delay_ms, loss)
        server = Server(args, "10.0.2.2", ("ip", "netns", "exec", NAMESPACE))
        try:
            count, runs = (5_000, 1) if not loss else ((500, 1) if args.quick else (2_000, 3))
            for client, scheme in remote:
                rows = []
                for _ in range(runs):
                    tunnel.passed()
                    row = run(args, client, scheme, "10.0.2.2", server.ports[scheme], count, 60)
                    rows.append((*row, tunnel.passed() / count) if row else None)
                into[client, scheme] = median(rows)
        finally:
            server.stop()
            tunnel.stop()
    return loop, wire, bad, times


def show(loop, wire, bad, times):
    base = ("mosquitto_pub", "tls")
    ratio = lambda table, each: table[each][0] / table[base][0] if table.get(each) and table.get(base) else None
    text = lambda value, form: "-" if value is None else format(value, form)
    print(
        f"{'':<14} {'':<5} {'loopback':>9} {'CPU':>8} {'ratio':>6} {'PSS':>6} {'wire':>6} {'bad path':>9} {'ratio':>6}\n"
        f"{'':<14} {'':<5} {'msg/s':>9} {'us/msg':>8} {'msg/s':>6} {'MiB':>6} {'B/msg':>6} {'msg/s':>9} {'msg/s':>6}"
    )
    for each in loop:
        row, far, lossy = loop[each], wire.get(each), bad.get(each)
        print(
            f"{each[0]:<14} {each[1]:<5} {text(row and row[0], '9.0f'):>9} {text(row and row[1], '8.2f'):>8} "
            f"{text(ratio(loop, each), '.2f'):>6} {text(row and row[2], '.1f'):>6} {text(far and far[3], '.0f'):>6} "
            f"{text(lossy and lossy[0], '9.0f'):>9} {text(ratio(bad, each), '.2f'):>6}"
        )
    print("ratios are to mosquitto_pub over TLS\n\nms from dial to CONNACK: median, and the middle half")
    for (scheme, mode), found in times.items():
        quarter = len(found) // 4
        print(f"{scheme:<5} {mode:<8} {statistics.median(found):7.2f} {found[quarter]:7.2f} to {found[-quarter - 1]:.2f}")


def draw(path, loop, bad):
    """Two bars a client: its messages a second as a ratio to mosquitto_pub over TLS, on loopback and on the bad path."""
    base, rows = ("mosquitto_pub", "tls"), []
    for each in loop:
        pair = [table[each][0] / table[base][0] if table.get(each) and table.get(base) else 0 for table in (loop, bad)]
        rows.append((f"{each[0]}, {each[1].upper()}", pair))
    # Each path has a scale of its own: their ratios are of different sizes.
    widest = [max(values) or 1 for values in zip(*(pair for _, pair in rows))]
    left, width, height = 150, 420, 44 * len(rows) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{height}" font-family="sans-serif" '
        'font-size="12"><title>messages a second, as a ratio to mosquitto_pub over TLS</title>',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{left}" y="16">messages/s, mosquitto_pub over TLS = 1, QoS 1, '
        f'{INFLIGHT} in flight; each colour has its scale</text>',
        f'<rect x="{left}" y="24" width="10" height="10" fill="#4a7ba6"/><text x="{left + 16}" y="34">loopback</text>',
        f'<rect x="{left + 90}" y="24" width="10" height="10" fill="#c9803a"/>'
        f'<text x="{left + 106}" y="34">5 % loss, 100 ms round trip</text>',
    ]
    for at, (name, pair) in enumerate(rows):
        top = 48 + 44 * at
        parts.append(f'<text x="{left - 8}" y="{top + 22}" text-anchor="end">{name}</text>')
        for line, (value, colour) in enumerate(zip(pair, ("#4a7ba6", "#c9803a"))):
            y, long = top + 18 * line, width * value / widest[line]
            words = f"{value:.2f}" if value else "not measured"
            parts.append(f'<rect x="{left}" y="{y}" width="{long:.0f}" height="15" fill="{colour}"/>')
            parts.append(f'<text x="{left + long + 5:.0f}" y="{y + 12}">{words}</text>')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--dunlin", "--peers", "--paho", "--certs"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--svg")
    parser.add_argument("--quick", action="store_true", help="too short to mean anything: whether it runs")
    args = parser.parse_args()
    loop, wire, bad, times = measure(args)
    show(loop, wire, bad, times)
    if args.svg:
        draw(args.svg, loop, bad)


if __name__ == "__main__":
    main()
