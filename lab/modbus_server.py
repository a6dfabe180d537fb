#!/usr/bin/env python3
"""An independent Modbus unit (pymodbus 3.11.1), TCP on loopback or RTU on a pseudo terminal, for tests and demonstrations.

usage: modbus_server.py PORT [--requests]       TCP; prints `ready PORT` once it accepts connections (0: one that is free)
       modbus_server.py --serial [--requests]   RTU; prints `ready DEVICE`, the terminal to open
With --requests each request is printed as `request FUNCTION ADDRESS`. Serves until it is ended. In all four tables
0..599 exist; anything else is answered with exception 2.

Holding registers from 0: float32 21.5, int16 -7, uint16 65535, int32 -70000, float64 -2.25, int64 -5, uint32 4000000000,
each big-endian; 50 and 51: float32 21.5 with its words swapped; from 100, 140, 180 and 220: the same seven values in
orders abcd, badc, cdab and dcba; from 250 on each its own address. Input register i holds 1000 + i. Even coils and odd
discrete inputs are on.
"""
import asyncio
import os
import struct
import sys
import tty

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer

SIZE = 600
KNOWN = (("f", 21.5), ("h", -7), ("H", 65535), ("i", -70000), ("d", -2.25), ("q", -5), ("I", 4_000_000_000))


def words(layout, value, order="abcd"):
    raw = struct.pack(">" + layout, value)
    each = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in ("cdab", "dcba"):
        each.reverse()
    if order in ("badc", "dcba"):
        each = [word[::-1] for word in each]
    return [int.from_bytes(word, "big") for word in each]


def device():
    holding = [0] * 250 + list(range(250, SIZE))
    for start, order in ((0, "abcd"), (100, "abcd"), (140, "badc"), (180, "cdab"), (220, "dcba")):
        known = [word for layout, value in KNOWN for word in words(layout, value, order)]
        holding[start : start + len(known)] = known
    holding[50:52] = words("f", 21.5, "cdab")
    block = lambda values: ModbusSequentialDataBlock(1, list(values))  # device contexts count from 1
    return ModbusDeviceContext(
        hr=block(holding),
        ir=block(1000 + i for i in range(SIZE)),
        co=block(i % 2 == 0 for i in range(SIZE)),
        di=block(i % 2 == 1 for i in range(SIZE)),
    )


def trace(sending, pdu):
    if not sending:
        print("request", pdu.function_code, pdu.address, flush=True)
    return pdu


async def bridge(port):
    """Carries bytes between a new pseudo terminal and the server: no serial library is needed for that."""
    master, slave = os.openpty()
    tty.setraw(slave)  # kept open, so that the master outlives a client
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asyncio.get_running_loop().add_reader(master, lambda: writer.write(os.read(master, 4096)))
    print("ready", os.ttyname(slave), flush=True)
    while data := await reader.read(4096):
        os.write(master, data)


async def main():
    serial = sys.argv[1] == "--serial"
    server = ModbusTcpServer(
        ModbusServerContext(devices=device(), single=True),
        framer=FramerType.RTU if serial else FramerType.SOCKET,
        address=("127.0.0.1", 0 if serial else int(sys.argv[1])),
        trace_pdu=trace if "--requests" in sys.argv else None,
    )
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    if serial:
        await bridge(port)
    print("ready", port, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
