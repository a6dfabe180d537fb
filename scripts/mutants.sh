#!/usr/bin/env bash
# cargo-mutants on src/buffer: every function, operator and branch of the durable log is changed in turn, and its tests must
# turn red. (The guards, each taken away by hand, are scripts/durability.sh --mutants.)
#
#   scripts/mutants.sh [SLICE...]     slices of the 50 that the mutants are dealt into, like `0 7` or `{0..49}` (0)
#   scripts/mutants.sh --report       adds up the slices that were run, and names what survived
#
# Resumable: a slice that was run is not run again while src/buffer is what it was; remove target/durability/cargo-mutants to
# begin anew. The module is tried in a crate of its own, as lab/mutants.py makes it; a mutant takes 10 to 80 s.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

slices=50
found=$root/target/durability/cargo-mutants
mkdir -p "$found"

# What the outcomes of cargo-mutants come to, by module, and those that survived.
report() {
    python3 - "$found" "$slices" <<'END'
import json, pathlib, sys
files = sorted(pathlib.Path(sys.argv[1]).glob("slice-*.json"))
total, survived = {}, []
for file in files:
    for outcome in json.loads(file.read_text())["outcomes"]:
        if outcome["scenario"] == "Baseline":
            continue
        mutant = outcome["scenario"]["Mutant"]
        row = total.setdefault(mutant["file"].removeprefix("src/"), {})
        row[outcome["summary"]] = row.get(outcome["summary"], 0) + 1
        if outcome["summary"] == "MissedMutant":
            survived.append(mutant["name"])
columns = ("CaughtMutant", "Timeout", "MissedMutant", "Unviable")
print(f"{'':<26} {'caught':>8} {'hangs':>8} {'survived':>8} {'no build':>8}")
for name, row in sorted(total.items()):
    print(f"{name:<26} " + " ".join(f"{row.get(c, 0):>8}" for c in columns))
for name in sorted(survived):
    print("survived:", name)
caught, hangs, missed, _ = (sum(row.get(c, 0) for row in total.values()) for c in columns)
share = 100 * (caught + hangs) / max(1, caught + hangs + missed)
print(f"cargo-mutants {caught + hangs + missed}, caught {caught + hangs}, survived {missed}: {share:.1f} %, "
      f"of {len(files)} of {sys.argv[2]} slices")
END
}

case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    --report) report && exit ;;
esac
scripts/setup.sh mutants
python3 lab/mutants.py --crate
now=$(find src/buffer -type f -exec sha256sum {} + | sort | sha256sum | cut -c-16)
if [[ $(cat "$found/source" 2>/dev/null) != "$now" ]]; then
    rm -f "$found"/slice-*
    echo "$now" >"$found/source"
fi
for slice in "${@:-0}"; do
    [[ ! -e $found/slice-$slice.json ]] || continue
    heading "slice $slice of $slices"
    # 2 and 3: some survived, some hang.
    status=0
    cargo mutants --dir target/mutants/0 --output "$found/work" --file 'src/buffer/**' --exclude 'src/buffer/tests/**' \
        --exclude 'src/buffer/fs/faulty.rs' --shard "$slice/$slices" --sharding round-robin --jobs 1 --baseline run --timeout-multiplier 4 \
        --no-shuffle --copy-target true -- --lib -- buffer:: --skip campaign --skip kill || status=$?
    [[ $status -eq 0 || $status -eq 2 || $status -eq 3 ]] || die "cargo mutants ends with $status" "see $found/work/mutants.out"
    cp "$found/work/mutants.out/outcomes.json" "$found/slice-$slice.json"
done
report
