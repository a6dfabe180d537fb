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

start_modbus_server
walk_drivers 10
echo "valgrind: sim, host, modbus, i2c, gpio, serial, can and iio are clean, in $SECONDS s"
