#!/usr/bin/env python3
"""A reader of XTCE that shares no code with dunlin: space_packet_parser.

    xtce_reader.py check FILE...                        validates files by the schema of the standard
    xtce_reader.py packets FILE SEED COUNT              makes packets of random values by a file, and reads them by it

What `packets` prints is one line of JSON a packet: its bytes, and of each parameter what is read and what it means. Floats
are the sixteen digits of their bits, big-endian, of 64.
"""

import json
import random
import struct
import sys
import warnings

from space_packet_parser.xtce.containers import SequenceContainer
from space_packet_parser.xtce.definitions import XtcePacketDefinition
from space_packet_parser.xtce.encodings import BinaryDataEncoding, FloatDataEncoding, StringDataEncoding
from space_packet_parser.xtce.parameter_types import EnumeratedParameterType
from space_packet_parser.xtce.validation import validate_xtce

OPERATORS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def check(files):
    """Whether each file is valid XTCE 1.2."""
    wrong = 0
    for file in files:
        result = validate_xtce(file, level="schema", raise_on_error=False, allow_schema_download=False, print_results=False)
        for error in result.errors:
            print(f"{file}: {error}", file=sys.stderr)
        wrong += not result.valid
    return wrong


def bits_of(parameter, wanted, chance):
    """Bits of a random value of a parameter that is as wanted, and how many they are."""
    kind = parameter.parameter_type
    encoding = kind.encoding
    if isinstance(encoding, StringDataEncoding):
        size = encoding.fixed_length
        text = bytes(chance.choice(b"ABCxyz019 -_") for _ in range(size // 8))
        return int.from_bytes(text, "big"), size
    if isinstance(encoding, BinaryDataEncoding):
        size = encoding.fixed_size_in_bits
        return chance.getrandbits(size), size
    size = encoding.size_in_bits
    if isinstance(encoding, FloatDataEncoding):
        return chance.getrandbits(size), size
    exact = [int(number) for operator, number in wanted if operator == "=="]
    for _ in range(100_000):
        if exact:
            value = exact[0]
        elif isinstance(kind, EnumeratedParameterType):
            value = chance.choice(list(kind.enumeration))
        else:
            low = -(1 << size - 1) if encoding.encoding == "twosComplement" else 0
            value = chance.choice([low, low + (1 << size) - 1, chance.randrange(low, low + (1 << size))])
        if all(OPERATORS[operator](value, int(number)) for operator, number in wanted):
            break
    else:
        raise ValueError(f"no value of {parameter.name} is {wanted}")
    value &= (1 << size) - 1
    if encoding.byte_order == "leastSignificantByteFirst":
        value = int.from_bytes(value.to_bytes(size // 8, "little"), "big")
    return value, size


def parameters(container):
    """The parameters of a container, with those of containers in it."""
    for entry in container.entry_list:
        if isinstance(entry, SequenceContainer):
            yield from parameters(entry)
        else:
            yield entry


def made(definition, name, chance):
    """One packet of a container."""
    line, wanted = [], {}
    while name:
        container = definition.containers[name]
        line.insert(0, container)
        for comparison in container.restriction_criteria:
            wanted.setdefault(comparison.referenced_parameter, []).append((comparison.operator, comparison.required_value))
        name = container.base_container_name
    every = [parameter for container in line for parameter in parameters(container)]
    word, size = 0, 0
    for parameter in every:
        value, bits = bits_of(parameter, wanted.get(parameter.name, []), chance)
        word, size = word << bits | value, size + bits
    fill = -size % 8
    packet = bytearray((word << fill).to_bytes((size + fill) // 8, "big"))
    packet[4:6] = (len(packet) - 7).to_bytes(2, "big")
    return bytes(packet)


def said(value):
    """A value as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, int):
        return int(value)
    return str(value)


def packets(file, seed, count):
    """Packets of all containers that are not abstract and stand on others."""
    definition = XtcePacketDefinition.from_xtce(file)
    chance = random.Random(seed)
    names = [name for name, container in definition.containers.items() if not container.abstract and container.base_container_name]
    warnings.simplefilter("ignore")
    counts = {}
    for _ in range(count):
        name = chance.choice(names)
        packet = bytearray(made(definition, name, chance))
        # Counts of packets go on, each APID by itself, so that none is missing or late.
        parts, apid = packet[2] >> 6, int.from_bytes(packet[:2], "big") & 0x7FF
        packet[2:4] = (parts << 14 | counts.get(apid, 0) % 16384).to_bytes(2, "big")
        counts[apid] = counts.get(apid, 0) + 1
        packet = bytes(packet)
        read = definition.parse_bytes(packet)
        values = {}
        for key, value in read.items():
            values[key] = {"raw": said(value.raw_value), "value": said(value)}
        print(json.dumps({"container": name, "hex": packet.hex(), "values": values}))


def main():
    if sys.argv[1] == "check":
        sys.exit(1 if check(sys.argv[2:]) else 0)
    packets(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))


if __name__ == "__main__":
    main()
