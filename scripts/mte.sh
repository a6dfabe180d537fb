#!/usr/bin/env bash
# Walks the C drivers that scripts/build.sh left, as they ship, through what they do under Arm's memory tagging, which
# qemu-user emulates: each allocation has a tag, and an access with another tag ends the process. A driver that writes past
# its memory must be caught so, and must go unseen where tags are off.
#
# The C library is that of this system's cross compiler, since glibc tags memory from 2.33 on; the drivers' own libraries
# come out of the image they were linked in.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
# shellcheck source=scripts/cross.sh
source scripts/cross.sh
# shellcheck source=scripts/driver_checks.sh
source scripts/driver_checks.sh

have "${tools}gcc" || die "${tools}gcc is missing" "scripts/setup.sh test"
built=target/$target/release/drivers
[[ -e $built/sim.so ]] || die "$built holds no drivers" "scripts/build.sh"
out=$root/target/mte
mkdir -p "$out/lib"
from_image "$out/lib" /usr/lib/aarch64-linux-gnu/lib{modbus,sensors}.so.5 \
    /usr/lib/aarch64-linux-gnu/libgpiod.so.2

compile=("${tools}gcc" -std=c11 -D_GNU_SOURCE -Iffi/include -Iffi/drivers/c -O1 -Wall -Wextra -Werror)
"${compile[@]}" ffi/drivers/tests/drive.c -ldl -o "$out/drive"
"${compile[@]}" -shared -fPIC -fvisibility=hidden ffi/drivers/tests/overflow.c -o "$out/overflow.so"

# emulated TAGS COMMAND...: TAGS is 3 for tags that are checked at each access, 0 for none.
emulated() {
    local tags=$1
    shift
    qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu -E "GLIBC_TUNABLES=glibc.mem.tagging=$tags" \
        -E "LD_LIBRARY_PATH=$out/lib" "$@"
}

status=0
(ulimit -c 0 && emulated 3 "$out/drive" "$out/overflow.so" <<<'read 1 10') >/dev/null 2>&1 || status=$?
[[ $status -eq 139 ]] || die "an overflow under tags ended with status $status, not with SIGSEGV (139)" "is glibc older than 2.33?"
emulated 0 "$out/drive" "$out/overflow.so" <<<'read 1 10' | grep '^end 0' >/dev/null ||
    die "the same overflow without tags is not silent" "then the tags prove nothing: ffi/drivers/tests/overflow.c"
say "a driver that writes past its memory is caught by the tags, and only by them"

run() {
    local driver=$1
    shift
    emulated 3 "$out/drive" "$built/$driver.so" "$@"
}
# shellcheck disable=SC2034 # walk_drivers reads it
chips=no
start_modbus_server
walk_drivers 10
echo "mte: the drivers are clean, in $SECONDS s"
