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
run_cross build --locked --release --target "$target" -p dunlin -p dunlin-drivers

# Cargo's own file stays whole under deps/; what lies in release/ is replaced by a stripped copy, so that a second call
# starts from the same bytes.
out=target/$target/release
whole=$out/.dunlin.whole
cp -f "$out/dunlin" "$whole"
if ! readelf --sections "$whole" 2>/dev/null | grep -q '\.debug_line'; then
    die "$out/dunlin has no symbols to keep aside" "rm $out/dunlin, then again"
fi
split_symbols "$whole" "$out/dunlin"
drivers=()
for driver in "$out"/drivers/*.so; do
    [[ -e $driver ]] || die "no drivers in $out/drivers" "rm -r $out/build/dunlin-drivers-*, then again"
    "${tools}strip" --strip-unneeded "$driver"
    drivers+=("${driver##*/}")
done
say "$out/dunlin and dunlin.debug (build id $(build_id "$out/dunlin")), and drivers: ${drivers[*]}"

python3 deploy/cross/sizes.py --tools "$tools" --before deploy/size.tsv "${check[@]}" "$whole" "$out"
full=$(stat -c %s "$out/dunlin") from=$(stat -c %s "$whole")
rm -f "$whole"
echo "core $full bytes, full $full bytes, stripped from $from bytes, glibc floor $(glibc_floor "$out/dunlin" "$out"/drivers/*.so)"
