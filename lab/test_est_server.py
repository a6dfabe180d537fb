#!/usr/bin/env python3
"""Tests of est_server.py: it must refuse what an EST server refuses, or an enrolment that works means nothing. Requests are
made and certificates are read by the openssl command."""

import base64
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

LAB = pathlib.Path(__file__).resolve().parent
SECRET = "gw:once"


def openssl(directory, *arguments, data=None):
    return subprocess.run(
        ["openssl", *arguments], cwd=directory, input=data, capture_output=True, check=True
    ).stdout


class EstServer(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        subprocess.run([LAB / "certs.sh", self.dir], check=True, stdout=subprocess.DEVNULL)
        self.rules(secret=SECRET)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, LAB / "est_server.py", "--listen", str(self.port), "--certs", self.dir],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), "ready\n")

    def rules(self, **rules):
        (self.dir / "est.json").write_text(json.dumps(rules))

    def request(self, subject="/CN=gw", *more):
        """A request for a new key, as DER."""
        return openssl(
            self.dir, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "new.key", "-subj", subject, "-outform", "DER", *more,
        )

    def ask(self, operation, body=None, secret=None, show=None):
        """Status, and the certificates that came."""
        tls = ssl.create_default_context(cafile=self.dir / "ca.pem")
        if show:
            tls.load_cert_chain(self.dir / f"{show}.pem", self.dir / f"{show}.key")
        headers = {"Content-Type": "application/pkcs10"}
        if secret:
            headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        request = urllib.request.Request(
            f"https://localhost:{self.port}/.well-known/est/{operation}",
            data=base64.b64encode(body) if body else None,
            headers=headers,
        )
        try:
            with urllib.request.urlopen(request, context=tls, timeout=10) as answer:
                der = base64.b64decode(answer.read())
                pem = openssl(self.dir, "pkcs7", "-inform", "DER", "-print_certs", data=der)
                return answer.status, pem.decode()
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code, ""

    def test_the_authorities_are_told(self):
        status, pem = self.ask("cacerts")
        self.assertEqual((status, pem.count("BEGIN CERTIFICATE")), (200, 1))
        self.assertIn("dunlin lab CA", pem)

    def test_a_secret_is_for_once_and_must_be_right(self):
        for secret in (None, "gw:other"):
            self.assertEqual(self.ask("simpleenroll", self.request(), secret)[0], 401)
        status, pem = self.ask("simpleenroll", self.request(), SECRET)
        self.assertEqual(status, 200)
        (self.dir / "made.pem").write_text(pem)
        openssl(self.dir, "verify", "-CAfile", "ca.pem", "made.pem")
        self.assertEqual(self.ask("simpleenroll", self.request(), SECRET)[0], 401)

    def test_a_request_must_be_signed_by_its_key(self):
        request = bytearray(self.request())
        request[-1] ^= 1
        self.assertEqual(self.ask("simpleenroll", bytes(request), SECRET)[0], 400)

    def test_a_renewal_shows_a_certificate_and_keeps_its_names(self):
        _, pem = self.ask("simpleenroll", self.request(), SECRET)
        (self.dir / "made.pem").write_text(pem)
        (self.dir / "new.key").rename(self.dir / "made.key")
        names = ("-addext", "subjectAltName=DNS:device.example")
        self.assertEqual(self.ask("simplereenroll", self.request("/CN=gw", *names))[0], 401)
        other = ("-addext", "subjectAltName=DNS:other.example")
        for request in (self.request("/CN=other", *names), self.request("/CN=gw", *other)):
            self.assertEqual(self.ask("simplereenroll", request, show="made")[0], 400)
        self.assertEqual(self.ask("simplereenroll", self.request("/CN=gw", *names), show="made")[0], 200)


if __name__ == "__main__":
    os.chdir(LAB)
    unittest.main()
