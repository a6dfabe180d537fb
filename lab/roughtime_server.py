#!/usr/bin/env python3
"""A server of Roughtime (RFC 10049) for tests. Shares no code with dunlin.

    roughtime_server.py --listen PORT [--seed HEX] [--rules FILE]

Signs with the Ed25519 key of the seed (32 bytes), and prints that public key in base64, then answers for ever. FILE is JSON and
read for each request: "offset" (seconds that its clock is off), "radius" (seconds), "others" (questions that share the
answer's tree, of which ours is the last), "lie": one of "silent", "key" (another long-term key), "signature", "nonce" (the
answer to another question), "delegation" (a key that is not valid now), "noise" (nonsense before the answer).
"""

import argparse
import base64
import hashlib
import json
import pathlib
import socket
import struct
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERSION = 1
CERT_CONTEXT = b"Roughtime v1 delegation signature\0"
TIME_CONTEXT = b"Roughtime v1 response signature\0"


def tag(name):
    """The number of a tag."""
    return struct.unpack("<I", name.encode().ljust(4, b"\0"))[0]


def message(values):
    """Tags in ascending order of their numbers, each with its value (RFC 10049, section 4.2)."""
    pairs = sorted((tag(name), value) for name, value in values.items())
    offsets, at = [], 0
    for _, value in pairs[:-1]:
        at += len(value)
        offsets.append(at)
    head = struct.pack(f"<I{len(offsets)}I{len(pairs)}I", len(pairs), *offsets, *(number for number, _ in pairs))
    return head + b"".join(value for _, value in pairs)


def values(packet):
    """The values of a request by tag number."""
    if packet[:8] != b"ROUGHTIM" or len(packet) < 1024:
        raise ValueError("no request")
    body = packet[12:]
    count = struct.unpack_from("<I", body)[0]
    offsets = [0, *struct.unpack_from(f"<{count - 1}I", body, 4)]
    tags = struct.unpack_from(f"<{count}I", body, 4 * count)
    content = body[8 * count :]
    ends = [*offsets[1:], len(content)]
    return {number: content[start:end] for number, start, end in zip(tags, offsets, ends)}


def digest(*parts):
    """The first 32 bytes of SHA-512."""
    return hashlib.sha512(b"".join(parts)).digest()[:32]


def tree(leaves, place):
    """Root, and the siblings on the way there from the leaf at `place`."""
    path = b""
    while len(leaves) > 1:
        if len(leaves) % 2:
            leaves = [*leaves, bytes(32)]
        path += leaves[place ^ 1]
        leaves = [digest(b"\1", left, right) for left, right in zip(leaves[::2], leaves[1::2])]
        place //= 2
    return leaves[0], path


def public(key):
    """The raw public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def answer(packet, long_term, rules):
    """The datagram that answers a request."""
    asked = values(packet)
    versions = struct.unpack(f"<{len(asked[tag('VER')]) // 4}I", asked[tag("VER")])
    if VERSION not in versions or asked.get(tag("SRV"), b"") != digest(b"\xff", public(long_term)):
        raise ValueError("not for this server")
    lie = rules.get("lie")
    now = int(time.time()) + rules.get("offset", 0)
    online = Ed25519PrivateKey.generate()
    lives = (now + 100, now + 200) if lie == "delegation" else (now - 100, now + 100)
    delegation = message({"PUBK": public(online), "MINT": struct.pack("<Q", lives[0]), "MAXT": struct.pack("<Q", lives[1])})
    signer = Ed25519PrivateKey.generate() if lie == "key" else long_term
    certificate = message({"SIG": signer.sign(CERT_CONTEXT + delegation), "DELE": delegation})
    leaf = digest(b"\0", bytes(1024) if lie == "nonce" else packet)
    others = [digest(b"\0", bytes([number]) * 1024) for number in range(rules.get("others", 0))]
    root, path = tree([*others, leaf], len(others))
    signed = message(
        {
            "VER": struct.pack("<I", VERSION),
            "RADI": struct.pack("<I", rules.get("radius", 5)),
            "MIDP": struct.pack("<Q", now),
            "VERS": struct.pack("<I", VERSION),
            "ROOT": root,
        }
    )
    signature = online.sign(TIME_CONTEXT + (b"x" if lie == "signature" else b"") + signed)
    body = message(
        {
            "SIG": signature,
            "NONC": asked[tag("NONC")],
            "TYPE": struct.pack("<I", 1),
            "PATH": path,
            "SREP": signed,
            "CERT": certificate,
            "INDX": struct.pack("<I", len(others)),
        }
    )
    return b"ROUGHTIM" + struct.pack("<I", len(body)) + body


def main():
    """Answers until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--seed", default="00" * 32)
    parser.add_argument("--rules", type=pathlib.Path)
    options = parser.parse_args()
    long_term = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(options.seed))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", options.listen))
        print(base64.b64encode(public(long_term)).decode(), flush=True)
        while True:
            packet, sender = server.recvfrom(2048)
            rules = json.loads(options.rules.read_text()) if options.rules else {}
            if rules.get("lie") == "silent":
                continue
            try:
                reply = answer(packet, long_term, rules)
            except (ValueError, KeyError, struct.error):
                continue
            if rules.get("lie") == "noise":
                for noise in (b"", b"ROUGHTIM", bytes(500), reply[:-1], packet):
                    server.sendto(noise, sender)
            server.sendto(reply, sender)


if __name__ == "__main__":
    main()
