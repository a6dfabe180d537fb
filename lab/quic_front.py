#!/usr/bin/env python3
"""A QUIC front for a broker that speaks TCP: an independent QUIC, so that both sides of an error are not ours.

    lab/quic_front.py --listen PORT --to PORT --ca CA.pem --cert CERT.pem --key KEY.pem [--tls CERT.pem KEY.pem]

Takes MQTT over QUIC on 127.0.0.1, or --host (ALPN `mqtt`, TLS 1.3, a client certificate of the CA required) and passes it to the
broker at 127.0.0.1:TO as one TCP connection, with --tls as a TLS client with that certificate. Messages may come on
streams beside the first one, as EMQX and NanoMQ have it. Prints `ready` when it listens.

    --streams HOW   what becomes of those: accept, refuse (none is allowed), close (each is ended), ignore (none is answered)
    --early FILE  sessions can be resumed, with early data; FILE gets a line `packet` for each packet of it, and
                  `stream BYTES`, in hexadecimal, for each stream frame in those that can be read
    --forget      every session is forgotten at once, so that no early data can be read
    --stall PART    the stream of a topic with PART in it is not read, nor given credit for more than 16 KiB
"""

import argparse
import asyncio
import ssl
import weakref

from aioquic import tls
from aioquic.asyncio import serve
from aioquic.quic import connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicPacketType

CHUNK = 64 << 10
PUBLISH, PUBACK = 3, 0x40
# Credit of a stream that will stand still.
STALL_BYTES = 16 << 10


class UnknownCa(tls.Alert):
    description = tls.AlertDescription.unknown_ca


class CertificateRequired(tls.Alert):
    # RFC 8446, section 6.2.
    description = tls.AlertDescription.certificate_required


class Mutual(tls.Context):
    """A server's handshake that insists on a client certificate, as a broker with mutual TLS does.

    aioquic asks clients for certificates in its own tests only; what it lacks is to judge them.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._request_client_certificate = True

    def _server_handle_certificate(self, input_buf):
        super()._server_handle_certificate(input_buf)
        if self.state != tls.State.SERVER_EXPECT_CERTIFICATE_VERIFY:
            raise CertificateRequired("a client certificate is required")
        try:
            tls.verify_certificate(
                certificate=self._peer_certificate,
                chain=self._peer_certificate_chain,
                cafile=self._cafile,
            )
        except tls.AlertBadCertificate as error:
            raise UnknownCa(str(error)) from error


connection.tls.Context = Mutual


def whole(data):
    """Where each whole MQTT packet in the bytes ends."""
    at, ends = 0, []
    while at + 2 <= len(data):
        body = shift = 0
        for end in range(at + 1, min(at + 5, len(data))):
            body |= (data[end] & 0x7F) << shift
            shift += 7
            if data[end] < 0x80:
                break
        else:
            break
        at = end + 1 + body
        if at > len(data):
            break
        ends.append(at)
    return ends


async def packets(reader):
    """Whole packets, as many at once as have come."""
    rest = b""
    while data := await reader.read(CHUNK):
        rest += data
        if ends := whole(rest):
            starts = [0] + ends[:-1]
            yield [rest[start:end] for start, end in zip(starts, ends)]
            rest = rest[ends[-1] :]


def body_of(packet):
    at = 1
    while packet[at] >= 0x80:
        at += 1
    return packet[at + 1 :]


def topic_and_id(packet):
    """Of a PUBLISH."""
    body = body_of(packet)
    end = 2 + int.from_bytes(body[:2], "big")
    return body[2:end].decode(), body[end : end + 2]


class Joint:
    """A connection of QUIC and one to the broker. The client's first stream is the one of control, whose CONNECT opens the
    session; those after it carry messages, and each PUBACK goes back on the stream of its message."""

    def __init__(self, args, secure):
        self.args, self.secure = args, secure
        self.control = self.broker = None
        self.asked = {}

    async def first(self, reader, writer):
        self.control = writer
        try:
            broker_reader, self.broker = await asyncio.open_connection("127.0.0.1", self.args.to, ssl=self.secure)
        except OSError:
            writer.write_eof()
            return
        up = asyncio.ensure_future(self.up(reader))
        down = asyncio.ensure_future(self.down(broker_reader))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        if up.done():
            # What the client said last is passed on; the broker then closes.
            if self.broker.can_write_eof():
                self.broker.write_eof()
            await asyncio.wait([down], timeout=2)
        up.cancel()
        down.cancel()
        self.broker.close()
        if not writer.is_closing():
            writer.write_eof()

    async def up(self, reader):
        try:
            async for found in packets(reader):
                if self.args.stall and any(self.stalls(packet, self.control) for packet in found):
                    await asyncio.Event().wait()
                self.broker.write(b"".join(found))
                await self.broker.drain()
        except OSError:
            # The other end is gone; `first` ends both.
            pass

    def stalls(self, packet, writer):
        """Whether the stream stands still from now on: it gets no more credit, and nothing of it is passed on."""
        if not self.args.stall or packet[0] >> 4 != PUBLISH or self.args.stall not in topic_and_id(packet)[0]:
            return False
        writer.transport.protocol._quic.stalled = writer.get_extra_info("stream_id")
        return True

    async def down(self, reader):
        try:
            async for found in packets(reader):
                rest = []
                for packet in found:
                    writer = self.asked.pop(body_of(packet)[:2], None) if packet[0] == PUBACK and self.asked else None
                    if writer:
                        writer.write(packet)
                    else:
                        rest.append(packet)
                self.control.write(b"".join(rest))
                await self.control.drain()
        except OSError:
            pass

    async def further(self, reader, writer):
        if self.args.streams == "close":
            writer.write_eof()
            return
        if self.args.streams == "ignore":
            return
        try:
            async for found in packets(reader):
                for packet in found:
                    if self.stalls(packet, writer):
                        return
                    self.asked[topic_and_id(packet)[1]] = writer
                    self.broker.write(packet)
                await self.broker.drain()
        except OSError:
            pass


class One(connection.Limit):
    """A limit that stays where it is."""

    value = property(lambda _: 1, lambda _, value: None)


def patch_flow_control(args):
    """aioquic gives credit whether or not a stream is read: here not to one that stands still, and as much as asked."""
    write_limits, init = connection.QuicConnection._write_stream_limits, connection.QuicConnection.__init__

    def limited(self, builder, space, stream):
        if stream.stream_id != getattr(self, "stalled", None):
            write_limits(self, builder, space, stream)

    def created(self, *arguments, **options):
        init(self, *arguments, **options)
        if args.streams == "refuse":
            self._local_max_streams_bidi = One(
                frame_type=self._local_max_streams_bidi.frame_type, name="max_streams_bidi", value=1
            )
        if args.stall:
            self._local_max_stream_data_bidi_remote = STALL_BYTES

    connection.QuicConnection._write_stream_limits = limited
    connection.QuicConnection.__init__ = created


def watch_early_data(path):
    """Writes down what comes before the handshake is done: `packet`, and the stream frames of those that can be read."""
    handle, pull = connection.QuicConnection._handle_stream_frame, connection.pull_quic_header

    def tell(line):
        with open(path, "a", encoding="ascii") as file:
            file.write(line + "\n")

    def handled(self, context, frame_type, buf):
        start = buf.tell()
        handle(self, context, frame_type, buf)
        if context.epoch == tls.Epoch.ZERO_RTT:
            tell(f"stream {buf.data_slice(start, buf.tell()).hex()}")

    def pulled(*arguments, **options):
        header = pull(*arguments, **options)
        if header.packet_type == QuicPacketType.ZERO_RTT:
            tell("packet")
        return header

    connection.QuicConnection._handle_stream_frame = handled
    connection.pull_quic_header = pulled


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--listen", "--to"):
        parser.add_argument(flag, type=int, required=True)
    for flag in ("--ca", "--cert", "--key"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--streams", choices=["accept", "refuse", "close", "ignore"], default="accept")
    parser.add_argument("--stall")
    parser.add_argument("--early")
    parser.add_argument("--forget", action="store_true")
    args = parser.parse_args()
    patch_flow_control(args)
    sessions = {}
    resumption = {}
    if args.early:
        watch_early_data(args.early)
        resumption = {
            "session_ticket_handler": lambda ticket: sessions.update({ticket.ticket: ticket}),
            "session_ticket_fetcher": lambda name: None if args.forget else sessions.pop(name, None),
        }
    secure = None
    if args.tls:
        secure = ssl.create_default_context(cafile=args.ca)
        secure.load_cert_chain(*args.tls)
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["mqtt"], cafile=args.ca, verify_mode=ssl.CERT_NONE
    )
    configuration.load_cert_chain(args.cert, args.key)
    joints = weakref.WeakKeyDictionary()

    def on_stream(reader, writer):
        protocol = writer.transport.protocol
        known = joints.get(protocol)
        if known is None:
            joints[protocol] = known = Joint(args, secure)
            asyncio.ensure_future(known.first(reader, writer))
        else:
            asyncio.ensure_future(known.further(reader, writer))

    await serve(args.host, args.listen, configuration=configuration, stream_handler=on_stream, **resumption)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
