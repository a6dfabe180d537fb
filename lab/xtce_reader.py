#!/usr/bin/env python3
"""A reader of XTCE that shares no code with dunlin: space_packet_parser.

    xtce_reader.py check FILE...                        validates files by the schema of the standard
    xtce_reader.py packets FILE SEED COUNT              makes packets of random values by a file, and reads them by it
    xtce_reader.py recorded FILE RECORDING SKIP ROOT    reads recorded packets, SKIP bytes before each, from the container ROOT on

What `packets` prints is one line of JSON a packet: its bytes, and of each parameter what is read and what it means. Floats
are the sixteen digits of their bits, big-endian, of 64. `recorded` prints a line a packet, NAME=VALUE with tabs between, where
VALUE~LABEL is of an enumeration, and texts end with their first NUL. What it does not read is made flat first (xtce_flat.py).
"""

import json
import random
import struct
import sys
import tempfile
import warnings

import xtce_flat
from space_packet_parser.exceptions import UnrecognizedPacketTypeError
from space_packet_parser.generators import ccsds_generator
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


def definition_of(file):
    """The database in a file."""
    if xtce_flat.is_flat(file):
        return XtcePacketDefinition.from_xtce(file)
    with tempfile.NamedTemporaryFile(suffix=".xml") as made:
        xtce_flat.flat(file).write(made.name)
        return XtcePacketDefinition.from_xtce(made.name)


def text(size, chance):
    """The bits of a text."""
    return int.from_bytes(bytes(chance.choice(b"ABCxyz019 -_") for _ in range(size // 8)), "big")


def size_of(encoding):
    """What the size of a text or of bytes is: fixed, or made of a parameter."""
    if isinstance(encoding, StringDataEncoding):
        fixed, name, adjust = encoding.fixed_length, encoding.dynamic_length_reference, encoding.length_linear_adjuster
    elif isinstance(encoding, BinaryDataEncoding):
        fixed, name, adjust = encoding.fixed_size_in_bits, encoding.size_reference_parameter, encoding.linear_adjuster
    else:
        fixed, name, adjust = encoding.size_in_bits, None, None
    return fixed, name, adjust or (lambda bits: bits)


def most_of(parameter):
    """Most bits of bytes that are a text."""
    mark, _, most = (parameter.short_description or "").partition(" ")
    return int(most) if mark == "maxSizeInBits" else 4096


def bits_of(parameter, wanted, chance, before, every):
    """Bits of a random value of a parameter that is as wanted, and how many they are."""
    kind = parameter.parameter_type
    encoding = kind.encoding
    size, of, adjust = size_of(encoding)
    made_of_it = [(*size_of(other.parameter_type.encoding), most_of(other)) for other in every]
    adjusts = [(adjust, most) for _, name, adjust, most in made_of_it if name == parameter.name]
    if adjusts:
        numbers = range(min(1 << size, 91))
        right = [n for n in numbers if all(0 <= adjust(n) <= most and adjust(n) % 8 == 0 for adjust, most in adjusts)]
        before[parameter.name] = chance.choice(right)
        return before[parameter.name], size
    if of is not None:
        size = int(adjust(before[of]))
    if isinstance(encoding, StringDataEncoding) or of == f"{parameter.name}#size":
        return text(size, chance), size
    if isinstance(encoding, BinaryDataEncoding):
        return chance.getrandbits(size) if size else 0, size
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
    word, size, before = 0, 0, {}
    for parameter in every:
        value, bits = bits_of(parameter, wanted.get(parameter.name, []), chance, before, every)
        word, size = word << bits | value, size + bits
    fill = -size % 8
    return (word << fill).to_bytes((size + fill) // 8, "big")


def said(value):
    """A value as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, int):
        return int(value)
    return str(value)


def root_of(definition, name):
    """The container that a container is based on, in the end."""
    while definition.containers[name].base_container_name:
        name = definition.containers[name].base_container_name
    return name


def packets(file, seed, count):
    """Packets of all containers that are not abstract and stand on others, or of the one that stands alone."""
    definition = definition_of(file)
    chance = random.Random(seed)
    names = [name for name, container in definition.containers.items() if not container.abstract and container.base_container_name]
    names = names or list(definition.containers)
    warnings.simplefilter("ignore")
    counts = {}
    made_of = refused = 0
    while made_of < count:
        name = chance.choice(names)
        root = root_of(definition, name)
        packet = bytearray(made(definition, name, chance))
        # Counts of packets go on, each APID by itself, so that none is missing or late.
        if "CCSDS" in root.upper():
            packet[4:6] = (len(packet) - 7).to_bytes(2, "big")
            parts, apid = packet[2] >> 6, int.from_bytes(packet[:2], "big") & 0x7FF
            packet[2:4] = (parts << 14 | counts.get(apid, 0) % 16384).to_bytes(2, "big")
            counts[apid] = counts.get(apid, 0) + 1
        packet = bytes(packet)
        try:
            read = definition.parse_bytes(packet, root_container_name=root)
        except UnrecognizedPacketTypeError:
            # By chance it is of two kinds at once.
            refused += 1
            if refused > 10 * count:
                raise
            continue
        values = {}
        for key, value in read.items():
            values[key] = {"raw": said(value.raw_value), "value": said(value)}
        print(json.dumps({"container": name, "hex": packet.hex(), "values": values}))
        made_of += 1


def recorded(file, recording, skip, root):
    """What is in recorded packets."""
    definition = definition_of(file)
    warnings.simplefilter("ignore")
    kinds = {name: parameter.parameter_type for name, parameter in definition.parameters.items()}
    out = sys.stdout
    with open(recording, "rb") as packets:
        for packet in ccsds_generator(packets, skip_header_bytes=skip):
            values = []
            for name, value in definition.parse_bytes(packet, root_container_name=root).items():
                raw = value.raw_value
                if isinstance(kinds[name].encoding, StringDataEncoding):
                    raw = raw.split(b"\0")[0]
                label = f"~{value}" if isinstance(kinds[name], EnumeratedParameterType) else ""
                values.append(f"{name}={said(raw)}{label}")
            out.write("\t".join(values) + "\n")


def main():
    if sys.argv[1] == "check":
        sys.exit(1 if check(sys.argv[2:]) else 0)
    if sys.argv[1] == "recorded":
        recorded(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        packets(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))


if __name__ == "__main__":
    main()
