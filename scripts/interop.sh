#!/usr/bin/env bash
# The agent with brokers and subscribers of other makers: who understands whom.
#
#   scripts/interop.sh [--sample] [--only PART...]
#
#   --sample     without the brokers of lab/peers, which take minutes to build: what CI runs
#   --only PART  pairs whose name has PART in it: quic, mqtt5, paho; or roam
#
# Installs what is missing, builds the agent, lab/paho.c and lab/peers (below target/), and plays each pair of
# lab/interop.py on loopback, three at once. The table is kept in target/interop/report.txt. Exit status 0 only where
# every pair delivered everything in order and found its session again, and where the agent kept its QUIC connection while
# its own address changed (lab/roam.py, in a network namespace, as root).
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

arguments=() pairs=yes peers=yes roam=yes
while [[ $# -gt 0 ]]; do
    case $1 in
        --sample) peers='' ;;
        --only)
            shift
            [[ $# -gt 0 ]] || die "--only needs a part of a name" "scripts/interop.sh --only quic"
            arguments+=(--only "$@")
            [[ " $* " == *" roam "* ]] || roam=''
            [[ "$*" != roam ]] || pairs='' peers=''
            break
            ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
        *) die "does not know ${1@Q}" "scripts/interop.sh --help" ;;
    esac
    shift
done

scripts/setup.sh interop
scripts/build.sh --native
work=$root/target/interop
mkdir -p "$work"
gcc -O2 -Wall -Wextra -Werror -o "$work/paho" lab/paho.c -lpaho-mqtt3as -lpthread
if [[ -n $peers ]]; then
    say "building lab/peers (six minutes on two cores, once)"
    cargo build --locked --quiet --release --manifest-path lab/peers/Cargo.toml --target-dir target/lab/peers
    arguments=(--peers target/lab/peers/release "${arguments[@]}")
fi
lab/certs.sh "$work/certs"
broker=$(PATH=$PATH:/usr/sbin command -v mosquitto)
echo "mosquitto $("$broker" -h | sed -n 's/^mosquitto version //p'), $(tr '\n' ' ' <lab/requirements.txt | grep -oE '(aioquic|paho-mqtt|gmqtt)==[0-9.]+' | tr '\n' ' ')paho C $(dpkg-query -W -f='${Version}' libpaho-mqtt1.3)${peers:+, $(sed -nE 's/^(mqtt5|rmqtt) = .*"=([0-9.]+)".*/\1 \2/p' lab/peers/Cargo.toml | paste -sd ' ')}"
common=(--binary target/release/dunlin --drivers "$root/target/release/drivers" --dir "$work" --broker "$broker")
if [[ -n $roam ]]; then target/lab/venv/bin/python lab/roam.py "${common[@]}"; fi
[[ -n $pairs ]] || exit 0
target/lab/venv/bin/python lab/interop.py "${common[@]}" --paho "$work/paho" "${arguments[@]}" | tee "$work/report.txt"
