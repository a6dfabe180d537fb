#!/usr/bin/env python3
"""A spacecraft, as far as a ground station sees it: housekeeping packets in CCSDS transfer frames, one a datagram.

    spacecraft.py PORT SECONDS

One orbit takes SECONDS. It shares no code with dunlin: packets, PUS headers, times and frames are made by spacepackets, checksums by
fastcrc. Some frames are lost on the way, on purpose: one at a quarter of the orbit, three in a row at the half, and one at three
quarters has wrong bits. At the end, or when it is told to stop, it prints as JSON what it made and what it lost.
"""

import json
import math
import random
import signal
import socket
import struct
import sys
import time

import fastcrc
from spacepackets import PacketType, SpacePacketHeader
from spacepackets.ccsds.time import CdsShortTimestamp
from spacepackets.ccsds.tm_frame import MasterChannelId, TmFramePrimaryHeader, TmTransferFrame, TransferFrameDataFieldStatus
from spacepackets.ecss.tm import PusTm

PACKETS_PER_S = 20
MARKER = bytes.fromhex("1acffc1d")
FRAME_BYTES = 223
# Without the header and the checksum.
ROOM = FRAME_BYTES - 6 - 2
SPACECRAFT, CHANNEL, APID = 0x2A5, 1, 42

SAFE, STANDBY, SCIENCE = 1, 2, 3
# What the converter of the panel's thermistor gives at some temperatures, in Cel.
THERMISTOR = [(-60, 0), (-20, 1200), (25, 2400), (70, 3400), (120, 4096)]


def counts_of(celsius):
    """What the converter gives: straight between the points."""
    for (cold, low), (warm, high) in zip(THERMISTOR, THERMISTOR[1:]):
        if celsius <= warm:
            return low + (high - low) * (celsius - cold) / (warm - cold)
    return THERMISTOR[-1][1]


class Spacecraft:
    """Batteries that charge in the sun, a panel that heats up there, a wheel."""

    def __init__(self):
        self.volts, self.celsius, self.phase = 26.8, -25.0, 0.0
        self.noise = random.Random(1)

    def step(self, phase):
        """Lives up to this part of the orbit, and gives the bytes of its housekeeping."""
        passed, self.phase = phase - self.phase, phase
        is_lit = phase % 1 < 0.62
        self.celsius += ((95 if is_lit else -55) - self.celsius) * passed / (0.2 if is_lit else 0.15)
        self.volts += ((32.8 if is_lit else 24) - self.volts) * passed / (0.15 if is_lit else 0.2)
        mode = SCIENCE if 0.15 < phase % 1 < 0.55 else STANDBY if self.volts > 26.4 else SAFE
        wheel = 1500 + 900 * math.sin(4 * math.pi * phase) + (150 * math.sin(60 * math.pi * phase) if mode == SCIENCE else 0)
        amperes = 4.2 * math.sin(math.pi * (phase % 1) / 0.62) if is_lit else 0.0
        battery = round(self.volts / 0.0125 + self.noise.uniform(-2, 2))
        panel = round(counts_of(self.celsius) + self.noise.uniform(-3, 3))
        return struct.pack(">HHhf", mode << 12 | battery, panel << 4, round(4 * wheel), amperes)


def packet(number, data):
    """A report of housekeeping, PUS service 3, subtype 25, of now."""
    made = PusTm(
        apid=APID,
        seq_count=number % 16384,
        service=3,
        message_subtype=25,
        message_counter=number % 65536,
        timestamp=CdsShortTimestamp.now().pack(),
        source_data=data,
    )
    return bytes(made.pack())


class Downlink:
    """Packets into frames, one behind the other, and some of the frames into nothing."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.station = ("127.0.0.1", port)
        # What waits for a frame: bytes, each packet's place among them (ends may lie beyond), and its number.
        self.bytes, self.packets = b"", []
        self.frames, self.to_withhold, self.to_damage = 0, 0, 0
        self.withheld, self.damaged, self.hit = 0, 0, set()

    def put(self, number, made):
        """A packet; number -1 is for idle ones, which nobody misses."""
        self.packets.append((len(self.bytes), len(self.bytes) + len(made), number))
        self.bytes += made
        while len(self.bytes) >= ROOM:
            self.send()

    def send(self):
        """The next frame."""
        data, self.bytes = self.bytes[:ROOM], self.bytes[ROOM:]
        inside = [each for each in self.packets if each[0] < ROOM]
        first = next((start for start, _, _ in inside if start >= 0), 0x7FF)
        self.packets = [(start - ROOM, end - ROOM, number) for start, end, number in self.packets if end > ROOM]
        header = TmFramePrimaryHeader(
            MasterChannelId(0, SPACECRAFT),
            CHANNEL,
            False,
            self.frames % 256,
            self.frames % 256,
            TransferFrameDataFieldStatus(False, False, False, 3, first),
        )
        frame = TmTransferFrame(FRAME_BYTES - 2, header, None, data, None, None).pack()
        frame += fastcrc.crc16.ibm_3740(frame).to_bytes(2, "big")
        self.frames += 1
        if self.to_withhold or self.to_damage:
            self.hit |= {number for _, _, number in inside}
        if self.to_withhold:
            self.to_withhold -= 1
            self.withheld += 1
            return
        if self.to_damage:
            self.to_damage -= 1
            self.damaged += 1
            frame = frame[:99] + bytes([frame[99] ^ 0x5A]) + frame[100:]
        self.socket.sendto(MARKER + frame, self.station)

    def finish(self, number, data):
        """One last packet, from whose number everything that was lost before it is seen; the frame is filled up."""
        self.to_withhold = self.to_damage = 0
        self.put(number, packet(number, data))
        fill = -len(self.bytes) % ROOM
        if fill < 7:
            fill += ROOM
        idle = SpacePacketHeader(packet_type=PacketType.TM, apid=0x7FF, seq_count=0, data_len=fill - 7)
        self.put(-1, bytes(idle.pack()) + bytes(fill - 6))


def main():
    port, seconds = int(sys.argv[1]), int(sys.argv[2])
    stopping = []
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.append(True))
    craft, downlink, number = Spacecraft(), Downlink(port), 0
    losses = [(0.25, "to_withhold", 1), (0.5, "to_withhold", 3), (0.75, "to_damage", 1)]
    start = time.monotonic()
    while not stopping and number < seconds * PACKETS_PER_S:
        phase = number / PACKETS_PER_S / seconds
        if losses and phase >= losses[0][0]:
            _, what, frames = losses.pop(0)
            setattr(downlink, what, frames)
        downlink.put(number, packet(number, craft.step(phase)))
        number += 1
        time.sleep(max(0, start + number / PACKETS_PER_S - time.monotonic()))
    downlink.finish(number, craft.step(number / PACKETS_PER_S / seconds))
    made = {"frames": downlink.frames, "withheld": downlink.withheld, "damaged": downlink.damaged}
    print(json.dumps(made | {"packets": number + 1, "packets_hit": len(downlink.hit)}))


if __name__ == "__main__":
    main()
