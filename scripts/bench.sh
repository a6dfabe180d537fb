#!/usr/bin/env bash
# One table a published claim, on this machine: the peer beside dunlin, the ratio last.
#
#   scripts/bench.sh              all of them
#   scripts/bench.sh NAME...      only these
#   scripts/bench.sh --list       what there is
#
# `agent` (start, memory) and `endtoend` (driver to PUBACK through mosquitto over mutual TLS) drive the release binary
# from lab/bench_agent.py; `uplink` publishes with dunlin's uplink, mosquitto_pub, Paho C and rumqttc to the same server
# (lab/bench_uplink.py, as root for its tunnel) and draws docs/uplink.svg; the others are the Rust benches of benches/.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
# shellcheck source=scripts/broker.sh
source "$root/scripts/broker.sh"
cd "$root"

mapfile -t rust < <(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    for target in package["targets"]:
        if "bench" in target["kind"]:
            print(package["name"], target["name"])')
whole=(agent endtoend uplink)

names=("${whole[@]}")
for each in "${rust[@]}"; do names+=("${each#* }"); done
case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    --list) printf '%s\n' "${names[@]}" && exit ;;
esac
chosen=("$@")
[[ $# -gt 0 ]] || chosen=("${names[@]}")
for name in "${chosen[@]}"; do
    [[ " ${names[*]} " == *" $name "* ]] || die "there is no bench ${name@Q}" "scripts/bench.sh --list"
done

echo "machine: $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -srm), load $(cut -d' ' -f1 /proc/loadavg)"

built=
for name in "${chosen[@]}"; do
    heading "$name"
    if [[ " ${whole[*]} " != *" $name "* ]]; then
        for each in "${rust[@]}"; do
            [[ ${each#* } != "$name" ]] || cargo bench --locked --quiet --package "${each% *}" --bench "$name"
        done
        continue
    fi
    if [[ $name == uplink ]]; then
        scripts/setup.sh interop
        mkdir -p target/interop
        gcc -O2 -Wall -Wextra -Werror -o target/interop/paho lab/paho.c -lpaho-mqtt3as -lpthread
        cargo build --locked --quiet --release --manifest-path lab/peers/Cargo.toml --target-dir target/lab/peers
        cargo build --locked --quiet --release --package dunlin --example uplink-pub
        lab/certs.sh target/interop/certs
        python3 lab/bench_uplink.py --dunlin target/release/examples/uplink-pub --peers target/lab/peers/release \
            --paho target/interop/paho --certs target/interop/certs --svg docs/uplink.svg
        continue
    fi
    if [[ -z $built ]]; then
        scripts/setup.sh run
        scripts/build.sh --native
        built=yes
        run=$root/target/bench
        rm -rf "$run"
        mkdir -p "$run"
        trap stop_all EXIT
        port=$(lab/ports.py 1)
        start_broker "$port"
    fi
    sink=()
    if [[ $name == endtoend ]]; then
        cargo build --locked --quiet --release --manifest-path lab/peers/Cargo.toml --target-dir target/lab/peers
        sink=(--sink target/lab/peers/release/sink)
    fi
    python3 lab/bench_agent.py "$name" --binary target/release/dunlin --drivers "$root/target/release/drivers" \
        --broker "$port" --certs "$run/certs" --dir "$run/agent" "${sink[@]}"
done
