"""What the rigs of lab/network.py, lab/interop.py and lab/roam.py share: a directory with the logs of a broker, a QUIC front, a
witness and an agent, which end together."""

import asyncio
import os
import shutil
import sys

import count

HERE = os.path.dirname(os.path.abspath(__file__))


class Station:
    """All the processes of one run. `args` has `dir`, `broker`, and `ports`, an iterator over free ones."""

    def __init__(self, args, number, ports):
        self.args = args
        self.dir = os.path.join(args.dir, f"{number:02}")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.certs = os.path.join(args.dir, "certs")
        self.ports = {name: next(args.ports) for name in ports}
        self.received = os.path.join(self.dir, "received.jsonl")
        self.processes = []

    def path(self, name):
        return os.path.join(self.dir, name)

    async def run(self, name, *command, **options):
        """A process, with its output in NAME.log."""
        log = open(self.path(f"{name}.log"), "ab")
        options = {"stdout": log, "stderr": log, "stdin": asyncio.subprocess.DEVNULL} | options
        self.processes.append(await asyncio.create_subprocess_exec(*command, **options))
        return self.processes[-1]

    def end(self):
        """Whatever still runs, after an error too."""
        for each in reversed(self.processes):
            if each.returncode is None:
                each.kill()

    async def listens(self, process, port):
        for _ in range(200):
            if process.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the broker did not start; look into {self.dir}/broker.log")

    def configure_mosquitto(self, plain, tls, more=""):
        certs = self.certs
        with open(self.path("mosquitto.conf"), "w", encoding="utf-8") as file:
            file.write(
                f"user root\nmax_queued_messages 0\nmax_inflight_messages 1000\nallow_anonymous true\n{more}"
                f"listener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\ncafile {certs}/ca.pem\n"
                f"certfile {certs}/server.pem\nkeyfile {certs}/server.key\nrequire_certificate true\n"
            )

    async def start_mosquitto(self, plain):
        """With the configuration that is there; again after a kill."""
        broker = await self.run("broker", self.args.broker, "-c", self.path("mosquitto.conf"))
        await self.listens(broker, plain)
        return broker

    async def start_front(self, listen, to, *more):
        """lab/quic_front.py before a broker."""
        front = await self.run(
            "front", sys.executable, os.path.join(HERE, "quic_front.py"), "--listen", str(listen), "--to", str(to),
            "--ca", f"{self.certs}/ca.pem", "--cert", f"{self.certs}/server.pem", "--key", f"{self.certs}/server.key",
            *more, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await asyncio.wait_for(front.stdout.readline(), 20)
        return front

    async def start_witness(self, name, port, topic):
        """mosquitto_sub with a session that is there before anything is published."""
        arguments = ["-h", "127.0.0.1", "-p", str(port), "-V", "5", "-q", "1", "-c", "-x", "3600", "-i", "witness", "-t", topic]
        await (await self.run(name, "mosquitto_sub", *arguments, "-E")).wait()
        out = open(self.received, "ab")
        return await self.run(name, "stdbuf", "-oL", "mosquitto_sub", *arguments, "-F", "%p", stdout=out)

    def counted(self):
        """Of what arrived: distinct records, holes, repeats, and records out of order or unreadable."""
        with open(self.received, encoding="utf-8", newline="\n") as file:
            streams, bad = count.read(file)
        each = streams.values()
        return (
            sum(stream.distinct for stream in each),
            sum(stream.holes for stream in each),
            sum(stream.duplicates for stream in each),
            sum(stream.steps_back for stream in each) + bad,
        )
