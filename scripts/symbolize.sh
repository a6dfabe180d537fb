#!/usr/bin/env bash
# Names function, file and line of an address in a stripped agent, or of every call in a core file of it, from the symbols
# that scripts/build.sh kept aside.
#
#   scripts/symbolize.sh 0xADDRESS [BINARY]
#   scripts/symbolize.sh --core CORE [BINARY [SYSROOT]]      needs gdb-multiarch
#
# SYSROOT holds the device's C library, below lib/ as on the device; without it calls inside of that have no names.
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
core='' sysroot=''
if [[ $1 == --core ]]; then
    [[ -f ${2:-} ]] || die "--core needs a core file" "scripts/symbolize.sh --core CORE"
    core=$2 sysroot=${4:-}
    set -- "$1" "${3:-}"
else
    [[ $1 =~ ^0x[0-9a-fA-F]{1,16}$ ]] || die "${1@Q} is no hexadecimal address" "scripts/symbolize.sh 0x1234"
fi
binary=${2:-$root/target/$target/release/dunlin}
for file in "$binary" "$binary.debug"; do
    [[ -f $file ]] || die "$file is missing" "scripts/build.sh, at the commit that the device runs"
done
id=$(build_id "$binary")
[[ -n $id && $id == "$(build_id "$binary.debug")" ]] ||
    die "$binary.debug is not of the same build as $binary" "find the one with build id $id"
if [[ -z $core ]]; then
    exec "${tools}addr2line" --demangle --functions --inlines --exe "$binary.debug" "$1"
fi

# The kernel puts the first page of each file that was mapped into the core, and the build id is in it.
python3 - "$core" "$id" <<'PYTHON' || die "$core is not of the build $id" "find the binary that the device ran"
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as core:
    sys.exit(core[:4] != b"\x7fELF" or core.find(bytes.fromhex(sys.argv[2])) < 0)
PYTHON
# Without a sysroot the libraries of this machine must not be taken for the device's.
gdb-multiarch -nx -batch -ex "set sysroot ${sysroot:-/nonexistent}" -ex "set debuginfod enabled off" \
    -ex "file $binary" -ex "core-file $core" -ex "bt" 2>/dev/null
