#!/usr/bin/env bash
# Runs the tests of ffi/ that qemu-user can run, on aarch64, in the image that scripts/build.sh builds in: glibc 2.31, and the
# trimmed OpenSSL. What cannot run is named, with the reason, and counts as skipped.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
# shellcheck source=scripts/cross.sh
source scripts/cross.sh

# One call, so that what they depend on is built once. Of the library all but what takes minutes under emulation or starts a
# program that the image has not.
left_out=(buffer::tests::crash no_error_of_any_operation_is_a_false_ack second_opinion)
suites=()
for suite in ffi/{driver-sys,crypto}/tests/*.rs ffi/driver/tests/hostile_bytes.rs ffi/ring/tests/rules.rs; do suites+=(--test "$(basename "$suite" .rs)"); done
run_cross test --locked --no-fail-fast --target "$target" -p dunlin-driver-sys -p dunlin-crc -p dunlin-crypto -p dunlin-driver -p dunlin-ring -p dunlin --lib \
    "${suites[@]}" -- --skip a_key_of_a_file_is_wiped --skip campaign_ "${left_out[@]/#/--skip=}"
echo "skipped under qemu-user: dunlin-crypto::memory: two minutes of emulation to search a process"
for name in "${left_out[@]}"; do
    echo "skipped under qemu-user: dunlin --lib, tests named $name: minutes of emulation, or python3, which the image has not"
done

# One test as it is written: #[test] or #[tokio::test] above `fn NAME`.
names() { grep -A3 -E '^ *#\[(tokio::)?test' "$1" | sed -n 's/^ *\(async \)\{0,1\}fn \([a-z0-9_]*\).*/\2/p'; }
for suite in hazards supervision; do
    while read -r name; do
        echo "skipped under qemu-user: dunlin-driver::$suite $name: driver hosts need seccomp, which is not emulated"
    done < <(names "ffi/driver/tests/$suite.rs")
done
echo "skipped under qemu-user: dunlin-drivers: its tests start C programs of their own; scripts/mte.sh walks the drivers instead"

# Symbols are found again for the stripped binary, and those of another build are refused.
out=target/$target/release
address=$("${tools}nm" --demangle "$out/dunlin.debug" | sed -n 's/^\([0-9a-f]*\) [tT] dunlin::cli::run$/0x\1/p')
scripts/symbolize.sh "${address%%$'\n'*}" | grep '/src/cli\.rs:[0-9]' || die "dunlin::cli::run has no line" "scripts/build.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$out/dunlin" "$scratch/dunlin"
cp "$(find "target/$target/debug/deps" -name 'layout-*' -perm -u+x -print -quit)" "$scratch/dunlin.debug"
if scripts/symbolize.sh "$address" "$scratch/dunlin" >"$scratch/said" 2>&1 || ! grep 'not of the same build' "$scratch/said"; then
    die "symbols of another build are not refused" "scripts/symbolize.sh"
fi
