#!/usr/bin/env bash
# How many instructions a telemetry frame costs from bits to packets, and how many allocations, beside the straightforward
# parser of benches/telemetry.rs, and in a pipeline with three sinks. Counted, not timed: what else the machine does changes
# nothing, and the seeds of hash tables and of tokio's choices little.
#
#   scripts/instructions.sh
#
# Each program runs twice, with 256 frames of 1115 bytes once and three times; the difference is what 512 frames cost. On aarch64 each
# block that qemu-user executes is logged (lab/executed.py adds them up); on this machine valgrind counts, allocations too.
# It installs what is missing (scripts/setup.sh test and cross).
#
# The last line is `chain A instructions/frame on aarch64, B here, C allocations/frame`.
set -euo pipefail
# A count that fails must not become a 0.
shopt -s inherit_errexit
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi
[[ $# -eq 0 ]] || die "does not know ${1@Q}" "scripts/instructions.sh --help"
if ! have valgrind || ! have qemu-aarch64-static; then scripts/setup.sh test; fi
scripts/setup.sh cross
# shellcheck source=scripts/cross.sh
source scripts/cross.sh

few=1 many=3 frames=512
out=$root/target/instructions
mkdir -p "$out"

# program CARGO ARGUMENTS: builds the bench, and says where it is. A profile of its own, since cargo builds the agent with it,
# which must not take the place of the one that scripts/build.sh leaves.
program() {
    "$@" --locked --config 'profile.counted.inherits="bench"' --profile counted --bench telemetry --package dunlin --message-format json 2>"$out/build.log" |
        sed -n 's/.*"name":"telemetry".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}
say "building for this machine"
here=$(program cargo build) || die "it does not build" "less $out/build.log"
[[ -x $here ]] || die "cargo names no program" "less $out/build.log"
say "building for aarch64"
there=$(program run_cross build --target "$target") || die "it does not build" "less $out/build.log"
# cross names it as the container does.
there=${there/#\/target\//$root/target/}
[[ -x $there ]] || die "cross names no program" "less $out/build.log"

# Instructions of one run, on aarch64.
emulated() {
    qemu-aarch64-static -L /usr/aarch64-linux-gnu -d in_asm,exec,nochain -D "$out/executed.log" "$there" "$@" >/dev/null
    lab/executed.py <"$out/executed.log"
    rm "$out/executed.log"
}
# Instructions of one run, here.
native() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$here" "$@" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}
# Allocations of one run.
allocated() {
    valgrind "$here" "$@" 2>&1 >/dev/null | sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' | tr -d ,
}
# per_frame COUNT WHAT: what a frame adds.
per_frame() {
    local more less
    more=$("$1" "$2" $many)
    less=$("$1" "$2" $few)
    [[ -n $more && -n $less ]] || die "$1 of $2 counts nothing" "bash -x scripts/instructions.sh"
    awk -v more="$more" -v less="$less" -v frames=$frames 'BEGIN { printf "%.2f", (more - less) / frames }'
}

declare -A found
for what in chain parser pipeline; do
    for count in emulated native allocated; do
        say "$what, $count"
        found[$what $count]=$(per_frame "$count" "$what")
    done
done
echo "frames of 1115 bytes, each with its marker; packets of 20 to 400 bytes"
printf '%-24s %22s %22s %20s\n' '' 'instructions, aarch64' "instructions, $(uname -m)" 'allocations'
for what in chain parser pipeline; do
    printf '%-24s %22s %22s %20s\n' "$what" "${found[$what emulated]}" "${found[$what native]}" "${found[$what allocated]}"
done
echo "chain ${found[chain emulated]} instructions/frame on aarch64, ${found[chain native]} here, ${found[chain allocated]} allocations/frame"
