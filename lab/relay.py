#!/usr/bin/env python3
"""A bad network in user space: relays UDP and TCP on loopback and damages what passes.

    lab/relay.py udp|tcp LISTEN TO [loss=0.1] [delay=0.2] ...

What can be set (times in seconds, shares from 0 to 1), each for both directions, or for one with `up.` or `down.` before it:

    loss       share of packets that vanish. TCP has no packets here: a loss holds the stream for a retransmission, 0.2 s
               or two round trips, whichever is more
    delay      time on the way                     jitter     added to it, uniform from 0
    reorder    share of packets that are held back by one more delay (UDP)
    duplicate  share that arrives twice (UDP)      corrupt    share with a flipped bit (UDP)
    rate       bytes a second                      mtu        longest packet; longer ones vanish (UDP)
    cut        1: nothing passes
"""

import asyncio
import random
import sys

FIELDS = ("loss", "delay", "jitter", "reorder", "duplicate", "corrupt", "rate", "mtu", "cut")
# A retransmission takes at least this long (Linux: TCP_RTO_MIN).
RTO_MIN = 0.2
CHUNK = 16 << 10


class Way:
    """One direction."""

    def __init__(self):
        for field in FIELDS:
            setattr(self, field, 0)
        self.free_at = 0.0

    def due(self, size):
        """When what is sent now arrives, by the rate and the delay."""
        now = asyncio.get_running_loop().time()
        if self.rate:
            self.free_at = max(self.free_at, now) + size / self.rate
            now = self.free_at
        return now + self.delay + self.jitter * random.random()


class Network:
    """Both directions, and what passed."""

    def __init__(self, **settings):
        self.up, self.down = Way(), Way()
        self.passed = {"up": 0, "down": 0}
        self.set(**settings)

    def set(self, **settings):
        """`loss=0.1` for both directions, `up_loss=0.1` for one."""
        for name, value in settings.items():
            way, _, field = name.partition("_")
            ways = {"up": [self.up], "down": [self.down]}.get(way) if field else [self.up, self.down]
            for each in ways:
                setattr(each, field or name, value)

    def heal(self):
        self.set(**dict.fromkeys(FIELDS, 0))


class UdpRelay(asyncio.DatagramProtocol):
    """Each client address gets a socket of its own towards the server, as behind an address translation."""

    def __init__(self, network, to):
        self.network, self.to, self.upstreams = network, to, {}

    async def start(self, port):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))

    def rebind(self):
        """The translation forgets: the server sees every client from a new address."""
        for upstream in self.upstreams.values():
            upstream.close()
        self.upstreams = {}

    def datagram_received(self, data, address):
        asyncio.ensure_future(self._to_server(data, address))

    async def _to_server(self, data, address):
        upstream = self.upstreams.get(address)
        if upstream is None or upstream.is_closing():
            upstream, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Downstream(self, address), remote_addr=("127.0.0.1", self.to)
            )
            self.upstreams[address] = upstream
        self.carry("up", data, upstream.sendto)

    def carry(self, name, data, send):
        way = getattr(self.network, name)
        if way.cut or random.random() < way.loss or (way.mtu and len(data) > way.mtu):
            return
        if random.random() < way.corrupt:
            at = random.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        loop = asyncio.get_running_loop()
        at = way.due(len(data))
        if random.random() < way.reorder:
            at += way.delay or 0.01
        for _ in range(2 if random.random() < way.duplicate else 1):
            loop.call_at(at, self._send, name, data, send)

    def _send(self, name, data, send):
        if not getattr(self.network, name).cut:
            self.network.passed[name] += len(data)
            send(data)

    def error_received(self, _):
        """The server's port is closed: to a client behind a network that looks like silence."""


class Downstream(asyncio.DatagramProtocol):
    def __init__(self, relay, client):
        self.relay, self.client = relay, client

    def datagram_received(self, data, _):
        self.relay.carry("down", data, lambda data: self.relay.transport.sendto(data, self.client))

    def error_received(self, _):
        pass


class TcpRelay:
    def __init__(self, network, to):
        self.network, self.to, self.open = network, to, set()

    async def start(self, port):
        self.server = await asyncio.start_server(self._client, "127.0.0.1", port)

    def reset(self):
        """Every connection breaks."""
        for writer in list(self.open):
            writer.transport.abort()

    async def _client(self, reader, writer):
        while self.network.up.cut or self.network.down.cut:
            await asyncio.sleep(0.05)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        self.open |= {writer, server_writer}
        await asyncio.gather(
            self._pump("up", reader, server_writer), self._pump("down", server_reader, writer)
        )
        for each in (writer, server_writer):
            self.open.discard(each)
            each.close()

    async def _pump(self, name, reader, writer):
        way, loop = getattr(self.network, name), asyncio.get_running_loop()
        queue = asyncio.Queue(64)

        async def deliver():
            while (item := await queue.get()) is not None:
                at, data = item
                await asyncio.sleep(max(0, at - loop.time()))
                while way.cut:
                    await asyncio.sleep(0.05)
                self.network.passed[name] += len(data)
                writer.write(data)
                await writer.drain()

        sender = asyncio.ensure_future(deliver())
        last = 0.0
        try:
            while data := await reader.read(CHUNK):
                at = way.due(len(data))
                if random.random() < way.loss:
                    at += max(RTO_MIN, 2 * way.delay)
                last = max(at, last)
                await queue.put((last, data))
            await queue.put(None)
            await sender
            writer.write_eof()
        except (ConnectionError, OSError, RuntimeError):
            writer.transport.abort()
        finally:
            sender.cancel()


async def main(kind, listen, to, settings):
    network = Network(**settings)
    relay = {"udp": UdpRelay, "tcp": TcpRelay}[kind](network, to)
    await relay.start(listen)
    while True:
        await asyncio.sleep(1)
        print(f"up {network.passed['up']} B, down {network.passed['down']} B", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("udp", "tcp"):
        sys.exit(__doc__)
    pairs = (argument.split("=", 1) for argument in sys.argv[4:])
    chosen = {name.replace(".", "_"): float(value) for name, value in pairs}
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), chosen))
