#!/usr/bin/env bash
# From the built agent to a booted board: package, image, flash.sh on a loop device, QEMU, and the package's life there.
#
#   tests/flash/guest.sh [DIR]    DIR as in scripts/deb.sh --binaries
#
# Needs root. The disk is larger than the image, as a real one is.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/../../scripts/say.sh"
cd "$root"
PATH=$PATH:/usr/sbin:/sbin

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

rm -f "$disk"
truncate -s "${disk_mib}M" "$disk"
device=$(losetup --find --show "$disk")
scripts/flash.sh "$work/card.img" "$device" --yes
losetup --detach "$device"
device=''
rm -f "$work"/card.img*
tests/flash/guest.py "$disk" "$one" "$two" "$password"
