#!/usr/bin/env python3
"""An EST server (RFC 7030) for tests: /cacerts, /simpleenroll, /simplereenroll. Shares no code with dunlin.

    est_server.py --listen PORT --certs DIR [--log FILE]

DIR is what lab/certs.sh makes. DIR/est.json is read for each request: "secret" (USER:PASSWORD, taken out once it was
used), "life" (seconds), "issuer" (the authority that signs, `ca` unless said), "status" (answer with that and nothing
else). Prints "ready" once it listens. A line for each request goes to FILE: operation, status, subject.
"""

import argparse
import base64
import datetime
import hmac
import http.server
import json
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID


class Refused(Exception):
    """A status to answer with."""


def authority(certs, name):
    """Certificate and key of an authority."""
    key = serialization.load_pem_private_key((certs / f"{name}.key").read_bytes(), None)
    return x509.load_pem_x509_certificate((certs / f"{name}.pem").read_bytes()), key


def issue(request, certs, rules):
    """A certificate for a request whose signature holds."""
    if not request.is_signature_valid:
        raise Refused(400)
    signer, key = authority(certs, rules.get("issuer", "ca"))
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(signer.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(seconds=rules.get("life", 3600)))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(alternative_names(request), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def alternative_names(holder):
    """Names beside the subject, as asked for; each certificate has one, so that a renewal must ask for it again."""
    try:
        return holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([x509.DNSName("device.example")])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", subject="-"):
        with open(self.server.log, "a", encoding="utf-8") as log:
            log.write(f"{self.path.rsplit('/', 1)[-1]} {status} {subject}\n")
        self.send_response(status)
        if status == 202:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
        self.send_header("Content-Transfer-Encoding", "base64")
        body = base64.encodebytes(body)
        if self.path.endswith("/cacerts"):
            # In chunks, as servers send what they do not have whole.
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 500):
                piece = body[at : at + 500]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_GET(self):
        if self.path != "/.well-known/est/cacerts":
            return self.answer(404)
        certs = self.server.certs
        known = [authority(certs, path.stem)[0] for path in sorted(certs.glob("*ca.pem"))]
        return self.answer(200, pkcs7.serialize_certificates(known, serialization.Encoding.DER))

    def do_POST(self):
        try:
            made = self.enrol()
        except Refused as refused:
            return self.answer(refused.args[0])
        body = pkcs7.serialize_certificates([made], serialization.Encoding.DER)
        return self.answer(200, body, made.subject.rfc4514_string())

    def enrol(self):
        operation = self.path.removeprefix("/.well-known/est/")
        file = self.server.certs / "est.json"
        rules = json.loads(file.read_text())
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "status" in rules:
            raise Refused(rules["status"])
        if self.headers["Content-Type"] != "application/pkcs10":
            raise Refused(415)
        request = x509.load_der_x509_csr(base64.b64decode(body, validate=True))
        if operation == "simpleenroll":
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            wanted = rules.get("secret")
            if wanted is None or not hmac.compare_digest(base64.b64decode(given), wanted.encode()):
                raise Refused(401)
        elif operation == "simplereenroll":
            shown = self.connection.getpeercert(binary_form=True)
            if shown is None:
                raise Refused(401)
            old = x509.load_der_x509_certificate(shown)
            # RFC 7030, section 4.2.2: subject and other names are those of the certificate that is shown.
            if old.subject != request.subject or alternative_names(old) != alternative_names(request):
                raise Refused(400)
        else:
            raise Refused(404)
        made = issue(request, self.server.certs, rules)
        if operation == "simpleenroll":
            del rules["secret"]
            file.write_text(json.dumps(rules))
        return made


class Server(http.server.ThreadingHTTPServer):
    """The handshake is made in the thread of its connection, so that one that fails holds nobody up."""

    def finish_request(self, request, client_address):
        request.settimeout(10)
        try:
            with self.tls.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
        except OSError as error:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"handshake - {error}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--certs", type=pathlib.Path, required=True)
    parser.add_argument("--log", default="/dev/null")
    args = parser.parse_args()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.load_cert_chain(args.certs / "server.pem", args.certs / "server.key")
    tls.load_verify_locations(args.certs / "ca.pem")
    tls.verify_mode = ssl.CERT_OPTIONAL
    server = Server(("127.0.0.1", args.listen), Handler)
    server.tls, server.certs, server.log = tls, args.certs, args.log
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
