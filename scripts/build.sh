#!/usr/bin/env bash
# Builds the agent and its drivers for this machine, and lays the drivers where the agent looks for them.
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

# Only cargo knows where the drivers' build script put them: it says so in its messages.
out=$(cargo build --locked --quiet "${flags[@]}" -p dunlin-drivers --message-format=json |
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "build-script-executed" and "dunlin-drivers@" in message["package_id"]:
        print(message["out_dir"])')
[[ -n $out ]] || die "cargo did not say where the drivers are" "cargo clean -p dunlin-drivers, then again"
mapfile -t drivers < <(find "$out" -name '*.so' | sort)
[[ ${#drivers[@]} -gt 0 ]] || die "no drivers in $out" "cargo clean -p dunlin-drivers, then again"

# Laid beside and renamed: an agent that runs from here keeps the file that it has mapped.
mkdir -p "target/$profile/drivers"
for driver in "${drivers[@]}"; do
    install -m 755 "$driver" "target/$profile/drivers/.new"
    mv -f "target/$profile/drivers/.new" "target/$profile/drivers/${driver##*/}"
done
say "target/$profile/dunlin, $(stat -c %s "target/$profile/dunlin") bytes, and drivers: ${drivers[*]##*/}"
