#!/usr/bin/env bash
# Kills driver hosts in five ways (SIGKILL, SIGSEGV, SIGSTOP, a driver that spins, one that leaks) under a running agent
# with a real broker, and prints what that cost:
#
#   scripts/driver-kills.sh N      about N kills; 1,000 where it is left out, which takes a minute
#
# The last line is `kills N, agent restarts 0, ready p50 .. p99 .. ms, records lost L`. It ends well only where the agent's
# process lived through all of it, each kill left exactly one gap record, a source that nobody killed kept its rate,
# readings flowed again within 50 ms (p99 of the crashes), and the broker has every record. 100,000 take about an hour.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi
kills=${1:-1000}
[[ $kills =~ ^[1-9][0-9]*$ ]] || die "${kills@Q} is no number of kills" "scripts/driver-kills.sh 1000"
have mosquitto || die "mosquitto is missing" "scripts/setup.sh test"

log=$root/target/driver-kills.log
mkdir -p target
say "building, then $kills kills; progress is in the agent's status, everything in $log"
# Not nextest, which ends a test that takes an hour.
if ! DUNLIN_DRIVER_KILLS=$kills cargo test --locked --profile campaign --package dunlin --test campaign -- \
    --exact driver_kills::campaign_driver_kills --nocapture >"$log" 2>&1; then
    tail -30 "$log"
    die "the campaign failed" "its reason is above"
fi
grep '^steady source' "$log"
grep '^kills ' "$log"
