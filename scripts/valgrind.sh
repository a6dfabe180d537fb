#!/bin/sh
# Runs the drivers that need no hardware under Valgrind: any error or leak ends with status 9.
set -eu
cd "$(dirname "$0")/.."
cargo build -p dunlin-drivers
out=$(ls -dt target/debug/build/dunlin-drivers-*/out | head -n 1)
check() {
  driver=$1 commands=$2
  shift 2
  printf '%b' "$commands" | valgrind -q --error-exitcode=9 --leak-check=full "$out/drive" "$out/$driver.so" "$@" >/dev/null
  echo "valgrind: $driver is clean"
}
check sim 'read 7 200\nframes 9 200\nwrite 4 f 1 10\nread 99 50\n' frames=true rate_hz=1000
check sim '' waves=shape=none
check host 'read 3 10\nread 99 10\n' disks=/ interfaces=lo
check modbus 'read 9 200\nwrite 0 i 1 100\n' address=127.0.0.1:1 registers=name=a,address=0,writable=true
check i2c '' bus=/dev/null
