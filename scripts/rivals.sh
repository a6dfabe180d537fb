#!/usr/bin/env bash
# dunlin's buffer beside mosquitto, nats-server, rsyslog, redis and SQLite, under the same rigs, as root: kill -9, power cut,
# flipped bits, a full disk, speed.
#
#   scripts/rivals.sh                               all of them, each at its default and its safest setting: ten minutes
#   scripts/rivals.sh --peers redis --rigs kill     only these
#   scripts/rivals.sh --help                        sizes
#
# What is missing is installed first (scripts/setup.sh rivals). Rows as they come are in target/durability/rivals.jsonl, the
# tables of the last run in target/durability/rivals. docs/durability.md shows them.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exec /usr/bin/python3 lab/rivals/rivals.py --help
fi
scripts/setup.sh rivals
# Optimised as a release is, and quicker to link.
cargo build --locked --profile campaign --package dunlin --example rival
mkdir -p target/durability
echo "machine: $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -srm), load $(cut -d' ' -f1 /proc/loadavg)" |
    tee target/durability/rivals
/usr/bin/python3 lab/rivals/rivals.py "$@" | tee -a target/durability/rivals
