#!/usr/bin/env bash
# Checks what scripts/build.sh left, file by file, against what every device must be able to rely on.
#
#   scripts/floors.sh            the table; then the guard on itself: a file with each fault must be found out
#   scripts/floors.sh --twice    also builds dunlin's own crates again in a second folder: the bytes must be the same
#   scripts/floors.sh --whole    the same with every crate, the core build, and the image with its OpenSSL, all from nothing
#
# glibc 2.31 at most; no libssl or libcrypto of the device; no symbol of our OpenSSL to be seen; RELRO with all symbols
# bound at the start; no executable stack; PIE; segments that lie on 64 KiB, so that a kernel of any page size loads them.
# Drivers: marked for branch target identification and pointer authentication (BTI, PAC), so that a processor that has both,
# under glibc 2.32 or newer, holds their code to them.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"
# shellcheck source=scripts/cross.sh
source scripts/cross.sh

glibc_max=2.31
page_bytes=65536
out=target/$target/release
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Said, since bash goes on where the program that it waits for takes the signal for itself.
trap 'exit 130' INT
trap 'exit 143' TERM

# protection FILE: what it is marked with.
protection() { "${tools}readelf" --wide --notes "$1" | sed -n 's/.*AArch64 feature: //p'; }

# faults FILE: one line a floor that FILE is below.
faults() {
    local file=$1 dynamic headers floor align
    dynamic=$("${tools}readelf" --wide --dynamic "$file")
    headers=$("${tools}readelf" --wide --program-headers "$file")
    floor=$(glibc_floor "$file" || true)
    [[ $(printf '%s\n' "${floor:-0}" "$glibc_max" | sort -V | tail -1) == "$glibc_max" ]] || echo "asks for glibc $floor"
    ! grep -E 'NEEDED.*lib(ssl|crypto)' <<<"$dynamic" >/dev/null || echo "needs the device's OpenSSL"
    ! "${tools}nm" --dynamic --defined-only "$file" | grep -E ' (SSL|EVP|X509|BIO|OSSL|OPENSSL|CRYPTO|ERR)_' >/dev/null ||
        echo "exports symbols of OpenSSL"
    grep 'GNU_RELRO' <<<"$headers" >/dev/null || echo "has no RELRO"
    # The switch of tests that makes a self-test fail, src/main.rs.
    ! grep -q DUNLIN_WRONG_ANSWER "$file" || echo "has a switch for tests"
    grep -E 'BIND_NOW|FLAGS.*NOW' <<<"$dynamic" >/dev/null || echo "binds symbols late"
    grep -E 'GNU_STACK.* RW ' <<<"$headers" >/dev/null || echo "has an executable stack"
    grep '^Elf file type is DYN' <<<"$headers" >/dev/null || echo "is not position independent"
    if [[ $file == *.so ]]; then
        [[ $(protection "$file") == "BTI, PAC" ]] || echo "is not marked BTI and PAC"
    fi
    while read -r align; do
        ((align >= page_bytes)) || { echo "has a segment on $align, below 64 KiB" && break; }
    done < <(awk '$1 == "LOAD" { print $NF }' <<<"$headers")
}

[[ -x $out/dunlin && -x $out/core/dunlin ]] || die "$out/dunlin or core/dunlin is missing" "scripts/build.sh"
failed=0
printf '%-14s %10s %7s %7s %-9s  %s\n' file bytes glibc signing marked needs
for file in "$out/dunlin" "$out/core/dunlin" "$out"/drivers/*.so; do
    signing=$("${tools}objdump" -d "$file" | grep -c 'paciasp' || true)
    marked=$(protection "$file")
    printf '%-14s %10d %7s %7s %-9s  %s\n' "${file#"$out/"}" "$(stat -c %s "$file")" "$(glibc_floor "$file" || true)" "$signing" \
        "${marked:--}" "$("${tools}readelf" --dynamic "$file" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
    while read -r fault; do
        echo "  ${file##*/} $fault"
        failed=1
    done < <(faults "$file")
done
std=$(find "$(rustc --print sysroot)/lib/rustlib/$target/lib" -name 'libstd-*.rlib')
echo "signing: functions that sign their return address; in dunlin these are OpenSSL's. The agent is not marked: the linker"
echo "leaves the mark off unless every object has it. $("${tools}readelf" --wide --notes "$std" 2>/dev/null |
    grep -c 'AArch64 feature' || true) of $("${tools}ar" t "$std" | grep -c '\.o$' || true) objects of Rust's standard library for this target have it, none of the C"
echo "library's start files, and rustc's own -Zbranch-protection is for its nightly builds."
[[ $failed -eq 0 ]] || die "a file is below a floor" "the lines above name it; flags are in .cargo/config.toml and build.rs"

# The guard on itself.
echo 'int main(void) { return 0; }' >"$scratch/plain.c"
planted() {
    local fault=$1
    shift
    "${tools}gcc" "$@" -o "$scratch/planted" 2>/dev/null
    faults "$scratch/planted" | grep "$fault" >/dev/null || die "a file that $fault is not found out" "scripts/floors.sh, faults"
    echo "found out: a file that $fault"
}
# shellcheck disable=SC2054 # the commas are the linker's
sound=(-fPIE -pie -Wl,-z,relro,-z,now,-z,max-page-size=65536)
if have "${tools}gcc"; then
    echo 'const char switch_name[] = "DUNLIN_WRONG_ANSWER"; int main(void) { return switch_name[0] == 0; }' >"$scratch/switch.c"
    planted 'has a switch for tests' "${sound[@]}" "$scratch/switch.c"
    planted 'has no RELRO' "${sound[@]}" -Wl,-z,norelro "$scratch/plain.c"
    planted 'binds symbols late' "${sound[@]}" -Wl,-z,lazy "$scratch/plain.c"
    planted 'has an executable stack' "${sound[@]}" -Wl,-z,execstack "$scratch/plain.c"
    planted 'is not position independent' "${sound[@]}" -no-pie "$scratch/plain.c"
    planted 'has a segment' "${sound[@]}" -Wl,-z,max-page-size=4096 "$scratch/plain.c"
    echo 'int SSL_new(void) { return 0; } int main(void) { return 0; }' >"$scratch/ssl.c"
    planted 'exports symbols of OpenSSL' "${sound[@]}" -rdynamic "$scratch/ssl.c"
    echo 'int SSL_new(void) { return 0; }' >"$scratch/libssl.c"
    "${tools}gcc" -shared -fPIC -Wl,-soname,libssl.so.3 "$scratch/libssl.c" -o "$scratch/libssl.so"
    echo 'int SSL_new(void); int main(void) { return SSL_new(); }' >"$scratch/needs.c"
    planted "needs the device's OpenSSL" "${sound[@]}" "$scratch/needs.c" "$scratch/libssl.so"
    "${tools}gcc" -shared -fPIC -mbranch-protection=standard -Wl,-soname,start.so "$scratch/libssl.c" -o "$scratch/start.so"
    # Into a variable: `grep -q` would end the function before it has said all.
    said=$(faults "$scratch/start.so")
    [[ $said == *"is not marked BTI and PAC"* ]] || die "a driver with start files is not found out" "scripts/floors.sh, faults"
    echo "found out: a driver that is not marked BTI and PAC"
    glibc_max=2.16 planted 'asks for glibc' "${sound[@]}" "$scratch/plain.c"
else
    die "${tools}gcc is missing, so that the guard cannot be tried" "scripts/setup.sh test"
fi

[[ ${1:-} == --twice || ${1:-} == --whole ]] || exit 0
again=target/again
# same WHAT FILE OTHER
same() { cmp "$2" "$3" || die "two builds of $1 differ" "diffoscope, or cmp --list, of the unstripped ones below $again and target/"; }
if [[ $1 == --whole ]]; then
    say "building image, OpenSSL and every crate again in $again; a quarter of an hour on two cores"
    rm -rf "$again"
    first=$(cross_image)
    mkdir "$scratch/first" "$scratch/second"
    from_image "$scratch/first" /opt/openssl/lib/lib{crypto,ssl}.a
    CROSS_BUILD_OPTS="--no-cache ${CROSS_BUILD_OPTS:-}"
    export CROSS_BUILD_OPTS
else
    say "building dunlin's own crates again in $again; other crates are copied from the first build"
    if [[ ! -d $again/$target ]]; then
        # By rename: cargo takes what lies there for done, also after an end half way.
        rm -rf "$again.new"
        mkdir -p "$again.new/$target"
        cp -a target/release "$again.new/" 2>/dev/null || true
        cp -a "target/$target/release" "$again.new/$target/"
        mv "$again.new" "$again"
    fi
    for crate in dunlin dunlin-drivers dunlin-driver dunlin-driver-sys dunlin-crypto; do
        cargo clean --quiet --release --target "$target" --target-dir "$again" -p "$crate"
    done
fi
release_build --target-dir "$again" -p dunlin -p dunlin-drivers
split_symbols "$again/$target/release/dunlin" "$scratch/dunlin"
same dunlin "$scratch/dunlin" "$out/dunlin"
for driver in "$again/$target"/release/drivers/*.so; do
    "${tools}strip" --strip-unneeded -o "$scratch/driver.so" "$driver"
    same "${driver##*/}" "$scratch/driver.so" "$out/drivers/${driver##*/}"
done
echo "two builds are the same, byte by byte: dunlin $(sha256sum <"$out/dunlin" | cut -c 1-16)..., and every driver"
[[ $1 == --whole ]] || exit 0
second=$(cross_image)
[[ $first != "$second" ]] || die "the image was not made anew" "scripts/floors.sh, CROSS_BUILD_OPTS"
from_image "$scratch/second" /opt/openssl/lib/lib{crypto,ssl}.a
for library in libcrypto.a libssl.a; do same "$library" "$scratch/first/$library" "$scratch/second/$library"; done
# Of this image: its layers are at hand now.
export CROSS_BUILD_OPTS=${CROSS_BUILD_OPTS#--no-cache }
release_build --target-dir "$again" -p dunlin --no-default-features --features core
mkdir "$scratch/core"
split_symbols "$again/$target/release/dunlin" "$scratch/core/dunlin"
same "the core" "$scratch/core/dunlin" "$out/core/dunlin"
# Images of before have no name any more, and stay where another build uses their layers.
engine=$(container_engine)
with_engine "$engine" images --quiet --filter dangling=true --filter "label=org.cross-rs.workspace_root=$root" |
    while read -r image; do with_engine "$engine" rmi "$image" >/dev/null 2>&1 || true; done
echo "and so are core $(sha256sum <"$out/core/dunlin" | cut -c 1-16)... and the OpenSSL of an image that was made again, in $SECONDS s"
