#!/usr/bin/env bash
# Builds the agent and its drivers, for the devices unless told otherwise.
#
#   scripts/build.sh                    aarch64, glibc 2.31 and later, by `cross` in our own image (deploy/cross)
#   scripts/build.sh --check            the same, and an error where a file is above its bar in deploy/size.tsv
#   scripts/build.sh --native           for this machine: target/release/dunlin and target/release/drivers/*.so
#   scripts/build.sh --native --debug   the same under target/debug
#
# For the devices it installs what is missing (scripts/setup.sh cross) and leaves, under target/aarch64-unknown-linux-gnu:
#
#   release/dunlin           stripped
#   release/dunlin.debug     its symbols, found by its build id: scripts/symbolize.sh
#   release/core/dunlin      the same without the commands of a person (feature `core`), and its dunlin.debug
#   release/drivers/*.so     stripped
#
# It prints what takes the room, beside the sizes in deploy/size.tsv, and ends with
#
#   core X bytes, full Y bytes, stripped from Z bytes, glibc floor G
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

build_native() {
    local profile=$1 drivers
    shift
    say "building for this machine ($profile)"
    cargo build --locked "$@" -p dunlin -p dunlin-drivers
    # The drivers' build script lays them beside the binary, where the agent looks for them.
    mapfile -t drivers < <(find "target/$profile/drivers" -name '[!.]*.so' 2>/dev/null | sort)
    [[ ${#drivers[@]} -gt 0 ]] || die "no drivers in target/$profile/drivers" "cargo clean -p dunlin-drivers, then again"
    say "target/$profile/dunlin, $(stat -c %s "target/$profile/dunlin") bytes, and drivers: ${drivers[*]##*/}"
}

check=()
case ${1:-} in
    '') ;;
    --check) check=(--check) ;;
    --native)
        case ${2:-} in
            '') build_native release --release ;;
            --debug) build_native debug ;;
            *) die "does not know ${2@Q}" "scripts/build.sh --help" ;;
        esac
        exit
        ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    *) die "does not know ${1@Q}" "scripts/build.sh --help" ;;
esac

scripts/setup.sh cross
# shellcheck source=scripts/cross.sh
source scripts/cross.sh

say "building for the devices; the first build makes the image, about five minutes on two cores"
# Cargo does not see that the OpenSSL in the image is another one.
recipe=$(cat target/cross/context/version target/cross/context/openssl.sh | sha256sum)
if [[ -d target/$target && $(cat "target/$target/openssl" 2>/dev/null) != "$recipe" ]]; then
    cargo clean --quiet --release --target "$target" -p openssl-sys
    cargo clean --quiet --target "$target" -p openssl-sys
fi
mkdir -p "target/$target"
printf '%s\n' "$recipe" >"target/$target/openssl"
# Fetched here, so that the container needs no network of its own for it.
cargo fetch --locked --quiet
out=target/$target/release
whole=$out/.whole
# Ended before its end, it leaves neither an unstripped binary nor one beside the other's symbols.
drop() {
    local status=$?
    rm -rf "$whole" "$out"/drivers/*.new
    [[ $status -eq 0 || -n $built ]] || rm -rf "$out"/dunlin "$out"/dunlin.* "$out/core"
}
built=
trap drop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$whole"
mkdir -p "$whole" "$out/core"

# one WHAT FOLDER ARGUMENTS: builds the agent, and leaves it stripped in FOLDER. Cargo's own file stays whole under deps/;
# what lies in release/ is replaced by a stripped copy, so that a second call starts from the same bytes.
one() {
    local what=$1 folder=$2 from=$SECONDS
    shift 2
    release_build "$@"
    mv -f "$out/dunlin" "$whole/$what"
    if ! readelf --sections "$whole/$what" 2>/dev/null | grep -q '\.debug_line'; then
        die "$out/dunlin has no symbols to keep aside" "rm $out/dunlin, then again"
    fi
    split_symbols "$whole/$what" "$folder/dunlin"
    say "$folder/dunlin and dunlin.debug (build id $(build_id "$folder/dunlin")), $((SECONDS - from)) s"
}
one core "$out/core" -p dunlin --no-default-features --features core
one full "$out" -p dunlin -p dunlin-drivers
drivers=()
for driver in "$out"/drivers/*.so; do
    [[ -e $driver ]] || die "no drivers in $out/drivers" "rm -r $out/build/dunlin-drivers-*, then again"
    # By rename: cargo takes what lies here for done, also after an end half way.
    "${tools}strip" --strip-unneeded -o "$driver.new" "$driver"
    mv -f "$driver.new" "$driver"
    drivers+=("${driver##*/}")
done
say "drivers: ${drivers[*]}"
built=yes

python3 deploy/cross/sizes.py --tools "$tools" --before deploy/size.tsv "${check[@]}" "$whole/full" "$out"
core=$(stat -c %s "$out/core/dunlin") full=$(stat -c %s "$out/dunlin") from=$(stat -c %s "$whole/full")
echo "core $core bytes, full $full bytes, stripped from $from bytes, glibc floor $(glibc_floor "$out/dunlin" "$out/core/dunlin" "$out"/drivers/*.so)"
