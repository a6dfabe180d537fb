#!/bin/sh
# Runs the tests of ffi/driver under the address sanitizer, on the pinned stable toolchain. The memory limit of hosts is
# off (DUNLIN_ASAN), because the sanitizer's shadow memory is terabytes of address space. Leak detection is off: it stops
# the process with ptrace, which is what the sandbox forbids.
set -eu
cd "$(dirname "$0")/../.."
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" DUNLIN_ASAN=1 ASAN_OPTIONS=detect_leaks=0 \
  exec cargo test -p dunlin-driver --tests --target "$target" --target-dir target/asan "$@"
