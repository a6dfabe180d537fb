"""XTCE of several space systems, with aggregates, arrays, types that extend others and texts behind a size, as XTCE of
single values in one system, which space_packet_parser reads. Shares no code with dunlin.

A value is a parameter of the name by which dunlin knows it: `SYSTEM.PARAMETER.MEMBER.0`. A text behind its size becomes three:
`NAME#size`, `NAME` as bytes, and `NAME#rest` where its room is fixed. The `shortDescription` of `NAME` has its `maxSizeInBits`.
"""

import copy

from lxml import etree

NAMESPACE = "http://www.omg.org/spec/XTCE/20180204"
SETS = {"ParameterTypeSet": "type", "ParameterSet": "parameter", "ContainerSet": "container"}


def local(element):
    return etree.QName(element).localname


def children(element, name):
    """The elements of a name in another one."""
    if element is None:
        return []
    return [child for child in element if isinstance(child.tag, str) and local(child) == name]


def child(element, *path):
    """The first element of a path, or none."""
    for name in path:
        element = next(iter(children(element, name)), None)
    return element


def made(parent, tag, /, **attributes):
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{tag}", attributes)


class Flat:
    """One file."""

    def __init__(self, file):
        root = etree.parse(file).getroot()
        self.root = root.get("name")
        self.known = {}
        self.systems = {()}
        self.walk(root, ())
        self.out = etree.Element(f"{{{NAMESPACE}}}SpaceSystem", {"name": "Flat"}, nsmap={None: NAMESPACE})
        meta = made(self.out, "TelemetryMetaData")
        self.sets = [made(meta, name) for name in SETS]
        self.done = set()

    def walk(self, system, path):
        for name, kind in SETS.items():
            for element in child(system, "TelemetryMetaData", name) if child(system, "TelemetryMetaData", name) is not None else []:
                if isinstance(element.tag, str):
                    self.known[kind, path, element.get("name")] = element
        for inner in children(system, "SpaceSystem"):
            self.systems.add(path + (inner.get("name"),))
            self.walk(inner, path + (inner.get("name"),))

    def find(self, kind, reference, system):
        """Where a reference leads to, and what of it is behind: (system, name, members)."""
        steps = [step for step in reference.split("/") if step]
        bases = [system[:length] for length in range(len(system), -1, -1)]
        if reference.startswith("/"):
            assert steps.pop(0) == self.root, reference
            bases = [()]
        for members in range(len(steps)):
            for base in bases:
                *path, name = steps[: len(steps) - members]
                path = base + tuple(path)
                if (kind, path, name) in self.known:
                    return path, name, steps[len(steps) - members :]
        raise KeyError(f"{kind} {reference} from {system}")

    def values(self, path, name, channel):
        """All values of a type: name, system and name of its type."""
        element = self.known["type", path, name]
        if local(element) == "AggregateParameterType":
            for member in children(child(element, "MemberList"), "Member"):
                inner = self.find("type", member.get("typeRef"), path)
                yield from self.values(*inner[:2], f"{channel}.{member.get('name')}")
        elif local(element) == "ArrayParameterType":
            inner = self.find("type", element.get("arrayTypeRef"), path)
            names = [channel]
            for dimension in children(child(element, "DimensionList"), "Dimension"):
                last = int(child(dimension, "EndingIndex", "FixedValue").text)
                names = [f"{name}.{at}" for name in names for at in range(last + 1)]
            for name in names:
                yield from self.values(*inner[:2], name)
        else:
            yield channel, path, name

    def extended(self, path, name):
        """A type with what it has from the one it extends."""
        element = copy.deepcopy(self.known["type", path, name])
        base = element.attrib.pop("baseType", None)
        if base is not None:
            inner = self.extended(*self.find("type", base, path)[:2])
            own = {local(part) for part in element if isinstance(part.tag, str)}
            has_encoding = any(name.endswith("Encoding") for name in own)
            for part in inner:
                if local(part) not in own and not (has_encoding and local(part).endswith("Encoding")):
                    element.append(part)
            element.attrib.update({key: value for key, value in inner.attrib.items() if key not in element.attrib})
        return element

    def parameter(self, entry, path):
        """The values of an entry become parameters; their names."""
        where, name, _ = self.find("parameter", entry.get("parameterRef"), path)
        element = self.known["parameter", where, name]
        of = self.find("type", element.get("parameterTypeRef"), where)
        names = []
        for channel, *key in self.values(*of[:2], ".".join((*where, name))):
            if channel not in self.done:
                self.done.add(channel)
                self.add(channel, self.extended(*key), key[0])
            ending = [f"{channel}#size", channel, f"{channel}#rest"]
            names += [name for name in ending if name in self.done]
        return names

    def add(self, channel, of, system):
        """One value, with a type of its own."""
        size = child(of, "StringDataEncoding")
        around = child(size, "SizeInBits") if child(size, "SizeInBits") is not None else child(size, "Variable")
        tag = child(around, "LeadingSize")
        if tag is None:
            for reference in of.iter(f"{{{NAMESPACE}}}ParameterInstanceRef"):
                where, name, members = self.find("parameter", reference.get("parameterRef"), system)
                reference.set("parameterRef", ".".join((*where, name, *members)))
            self.put(channel, of)
            return
        bits = tag.get("sizeInBitsOfSizeTag", "16")
        number = etree.Element(f"{{{NAMESPACE}}}IntegerParameterType")
        made(number, "IntegerDataEncoding", sizeInBits=bits)
        self.put(f"{channel}#size", number)
        self.put(channel, self.bytes(channel, 8, 0), around.get("maxSizeInBits"))
        fixed = child(around, "Fixed", "FixedValue")
        if fixed is not None:
            self.put(f"{channel}#rest", self.bytes(channel, -8, int(fixed.text) - int(bits)))

    @staticmethod
    def bytes(channel, slope, intercept):
        of = etree.Element(f"{{{NAMESPACE}}}BinaryParameterType")
        value = made(made(made(of, "BinaryDataEncoding"), "SizeInBits"), "DynamicValue")
        made(value, "ParameterInstanceRef", parameterRef=f"{channel}#size")
        made(value, "LinearAdjustment", slope=str(slope), intercept=str(intercept))
        return of

    def put(self, channel, of, most=None):
        self.done.add(channel)
        of.set("name", f"{channel} type")
        self.sets[0].append(of)
        parameter = made(self.sets[1], "Parameter", name=channel, parameterTypeRef=f"{channel} type")
        if most:
            parameter.set("shortDescription", f"maxSizeInBits {most}")

    def container(self, path, element):
        out = made(self.sets[2], "SequenceContainer", name=".".join((*path, element.get("name"))))
        out.set("abstract", element.get("abstract", "false"))
        base = child(element, "BaseContainer")
        if base is not None:
            where, name, _ = self.find("container", base.get("containerRef"), path)
            out.append(copy.deepcopy(base))
            out[0].set("containerRef", ".".join((*where, name)))
            for part in out[0].iter(f"{{{NAMESPACE}}}Comparison", f"{{{NAMESPACE}}}ParameterInstanceRef"):
                where, name, members = self.find("parameter", part.get("parameterRef"), path)
                part.set("parameterRef", ".".join((*where, name, *members)))
        entries = made(out, "EntryList")
        for entry in child(element, "EntryList"):
            if not isinstance(entry.tag, str):
                continue
            if local(entry) == "ContainerRefEntry":
                where, name, _ = self.find("container", entry.get("containerRef"), path)
                made(entries, "ContainerRefEntry", containerRef=".".join((*where, name)))
                continue
            assert local(entry) in ("ParameterRefEntry", "ArrayParameterRefEntry") and not len(entry), entry
            for name in self.parameter(entry, path):
                made(entries, "ParameterRefEntry", parameterRef=name)


def flat(file):
    """The tree of the same database, flat."""
    all_of = Flat(file)
    for (kind, path, _), element in all_of.known.items():
        if kind == "container":
            all_of.container(path, element)
    return etree.ElementTree(all_of.out)


def is_flat(file):
    """Whether there is nothing to do."""
    root = etree.parse(file).getroot()
    several = ("AggregateParameterType", "ArrayParameterType", "LeadingSize", "SpaceSystem")
    inner = [element for element in root.iter() if element is not root and isinstance(element.tag, str)]
    return not any(local(element) in several or "baseType" in element.attrib for element in inner)
