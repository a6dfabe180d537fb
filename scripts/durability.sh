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
#   scripts/durability.sh --board-cuts [N] N power cuts of an emulated board, ext4 and f2fs (10); goes on likewise
#   scripts/durability.sh --block-log [N]  a board's disk replayed at every flush, N disks each of ext4 and f2fs (20; 0: all)
#   scripts/durability.sh --disk-errors [N]   N reads, writes and flushes of a board's disk that fail by QEMU's blkdebug (9)
#   scripts/durability.sh --mutants        each guard of src/buffer taken away in turn: its tests must turn red
#   scripts/durability.sh --report         adds up what the rigs found when they last ran here; runs those that never did
#
# The last line of the report is `crash states S, kills K, cuts C, acked A, lost L`. Results lie below target/durability/;
# to make the cuts anew, remove cuts.jsonl and board-cuts.jsonl there. The boards' agent is what scripts/build.sh left.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

results=target/durability
mkdir -p "$results"

# The binary that is killed is optimised as a release is, and quicker to link. Built with the tests of the whole workspace, as
# the stage `campaign` and the rigs below build it: a part alone has other features, and would be compiled anew.
build() {
    cargo test --locked --profile campaign --workspace --no-run
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
    keep "crash states" cargo nextest run --locked --cargo-profile campaign --profile campaign --workspace \
        --no-capture --no-tests fail campaign_crash_states
}
rig_kills() { build && keep kills python3 lab/kill_syscalls.py "${agent[@]}" --kills "${1:-5000}"; }
rig_injections() { build && keep injections python3 lab/inject_syscalls.py "${agent[@]}"; }
rig_full() { build && keep "full disks" python3 lab/full_disk.py "${agent[@]}" --cycles "${1:-3}"; }
rig_flips() {
    DUNLIN_TEST_FLIPS_MB=${1:-64} keep flips cargo nextest run --locked --cargo-profile campaign --profile campaign \
        --workspace --no-capture --no-tests fail campaign_flips
}
rig_cuts() {
    build
    heading "control: power cuts where syncs do nothing"
    rm -f "$results/control.jsonl"
    python3 lab/power_cuts.py "${agent[@]}" --cuts 3 --control --ledger "$results/control.jsonl"
    keep cuts python3 lab/power_cuts.py "${agent[@]}" --cuts "${1:-100}"
}
# What the board boots, made where it is not there or older than the agent; the agent built where there is none.
board() {
    local built=target/aarch64-unknown-linux-gnu/release/dunlin
    scripts/setup.sh board
    [[ -x $built ]] || scripts/build.sh
    [[ target/board/initrd-store -nt $built && target/board/initrd-store -nt lab/board/store-init ]] || scripts/board_image.sh
}
rig_board_cuts() {
    board
    heading "control: power cuts of a board where syncs do nothing"
    rm -f "$results/board-control.jsonl"
    python3 lab/board_cuts.py --cuts 2 --per-disk 1 --control --ledger "$results/board-control.jsonl"
    keep "board cuts" python3 lab/board_cuts.py --cuts "${1:-10}"
}
rig_block_log() {
    local fs pids=() failed=0
    board
    for fs in ext4 f2fs; do
        keep "block log $fs" python3 lab/block_log.py --fs "$fs" --states "${1:-20}" &
        pids+=($!)
    done
    for fs in "${pids[@]}"; do wait "$fs" || failed=1; done
    return "$failed"
}
rig_disk_errors() {
    board
    heading "control: disk errors that the agent's syncs hide"
    python3 lab/disk_errors.py --errors 2 --control
    keep "disk errors" python3 lab/disk_errors.py --errors "${1:-9}"
}
rig_mutants() { keep mutants python3 lab/mutants.py; }

# number WORD FILES...: the sum of the numbers behind a word.
number() {
    local word=$1
    shift
    sed -nE "s/.*($word) ([0-9]+).*/\2/p" "$@" | awk '{ sum += $1 } END { print sum + 0 }'
}

report() {
    [[ -s "$results/crash states" ]] || rig_states
    [[ -s $results/kills ]] || rig_kills
    [[ -s $results/injections ]] || rig_injections
    [[ -s "$results/full disks" ]] || rig_full
    [[ -s $results/flips ]] || rig_flips
    [[ -s $results/cuts ]] || rig_cuts
    [[ -s "$results/board cuts" ]] || rig_board_cuts
    [[ -s "$results/block log ext4" && -s "$results/block log f2fs" ]] || rig_block_log
    [[ -s "$results/disk errors" ]] || rig_disk_errors
    [[ -s $results/mutants ]] || rig_mutants
    heading "report"
    cd "$results"
    local states=("crash states" "block log ext4" "block log f2fs") cuts=(cuts "board cuts") rest=(kills injections "full disks" flips "disk errors")
    local counted=("${cuts[@]}" kills injections "full disks" "disk errors" "block log ext4" "block log f2fs")
    cat "${states[@]}" "${rest[@]}" "${cuts[@]}" mutants
    echo "crash states $(number "states|ext4|f2fs" "${states[@]}"), kills $(number "kills" kills), cuts $(number cuts "${cuts[@]}")," \
        "acked $(number acked "${counted[@]}"), lost $(number lost "${counted[@]}")"
}

case ${1:-all} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" ;;
    --states | --injections | --mutants) "rig_${1#--}" ;;
    --kills) rig_kills "${2:-}" ;;
    --full) rig_full "${2:-}" ;;
    --flips) rig_flips "${2:-}" ;;
    --cuts) rig_cuts "${2:-}" ;;
    --board-cuts) rig_board_cuts "${2:-}" ;;
    --block-log) rig_block_log "${2:-}" ;;
    --disk-errors) rig_disk_errors "${2:-}" ;;
    --report) report ;;
    all)
        for name in states kills injections full flips cuts board_cuts block_log disk_errors mutants; do "rig_$name"; done
        report
        ;;
    *) die "does not know ${1@Q}" "scripts/durability.sh --help" ;;
esac
