#!/usr/bin/env bash
# Builds the agent and its drivers for the emulated boards with Debian's cross compiler, against the libraries in
# target/board/sysroot: those that the board's disk has. OpenSSL is linked statically.
#
#   scripts/board_agent.sh     target/aarch64-unknown-linux-gnu/release/dunlin and drivers/*.so
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
case ${1:-} in
    '') ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    *) die "does not know ${1@Q}" "scripts/board_agent.sh --help" ;;
esac

sysroot=$root/target/board/sysroot
[[ -e $sysroot/usr/include/openssl/ssl.h ]] || die "$sysroot has no headers of OpenSSL" "scripts/setup.sh board"
libraries=$sysroot/usr/lib/aarch64-linux-gnu
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CFLAGS_aarch64_unknown_linux_gnu="-I$sysroot/usr/include -I$sysroot/usr/include/aarch64-linux-gnu -L$libraries"
export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$sysroot PKG_CONFIG_LIBDIR=$libraries/pkgconfig
export AARCH64_UNKNOWN_LINUX_GNU_OPENSSL_LIB_DIR=$libraries AARCH64_UNKNOWN_LINUX_GNU_OPENSSL_STATIC=1
export AARCH64_UNKNOWN_LINUX_GNU_OPENSSL_INCLUDE_DIR=$sysroot/usr/include
say "building for aarch64"
cargo build --locked --release --target aarch64-unknown-linux-gnu -p dunlin -p dunlin-drivers
say "target/aarch64-unknown-linux-gnu/release/dunlin, $(stat -c %s target/aarch64-unknown-linux-gnu/release/dunlin) bytes"
