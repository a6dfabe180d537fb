#!/usr/bin/env bash
# The agent in bad networks: loss, delay, reordering, cuts, blocked UDP, new addresses, brokers and agents that are killed.
#
#   scripts/network.sh [--report] [--long] [--only PART...]
#
#   --report     the table and the sum, which is also what is printed without it
#   --long       partitions of 60 s and 300 s too
#   --only PART  scenarios whose name has PART in it
#
# Installs what is missing, builds, and plays each scenario of lab/network.py on loopback with a broker, a QUIC front that
# is not ours, a subscriber and an agent of its own, six at once. The table is kept in target/network/report.txt. Exit
# status 0 only where nothing was lost or doubled and every scenario was connected again.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

arguments=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --report) ;;
        --long) arguments+=(--long) ;;
        --only)
            shift
            [[ $# -gt 0 ]] || die "--only needs a part of a name" "scripts/network.sh --only 'UDP is blocked'"
            arguments+=(--only "$@")
            break
            ;;
        -h | --help)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
            exit
            ;;
        *) die "unknown argument $1" "scripts/network.sh --help" ;;
    esac
    shift
done

scripts/setup.sh run
scripts/build.sh --native
mkdir -p target/network
lab/certs.sh target/network/certs
broker=$(PATH=$PATH:/usr/sbin command -v mosquitto)
target/lab/venv/bin/python lab/network.py --binary target/release/dunlin --drivers "$root/target/release/drivers" \
    --dir "$root/target/network" --broker "$broker" "${arguments[@]}" | tee target/network/report.txt
