#!/usr/bin/env bash
# Builds the hostile driver plain, with AddressSanitizer and UndefinedBehaviorSanitizer, and for aarch64 under emulated
# memory tagging (MTE), runs what each watch must see without a host, and fails where one sees nothing: then the driver
# no longer does what the tests of the host think it does. The plain build must let past-end through, which shows that
# it is the watch that sees it.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

out=target/hostile
mkdir -p "$out"
flags=(-std=gnu99 -Iffi/include -fPIC -g -O1 -fexceptions -Wall -Wno-infinite-recursion -Wno-free-nonheap-object)
watched=(-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all)
export ASAN_OPTIONS=detect_leaks=0

# build KIND COMPILER [FLAG...]
build() {
    local kind=$1 compiler=$2
    shift 2
    have "$compiler" || die "$compiler is missing" "scripts/setup.sh test"
    "$compiler" "${flags[@]}" "$@" -shared ffi/examples/hostile/hostile.c -o "$out/$kind.so" -lpthread -lm
    "$compiler" "${flags[@]}" "$@" -D_GNU_SOURCE ffi/drivers/tests/drive.c -o "$out/$kind.drive" -ldl
}
build plain gcc
build watched gcc "${watched[@]}"
build tagged aarch64-linux-gnu-gcc
have qemu-aarch64-static || die "qemu-aarch64-static is missing" "scripts/setup.sh test"
emulated=(env GLIBC_TUNABLES=glibc.mem.tagging=3 qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu)
untagged=(env GLIBC_TUNABLES=glibc.mem.tagging=0 qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu)

seen=0
# expect WHAT STATUS PATTERN KIND MODE [RUNNER...]
expect() {
    local what=$1 wanted=$2 pattern=$3 kind=$4 mode=$5 status=0
    shift 5
    { echo 'read 8 10' | "$@" "$out/$kind.drive" "$out/$kind.so" "mode=$mode"; } >"$out/log" 2>&1 || status=$?
    if [[ $status -ne $wanted ]] || ! grep -q "$pattern" "$out/log"; then
        tail -5 "$out/log"
        die "$what, $mode: status $status, not $wanted with '$pattern'" "ffi/examples/hostile, or the watch itself"
    fi
    say "$what, $mode: $pattern"
    seen=$((seen + 1))
}
expect "plain" 0 '^close 0' plain past-end env
expect "AddressSanitizer" 1 heap-buffer-overflow watched past-end env
expect "AddressSanitizer" 1 heap-buffer-overflow watched past-front env
expect "AddressSanitizer" 1 double-free watched free-twice env
expect "UndefinedBehaviorSanitizer" 1 'signed integer overflow' watched overflow env
expect "aarch64 without tags" 0 '^close 0' tagged past-end "${untagged[@]}"
expect "aarch64 with MTE" 139 'Segmentation fault' tagged past-end "${emulated[@]}"
expect "aarch64 with MTE" 139 'Segmentation fault' tagged past-front "${emulated[@]}"
expect "aarch64 with MTE" 139 'Segmentation fault' tagged free-twice "${emulated[@]}"
echo "hostile: $seen of 9 as expected, in $SECONDS s"
