#!/usr/bin/env bash
# Builds the C drivers with AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, and walks them through what
# they do, right and wrong, with 100 openings each; then lets each allocation of open, read and close fail in turn, once
# those of the driver under the sanitizers, once those of the libraries too. Any report fails.
set -euo pipefail
shopt -s nullglob # a driver of one source has no others
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
# shellcheck source=scripts/driver_checks.sh
source scripts/driver_checks.sh

have gcc || die "gcc is missing" "scripts/setup.sh test"
out=target/sanitize
mkdir -p "$out"
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:exitcode=99
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

base=(gcc -std=c11 -D_GNU_SOURCE -Iffi/include -Iffi/drivers/c -fPIC -g -O1 -Wall -Werror)
watched=("${base[@]}" -fno-omit-frame-pointer -fno-sanitize-recover=all
    -fsanitize=address -fsanitize=undefined -fsanitize=float-cast-overflow -fsanitize=float-divide-by-zero)
flags_of() { pkg-config --cflags --libs "$1"; }
declare -A libraries=([sim]="" [host]=-lsensors [modbus]="$(flags_of libmodbus)" [i2c]="" [gpio]="$(flags_of libgpiod)" [serial]=""
    [can]="" [iio]="$(flags_of libiio)")

# build_driver NAME OBJECT COMPILER...
build_driver() {
    local name=$1 object=$2 flags
    shift 2
    read -ra flags <<<"${libraries[$name]}"
    "$@" -shared -fvisibility=hidden -Wl,--version-script=ffi/drivers/c/exports.map \
        "ffi/drivers/c/$name.c" "ffi/drivers/c/${name}_"*.c ffi/drivers/c/options.c -o "$object" -lm "${flags[@]}"
}
tests=ffi/drivers/tests
for name in "${!libraries[@]}"; do
    build_driver "$name" "$out/$name.so" "${watched[@]}"
    build_driver "$name" "$out/$name.wrapped.so" "${watched[@]}" -Wl,--wrap=malloc,--wrap=calloc
    build_driver "$name" "$out/$name.plain.so" "${base[@]}"
done
"${watched[@]}" "$tests/drive.c" -ldl -o "$out/drive"
"${watched[@]}" -DWRAP -rdynamic "$tests/starve.c" -ldl -o "$out/starve.wrapped"
"${base[@]}" -fno-builtin -rdynamic "$tests/starve.c" -ldl -o "$out/starve.plain"
"${watched[@]}" "$tests/i2c_bus.c" -o "$out/i2c_bus"

# A watch that sees nothing would pass everything: each of the three must see a fault of its kind.
cat >"$scratch/canary.c" <<'CANARY'
#include <stdlib.h>
int main(int argc, char **argv) {
  (void)argv;
  char *volatile bytes = malloc(8);
  if (argc == 1) bytes = NULL;          /* leaks */
  if (argc == 2) bytes[argc + 6] = 0;   /* past the end */
  if (argc == 3) return 2147483647 - 1 + argc; /* overflows */
  free(bytes);
  return 0;
}
CANARY
"${watched[@]}" "$scratch/canary.c" -o "$scratch/canary"
canary() {
    local pattern=$1
    shift
    "$scratch/canary" "$@" >"$scratch/canary.log" 2>&1 || true
    grep -q "$pattern" "$scratch/canary.log" || die "the sanitizer does not see: $pattern" "ptrace must be allowed here for leaks"
}
canary 'LeakSanitizer: detected'
canary 'heap-buffer-overflow' 1
canary 'signed integer overflow' 1 2

run() {
    local driver=$1
    shift
    "${bus[@]}" "$out/drive" "$out/$driver.so" "$@"
}
start_modbus_server
walk_drivers 100

# starve DRIVER [OPTION...]
starve() {
    local driver=$1 kind said
    shift
    for kind in wrapped plain; do
        said=$("${bus[@]}" "$out/starve.$kind" "$out/$driver.$kind.so" "$@" 2>"$scratch/errors") ||
            { cat "$scratch/errors"; die "$driver: an allocation that fails is not survived" "the report above"; }
        # libsensors ends the process where it has no memory; the other libraries have no such excuse.
        [[ $driver == host || $said == *"gave up 0 times" ]] || die "$driver: $said" "see $tests/starve.c"
        say "$driver, $kind: $said"
    done
}
bus=()
starve sim waves=shape=sine waves=shape=counter rate_hz=1000
starve host disks=/ interfaces=lo
starve modbus "address=127.0.0.1:$modbus_port" registers=name=a,address=0 registers=name=b,table=coil,address=600
bus=("$out/i2c_bus")
starve i2c bus=/dev/null chip=tmp105
bus=()
starve serial "port=$scratch/tty" values=name=a,column=1 values=name=b,key=x "separator= "
starve serial "port=$scratch/tty" framing=delimited
# No devices of these kinds here: what starves is the way to the refusal, which names them.
bus=(env STARVE_REFUSED=yes)
starve gpio chip=/dev/null lines=line=0 lines=line=1,direction=output
starve can interface=nocan0 frames=true filters=id=1 signals=name=a,id=1,start=0,length=8 signals=name=b,id=2,start=8,length=8
starve iio device=none channels=id=temp channels=id=pressure
echo "sanitize: sim, host, modbus, i2c, gpio, serial, can and iio are clean, in $SECONDS s"
