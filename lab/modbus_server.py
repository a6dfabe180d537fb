#!/usr/bin/env python3
"""An independent Modbus TCP unit on loopback (pymodbus 3.11.1), for tests and demonstrations.

usage: modbus_server.py PORT. Prints `ready` once it accepts connections, then serves until it is ended.
Holding and input registers 0..99 and coils and discrete inputs 0..99 exist; anything else is answered with exception 2.
Registers from 0: float32 21.5, int16 -7, uint16 65535, int32 -70000, float64 -2.25, int64 -5, uint32 4000000000, each
big-endian; register 50 and 51: float32 21.5 with its words swapped. Even coils and discrete inputs are on.
"""
import asyncio
import struct
import sys

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer


def words(layout, *values):
    raw = struct.pack(">" + layout, *values)
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


def device():
    registers = [0] * 100
    known = words("fhHidqI", 21.5, -7, 65535, -70000, -2.25, -5, 4_000_000_000)
    registers[: len(known)] = known
    registers[50:52] = words("f", 21.5)[::-1]
    bits = [i % 2 == 0 for i in range(100)]
    block = lambda values: ModbusSequentialDataBlock(1, list(values))  # device contexts count from 1
    return ModbusDeviceContext(hr=block(registers), ir=block(registers), co=block(bits), di=block(bits))


async def main():
    server = ModbusTcpServer(
        ModbusServerContext(devices=device(), single=True), address=("127.0.0.1", int(sys.argv[1])))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
