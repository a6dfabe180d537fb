#!/usr/bin/env bash
# Tests drivers on what a kernel has to bring along: GPIO chips that the kernel simulates (gpio-sim), a virtual CAN
# interface (vcan), a sensor that it makes up (iio_dummy). The kit checks the drivers there, too. Builds a user-mode Linux,
# which is a program and needs neither an emulator nor a module of this machine's kernel, from Debian's source package, and
# runs ffi/drivers/tests/guest/ in it. It sees this machine's files, and its own devices.
#
#   scripts/guest.sh             builds the kernel where it is missing (five minutes on two cores, once), runs the tests
#   scripts/guest.sh FILTER      runs the tests whose names hold FILTER
#   scripts/guest.sh --kernel    builds the kernel and stops
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

package=linux-source-6.1
config=lab/guest.config
seconds_max=300 # of the guest: its tests take seconds, and a guest that hangs must not hang CI

case ${1:-} in
    -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
        exit
        ;;
esac
[[ $(uname -m) == x86_64 ]] || die "user-mode Linux runs on x86-64 only" "run this on such a machine"

build=target/guest
kernel=$build/linux-$(sha256sum "$config" | cut -c1-12)
if [[ ! -x $kernel ]]; then
    for tool in flex bison bc xz gcc make; do
        have "$tool" || die "$tool is missing" "scripts/setup.sh test"
    done
    say "building a user-mode Linux from Debian's $package into $kernel"
    rm -rf "$build/source"
    mkdir -p "$build/source/package"
    (cd "$build/source/package" && apt-get -q download "$package" 2>/dev/null) ||
        die "apt-get cannot download $package" "apt-get update; the suite must be Debian 12"
    dpkg-deb -x "$build"/source/package/*.deb "$build/source/package"
    mkdir "$build/source/linux"
    tar -C "$build/source/linux" --strip-components=1 -xJf "$build/source/package/usr/src/$package.tar.xz"
    # Simulated chips need numbers of interrupts to have edges, and a user-mode Linux has given all of its own away.
    # With more to give (SPARSE_IRQ), its own must be set aside at boot.
    sed -i 's/^\tselect ARCH_HAS_GCOV_PROFILE_ALL$/\tselect SPARSE_IRQ\n&/' "$build/source/linux/arch/um/Kconfig"
    printf '\nint __init arch_probe_nr_irqs(void)\n{\n\treturn NR_IRQS;\n}\n' >>"$build/source/linux/arch/um/kernel/irq.c"
    make -s -C "$build/source/linux" ARCH=um KCONFIG_ALLCONFIG="$root/$config" allnoconfig >/dev/null
    while read -r setting; do
        [[ $setting != CONFIG_* ]] || grep -qxF "$setting" "$build/source/linux/.config" ||
            die "the kernel does not take $setting" "see $config"
    done <"$config"
    make -s -C "$build/source/linux" ARCH=um -j"$(nproc)" linux >"$build/build.log" 2>&1 ||
        die "the kernel does not build" "the reason is in $build/build.log"
    cp "$build/source/linux/linux" "$kernel"
    rm -rf "$build/source"
fi
if [[ ${1:-} == --kernel ]]; then exit; fi

for tool in cansend candump cangen ip; do
    have "$tool" || die "$tool is missing" "scripts/setup.sh test"
done
cargo build --locked --quiet -p dunlin-driver-kit
kit=$root/target/debug/dunlin-driver-kit
tests=$(cargo test --locked --quiet --no-run -p dunlin-drivers --test guest --message-format json |
    jq -r 'select(.reason == "compiler-artifact" and .target.name == "guest") | .executable')
say "booting $kernel"
said=$build/said
timeout "$seconds_max" "$kernel" mem=256M rw rootfstype=hostfs rootflags=/ init="$root/lab/guest_init.sh" quiet \
    con=null con0=null,fd:1 "GUEST_TESTS=$tests" "GUEST_KIT=$kit" "GUEST_FILTER=${1:-}" </dev/null 2>&1 | tr -d '\r' | tee "$said" ||
    die "the guest did not end by itself" "its output is above"
grep -q '^guest: 0$' "$said" || die "tests failed in the guest" "their output is above"
