#!/usr/bin/env bash
# Names function, file and line of an address in a stripped agent, from the symbols that scripts/build.sh kept aside.
#
#   scripts/symbolize.sh 0xADDRESS [BINARY]
#
# ADDRESS is counted from where the binary was loaded: of the kernel's line "pc : P ... in dunlin[BASE+SIZE]" it is P - BASE.
# BINARY is target/aarch64-unknown-linux-gnu/release/dunlin unless given. BINARY.debug must lie beside it and carry the same
# build id: symbols of another build name the wrong functions, and are refused.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
# shellcheck source=scripts/cross.sh
source "$root/scripts/cross.sh"

case ${1:-} in
    -h | --help | '') sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
esac
[[ $1 =~ ^0x[0-9a-fA-F]{1,16}$ ]] || die "${1@Q} is no hexadecimal address" "scripts/symbolize.sh 0x1234"
binary=${2:-$root/target/$target/release/dunlin}
for file in "$binary" "$binary.debug"; do
    [[ -f $file ]] || die "$file is missing" "scripts/build.sh, at the commit that the device runs"
done
id=$(build_id "$binary")
[[ -n $id && $id == "$(build_id "$binary.debug")" ]] ||
    die "$binary.debug is not of the same build as $binary" "find the one with build id $id"
"${tools}addr2line" --demangle --functions --inlines --exe "$binary.debug" "$1"
