# shellcheck shell=bash
# Sourced by sanitize.sh and valgrind.sh: the paths of the C drivers that both walk, and the server that modbus needs.
# The caller defines run DRIVER [OPTION...], which feeds its standard input to `drive` under its tool; i2c_bus may be
# put before it by setting bus=(...); chips=no leaves out what needs i2c_bus.
# shellcheck disable=SC2034 # run uses it

# check WHAT PATTERN COMMANDS DRIVER [OPTION...]: the run must end well, and must have said PATTERN, or it was another
# path than the one that is meant.
check() {
    local what=$1 pattern=$2 commands=$3 said
    shift 3
    said=$(printf '%b' "$commands" | run "$@" 2>"$scratch/errors") ||
        { cat "$scratch/errors"; die "$what: not clean" "the report above names file and line"; }
    grep -qE "$pattern" <<<"$said" ||
        { cat "$scratch/errors"; die "$what: nothing said '$pattern', but: ${said:0:300}" "see ffi/drivers/tests/drive.c"; }
    say "$what is clean"
}

scratch=$(mktemp -d)
server=
line=
tidy() {
    if [[ -n $line ]]; then kill "$line" 2>/dev/null || true; fi
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap tidy EXIT

# Sets modbus_port.
start_modbus_server() {
    [[ -x target/lab/venv/bin/python ]] || die "target/lab/venv is missing" "scripts/setup.sh test"
    : >"$scratch/server"
    target/lab/venv/bin/python lab/modbus_server.py 0 >"$scratch/server" &
    server=$!
    local turn
    for turn in {1..100}; do
        read -r _ modbus_port <"$scratch/server" && return
        kill -0 "$server" 2>/dev/null || break
        sleep "0.$((turn > 10 ? 2 : 1))"
    done
    die "the Modbus server did not start" "its error is above; scripts/setup.sh test"
}

# Makes $scratch/tty, a pseudo terminal that says a line ten times a second.
start_line() {
    have socat || die "socat is missing" "scripts/setup.sh test"
    socat "PTY,link=$scratch/tty,rawer" SYSTEM:"while echo '12.5 x=off'; do sleep 0.1; done" &
    line=$!
    local turn
    for turn in {1..50}; do
        [[ ! -e $scratch/tty ]] || return 0
        sleep "0.$((turn > 10 ? 2 : 1))"
    done
    die "socat did not make a pseudo terminal" "its error is above"
}

# Everything the drivers do, right and wrong. $1: how often to open and close each.
walk_drivers() {
    local times=$1 sick='nack lost timeout short 0x1900 gone' bus=()
    check "sim" '^frame ' 'read 7 200\nframes 9 200\nwrite 4 f 1 10\nread 99 50\nwrite 4 f nan 10\nwrite 9 i 1 10\n' \
        sim frames=true rate_hz=1000
    check "sim, late" ' 190 190$' 'sleep 400\nread 100 10\n' sim waves=shape=counter rate_hz=1000 count=200 backlog=10
    check "sim, refused" '^open -22 ' '' sim waves=shape=none
    check "sim, $times times" '^close 0' "reopen $times 20\n" sim rate_hz=1000 batch_ms=1
    check "host" '^close 0' 'read 3 10\nread 99 10\n' host disks=/ disks=/none interfaces=lo interfaces=none0
    check "host, refused" '^open -22 ' '' host disks=relative
    check "host, $times times" '^close 0' "reopen $times 10\n" host disks=/ hwmon=true
    local unit=address=127.0.0.1:$modbus_port
    check "modbus" 'sample .* 1 0 0 21.5$' \
        'read 1 2000\nread 99 2000\nwrite 0 b 1 900\nwrite 2 i -3 900\nwrite 3 f 7.5 900\nread 99 2000\n' \
        modbus "$unit" registers=name=c,table=coil,address=1,writable=true registers=name=f,address=0,type=float32 \
        registers=name=w,address=20,type=int16,writable=true \
        registers=name=s,address=22,type=int32,order=dcba,scale=0.5,writable=true \
        registers=name=d,address=6,type=float64 registers=name=l,address=10,type=int64,order=badc \
        registers=name=i,table=input,address=9 registers=name=x,table=discrete,address=5
    check "modbus, exceptions and refusals" 'end -5 .*Illegal data address' \
        'read 99 2000\nwrite 1 i 1 900\nwrite 1 i 65536 900\nwrite 0 i 1 900\nwrite 77 i 1 900\n' \
        modbus "$unit" registers=name=a,address=599 registers=name=b,address=600,writable=true
    check "modbus, away" 'end -5 .*Connection refused' 'read 9 200\nwrite 0 i 1 100\nread 9 0\n' \
        modbus address=127.0.0.1:1 registers=name=a,address=0,writable=true
    check "modbus, no such terminal" 'end -5 .*No such file' 'read 9 200\n' modbus serial=/dev/none registers=name=a,address=0
    check "modbus, refused" '^open -22 ' '' modbus "$unit" registers=name=a,address=0 registers=name=a,address=1
    check "modbus, $times times" '^close 0' "reopen $times 900\n" modbus "$unit" registers=name=a,address=0
    check "i2c, no bus" '^open -95 ' '' i2c bus=/dev/null
    check "i2c, refused" '^open -22 ' '' i2c bus=9 chip=registers registers=name=a,address=1,mask=0x100
    check "gpio, no chip" '^open -95 ' '' gpio chip=/dev/null lines=line=0
    check "gpio, refused" '^open -22 ' '' gpio chip=77 lines=line=0 lines=line=1,direction=output,edge=both
    check "can, no interface" '^open -(19|95) ' '' can interface=nocan0 frames=true filters=id=1,mask=0 \
        signals=name=a,id=1,start=0,length=8 signals=name=b,id=0x800,start=7,length=16,order=big,type=signed
    check "can, refused" '^open -22 ' '' can interface=can0 signals=name=a,id=1,start=0,length=8 signals=name=a,id=2,start=0,length=8
    start_line
    check "serial, lines" 'sample .* 1 2 0 0$' 'read 1 300\nread 9 300\n' \
        serial "port=$scratch/tty" values=name=a,column=1 values=name=b,key=x "separator= "
    check "serial, delimited" '^frame .* 0 0 [0-9a-f]+$' 'frames 9 300\n' serial "port=$scratch/tty" framing=delimited frame_bytes_max=20
    check "serial, length" '^end 0' 'frames 9 300\n' serial "port=$scratch/tty" framing=length frame_bytes_max=20
    check "serial, idle" '^close 0' 'frames 9 300\nread 9 10\n' serial "port=$scratch/tty" framing=idle idle_ms=1
    check "serial, refused" '^open -95 ' '' serial port=/dev/null framing=idle
    check "serial, $times times" '^close 0' "reopen $times 1\n" serial "port=$scratch/tty" values=name=a,column=1
    # The chips are played by a filter for system calls, which qemu-user does not emulate.
    if [[ ${chips:-yes} == no ]]; then
        echo "skipped under qemu-user: i2c with chips: ffi/drivers/tests/i2c_bus.c needs seccomp, which is not emulated"
        echo "skipped under qemu-user: iio: the fifteen libraries that libiio is linked to are not copied out of the image"
        return
    fi
    check "iio, no sensor" '^open -19 ' '' iio device=none channels=id=temp channels=id=pressure buffer=4 trigger=t
    check "iio, refused" '^open -22 ' '' iio device=none channels=id=temp channels=id=temp,name=b
    bus=(env "I2C_SCRIPT=$sick" "$out/i2c_bus")
    check "i2c, chip and faults" 'end -19 .*No such device' "$(printf 'read 9 100\\n%.0s' {1..6})" i2c bus=/dev/null chip=tmp105
    check "i2c, not acknowledged" '^open -5 ' '' i2c bus=/dev/null chip=tmp105 address=0x4a
    check "i2c, registers" 'sample .* 1 0 0 5404$' 'read 1 100\nread 9 100\n' i2c bus=/dev/null chip=registers address=0x20 \
        registers=name=a,address=20,type=int8 registers=name=b,address=3,type=uint16 registers=name=c,address=250,type=int32
    bus=(env I2C_SCRIPT=0x1900 "$out/i2c_bus")
    check "i2c, $times times" '^close 0' "reopen $times 100\n" i2c bus=/dev/null chip=tmp75
}
