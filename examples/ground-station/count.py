#!/usr/bin/env python3
"""Whether what a spacecraft sent, what was lost and what arrived add up.

    count.py SENT RECEIVED STATUS

SENT is what spacecraft.py says of itself, RECEIVED what mosquitto_sub heard, a payload a line (docs/payload.md), STATUS the status file
of the agent, of which the datagrams are taken. Exit status 1 where something does not add up. It shares no code with dunlin.
"""

import json
import re
import sys

LEVELS = {-2: "red low", -1: "yellow low", 0: "within limits", 1: "yellow high", 2: "red high"}
NAMES = ["mode", "battery", "panel", "wheel", "array"]


def records(lines):
    """Each record once; a message may come twice."""
    found = {}
    for line in lines:
        payload = json.loads(line)
        for at, record in enumerate(payload["records"]):
            found[payload["boot"], payload["stream"], payload["seq"] + at] = record
    return list(found.values())


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        sent = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        heard = records(file)
    with open(sys.argv[3], encoding="utf-8") as file:
        datagrams = json.load(file)["sources"]["radio"]["readings"]

    samples = [record["sample"] for record in heard if "sample" in record]
    gaps = [record["gap"] for record in heard if "gap" in record]
    texts = [record["frame"] for record in heard if "frame" in record]
    values = {name: sum(sample["ch"] == name for sample in samples) for name in NAMES}
    packets = sum(sample["ch"].endswith(".time") for sample in samples)
    told = {what: sum(gap["lost"] for gap in gaps if re.search(f" {what} from ", gap["detail"])) for what in ("frames", "packets")}

    print(f"{'':<36}{'frames':>8}{'packets':>8}")
    print(f"{'made by the spacecraft':<36}{sent['frames']:>8}{sent['packets']:>8}")
    print(f"{'lost on the way, on purpose':<36}{sent['withheld']:>8}")
    print(f"{'damaged on the way, on purpose':<36}{sent['damaged']:>8}{sent['packets_hit']:>8}  in lost and damaged frames")
    print(f"{'arrived':<36}{datagrams - sent['damaged']:>8}{packets:>8}")
    print(f"{'missing, by the gaps that were told':<36}{told['frames']:>8}{told['packets']:>8}")
    print("values:", ", ".join(f"{name} {count}" for name, count in values.items()))
    versions = sorted({sample["cal"] for sample in samples if "cal" in sample})
    for version in versions:
        print(f"by database {version}: {sum(sample.get('cal') == version for sample in samples if sample['ch'] in NAMES)} values")
    for sample in samples:
        if sample["ch"].endswith(".alarm"):
            print(f"alarm: {sample['ch'].removesuffix('.alarm')} {LEVELS[sample['v']]}")

    sums = [
        ("datagrams sent and taken", sent["frames"] - sent["withheld"], datagrams),
        ("frames lost and told", sent["withheld"] + sent["damaged"], told["frames"]),
        ("packets lost and told", sent["packets_hit"], told["packets"]),
        ("packets sent and received", sent["packets"] - sent["packets_hit"], packets),
        *((f"packets and values of {name}", packets, count) for name, count in values.items()),
    ]
    wrong = [f"{what}: {one} and {other}" for what, one, other in sums if one != other]
    if not packets or not texts:
        wrong.append(f"{packets} packets and {len(texts)} labels, where there is at least one of each")
    print("these do not add up: " + "; ".join(wrong) if wrong else "everything adds up")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
