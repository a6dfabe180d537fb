#!/usr/bin/env python3
"""A QUIC front for a broker that speaks TCP: an independent QUIC, so that both sides of an error are not ours.

    lab/quic_front.py --listen PORT --to PORT --ca CA.pem --cert CERT.pem --key KEY.pem [--tls CERT.pem KEY.pem]

Takes MQTT over QUIC on 127.0.0.1 (ALPN `mqtt`, TLS 1.3, a client certificate of the CA required) and passes each
stream to the broker at 127.0.0.1:TO as a TCP connection of its own, with --tls as a TLS client with that certificate.
Prints `ready` when it listens.
"""

import argparse
import asyncio
import ssl

from aioquic import tls
from aioquic.asyncio import serve
from aioquic.quic import connection
from aioquic.quic.configuration import QuicConfiguration

CHUNK = 64 << 10


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


async def pump(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # The other end is gone; `join` ends both.
        pass


async def join(reader, writer, port, secure):
    """Joins a stream of QUIC and a connection to the broker until either ends."""
    try:
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", port, ssl=secure)
    except OSError:
        writer.write_eof()
        return
    up = asyncio.ensure_future(pump(reader, broker_writer))
    down = asyncio.ensure_future(pump(broker_reader, writer))
    await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
    if up.done():
        # What the client said last is passed on; the broker then closes.
        await asyncio.wait([down], timeout=2)
    up.cancel()
    down.cancel()
    broker_writer.close()
    if not writer.is_closing():
        writer.write_eof()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--listen", "--to"):
        parser.add_argument(flag, type=int, required=True)
    for flag in ("--ca", "--cert", "--key"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--tls", nargs=2)
    args = parser.parse_args()
    secure = None
    if args.tls:
        secure = ssl.create_default_context(cafile=args.ca)
        secure.load_cert_chain(*args.tls)
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["mqtt"], cafile=args.ca, verify_mode=ssl.CERT_NONE
    )
    configuration.load_cert_chain(args.cert, args.key)
    await serve(
        "127.0.0.1",
        args.listen,
        configuration=configuration,
        stream_handler=lambda reader, writer: asyncio.ensure_future(
            join(reader, writer, args.to, secure)
        ),
    )
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
