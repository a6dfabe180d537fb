"""The rivals: how each is started, with its default and with its safest documented setting, and how it is read."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import wire

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NATS = ROOT / "target/lab/rivals/bin/nats-server"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as each:
        return each.getsockname()[1]


def said(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


class Peer:
    """A rival on one directory. `start`, then `client`; `stop` or `kill`; `records` starts it anew and reads all it has."""

    # What each setting is, for the table of settings.
    settings = {}

    def __init__(self, directory, setting):
        self.dir, self.setting = pathlib.Path(directory), setting
        self.dir.mkdir(parents=True, exist_ok=True)
        self.data = self.dir / "data"
        self.data.mkdir(exist_ok=True)
        self.process, self.port = None, 0

    def at(self, directory):
        """The same peer on a copy of its directory."""
        return type(self)(directory, self.setting)

    def spawn(self, command, **more):
        # Beside the directory, which may be full, or a copy of a disk.
        log = open(f"{self.dir}.log" if "log_to" not in more else more.pop("log_to"), "ab")
        with log:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=self.dir, stderr=log,
                stdin=more.get("stdin", subprocess.DEVNULL), stdout=more.get("stdout", log),
            )  # fmt: skip

    def start(self, reading=False):
        self.port = free_port()
        self.spawn(self.command(reading))

    def client(self):
        return self.speaks(self.port)

    def prepare(self):
        """Whatever a first start makes, durably: a rig must not cut that off."""
        self.start()
        client = self.client()
        client.prepare()
        client.close()
        self.stop()
        subprocess.run(["sync", "--file-system", self.dir], check=True)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def end(self, how, limit_s=30):
        if self.alive():
            self.process.send_signal(how)
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def records(self):
        """Every record that it has, as it gives them; Gone where it does not start, or ends meanwhile."""
        self.start(reading=True)
        try:
            client = self.client()
            yield from client.read()
            client.close()
        finally:
            self.kill()

    def rss_mb(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0


class Mosquitto(Peer):
    name, speaks = "mosquitto", wire.Mqtt
    settings = {
        "default": "Debian's: persistence true, saved every 1800 s and at the end; 1000 messages a client",
        "safest": "autosave_on_changes true, autosave_interval 1, max_queued_messages 0",
    }

    @staticmethod
    def version():
        return said("mosquitto", "-h").splitlines()[0].removeprefix("mosquitto version ")

    def command(self, reading):
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root", "persistence true"]
        lines += [f"persistence_location {self.data}/", "log_dest stderr"]
        if self.setting == "safest":
            lines += ["max_queued_messages 0"]
            lines += ["max_inflight_messages 0"] if reading else ["autosave_on_changes true", "autosave_interval 1"]
        conf = pathlib.Path(f"{self.dir}.conf")
        conf.write_text("\n".join(lines) + "\n")
        return ["mosquitto", "-c", conf]


class JetStream(Peer):
    name, speaks = "nats-server", wire.Nats
    settings = {"default": "a stream in a file, sync_interval 2m", "safest": "sync_interval: always"}

    @staticmethod
    def version():
        return said(NATS, "--version").removeprefix("nats-server: v")

    def command(self, _):
        sync = " sync_interval: always," if self.setting == "safest" else ""
        conf = pathlib.Path(f"{self.dir}.conf")
        conf.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.data}",{sync} max_file_store: 64GB }}\n'
        )
        return [NATS, "-c", conf]


class Rsyslog(Peer):
    """Takes records by RELP, whose answer comes when the main queue has them, and cannot hand them on meanwhile."""

    name, speaks = "rsyslog", wire.Relp
    settings = {
        "default": "disk-assisted: LinkedList with queue.filename, saveOnShutdown on",
        "safest": "queue.type Disk, syncQueueFiles on, checkpointInterval 1",
    }

    def __init__(self, directory, setting):
        super().__init__(directory, setting)
        self.sink = wire.Sink()

    @staticmethod
    def version():
        return said("rsyslogd", "-v").split()[1]

    def command(self, _):
        queue = {
            "default": 'queue.type="LinkedList"',
            "safest": 'queue.type="Disk" queue.syncQueueFiles="on" queue.checkpointInterval="1"',
        }[self.setting]
        conf = pathlib.Path(f"{self.dir}.conf")
        conf.write_text(f"""
global(workDirectory="{self.data}" shutdown.enable.ctlc="off")
main_queue({queue} queue.filename="main" queue.saveOnShutdown="on")
module(load="imrelp")
input(type="imrelp" port="{self.port}" address="127.0.0.1")
template(name="raw" type="string" string="%rawmsg-after-pri%\\n")
action(type="omfwd" target="127.0.0.1" port="{self.sink.port}" protocol="tcp" template="raw" action.resumeRetryCount="-1")
""")
        return ["rsyslogd", "-n", "-f", conf, "-iNONE"]

    def records(self):
        self.sink.listen()
        self.start(reading=True)
        try:
            self.client().close()
            yield from self.sink.read()
        finally:
            self.kill()


class Redis(Peer):
    name, speaks = "redis", wire.Redis
    settings = {
        "default": "snapshots: save 3600 1 300 100 60 10000",
        "safest": "appendonly yes, appendfsync always",
    }

    @staticmethod
    def version():
        return said("redis-server", "--version").split("v=")[1].split()[0]

    def command(self, _):
        more = ["--appendonly", "yes", "--appendfsync", "always"] if self.setting == "safest" else []
        return ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.data, *more]


class Library(Peer):
    """A library in a process of its own, behind a pipe."""

    def start(self, reading=False):
        self.spawn(self.command(False), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise wire.Gone("it does not start")

    def client(self):
        return wire.Pipe(self.process)

    def stop(self):
        if self.alive():
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def records(self):
        self.spawn(self.command(True), stdout=subprocess.PIPE)
        while record := self.process.stdout.read(wire.RECORD):
            yield record
        if self.process.wait() != 0:
            raise wire.Gone("reading ends with an error")


class Sqlite(Library):
    name = "SQLite"
    settings = {"default": "journal_mode delete, synchronous full", "safest": "journal_mode wal, synchronous full"}

    @staticmethod
    def version():
        return said("/usr/bin/python3", "-c", "import sqlite3; print(sqlite3.sqlite_version)")

    def command(self, reading):
        return ["/usr/bin/python3", HERE / "sqlite.py", self.data, *(["read"] if reading else ["write", self.setting])]


class Dunlin(Library):
    name = "dunlin"
    settings = {
        "default": "Options::default(): a group waits up to 5 ms for company",
        "safest": "the same promise; latency_ms_max 0, so that nothing waits",
    }
    binary = ROOT / "target/campaign/examples/rival"

    @staticmethod
    def version():
        return said("git", "-C", ROOT, "describe", "--always", "--dirty")

    def command(self, reading):
        if reading:
            return [self.binary, self.data, "read"]
        return [self.binary, self.data, "write", *(["0"] if self.setting == "safest" else [])]


PEERS = {each.name: each for each in (Dunlin, Mosquitto, JetStream, Rsyslog, Redis, Sqlite)}


class Load:
    """Records to a peer, `window` at a time, from a thread's point of view: `step` until one has enough."""

    def __init__(self, peer, first=0):
        self.peer, self.next, self.client = peer, first, None
        self.acked, self.took, self.refused = [], [], 0

    def step(self, window, limit_s=10.0):
        """A window of records, until each is answered; False where the peer is gone, or is silent for so long."""
        try:
            if self.client is None:
                self.client = self.peer.client()
            numbers = range(self.next, self.next + window)
            self.next += window
            began, left = time.monotonic(), window
            self.client.put(numbers)
            while left:
                acked, refused = self.client.acks(0.2)
                took = time.monotonic() - began
                self.acked += acked
                self.took += [took] * len(acked)
                self.refused += len(refused)
                left -= len(acked) + len(refused)
                if left and took > limit_s:
                    raise wire.Gone("silent")
            return True
        except (wire.Gone, OSError, ValueError):
            self.drop()
            return False

    def drop(self):
        """Takes what was answered before the end, and closes."""
        if self.client is None:
            return
        try:
            while True:
                acked, refused = self.client.acks(0.05)
                self.acked += acked
                if not acked and not refused:
                    break
        except (wire.Gone, OSError, ValueError):
            pass
        self.client.close()
        self.client = None


class Found:
    """What a peer gave back, held against what it had acknowledged."""

    def __init__(self, peer, acked):
        self.corrupted, self.why, has = 0, "", set()
        try:
            for payload in peer.records():
                number = wire.number_of(payload)
                if number is None:
                    self.corrupted += 1
                else:
                    has.add(number)
        except (wire.Gone, OSError, ValueError) as error:
            self.why = str(error) or type(error).__name__
        self.has = has
        self.lost = len(set(acked) - has)


if __name__ == "__main__":
    sys.exit("lab/rivals/rivals.py runs them")
