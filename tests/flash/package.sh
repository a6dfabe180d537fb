#!/usr/bin/env bash
# What can be known of the package without installing it: bytes, contents, scripts, units.
#
#   tests/flash/package.sh [DIR]    DIR as in scripts/deb.sh --binaries
set -uo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/../../scripts/say.sh"
cd "$root" || exit 1

binaries=${1:-target/aarch64-unknown-linux-gnu/release}
# systemd's own figure, 0 (closed) to 10 (open). It knows nothing of the sandbox that each driver host adds.
exposure_max=1.5
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
scripts/deb.sh --binaries "$binaries" --out "$out/one" || exit 1
package=$(echo "$out"/one/*.deb)
field() { dpkg-deb -f "$package" "$1"; }

test_the_same_input_gives_the_same_bytes() {
    # Another time, another umask, another zone.
    (umask 077 && TZ=Asia/Tokyo scripts/deb.sh --binaries "$binaries" --out "$out/two" >/dev/null) &&
        cmp "$package" "$out/two/${package##*/}"
}
test_the_checksum_is_that_of_the_package() { (cd "$out/one" && sha256sum --check --quiet ./*.sha256); }
test_lintian_has_no_complaint() {
    lintian --allow-root --tag-display-limit 0 --fail-on error,warning "$package"
}
test_it_depends_on_what_every_release_has() {
    # Packages of these names are in Debian 11 to 13 and in Ubuntu 20.04 to 24.04.
    local name
    field Depends | tr ',' '\n' | sed 's/^ *//; s/ .*//' | while read -r name; do
        case $name in
            libc6 | libgcc-s1 | systemd | udev | passwd) ;;
            *) echo "  depends on $name" && return 1 ;;
        esac
    done
}
test_glibc_2_31_is_enough() {
    local least
    least=$(field Depends | sed -n 's/.*libc6 (>= \([0-9.]*\)).*/\1/p')
    echo "  glibc $least is enough"
    [[ -n $least ]] && dpkg --compare-versions "$least" le 2.31
}
test_the_configuration_is_a_conffile() {
    dpkg-deb --ctrl-tarfile "$package" | tar -xO ./conffiles | grep -qx /etc/dunlin/dunlin.toml
}
test_every_driver_is_in_it() {
    local driver contents
    contents=$(dpkg-deb --contents "$package")
    for driver in "$binaries"/drivers/*.so; do
        grep -q " ./usr/lib/dunlin/drivers/${driver##*/}$" <<<"$contents" || { echo "  without $driver" && return 1; }
    done
}
test_nobody_else_owns_a_file() { ! dpkg-deb --contents "$package" | grep -v ' root/root '; }
test_maintainer_scripts_are_sound() { shellcheck deploy/debian/{postinst,prerm,postrm} deploy/image/initrd-init; }
test_the_unit_is_hardened() {
    local exposure version
    version=$(systemd-analyze --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    if [[ $version -lt 250 ]]; then
        echo "  systemd $version cannot rate a unit that is not installed; the stage guest rates it on the running board"
        return 2
    fi
    exposure=$(systemd-analyze security --offline=true deploy/systemd/dunlin.service | sed -n 's/.*level for .*: \([0-9.]*\) .*/\1/p')
    echo "  dunlin.service: exposure $exposure, at most $exposure_max"
    [[ -n $exposure ]] && awk -v e="$exposure" -v m="$exposure_max" 'BEGIN { exit !(e <= m) }'
}
test_the_unit_is_understood() {
    # Alone in a root of its own, so that nothing of this machine answers for it.
    local tree=$out/tree said
    dpkg-deb -x "$package" "$tree"
    said=$(systemd-analyze verify --recursive-errors=no --man=no "$tree/usr/lib/systemd/system/dunlin.service" 2>&1 |
        grep -v "Command /usr/bin/dunlin is not executable")
    [[ -z $said ]] || { echo "$said" && return 1; }
}
test_what_is_missing_is_said() {
    local said
    ! said=$(scripts/deb.sh --binaries "$out" 2>&1) && [[ $said == *"Remedy: scripts/build.sh"* ]]
}

# A test that returns 2 could not be made here, and has said why.
passed=0 failed=0 skipped=0
for test in $(compgen -A function test_); do
    status=0
    "$test" || status=$?
    case $status in
        0) verdict=ok passed=$((passed + 1)) ;;
        2) verdict=skipped skipped=$((skipped + 1)) ;;
        *) verdict=FAILED failed=$((failed + 1)) ;;
    esac
    printf '%-7s %s\n' "$verdict" "${test#test_}"
done
echo "test result: $passed passed; $failed failed; $skipped ignored"
[[ $failed -eq 0 ]]
