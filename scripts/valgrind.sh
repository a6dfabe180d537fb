#!/usr/bin/env bash
# Walks the C drivers through what they do, right and wrong, under Valgrind: no error, no leak. Modbus against the lab's
# server, I2C against chips that ffi/drivers/tests/i2c_bus.c plays.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
# shellcheck source=scripts/driver_checks.sh
source scripts/driver_checks.sh

have valgrind || die "valgrind is missing" "scripts/setup.sh test"
have jq || die "jq is missing" "scripts/setup.sh test"
out=$(cargo build --locked --quiet -p dunlin-drivers --message-format json |
    jq -r 'select(.reason == "build-script-executed" and (.package_id | contains("drivers"))).out_dir')

run() {
    local driver=$1
    shift
    "${bus[@]}" valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
        "$out/drive" "$out/$driver.so" "$@"
}

# A driver that writes past its memory must be seen, or nothing would be.
gcc -std=c11 -D_GNU_SOURCE -Iffi/include -O1 -Wall -Werror -shared -fPIC -fvisibility=hidden ffi/drivers/tests/overflow.c \
    -o "$scratch/overflow.so"
status=0
valgrind -q --error-exitcode=9 "$out/drive" "$scratch/overflow.so" <<<'read 1 10' >"$scratch/overflow.log" 2>&1 || status=$?
if [[ $status -ne 9 ]] || ! grep -q 'Invalid write' "$scratch/overflow.log"; then
    die "valgrind does not see a write past the end (status $status)" "$(tail -1 "$scratch/overflow.log")"
fi
say "a driver that writes past its memory is seen"

start_modbus_server
walk_drivers 10
echo "valgrind: sim, host, modbus, i2c, gpio, serial, can and iio are clean, in $SECONDS s"
