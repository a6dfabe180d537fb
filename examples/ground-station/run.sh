#!/usr/bin/env bash
# A ground station on this machine: a spacecraft -> UDP -> agent -> mosquitto -> a table, counts and a picture.
#
#   examples/ground-station/run.sh [--seconds N] [--xtce] [--plot FILE]
#
#   --seconds N   length of the pass, which is one orbit, 5 to 3600; 30 without it. Ctrl-C ends it before
#   --xtce        with the telemetry database in XTCE, spacecraft.xml
#   --plot FILE   where to draw the curves; target/ground-station/curves.svg without it
#
# Installs what is missing, builds, starts a broker with mutual TLS on loopback, the agent with dunlin.toml and spacecraft.toml beside
# this script, and a spacecraft (spacecraft.py, which shares no code with dunlin). Some frames are lost on purpose. Everything is
# below target/ground-station; nothing is left running. The exit status is 0 only where sent, lost and received add up.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/../../scripts/say.sh"
# shellcheck source=scripts/broker.sh
source "$root/scripts/broker.sh"
from=$PWD
cd "$root"

run=$root/target/ground-station
here=examples/ground-station
seconds=30 database=spacecraft.toml plot=$run/curves.svg
while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds)
            seconds=${2:-}
            if ! [[ $seconds =~ ^[1-9][0-9]{0,3}$ ]] || ((seconds < 5 || seconds > 3600)); then
                die "--seconds needs a whole number, 5 to 3600" "$here/run.sh --seconds 30"
            fi
            shift
            ;;
        --xtce) database=spacecraft.xml ;;
        --plot)
            [[ -n ${2:-} ]] || die "--plot needs a file" "$here/run.sh --plot $here/curves.svg"
            plot=$(realpath -m "$from/$2")
            [[ $2 != /* ]] || plot=$2
            shift
            ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$root/$here/run.sh" && exit ;;
        *) die "does not know ${1@Q}" "$here/run.sh --help" ;;
    esac
    shift
done

scripts/setup.sh run
scripts/build.sh --native

mkdir -p "$run"
exec 9>"$run/lock"
flock --nonblock 9 || die "another $here/run.sh is running in this tree" "stop it first"
rm -rf "$run"/{state,runtime,log,recording.jsonl*,received.jsonl}
mkdir -p "$run/state" "$run/runtime"
dunlin=target/release/dunlin

stopping=
trap stop_all EXIT
trap 'stopping=yes' INT TERM

read -r broker_port radio_port < <(lab/ports.py 2)
heading "a broker on 127.0.0.1:$broker_port, and the agent's configuration, $run/dunlin.toml"
# 9>&-: the lock is this script's alone.
start_broker "$broker_port" 9>&-
subscribe "$broker_port" "$run/received.jsonl" 9>&-
sed -e "s|@RUN@|$run|g; s|@DATABASE@|$root/$here/$database|g" \
    -e "s|@BROKER_PORT@|$broker_port|g; s|@RADIO_PORT@|$radio_port|g" "$here/dunlin.toml" >"$run/dunlin.toml"
grep -v '^ *#' "$run/dunlin.toml"
"$dunlin" check "$run/dunlin.toml"
"$dunlin" telemetry check "$here/$database"
start agent "$dunlin" run "$run/dunlin.toml" --log-format human 9>&-
agent=$started

# field KEY...: from the agent's status file.
field() {
    python3 -c 'import functools, json, sys
print(functools.reduce(lambda at, key: at[key], sys.argv[2:], json.load(open(sys.argv[1]))))' "$run/runtime/status.json" "$@"
}
listens_to_radio() { [[ $(field sources radio state) == running ]]; }
await "the agent" 20 listens_to_radio

heading "a pass of $seconds s; Ctrl-C ends it"
start spacecraft target/lab/venv/bin/python "$here/spacecraft.py" "$radio_port" "$seconds" 9>&-
spacecraft=$started
if [[ -t 1 ]]; then
    # The product's own live table, from the broker's side, with limits in colour.
    "$dunlin" sub "$run/dunlin.toml" --seconds "$((seconds + 1))" 9>&- || true
else
    start sub "$dunlin" sub "$run/dunlin.toml" --seconds "$((seconds + 1))" 9>&-
    sub=$started
    # A sleep is in the terminal's group: Ctrl-C ends it, which is no error.
    while [[ -z $stopping ]] && alive "$sub" && alive "$spacecraft"; do sleep 0.2 || true; done
fi
if [[ -n $stopping ]]; then say "the pass ends now"; fi
while [[ -z $stopping ]] && alive "$spacecraft"; do sleep 0.1 || true; done
stop "$spacecraft" 10 || die "the spacecraft failed: $(tail -n 1 "$run/log/spacecraft.log")" "see $run/log/spacecraft.log"
# What is in the socket is taken before the agent is told to stop.
sent=$(python3 -c 'import json, sys; made = json.load(sys.stdin); print(made["frames"] - made["withheld"])' <"$run/log/spacecraft.log")
all_taken() { [[ $(field sources radio readings) -ge $sent ]]; }
await "the last frame" 20 all_taken
if ! [[ -t 1 ]]; then
    while alive "$sub"; do
        if [[ -n $stopping ]]; then kill -INT "$sub" 2>/dev/null || true; fi
        sleep 0.1
    done
    # Counts came before it, twice a second.
    sed -n '/  connected to /,$p' "$run/log/sub.log"
fi

heading "draining"
failed=0
stop "$agent" 60 || {
    failed=1
    say "the agent stopped with an error:"
    tail -n 20 "$run/log/agent.log" >&2
}
uplinked=$(field uplinked)
# The broker may still be passing on what it acknowledged.
arrived() { lab/count.py "$run/received.jsonl" --uplinked "$uplinked"; }
for _ in {1..100}; do if arrived >/dev/null; then break; fi; sleep 0.1; done
stop_all
trap - EXIT
arrived || failed=1
# What the agent said of the database, such as that another one is in force, or that it is wrong.
grep -F 'telemetry database' "$run/log/agent.log" || true

heading "the recording, decoded"
decode=("$dunlin" telemetry decode "${run#"$root"/}/recording.jsonl" --lines -o frame_bytes=223 -o secondary=pus-c
    -o 'time={code="preamble"}' --database "$here/$database" --plot "${plot#"$root"/}")
for name in battery panel mode wheel array; do decode+=(--channel "$name"); done
# Quoted where a shell needs it.
sed -E "s|'([a-z0-9_./=-]+)'|\1|g" <<<"${decode[*]@Q}"
"${decode[@]}" >"$run/recording.txt" || failed=1
tail -n 9 "$run/recording.txt"
say "curves in ${plot#"$root"/}, values in ${run#"$root"/}/recording.txt"

heading "counted on the receiving side"
python3 "$here/count.py" "$run/log/spacecraft.log" "$run/received.jsonl" "$run/runtime/status.json" || failed=1
((failed == 0))
