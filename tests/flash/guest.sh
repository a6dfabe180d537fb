#!/usr/bin/env bash
# From the built agent to a booted board: package, image, flash.sh on a loop device, QEMU, and the package's life there.
#
#   tests/flash/guest.sh [DIR]         DIR as in scripts/deb.sh --binaries
#   tests/flash/guest.sh --kills N     on the booted board only kills a driver host N times, and prints how long nothing was read
#
# Needs root. The disk is larger than the image, as a real one is.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/../../scripts/say.sh"
cd "$root"
PATH=$PATH:/usr/sbin:/sbin

kills=
if [[ ${1:-} == --kills ]]; then
    [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--kills wants a number" "tests/flash/guest.sh --kills 100"
    kills=$2
    shift 2
fi
binaries=${1:-target/aarch64-unknown-linux-gnu/release}
disk_mib=2048
work=target/flash
mkdir -p "$work"
disk=$work/disk.raw device=''
tidy() {
    if [[ -n $device ]]; then losetup --detach "$device"; fi
    rm -f "$disk"
}
trap tidy EXIT

for revision in 1 2; do scripts/deb.sh --binaries "$binaries" --revision "$revision" --out "$work"; done
one=$(find "$work" -name 'dunlin_*-1_arm64.deb' | sort -V | tail -n 1)
two=${one/-1_arm64/-2_arm64}
# A password of this run only, so that no image with a known one lies about.
password=$(head -c 12 /dev/urandom | base64 | tr -dc a-zA-Z0-9)
scripts/image.sh --deb "$one" --out "$work/card.img" --root-password "$password"

# Ctrl-C in the middle of making another: nothing of that is left.
for moment in 1 4 9; do
    timeout --signal=INT "$moment" scripts/image.sh --deb "$one" --out "$work/again.img" >/dev/null 2>&1 || true
    left=$(find "$work" target/image -name 'work.*' -o -name 'again.img*')
    [[ -z $left ]] || die "scripts/image.sh, interrupted after $moment s, leaves $left" "its trap"
done
echo "image.sh, interrupted three times, leaves nothing"

rm -f "$disk"
truncate -s "${disk_mib}M" "$disk"
device=$(losetup --find --show "$disk")
scripts/flash.sh "$work/card.img" "$device" --yes
losetup --detach "$device"
device=''
rm -f "$work"/card.img*
tests/flash/guest.py "$disk" "$one" "$two" "$password" ${kills:+"$kills"}
