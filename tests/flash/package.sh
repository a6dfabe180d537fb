#!/usr/bin/env bash
# What can be known of the package without installing it: bytes, contents, scripts, units.
#
#   tests/flash/package.sh [DIR]    DIR as in scripts/deb.sh --binaries
set -uo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/../../scripts/say.sh"
cd "$root" || exit 1

binaries=${1:-target/aarch64-unknown-linux-gnu/release}
# systemd's own figure, in tenths: 0 (closed) to 100 (open). It knows nothing of the sandbox that each driver host adds.
agent_exposure_max=15 hosts_exposure_max=10
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
# rated UNIT: systemd's figure for a unit, in tenths.
rated() {
    systemd-analyze security --offline=true "$1" | sed -n 's/.*level for .*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p'
}
test_the_units_are_hardened() {
    local unit most tenths version
    version=$(systemd-analyze --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    if [[ $version -lt 250 ]]; then
        echo "  systemd $version cannot rate a unit that is not installed; the stage guest rates it on the running board"
        return 2
    fi
    for unit in deploy/systemd/*.service; do
        most=$hosts_exposure_max
        [[ $unit != */dunlin.service ]] || most=$agent_exposure_max
        tenths=$(rated "$unit")
        [[ -n $tenths ]] || { echo "  ${unit##*/} is not rated" && return 1; }
        echo "  ${unit##*/}: exposure $((10#$tenths / 10)).$((10#$tenths % 10)), at most $((most / 10)).$((most % 10))"
        ((10#$tenths <= most)) || return 1
    done
    # The figure sees what it is there for.
    sed '/^PrivateUsers=/d; /^DevicePolicy=/d; /^DeviceAllow=/d' deploy/systemd/dunlin-hosts.service >"$out/dunlin-hosts.service"
    ((10#$(rated "$out/dunlin-hosts.service") > hosts_exposure_max)) || { echo "  an open unit is rated no worse" && return 1; }
}
test_the_units_are_understood() {
    # Alone in a root of its own, so that nothing of this machine answers for it.
    local tree=$out/tree said
    dpkg-deb -x "$package" "$tree"
    said=$(systemd-analyze verify --recursive-errors=no --man=no "$tree"/usr/lib/systemd/system/dunlin* 2>&1 |
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
