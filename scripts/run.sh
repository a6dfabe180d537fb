#!/usr/bin/env bash
# The whole of dunlin on this machine: C drivers -> agent -> mosquitto -> an independent subscriber.
#
#   scripts/run.sh [--seconds N] [--keep]
#
#   --seconds N   stop after N seconds; without it, on Ctrl-C
#   --keep        go on with the state of the last run, and what it had not yet delivered
#
# Installs what is missing, builds, makes certificates, starts a broker with mutual TLS 1.3, a QUIC front for it (aioquic)
# and a Modbus server, all on free loopback ports, and the agent. The agent prefers QUIC. In the middle the front falls
# silent for a while, as where a firewall begins to drop UDP: the agent goes on over TLS, and back to QUIC when that
# answers again. Everything is below target/run; nothing is left running. The last line is
#
#   produced P durable D uplinked U received R lost L
#
# in records: P, D and U by the agent's account, R by counting what mosquitto_sub wrote. The exit status is 0 only
# where L is 0 and R covers U.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
# shellcheck source=scripts/broker.sh
source "$root/scripts/broker.sh"
cd "$root"

seconds='' keep=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds)
            seconds=${2:-}
            [[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] || die "--seconds needs a whole number" "scripts/run.sh --seconds 10"
            shift
            ;;
        --keep) keep=yes ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
        *) die "does not know ${1@Q}" "scripts/run.sh --help" ;;
    esac
    shift
done

scripts/setup.sh run
scripts/build.sh --native

run=$root/target/run
mkdir -p "$run"
exec 9>"$run/lock"
flock --nonblock 9 || die "another run.sh is running in this tree" "stop it first"
[[ -n $keep ]] || rm -rf "$run/state"
rm -rf "$run/runtime" "$run/log"
mkdir -p "$run/state" "$run/runtime"

stopping=
trap stop_all EXIT
trap 'stopping=yes' INT TERM

read -r broker_port modbus_port quic_port < <(lab/ports.py 3)
heading "broker on 127.0.0.1:$broker_port (TLS) and $quic_port (QUIC), Modbus server on 127.0.0.1:$modbus_port"
# 9>&-: the lock is this script's alone.
start_broker "$broker_port" 9>&-
start modbus target/lab/venv/bin/python lab/modbus_server.py "$modbus_port" 9>&-
await "the Modbus server" 20 listens "$modbus_port"
lab/certs.sh "$run/certs" agent subscriber front
start front target/lab/venv/bin/python lab/quic_front.py --listen "$quic_port" --to "$broker_port" \
    --tls "$run/certs/front.pem" "$run/certs/front.key" --ca "$run/certs/ca.pem" --cert "$run/certs/server.pem" --key "$run/certs/server.key" 9>&-
front=$started
await "the QUIC front" 20 grep -q ready "$run/log/front.log"
subscribe "$broker_port" "$run/received.jsonl" 9>&-

heading "the agent's configuration, $run/dunlin.toml"
sed -e "s|@RUN@|$run|g; s|@DRIVERS@|$root/target/release/drivers|g" \
    -e "s|@BROKER_PORT@|$broker_port|g; s|@QUIC_PORT@|$quic_port|g; s|@MODBUS_PORT@|$modbus_port|g" lab/run.toml >"$run/dunlin.toml"
grep -v '^ *#' "$run/dunlin.toml"
start agent target/release/dunlin run "$run/dunlin.toml" 9>&-
agent=$started

status() {
    python3 - "$run/runtime/status.json" <<'PYTHON'
import json, sys
try:
    with open(sys.argv[1]) as file:
        status = json.load(file)
    state = status["sinks"]["cloud"]["state"]
    over = {"connected to quic": "QUIC", "connected to mqtts": "TLS"}.get(state.split("://")[0], "-")
    print(status["produced"], status["durable"], status["uplinked"], over)
except FileNotFoundError:
    sys.exit("the agent wrote no status file")
PYTHON
}

running() {
    [[ -z $stopping ]] && alive "$agent" && { [[ -z $seconds ]] || ((SECONDS < until)); }
}

heading "running${seconds:+ for $seconds s}; Ctrl-C stops"
until=$((SECONDS + ${seconds:-0}))
# The front falls silent and answers again. It must be running when it is told to end.
silence=$((${seconds:-40} * 3 / 10)) answer=$((${seconds:-40} * 6 / 10))
# shellcheck disable=SC2016 # the arguments are the inner shell's
start silence bash -c 'trap "kill -CONT $1; exit" TERM
    sleep "$2" & wait $!; kill -STOP "$1"; sleep "$3" & wait $!; kill -CONT "$1"' silence "$front" "$silence" $((answer - silence)) 9>&-
if [[ -t 1 ]]; then
    # The product's own live table, from the broker's side.
    target/release/dunlin sub "$run/dunlin.toml" ${seconds:+--seconds "$seconds"} 9>&- || true
    while running; do sleep 0.2 || true; done
else
    printf '%7s %10s %10s %10s %10s  %s\n' second produced durable uplinked messages over
    from=$SECONDS
    while running; do
        sleep 1 || true # Ctrl-C ends it, too
        if counts=$(status 2>/dev/null); then
            read -r p d u over <<<"$counts"
            printf '%7d %10d %10d %10d %10d  %s\n' $((SECONDS - from)) "$p" "$d" "$u" "$(wc -l <"$run/received.jsonl")" "$over"
        fi
    done
fi

heading "draining"
failed=0
if ! alive "$agent"; then
    wait "$agent" || failed=$?
    say "the agent ended by itself with status $failed:"
    tail -n 20 "$run/log/agent.log" >&2
    failed=1
elif stop "$agent" 60; then
    :
else
    failed=$?
    say "the agent stopped with status $failed:"
    tail -n 20 "$run/log/agent.log" >&2
fi
counts=$(status) || die "the agent left no counts" "see $run/log/agent.log"
read -r produced durable uplinked _ <<<"$counts"

# The broker may still be passing on what it acknowledged: wait until the counts meet, or nothing came for 3 s.
size=-1 still=0
until lab/count.py "$run/received.jsonl" --uplinked "$uplinked" >/dev/null || ((still >= 3)); do
    sleep 1
    now=$(stat -c %s "$run/received.jsonl")
    if [[ $now == "$size" ]]; then still=$((still + 1)); else still=0 size=$now; fi
done
stop_all
trap - EXIT

lab/count.py "$run/received.jsonl" --uplinked "$uplinked" || failed=1
read -r received lost < <(lab/count.py "$run/received.jsonl" --uplinked "$uplinked" --json |
    python3 -c 'import json, sys; c = json.load(sys.stdin); print(c["received"], c["lost"])')
if ((uplinked == 0)); then
    say "nothing was uplinked"
    failed=1
fi
if ((lost > 0 || received < uplinked)); then failed=1; fi
echo "produced $produced durable $durable uplinked $uplinked received $received lost $lost"
exit "$((failed != 0))"
