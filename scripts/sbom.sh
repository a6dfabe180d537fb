#!/usr/bin/env bash
# Writes what is in the agent for the devices, and what it needs there: a bill of materials in CycloneDX (JSON).
#
#   scripts/sbom.sh [FILE]    FILE is target/sbom/dunlin.cdx.json unless given
#
# Crates are listed by cargo-cyclonedx. Added to them is what no crate says: the OpenSSL that scripts/build.sh links in,
# with what was left out of it, and the C libraries that agent and drivers ask for, read from the files that it left.
# The same files and the same commit give the same bytes (SOURCE_DATE_EPOCH, or the commit's time).
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
# shellcheck source=scripts/cross.sh
source scripts/cross.sh

case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    -*) die "does not know ${1@Q}" "scripts/sbom.sh --help" ;;
esac
out=${1:-target/sbom/dunlin.cdx.json} version=0.5.9
binaries=target/$target/release openssl=target/cross/context/openssl
[[ -x $binaries/dunlin && -r $openssl/VERSION.dat ]] || die "there is no agent in $binaries" "scripts/build.sh"
if ! have cargo-cyclonedx; then
    say "building cargo-cyclonedx $version into target/tools (once)"
    cargo install --locked cargo-cyclonedx --version "$version" --root target/tools --target-dir target/tools/build
    rm -rf target/tools/build
fi

# It writes a file beside each member's Cargo.toml; the agent's is wanted.
name=.sbom.$$
mapfile -t members < <(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    print(os.path.dirname(package["manifest_path"]))')
drop() { rm -f "${members[@]/%//$name.json}" "$out.new"; }
trap drop EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename "$name"
mkdir -p "$(dirname "$out")"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
"${tools}readelf" --dynamic "$binaries/dunlin" "$binaries"/drivers/*.so |
    sed -n 's/^File: .*\/\(.*\)/file \1/p; s/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    python3 deploy/cross/sbom.py "$name.json" "$openssl/VERSION.dat" deploy/cross/openssl.sh >"$out.new"
mv "$out.new" "$out"
say "$out: $(grep -c '"purl"' "$out") components with a package URL"
