#!/usr/bin/env bash
# Makes what the emulated boards boot: one disk for all of them, and an initramfs for each of the two kernels.
#
#   scripts/board_image.sh [--binaries DIR]
#
#   --binaries DIR   where the aarch64 `dunlin` and `drivers/` are (target/aarch64-unknown-linux-gnu/release)
#
# Out of target/board/sysroot, which scripts/setup.sh board fetched, and of lab/board/root, it makes in target/board:
#
#   disk.ext4            the root file system: agent, drivers, their libraries, busybox, modules of both kernels
#   kernel, initrd       Debian's arm64 kernel with pages of 4 KiB, and what mounts the disk
#   kernel-16k, initrd-16k   the same with pages of 16 KiB
#   initrd-store         the agent and what it needs to write to a disk, without a root file system: lab/board.py
#
# No root rights are needed: mkfs.ext4 takes the files from a directory.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
# shellcheck source=scripts/setup_board.sh
source "$root/scripts/setup_board.sh"
cd "$root"

binaries=target/aarch64-unknown-linux-gnu/release
case ${1:-} in
    '') ;;
    --binaries) binaries=${2:-} ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
    *) die "does not know ${1@Q}" "scripts/board_image.sh --help" ;;
esac
sysroot=$board_dir/sysroot
[[ -e $sysroot/.packages ]] || die "$sysroot is missing" "scripts/setup.sh board"
[[ -x $binaries/dunlin && -e $binaries/drivers/sim.so ]] ||
    die "there is no aarch64 agent with drivers in ${binaries@Q}" "scripts/build.sh, or --binaries DIR"

# SD cards of the emulated boards must have a size that is a power of two.
disk_mib=256

# What mounts the root: file system, virtio, and the SD hosts of i.MX 8M Plus (esdhc) and Raspberry Pi (bcm2835, iproc),
# with the regulators that they wait for.
modules_initrd=(ext4 crc32c_generic virtio_blk virtio_mmio sdhci-esdhc-imx sdhci-iproc bcm2835 i2c-imx pca9450-regulator
    fixed gpio-regulator)
# What the tests need beside that. Networks: fec with its PHYs and the fuses that hold its address, virtio, and USB (dwc2)
# for the Raspberry Pi. Chips: lm75 and dps310 by the kernel's own drivers, and a
# magnetometer with triggers for its buffer. CAN: controllers on PCI. A network that is made bad: netem.
modules_root=(i2c-dev i2c-bcm2835 lm75 dps310 fec at803x realtek micrel virtio_net dwc2 cdc_ether rndis_host rtc-snvs
    nvmem-imx-ocotp phy-generic kvaser_pci can-raw st_magn_i2c iio-trig-hrtimer sch_netem)
# What the board needs whose power is cut.
modules_store=(virtio_mmio virtio_blk virtio_console ext4 f2fs crc32c_generic crc32_generic)

work=$board_dir/work
made=$work/made
rm -rf "$work"
mkdir -p "$made"
trap 'rm -rf "$work"' EXIT
# Said, since bash goes on where the program that it waits for takes the signal for itself.
trap 'exit 130' INT
trap 'exit 143' TERM

# modules KERNEL DIR NAME...: these modules and what they need, uncompressed, with their indexes, below DIR. A name that
# is built in, or that this kernel does not have, costs nothing.
modules() {
    local kernel=$1 into=$2 module file
    shift 2
    mkdir -p "$into/lib/modules/$kernel"
    cp "$sysroot/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$into/lib/modules/$kernel/"
    for module in "$@"; do
        /sbin/modprobe --dirname "$sysroot" --set-version "$kernel" --ignore-install --show-depends "$module" 2>/dev/null || true
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u >"$work/wanted"
    while read -r file; do
        local to=$into/lib/modules/${file##*/lib/modules/}
        mkdir -p "${to%/*}"
        xz --decompress --stdout "$file" >"${to%.xz}"
    done <"$work/wanted"
    /sbin/depmod --basedir "$into" "$kernel"
}

busybox() {
    local into=$1
    mkdir -p "$into"/{bin,sbin,dev,proc,sys,run,tmp,etc,lib}
    cp "$sysroot/bin/busybox" "$into/bin/busybox"
    ln -sf busybox "$into/bin/sh"
    # The kernel runs it where it needs an algorithm, such as the checksum of ext4.
    ln -sf ../bin/busybox "$into/sbin/modprobe"
}

# initrd KERNEL FILE
initrd() {
    local kernel=$1 tree=$work/initrd
    rm -rf "$tree"
    busybox "$tree"
    mkdir -p "$tree/new"
    cp lab/board/initrd-init "$tree/init"
    chmod 755 "$tree/init"
    modules "$kernel" "$tree" "${modules_initrd[@]}"
    archive "$tree" | gzip -1 -n >"$2"
}

archive() {
    (cd "$1" && find . -print0 | sort -z | cpio --quiet --null --create --format newc --owner 0:0 --reproducible)
}

# initrd_store KERNEL FILE: not compressed, which an emulated CPU would be slow to undo.
initrd_store() {
    local kernel=$1 tree=$work/initrd-store library
    busybox "$tree"
    mkdir -p "$tree"/{data,usr/bin,usr/lib/dunlin/drivers,lib/aarch64-linux-gnu}
    qemu-aarch64-static "$sysroot/bin/busybox" --list | while read -r applet; do
        [[ -e $tree/bin/$applet ]] || ln -s busybox "$tree/bin/$applet"
    done
    cp lab/board/store-init "$tree/init"
    chmod 755 "$tree/init"
    install -m 755 "$binaries/dunlin" "$tree/usr/bin/dunlin"
    ln -s ../usr/bin/dunlin "$tree/bin/dunlin"
    install -m 644 "$binaries/drivers/sim.so" "$tree/usr/lib/dunlin/drivers/"
    cp -a "$sysroot/lib/ld-linux-aarch64.so.1" "$tree/lib/"
    for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1; do
        cp "$sysroot/lib/aarch64-linux-gnu/$library" "$tree/lib/aarch64-linux-gnu/"
    done
    modules "$kernel" "$tree" "${modules_store[@]}"
    archive "$tree" >"$2"
}

kernels=()
for package in "${board_packages[@]}"; do
    [[ $package != linux-image-* ]] || kernels+=("$(sed 's/^linux-image-//; s/=.*//' <<<"$package")")
done
for kernel in "${kernels[@]}"; do
    [[ -e $sysroot/lib/modules/$kernel/modules.dep ]] || /sbin/depmod --basedir "$sysroot" "$kernel"
    suffix=
    [[ $kernel != *-16k ]] || suffix=-16k
    say "initramfs for $kernel"
    initrd "$kernel" "$made/initrd$suffix"
    cp "$sysroot/boot/vmlinuz-$kernel" "$made/kernel$suffix"
done
initrd_store "${kernels[0]}" "$made/initrd-store"
# Device trees of the boards that QEMU does not bring one for; those of either kernel are the same.
trees=$sysroot/usr/lib/linux-image-${kernels[0]}
cp "$trees"/freescale/imx8mp-evk.dtb "$trees"/broadcom/bcm2837-rpi-3-b.dtb "$made/"

say "root file system"
tree=$work/root
busybox "$tree"
mkdir -p "$tree"/{root,mnt,var/lib/dunlin,var/log,usr/lib/dunlin/drivers}
qemu-aarch64-static "$sysroot/bin/busybox" --list | while read -r applet; do
    [[ -e $tree/bin/$applet ]] || ln -s busybox "$tree/bin/$applet"
done
ln -sf ../bin/busybox "$tree/sbin/init"
cp -a "$sysroot/lib/aarch64-linux-gnu" "$sysroot/lib/ld-linux-aarch64.so.1" "$tree/lib/"
mkdir -p "$tree/usr/lib/aarch64-linux-gnu"
cp -a "$sysroot"/usr/lib/aarch64-linux-gnu/{*.so.*,libelf-*.so} "$tree/usr/lib/aarch64-linux-gnu/"
cp -a "$sysroot"/etc/sensors* "$tree/etc/"
cp -r lab/board/root/. "$tree/"
chmod 755 "$tree"/etc/init.d/* "$tree"/usr/share/udhcpc/default.script
install -m 755 "$binaries/dunlin" "$tree/usr/bin/dunlin" -D
install -m 755 "$sysroot"/usr/bin/{cansend,candump} "$tree/usr/bin/"
install -m 755 "$sysroot/sbin/tc" "$tree/sbin/"
install -m 644 "$binaries"/drivers/*.so "$tree/usr/lib/dunlin/drivers/"
for kernel in "${kernels[@]}"; do modules "$kernel" "$tree" "${modules_initrd[@]}" "${modules_root[@]}"; done

mkfs.ext4 -q -L dunlin-root -E root_owner=0:0 -d "$tree" "$work/disk.ext4" "${disk_mib}M"
# By rename, since a board may be running on the old ones. The disk goes first and comes last: where it is, all of it is.
rm -f "$board_dir/disk.ext4"
mv "$made"/* "$board_dir/"
mv "$work/disk.ext4" "$board_dir/disk.ext4"
say "target/board/disk.ext4: $(du -sh "$tree" | cut -f 1) of files; $(du -h "$board_dir/initrd" | cut -f 1) initramfs; in $SECONDS s"
