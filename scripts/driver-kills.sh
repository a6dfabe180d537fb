#!/usr/bin/env bash
# Kills driver hosts in five ways (SIGKILL, SIGSEGV, SIGSTOP, a driver that spins, one that leaks) under a running agent
# with a real broker, and prints what that cost:
#
#   scripts/driver-kills.sh N           about N kills; 1,000 where it is left out, which takes a minute
#   scripts/driver-kills.sh --again N   the same, without what an interrupted call has done
#
# More than 2,000 are done in rounds, each with an agent and a broker of its own, and a line each in target/driver-kills.rounds.
# A call that was interrupted goes on after the last whole round. 100,000 take about an hour.
#
# The last line is `kills N, agent restarts 0, ready p50 .. p99 .. ms, records lost L`, the times of the slowest round. A round
# in which the agent's process changed, a kill left no gap record or two, a source that nobody killed had an outage, or the
# broker lacks a record ends it at once. A machine that others use can spoil two things, the p99 of the time until readings
# flow again after a crash (50 ms) and the rate of that other source (1,000 records/s, 2 % less at most): such rounds are
# counted as late, and where there are any the exit status is 1.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi
rounds=$root/target/driver-kills.rounds log=$root/target/driver-kills.log round_max=2000
mkdir -p target
if [[ ${1:-} == --again ]]; then
    rm -f "$rounds"
    shift
fi
kills=${1:-1000}
[[ $kills =~ ^[1-9][0-9]*$ ]] || die "${kills@Q} is no number of kills" "scripts/driver-kills.sh 1000"
have mosquitto || die "mosquitto is missing" "scripts/setup.sh test"

((kills > round_max)) || rm -f "$rounds"
touch "$rounds"
killed() { awk '{ sum += $2 } END { print sum + 0 }' "$rounds"; }
while (($(killed) < kills)); do
    left=$((kills - $(killed)))
    ((left <= round_max)) || left=$round_max
    say "$(date +%T) $(killed) of $kills kills; $left more, everything in $log"
    verdict=quiet
    # Not nextest, which ends a test that takes long.
    if ! DUNLIN_DRIVER_KILLS=$left cargo test --locked --profile campaign --package dunlin --test campaign -- \
        --exact driver_kills::campaign_driver_kills --nocapture >"$log" 2>&1; then
        verdict=late
        if ! grep -q '^late: ' "$log"; then
            tail -30 "$log"
            die "the campaign failed" "its reason is above"
        fi
    fi
    printf '%s\n' "$(grep '^way ' "$log" | tr '\n' ' ')$(grep '^steady source' "$log")"
    printf '%s %s\n' "$(grep '^kills ' "$log" | tr -d ,)" "$verdict" >>"$rounds"
    tail -1 "$rounds"
done
# kills N agent restarts 0 ready p50 A p99 B ms records lost L VERDICT
awk '{ n += $2; restarts += $5; if ($8 > p50) p50 = $8; if ($10 > p99) p99 = $10; lost += $14; late += $15 == "late" }
    END {
        if (late) printf "late: %d of %d rounds, on a machine that others use or that is too slow\n", late, NR
        printf "kills %d, agent restarts %d, ready p50 %d p99 %d ms, records lost %d\n", n, restarts, p50, p99, lost
        exit (late > 0)
    }' "$rounds" && status=0 || status=1
mv "$rounds" "$rounds.done"
exit "$status"
