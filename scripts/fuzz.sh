#!/usr/bin/env bash
# Feeds the decoders of hostile bytes with inputs that libFuzzer makes up, under AddressSanitizer, on the pinned stable
# compiler. Seeds are in fuzz/seeds, what was found to be new ground in target/fuzz/corpus; a finding stops the script and
# is left in target/fuzz/found, with the command that repeats it.
#
#   scripts/fuzz.sh                          every target, as CI runs it: 10^6 inputs of what hosts, links and databases
#                                            from elsewhere can send, fewer of what takes longer; one a processor at a time
#   scripts/fuzz.sh reply 100000000          one target, as many inputs as wanted
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi

runs_most=1000000 runs_text=200000 runs_config=10000 runs_store=2500
declare -A runs=([reply]=$runs_most [request]=$runs_most [mqtt]=$runs_text [payload]=$runs_text [token]=$runs_text [config]=$runs_config
    [buffer]=$runs_store [ccsds]=$runs_most [checksum]=$runs_most [database]=$runs_text [xtce]=$runs_most [time]=$runs_most)
# Several frames of the target, a few bytes behind the parameters of a checksum, a whole database.
declare -A input_max_bytes=([ccsds]=512 [checksum]=64 [xtce]=8192)
# What takes longest first, so that no processor is left with it at the end.
targets=(xtce ccsds database checksum time buffer request reply config payload token mqtt)
if [[ $# -gt 0 ]]; then
    [[ -n ${runs[$1]:-} ]] || die "there is no target ${1@Q}" "one of: ${targets[*]}"
    targets=("$1")
    if [[ $# -gt 1 ]]; then runs[$1]=$2; fi
fi

host=$(rustc -vV | sed -n 's/^host: //p')
out=$root/target/fuzz
# What cargo-fuzz would say: coverage of each edge in counters that libFuzzer reads, comparisons traced, assertions on.
# The sanitizer and the passes are in the stable compiler, behind the switch of all that is not yet stable.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$out
export RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
 -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks --cfg fuzzing"
for target in "${targets[@]}"; do
    features=()
    if [[ $target != reply && $target != request ]]; then features=(--features agent); fi
    say "building $target"
    cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host" --bin "$target" "${features[@]}"
done

# fuzz TARGET: its line, or the end of its log and the remedy.
fuzz() {
    local target=$1
    local program=$out/$host/release/$target
    local arguments=("-runs=${runs[$target]}" "-max_len=${input_max_bytes[$target]:-4096}" -seed=1 -rss_limit_mb=2048 -timeout=10
        -print_final_stats=1 "-artifact_prefix=$out/found/$target-")
    mkdir -p "$out/corpus/$target" "$out/found"
    "$program" "${arguments[@]}" "$out/corpus/$target" "fuzz/seeds/$target" >"$out/$target.log" 2>&1 &
    local child=$!
    trap 'kill "$child" 2>/dev/null; exit 143' TERM
    if ! wait "$child"; then
        tail -40 "$out/$target.log"
        die "$target: found something" "$program $out/found/$target-..."
    fi
    awk -v target="$target" '
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        /number_of_executed_units/ { count = $NF }
        /average_exec_per_sec/ { speed = $NF }
        END { printf "fuzz %s: %d inputs, %d edges, %d a second, nothing found\n", target, count, cov, speed }' "$out/$target.log"
}

# A finding ends the script, and with it those that still run.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
running=0
for target in "${targets[@]}"; do
    if ((running == $(nproc))); then
        wait -n
        running=$((running - 1))
    fi
    fuzz "$target" &
    running=$((running + 1))
done
while ((running > 0)); do
    wait -n
    running=$((running - 1))
done
