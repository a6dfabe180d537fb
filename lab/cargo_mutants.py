#!/usr/bin/env python3
"""Has cargo-mutants change every function, operator and branch of src/buffer in turn, and counts what its tests notice.

    lab/cargo_mutants.py [SLICE...]    slices of the 50 that the mutants are dealt into; all of them where none is named
    lab/cargo_mutants.py --again       what survived, or hung, is tried again, with the tests as they are now
    lab/cargo_mutants.py --report      adds up the slices that were run, and names what survived

The module is tried in a crate of its own (buffer_crate.py). Each mutant meets the quick tests first, without optimisation;
what survives them meets all tests. `hangs` are those of the caught that nextest ended after 20 s, or 120 s. Outcomes are
kept below target/durability/cargo-mutants, a file a slice. A slice that was run is not run again while the sources of
src/buffer, tests apart, are what they were; so a run that was ended goes on where it was. On a busy machine a test may seem
to hang that only waits for its turn: `--again` on a quiet one shows it.
"""

import argparse
import concurrent.futures
import hashlib
import json
import queue
import re
import shutil
import subprocess
import sys
import time

import buffer_crate
from buffer_crate import ROOT

KEPT = ROOT / "target/durability/cargo-mutants"
CRATES = ROOT / "target/mutants"
SLICES = 50
# For whatever nextest does not end by itself.
LIMIT_S = 900
# What cargo-mutants ends with where all were caught, some survived, or some hang.
ENDS = (0, 2, 3)
CAUGHT, HANGS, SURVIVED, NO_BUILD = "caught", "hangs", "survived", "no build"


def source():
    """A digest of what is mutated."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src/buffer").rglob("*.rs")):
        if "tests" not in path.parts and path.name != "faulty.rs":
            digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()


def verdict(outcome, work):
    """What became of a mutant. A test that nextest had to end is one that hangs."""
    if outcome["summary"] == "CaughtMutant":
        said = (work / "mutants.out" / outcome["log_path"]).read_text(errors="replace")
        return HANGS if re.search(r"^ +TIMEOUT \[", said, re.MULTILINE) else CAUGHT
    return {"Timeout": HANGS, "MissedMutant": SURVIVED, "Unviable": NO_BUILD}[outcome["summary"]]


def cargo_mutants(crate, *words):
    """A command that names the mutants of the crate."""
    mutated = ["--file", "src/buffer/**", "--exclude", "src/buffer/tests/**", "--exclude", "src/buffer/fs/faulty.rs", "--no-shuffle"]
    return [str(word) for word in ["cargo", "mutants", "--dir", crate, "--colors", "never", *mutated, *words]]


def tried(crate, profile, part, parts):
    """Tries one of so many parts of the mutants with the tests of a profile: name to verdict."""
    work = crate / "outcomes"
    shutil.rmtree(work, ignore_errors=True)
    command = cargo_mutants(
        crate, "--shard", f"{part}/{parts}", "--sharding", "round-robin", "--in-place", "--output", work, "--baseline", "skip",
        "--timeout", LIMIT_S, "--build-timeout", LIMIT_S, "--profile", "mutant", "--test-tool", "nextest",
        "--", "--lib", "--profile", profile,
    )  # fmt: skip
    done = subprocess.run(command, env=buffer_crate.environment(profile), capture_output=True, text=True, check=False)
    if done.returncode not in ENDS:
        raise RuntimeError(f"cargo mutants ends with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    outcomes = json.loads((work / "mutants.out/outcomes.json").read_text())["outcomes"]
    mutants = [outcome for outcome in outcomes if outcome["scenario"] != "Baseline"]
    return {outcome["scenario"]["Mutant"]["name"]: verdict(outcome, work) for outcome in mutants}


def whole(crate, found, names, verdicts):
    """Tries those of these verdicts with all tests. Each is a part of its own: a pattern (`--re`) does not leave all others out."""
    for name in [name for name, what in found.items() if what in verdicts]:
        again = tried(crate, "whole", names.index(name), len(names))
        if list(again) != [name]:
            raise RuntimeError(f"asked for {name}, cargo mutants tried {list(again)}")
        found |= again
    return found


def keep(number, found):
    file = KEPT / f"slice-{number}.json"
    file.with_suffix(".new").write_text(json.dumps(found, indent=1))
    file.with_suffix(".new").rename(file)


def report():
    """The table by file, and what survived; how many that are."""
    slices = [json.loads(file.read_text()) for file in KEPT.glob("slice-*.json")]
    found = {name: what for part in slices for name, what in part.items()}
    columns = (CAUGHT, HANGS, SURVIVED, NO_BUILD)
    total = {}
    for name, what in found.items():
        row = total.setdefault(name.split(":")[0].removeprefix("src/"), dict.fromkeys(columns, 0))
        row[what] += 1
    print(f"{'':<26}" + "".join(f"{column:>10}" for column in columns))
    for file, row in sorted(total.items()):
        print(f"{file:<26}" + "".join(f"{row[column]:>10}" for column in columns))
    survived = sorted(name for name, what in found.items() if what == SURVIVED)
    for name in survived:
        print("survived:", name)
    count = {column: sum(row[column] for row in total.values()) for column in columns}
    caught, tries = count[CAUGHT] + count[HANGS], len(found) - count[NO_BUILD]
    print(
        f"cargo-mutants {tries}, caught {caught}, survived {len(survived)}: {100 * caught / max(1, tries):.1f} %,"
        f" of {len(slices)} of {SLICES} slices"
    )


def green(crate):
    """The tests must pass without any change."""
    for profile in buffer_crate.PROFILES:
        status, said = buffer_crate.run(crate, profile)
        if status:
            sys.exit(f"{said}\nthe tests of the profile {profile} fail without any change")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slices", type=int, nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if options.report:
        report()
        return
    stated, now = KEPT / "source", source()
    if not stated.exists() or stated.read_text() != now:
        for file in KEPT.glob("slice-*"):
            file.unlink()
        stated.write_text(now)
    chosen = [number for number in options.slices or range(SLICES) if (KEPT / f"slice-{number}.json").exists() == options.again]
    places = [CRATES / f"cargo-{number}" for number in range(options.jobs)]
    buffer_crate.make(places)
    crates = queue.Queue()
    for crate in places:
        green(crate)
        crates.put(crate)

    listed = subprocess.run(cargo_mutants(places[0], "--list"), capture_output=True, text=True, check=True)
    names = listed.stdout.splitlines()

    def one(number):
        crate, began = crates.get(), time.monotonic()
        try:
            if options.again:
                found = json.loads((KEPT / f"slice-{number}.json").read_text())
            else:
                found = tried(crate, "quick", number, SLICES)
            found = whole(crate, found, names, (SURVIVED, HANGS) if options.again else (SURVIVED,))
            keep(number, found)
            survived = sum(what == SURVIVED for what in found.values())
            return f"slice {number}: {len(found)} mutants, {survived} survived, {time.monotonic() - began:.0f} s"
        finally:
            crates.put(crate)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for line in pool.map(one, chosen):
            print(line, flush=True)
    report()


if __name__ == "__main__":
    main()
