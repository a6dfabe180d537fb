#!/usr/bin/env bash
# What the promise of the durable log rests on, run and added up: nothing acknowledged is lost.
#
#   scripts/durability.sh                  all rigs at the size that CI runs, then the report
#   scripts/durability.sh --states         power cuts of a simulated disk at every operation, recoveries to depth three
#   scripts/durability.sh --kills [N]      SIGKILL at N stops at system calls of the agent under load (5,000)
#   scripts/durability.sh --injections     system calls that fail, one number at a time
#   scripts/durability.sh --full [N]       a disk without blocks, inodes, quota, or writing, and with again, N times each (3);
#                                          root
#   scripts/durability.sh --flips [MB]     random bits of a log of that size flipped (64)
#   scripts/durability.sh --cuts [N]       N power cuts of ext4 on a drive with a volatile cache (100); goes on where an
#                                          earlier run was ended; root
#   scripts/durability.sh --mutants        each guard of src/buffer taken away in turn: its tests must turn red
#   scripts/durability.sh --report         adds up what the rigs found when they last ran here; runs those that never did
#
# The last line of the report is `crash states S, kills K, cuts C, acked A, lost L`. Results lie below target/durability/;
# to make the cuts anew, remove cuts.jsonl there.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

results=target/durability
mkdir -p "$results"

# The binary that is killed is optimised as a release is, and quicker to link.
build() {
    cargo build --locked --profile campaign --package dunlin --package dunlin-drivers
    agent=(--binary target/campaign/dunlin --drivers target/campaign/drivers)
}

# keep NAME COMMAND...: runs it, shows what it says, and keeps the line that sums it up where it succeeded.
keep() {
    local name=$1 log=$results/$1.log
    shift
    heading "$name"
    rm -f "$results/$name"
    "$@" 2>&1 | tee "$log"
    grep -o "$name [0-9].*" "$log" | tail -n 1 >"$results/$name.new"
    [[ -s $results/$name.new ]] || die "no line says what $name came to" "see $log"
    mv "$results/$name.new" "$results/$name"
}

rig_states() {
    keep "crash states" cargo nextest run --locked --cargo-profile campaign --profile campaign --package dunlin --lib \
        --no-capture --no-tests fail campaign_crash_states
}
rig_kills() { build && keep kills python3 lab/kill_syscalls.py "${agent[@]}" --kills "${1:-5000}"; }
rig_injections() { build && keep injections python3 lab/inject_syscalls.py "${agent[@]}"; }
rig_full() { build && keep "full disks" python3 lab/full_disk.py "${agent[@]}" --cycles "${1:-3}"; }
rig_flips() {
    DUNLIN_TEST_FLIPS_MB=${1:-64} keep flips cargo nextest run --locked --cargo-profile campaign --profile campaign \
        --package dunlin --lib --no-capture --no-tests fail campaign_flips
}
rig_cuts() {
    build
    heading "control: power cuts where syncs do nothing"
    rm -f "$results/control.jsonl"
    python3 lab/power_cuts.py "${agent[@]}" --cuts 3 --control --ledger "$results/control.jsonl"
    keep cuts python3 lab/power_cuts.py "${agent[@]}" --cuts "${1:-100}"
}
rig_mutants() { keep mutants python3 lab/mutants.py; }

# number WORD FILES...: the sum of the numbers behind a word.
number() {
    local word=$1
    shift
    sed -n "s/.*$word \([0-9]*\).*/\1/p" "$@" | awk '{ sum += $1 } END { print sum + 0 }'
}

report() {
    [[ -s "$results/crash states" ]] || rig_states
    [[ -s $results/kills ]] || rig_kills
    [[ -s $results/injections ]] || rig_injections
    [[ -s "$results/full disks" ]] || rig_full
    [[ -s $results/flips ]] || rig_flips
    [[ -s $results/cuts ]] || rig_cuts
    [[ -s $results/mutants ]] || rig_mutants
    heading "report"
    cd "$results"
    cat "crash states" kills injections "full disks" flips cuts mutants
    echo "crash states $(number "crash states" "crash states"), kills $(number kills kills), cuts $(number cuts cuts)," \
        "acked $(number acked kills injections "full disks" cuts), lost $(number lost kills injections "full disks" cuts)"
}

case ${1:-all} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
    --states | --injections | --mutants) "rig_${1#--}" ;;
    --kills) rig_kills "${2:-}" ;;
    --full) rig_full "${2:-}" ;;
    --flips) rig_flips "${2:-}" ;;
    --cuts) rig_cuts "${2:-}" ;;
    --report) report ;;
    all)
        for name in states kills injections full flips cuts mutants; do "rig_$name"; done
        report
        ;;
    *) die "does not know ${1@Q}" "scripts/durability.sh --help" ;;
esac
