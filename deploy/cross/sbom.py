#!/usr/bin/env python3
"""Completes the bill of materials of cargo-cyclonedx, and refuses one that is not whole. For scripts/sbom.sh.

    deploy/cross/sbom.py CRATES VERSION_DAT OPENSSL_SH <NEEDED

CRATES is the JSON of cargo-cyclonedx, VERSION_DAT OpenSSL's, OPENSSL_SH the script that trims it. NEEDED has a line
`file NAME` for each program and driver, then a line for each library that it asks for.
"""

import json
import os
import re
import sys
import time
import uuid


def openssl(version_dat, script):
    parts = dict(line.split("=", 1) for line in open(version_dat, encoding="utf-8").read().splitlines() if "=" in line)
    version = ".".join(parts[name].strip('"') for name in ("MAJOR", "MINOR", "PATCH"))
    left_out = re.search(r"left_out=\((.*?)\n\)", open(script, encoding="utf-8").read(), re.S).group(1)
    options = " ".join(re.findall(r"\bno-[a-z0-9_-]+", re.sub(r"#.*", "", left_out)))
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/openssl@{version}",
        "name": "openssl",
        "version": version,
        "description": "linked statically; its symbols are hidden",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": f"pkg:generic/openssl@{version}",
        "properties": [{"name": "dunlin:configured", "value": options}],
    }


def libraries(lines):
    """A component for each shared library, with the files that ask for it."""
    users, file = {}, None
    for line in lines:
        if line.startswith("file "):
            file = line.split()[1]
        else:
            users.setdefault(line.strip(), []).append(file)
    for soname, files in sorted(users.items()):
        yield {
            "type": "library",
            "bom-ref": f"soname:{soname}",
            "name": soname,
            # Of its interface; which release the device has, only the device knows.
            "version": soname.rsplit(".so.", 1)[-1],
            "description": "a shared library of the device, not shipped",
            "scope": "required" if "dunlin" in files else "optional",
            "properties": [{"name": "dunlin:needed-by", "value": " ".join(files)}],
        }


def main():
    crates, version_dat, script = sys.argv[1:]
    bom = json.load(open(crates, encoding="utf-8"))
    added = [openssl(version_dat, script), *libraries(sys.stdin)]
    if len(added) < 2:
        sys.exit("sbom: no file asks for any library\n  Remedy: scripts/build.sh")
    bom["components"] += added
    agent = bom["metadata"]["component"]["bom-ref"]
    for entry in bom["dependencies"]:
        if entry["ref"] == agent:
            entry["dependsOn"] = sorted(entry.get("dependsOn", []) + [part["bom-ref"] for part in added])
    bom["dependencies"] += [{"ref": part["bom-ref"]} for part in added]

    # Where the sources lay when this was made is nobody's business, and differs.
    here = os.getcwd()
    text = json.dumps(bom).replace(f"path+file://{here}", "path+file://.")
    bom = json.loads(text)
    when = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))
    bom["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", when)
    bom.pop("serialNumber", None)
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"

    refs = [bom["metadata"]["component"]["bom-ref"]] + [part["bom-ref"] for part in bom["components"]]
    twice = {ref for ref in refs if refs.count(ref) > 1}
    named = {ref for entry in bom["dependencies"] for ref in [entry["ref"], *entry.get("dependsOn", [])]}
    if bom["bomFormat"] != "CycloneDX" or twice or named - set(refs):
        sys.exit(f"sbom: not whole: twice {sorted(twice)}, without a component {sorted(named - set(refs))}")
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
