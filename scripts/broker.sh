# shellcheck shell=bash
# Sourced by run.sh and bench.sh: processes that end with the script, and a broker with mutual TLS among them.
# Needs `run`, the directory that all of it lives in, to be set when they are called.
run=${run:-}

# Processes started here, newest last. They are ended newest first, by pid, and nothing else is.
children=()

# start NAME COMMAND...: in the background, output to $run/log/NAME.log; its pid in $started. In a session of its own,
# since Ctrl-C is for the script, which then stops the others in order.
start() {
    local name=$1
    shift
    mkdir -p "$run/log"
    setsid "$@" >"$run/log/$name.log" 2>&1 </dev/null &
    started=$!
    children+=("$started")
}

alive() { kill -0 "$1" 2>/dev/null; }

# stop PID SECONDS: SIGTERM, and SIGKILL where that did not help in time. Its exit status.
stop() {
    local pid=$1 tenths=$(($2 * 10)) status=0
    kill -TERM "$pid" 2>/dev/null || true
    while alive "$pid" && ((tenths-- > 0)); do sleep 0.1; done
    if alive "$pid"; then
        say "pid $pid did not stop within $2 s and is killed"
        kill -KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || status=$?
    local rest=() each
    for each in "${children[@]}"; do [[ $each == "$pid" ]] || rest+=("$each"); done
    children=("${rest[@]}")
    return "$status"
}

stop_all() {
    while [[ ${#children[@]} -gt 0 ]]; do stop "${children[-1]}" 5 || true; done
}

# await WHAT SECONDS COMMAND...: until the command succeeds.
await() {
    local what=$1 tenths=$(($2 * 10))
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((tenths-- > 0)) || die "$what did not come up in time" "look into $run/log/"
        sleep 0.1
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

# start_broker PORT
start_broker() {
    lab/certs.sh "$run/certs"
    sed -e "s|@USER@|$(id -un)|; s|@PORT@|$1|; s|@CERTS@|$run/certs|" lab/mosquitto.conf >"$run/mosquitto.conf"
    start broker mosquitto -c "$run/mosquitto.conf"
    broker=$started
    await "the broker" 10 listens "$1"
    alive "$broker" || die "the broker ended: $(tail -n 1 "$run/log/broker.log")" "see $run/log/broker.log"
}

# as_subscriber PORT: the arguments that connect and subscribe as the independent subscriber, in $subscriber_args.
# The session outlives a connection, so that nothing is missed between the two calls of subscribe.
as_subscriber() {
    subscriber_args=(-h 127.0.0.1 -p "$1" -V 5 -q 1 -c -x 3600 -i subscriber -t '#'
        --cafile "$run/certs/ca.pem" --cert "$run/certs/subscriber.pem" --key "$run/certs/subscriber.key"
        --tls-version tlsv1.3)
}

# subscribe PORT FILE: receives every payload into FILE, one a line; its pid in $subscriber. Once this returns the
# subscription stands.
subscribe() {
    as_subscriber "$1"
    mosquitto_sub "${subscriber_args[@]}" -E || die "the subscriber cannot subscribe" "see $run/log/broker.log"
    # Its output is buffered by line, since it writes no more once it is told to stop.
    setsid stdbuf -oL mosquitto_sub "${subscriber_args[@]}" -F '%p' >"$2" 2>"$run/log/subscriber.log" </dev/null &
    subscriber=$!
    children+=("$subscriber")
}
