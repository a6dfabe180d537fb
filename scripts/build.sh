#!/usr/bin/env bash
# Builds the agent and its drivers for this machine.
#
#   scripts/build.sh           target/release/dunlin and target/release/drivers/*.so
#   scripts/build.sh --debug   the same under target/debug
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

profile=release
case ${1:-} in
    '') flags=(--release) ;;
    --debug) profile=debug flags=() ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    *) die "does not know ${1@Q}" "scripts/build.sh --help" ;;
esac

say "building ($profile)"
cargo build --locked "${flags[@]}" -p dunlin -p dunlin-drivers

# The drivers' build script lays them beside the binary, where the agent looks for them.
mapfile -t drivers < <(find "target/$profile/drivers" -name '[!.]*.so' 2>/dev/null | sort)
[[ ${#drivers[@]} -gt 0 ]] || die "no drivers in target/$profile/drivers" "cargo clean -p dunlin-drivers, then again"
say "target/$profile/dunlin, $(stat -c %s "target/$profile/dunlin") bytes, and drivers: ${drivers[*]##*/}"
