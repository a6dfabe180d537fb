#!/usr/bin/env python3
"""A sender of telemetry that shares no code with dunlin: packets, PUS headers, times and transfer frames are made by
spacepackets, checksums by fastcrc. Writes a stream of marked frames to one file and, as JSON lines, the packets in it to
another.

    ccsds_sender.py SEED STREAM PACKETS [--randomised] [--numbered N]

With --numbered there are N packets, and the data of each begins with its number, from 0 on, in four bytes.
"""

import argparse
import json
import random

import fastcrc
from spacepackets import PacketType, SequenceFlags, SpacePacketHeader
from spacepackets.ccsds.time import CdsShortTimestamp
from spacepackets.ccsds.tm_frame import (
    MasterChannelId,
    TmFramePrimaryHeader,
    TmTransferFrame,
    TransferFrameDataFieldStatus,
    TransferFrameSecondaryHeader,
)
from spacepackets.ecss.tm import PusTm

FRAME_BYTES = 223
MARKER = bytes.fromhex("1acffc1d")
SPACECRAFT, CHANNEL = 0x2A5, 5


def noise():
    """The randomiser's shift register, a bit at a time, as the figure in CCSDS 131.0-B draws it."""
    cells = [1] * 8
    while True:
        byte = 0
        for _ in range(8):
            byte = byte << 1 | cells[0]
            cells = cells[1:] + [cells[0] ^ cells[3] ^ cells[5] ^ cells[7]]
        yield byte


def packets(chance, numbered):
    """Packets, each with what dunlin is expected to say of it."""
    counts = {}
    for number in range(numbered or 300):
        apid = chance.choice([1, 42, 0x7FE])
        count = counts.get(apid, 0)
        counts[apid] = (count + 1) % 16384
        data = chance.randbytes(chance.choice([1, 2, 50, 200, 700]))
        if numbered:
            data = number.to_bytes(4, "big") + data
        if apid == 42:
            time = CdsShortTimestamp(chance.randrange(20000, 30000), chance.randrange(86_400_000))
            service, subtype = chance.choice([(1, 1), (3, 25), (5, 1), (17, 2)])
            made = PusTm(
                apid=apid,
                seq_count=count,
                service=service,
                message_subtype=subtype,
                timestamp=time.pack(),
                source_data=data,
                message_counter=count,
            ).pack()
            ns = round(time.as_unix_seconds() * 1000) * 1_000_000
            yield bytes(made), {"channel": f"apid-42.{service}.{subtype}", "time_ns": ns}
        else:
            header = SpacePacketHeader(
                packet_type=PacketType.TM,
                apid=apid,
                seq_count=count,
                data_len=len(data) - 1,
                seq_flags=SequenceFlags.UNSEGMENTED,
            )
            yield bytes(header.pack()) + data, {"channel": f"apid-{apid}"}


def frames(chance, stream):
    """The packets, one behind the other, in frames; what is left of the last frame is an idle packet."""
    at, count, starts = 0, 0, []
    position = 0
    for packet in stream:
        starts.append(position)
        position += len(packet)
    everything = b"".join(stream)
    while at < len(everything):
        secondary = None
        if chance.random() < 0.3:
            extra = chance.randbytes(chance.randrange(1, 20))
            secondary = TransferFrameSecondaryHeader(0, len(extra), extra)
        ocf = chance.randbytes(4) if chance.random() < 0.3 else None
        room = FRAME_BYTES - 6 - 2 - (4 if ocf else 0) - (1 + len(secondary.data_field) if secondary else 0)
        if at + room > len(everything):
            fill = max(1, at + room - len(everything) - 6)
            idle = SpacePacketHeader(packet_type=PacketType.TM, apid=0x7FF, seq_count=0, data_len=fill - 1)
            starts.append(len(everything))
            everything += bytes(idle.pack()) + bytes(fill)
        first = next((start - at for start in starts if at <= start < at + room), 0x7FF)
        header = TmFramePrimaryHeader(
            MasterChannelId(0, SPACECRAFT),
            CHANNEL,
            ocf is not None,
            count % 256,
            count % 256,
            TransferFrameDataFieldStatus(secondary is not None, False, False, 3, first),
        )
        data = everything[at : at + room]
        at += room
        if len(data) < room:
            break
        body = TmTransferFrame(FRAME_BYTES - 2, header, secondary, data, ocf, None).pack()
        yield body + fastcrc.crc16.ibm_3740(body).to_bytes(2, "big")
        count += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("stream")
    parser.add_argument("packets")
    parser.add_argument("--randomised", action="store_true")
    parser.add_argument("--numbered", type=int)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    made = list(packets(chance, arguments.numbered))
    with open(arguments.packets, "w", encoding="utf-8") as out:
        for packet, said in made:
            print(json.dumps({"hex": packet.hex(), **said}), file=out)
    with open(arguments.stream, "wb") as out:
        out.write(chance.randbytes(chance.randrange(40)))
        for frame in frames(chance, [packet for packet, _ in made]):
            if arguments.randomised:
                frame = bytes(byte ^ bits for byte, bits in zip(frame, noise()))
            out.write(MARKER + frame)


if __name__ == "__main__":
    main()
