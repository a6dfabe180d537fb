"""What the rivals are spoken to with: MQTT 3.1.1, NATS, RESP, RELP, and batches through a pipe, each as small as the rigs need.

Every client has `put(numbers)`, which sends records and does not wait, `acks(limit_s)`, which returns the numbers that were
acknowledged and those that were refused since, and `read()`, which gives every record that the peer has.
"""

import hashlib
import json
import re
import select
import socket
import struct
import time

RECORD = 256


def record(number):
    """256 bytes that say which record this is, and cannot be mistaken for another one."""
    head = b"%016d." % number
    return head + hashlib.shake_128(head).hexdigest(119).encode() + b"."


def number_of(payload):
    """The number of a record; None where it is not, bit for bit, one that we sent."""
    if len(payload) != RECORD or not payload[:16].isdigit():
        return None
    number = int(payload[:16])
    return number if payload == record(number) else None


class Gone(Exception):
    """The peer closed the connection, or ended."""


class Lines:
    """A connection, and what came by it and was not used yet."""

    def __init__(self, port):
        began = time.monotonic()
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
                break
            except OSError as error:
                if time.monotonic() - began > 10:
                    raise Gone(f"nothing listens on port {port}") from error
                time.sleep(0.02)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = bytearray()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    def more(self, limit_s):
        """Waits for more bytes; whether there are."""
        if not select.select([self.socket], [], [], limit_s)[0]:
            return False
        try:
            data = self.socket.recv(1 << 18)
            # A peer that sends its acknowledgements by Nagle's rule is not to wait for ours.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError as error:
            raise Gone(str(error)) from error
        if not data:
            raise Gone("closed by the peer")
        self.data += data
        return True

    def close(self):
        self.socket.close()


class Client:
    """Takes whole answers from the front of what came; `answer` of the class that inherits says what one is."""

    def __init__(self, port):
        self.lines = Lines(port)

    def each(self):
        """The answers that are whole, in order."""
        data, at = self.lines.data, 0
        while True:
            found = self.answer(data, at)
            if found is None:
                break
            at, what = found
            yield what
        del data[:at]

    def one(self, limit_s=10):
        """The next answer."""
        began = time.monotonic()
        while True:
            found = self.answer(self.lines.data, 0)
            if found:
                del self.lines.data[: found[0]]
                return found[1]
            if time.monotonic() - began > limit_s:
                raise Gone("no answer")
            self.lines.more(0.5)

    def acks(self, limit_s):
        self.lines.more(limit_s)
        acked, refused = [], []
        for what in self.each():
            number, taken = self.verdict(what)
            if number is not None:
                (acked if taken else refused).append(number)
        return acked, refused

    def close(self):
        self.lines.close()


class Mqtt(Client):
    """QoS 1 to a session that stays and is not connected. An answer is (type, flags, body)."""

    def __init__(self, port, name="writer", clean=True):
        super().__init__(port)
        self.waiting = {}
        body = b"\0\4MQTT\4" + bytes([2 if clean else 0]) + struct.pack(">H", 0) + text(name)
        self.lines.send(packet(0x10, body))
        if self.one()[0] != 2:
            raise Gone("no CONNACK")

    def answer(self, data, at):
        length, shift, head = 0, 0, at + 1
        while True:
            if head >= len(data):
                return None
            length |= (data[head] & 127) << shift
            head, shift = head + 1, shift + 7
            if data[head - 1] < 128:
                break
        if head + length > len(data):
            return None
        return head + length, (data[at] >> 4, data[at] & 15, bytes(data[head : head + length]))

    def prepare(self):
        session = Mqtt(self.lines.socket.getpeername()[1], "reader", clean=False)
        session.lines.send(packet(0x82, b"\0\1" + text("r") + b"\1"))
        session.one()
        session.lines.send(b"\xe0\0")
        session.close()

    def put(self, numbers):
        out = bytearray()
        for number in numbers:
            identifier = number % 65535 + 1
            self.waiting[identifier] = number
            out += packet(0x32, text("r") + struct.pack(">H", identifier) + record(number))
        self.lines.send(out)

    def verdict(self, what):
        if what[0] != 4:
            return None, False
        return self.waiting.pop(struct.unpack(">H", what[2])[0]), True

    def read(self):
        session = Mqtt(self.lines.socket.getpeername()[1], "reader", clean=False)
        quiet_s = 3.0
        while session.lines.data or session.lines.more(quiet_s):
            out = bytearray()
            for kind, _, body in session.each():
                if kind == 3:
                    yield body[5:]
                    out += b"\x40\2" + body[3:5]
            session.lines.send(out)
            quiet_s = 1.0
            if session.lines.data and not session.lines.more(quiet_s):
                return


def text(words):
    return struct.pack(">H", len(words)) + words.encode()


def packet(head, body):
    out, length = bytearray([head]), len(body)
    while True:
        out.append(length & 127 | (128 if length > 127 else 0))
        length >>= 7
        if not length:
            return bytes(out) + body


class Nats(Client):
    """A stream in a file, and its acknowledgements by inbox. An answer is (subscription, subject, reply, body)."""

    def __init__(self, port):
        super().__init__(port)
        self.early = []
        self.lines.send(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB _I.* 1\r\nSUB _D 2\r\nPING\r\n')
        while self.one()[0] != b"PONG":
            pass

    def answer(self, data, at):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        words = bytes(data[at:end]).split(b" ")
        if words[0] != b"MSG":
            return end + 2, (words[0], b"", b"", b"")
        size = int(words[-1])
        if len(data) < end + 4 + size:
            return None
        reply = words[3] if len(words) == 5 else b""
        return end + 4 + size, (words[2], words[1], reply, bytes(data[end + 2 : end + 2 + size]))

    def ask(self, subject, what=None):
        body = json.dumps(what).encode() if what else b""
        self.lines.send(b"PUB %s _I.ask %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        while True:
            found = self.one()
            if found[1] == b"_I.ask":
                return json.loads(found[3])
            # Messages may come before the answer to what asked for them.
            self.early.append(found)

    def prepare(self):
        made = self.ask("$JS.API.STREAM.CREATE.L", {"name": "L", "subjects": ["r"], "storage": "file", "retention": "limits"})
        if "error" in made:
            raise Gone(made["error"])

    def put(self, numbers):
        self.lines.send(b"".join(b"PUB r _I.%d 256\r\n%s\r\n" % (number, record(number)) for number in numbers))

    def verdict(self, what):
        if what[0] == b"PING":
            self.lines.send(b"PONG\r\n")
        if not what[1].startswith(b"_I.") or what[1] == b"_I.ask":
            return None, False
        return int(what[1][3:]), b'"error"' not in what[3]

    def read(self):
        found = self.ask("$JS.API.STREAM.INFO.L")
        if "error" in found:
            raise Gone(str(found["error"]))
        if not found["state"]["messages"]:
            return
        wanted = {"deliver_subject": "_D", "ack_policy": "none", "deliver_policy": "all", "replay_policy": "instant"}
        self.ask("$JS.API.CONSUMER.CREATE.L", {"stream_name": "L", "config": wanted})
        while True:
            come, self.early = [*self.early, *self.each()], []
            for subscription, _, reply, body in come:
                if subscription == b"2" and reply:
                    yield body
                    # The last word of the reply is how many are still to come.
                    if reply.endswith(b".0"):
                        return
            if not self.lines.more(1.5):
                return


class Redis(Client):
    """A list. An answer is a value, or an error."""

    def __init__(self, port):
        super().__init__(port)
        self.waiting = []
        began = time.monotonic()
        while True:
            self.lines.send(b"PING\r\n")
            if self.one() == b"PONG":
                return
            # It still reads what it had stored.
            if time.monotonic() - began > 20:
                raise Gone("does not get ready")
            time.sleep(0.05)

    def answer(self, data, at):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        head, kind = bytes(data[at + 1 : end]), data[at : at + 1]
        if kind == b"$":
            size = int(head)
            return (end + 4 + size, bytes(data[end + 2 : end + 2 + size])) if len(data) >= end + 4 + size else None
        if kind == b"-":
            return end + 2, ValueError(head.decode())
        return end + 2, head

    def prepare(self):
        pass

    def put(self, numbers):
        self.waiting += numbers
        self.lines.send(b"".join(b"*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$256\r\n%s\r\n" % record(number) for number in numbers))

    def verdict(self, what):
        return self.waiting.pop(0), not isinstance(what, ValueError)

    def read(self):
        first = 0
        while True:
            self.lines.send(b"LRANGE l %d %d\r\n" % (first, first + 499))
            count = self.one()
            if isinstance(count, ValueError):
                raise Gone(str(count))
            for _ in range(int(count)):
                yield self.one()
            if int(count) < 500:
                return
            first += 500


class Relp(Client):
    """What rsyslog acknowledges. An answer is (transaction, verdict). What it stored it sends on: see `Sink`."""

    def __init__(self, port):
        super().__init__(port)
        offer = b"relp_version=0\nrelp_software=rivals\ncommands=syslog"
        self.lines.send(b"1 open %d %s\n" % (len(offer), offer))
        if not self.one()[1]:
            raise Gone("RELP is refused")
        self.next, self.waiting = 2, {}

    def answer(self, data, at):
        head = re.compile(rb"(\d+) (\w+) (\d+)").match(data, at)
        if not head or len(data) < head.end() + 1:
            return None
        size = int(head[3])
        end = head.end() + (1 + size if size else 0) + 1
        if len(data) < end:
            return None
        return end, (int(head[1]), bytes(data[head.end() : end]).startswith(b" 200"))

    def prepare(self):
        pass

    def put(self, numbers):
        out = bytearray()
        for number in numbers:
            self.waiting[self.next] = number
            out += b"%d syslog %d <13>%s\n" % (self.next, RECORD + 4, record(number))
            self.next += 1
        self.lines.send(out)

    def verdict(self, what):
        return self.waiting.pop(what[0], None), what[1]


class Sink:
    """Where rsyslog is to send: nobody listens until `listen`."""

    def __init__(self):
        # The port is ours and refuses, as that of a server that is away does.
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def listen(self):
        self.socket.listen(16)

    def read(self, limit_s=4.0):
        peers, rest = {}, b""
        while True:
            ready = select.select([self.socket, *peers], [], [], limit_s)[0]
            if not ready:
                return
            for each in ready:
                if each is self.socket:
                    peers[each.accept()[0]] = b""
                    continue
                data = each.recv(1 << 18)
                *whole, rest = (peers[each] + data).split(b"\n")
                yield from whole
                peers[each] = rest
                if not data:
                    each.close()
                    del peers[each]
                limit_s = 2.5


class Pipe:
    """A library in a process of its own: a batch goes in, a line comes out when it is stored. Each `put` is a commit."""

    def __init__(self, process):
        self.process, self.waiting, self.data = process, [], b""

    def prepare(self):
        pass

    def put(self, numbers):
        self.waiting.append(list(numbers))
        try:
            self.process.stdin.write(struct.pack("<I", len(numbers)) + b"".join(map(record, numbers)))
            self.process.stdin.flush()
        except OSError as error:
            raise Gone(str(error)) from error

    def acks(self, limit_s):
        acked, refused = [], []
        if select.select([self.process.stdout], [], [], limit_s)[0]:
            data = self.process.stdout.read1(1 << 16)
            if not data:
                raise Gone("ended")
            *whole, self.data = (self.data + data).split(b"\n")
            for line in whole:
                (acked if line == b"A" else refused).extend(self.waiting.pop(0))
        return acked, refused

    def close(self):
        pass
