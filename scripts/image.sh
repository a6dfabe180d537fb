#!/usr/bin/env bash
# Makes the disk image of a gateway: Debian 12 for arm64 with the package of scripts/deb.sh installed.
#
#   scripts/image.sh [--deb FILE] [--out FILE] [--root-password TEXT]
#
#   --deb FILE             the package (target/deb/dunlin_VERSION-1_arm64.deb)
#   --out FILE             the image (target/image/dunlin-arm64.img); FILE.sha256 goes beside it
#   --root-password TEXT   lets root in on the console; without it nobody can log in until you add a key or a password
#
# Four partitions (GPT): boot (EFI, systemd-boot and a kernel for each slot), root-a and root-b (two copies of the same
# system), data (/var/lib/dunlin; grows at the first boot to what the disk has). It boots wherever UEFI does.
#
# Needs root, for files of other owners and for chroot. Nothing is mounted by loop devices: file systems are made from
# directories and put together with dd, so that this works in a container. Debian's programs for arm64 run through
# qemu-user, which the kernel must know (binfmt_misc). The base system is made once and kept in target/image.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

deb='' out=target/image/dunlin-arm64.img root_password=
while [[ $# -gt 0 ]]; do
    case $1 in
        --deb | --out | --root-password)
            [[ -n ${2:-} ]] || die "$1 wants a value" "scripts/image.sh --help"
            name=${1#--}
            declare "${name//-/_}=$2"
            shift 2
            ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
        *) die "does not know ${1@Q}" "scripts/image.sh --help" ;;
    esac
done
[[ $EUID -eq 0 ]] || die "needs root" "sudo scripts/image.sh"
for tool in mmdebstrap qemu-aarch64-static sfdisk mkfs.ext4 mkfs.vfat mcopy cpio depmod xz; do
    have "$tool" || [[ -x /sbin/$tool ]] || die "there is no $tool" "scripts/setup.sh flash"
done
if [[ -z $deb ]]; then
    deb=$(find target/deb -name 'dunlin_*-1_arm64.deb' 2>/dev/null | sort -V | tail -n 1)
    [[ -n $deb ]] || die "there is no package in target/deb" "scripts/build.sh, then scripts/deb.sh"
fi
[[ -r $deb ]] || die "cannot read ${deb@Q}" "scripts/deb.sh"

# Kernel 6.12 of bookworm-backports rather than bookworm's 6.1: Landlock then restricts TCP ports, ioctl and signals too.
suite=bookworm
packages=(systemd systemd-sysv udev kmod iproute2 ca-certificates e2fsprogs libmodbus5 libsensors5 libsensors-config
    libgpiod2 libiio0)
# Unpacked and not installed: nothing of them needs to run on the target, and emulated depmod takes minutes.
unpacked=(linux-image-arm64 systemd-boot-efi busybox-static)

# Sizes in MiB.
boot_mib=160 slot_mib=512 data_mib=64
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH=$epoch

cache=target/image
mkdir -p "$cache" "$(dirname "$out")"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work" "$out.new"' EXIT
# Said, since bash goes on where the program that it waits for takes the signal for itself.
trap 'exit 130' INT
trap 'exit 143' TERM

# The kernel runs arm64 programs through qemu-user where binfmt_misc says so.
emulate() {
    local binfmt=/proc/sys/fs/binfmt_misc
    if [[ ! -e $binfmt/status ]]; then
        mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null ||
            die "this kernel, or this container, has no binfmt_misc, so that arm64 programs cannot run here" \
                "run this where qemu-user is registered: a virtual machine, or a container with --privileged"
    fi
    [[ -e $binfmt/qemu-aarch64 || $(uname -m) == aarch64 ]] && return
    say "registering qemu-aarch64 for arm64 programs (binfmt_misc, until the next boot)"
    local magic='\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    # F opens the emulator now, so that it is found in a chroot as well.
    echo ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):OCF" >"$binfmt/register"
}

# The base system as a tar, and the packages that are only unpacked. Made anew when what goes into it changes.
base() {
    local key
    key=$(printf '%s\n' "$suite" "${packages[@]}" "${unpacked[@]}" | sha256sum | cut -c 1-16)
    tar=$cache/base-$key.tar debs=$cache/base-$key.debs
    if [[ -e $tar && -d $debs ]]; then
        say "base system: $tar is there"
        return
    fi
    say "base system: $suite for arm64 by mmdebstrap (two to five minutes, once)"
    rm -rf "$cache"/base-*
    mkdir "$work/debs"
    local include mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    include=$(IFS=, && echo "${packages[*]}")
    # The hook fetches with this machine's apt under the new system's sources.
    # shellcheck disable=SC2016 # mmdebstrap's variables, its shell's
    mmdebstrap --quiet --architectures=arm64 --variant=minbase --mode=root --include="$include" \
        --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="cd $(pwd)/$work/debs"' && p=$(APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-cache depends linux-image-arm64/'"$suite"'-backports | sed -n "s/^ *Depends: //p") && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -q download "$p/'"$suite"'-backports" '"${unpacked[*]:1}" \
        "$suite" "$work/base.tar" "deb $mirror $suite main" "deb $mirror $suite-updates main" \
        "deb $mirror $suite-backports main"
    mv "$work/debs" "$debs"
    mv "$work/base.tar" "$tar"
}

# initramfs KERNEL: busybox, the modules that find a root, and their order.
initramfs() {
    local kernel=$1 tree=$work/initrd module file
    mkdir -p "$tree"/{bin,sbin,dev,proc,sys,new,lib/modules/"$kernel"}
    cp "$work/unpacked/bin/busybox" "$tree/bin/busybox"
    for file in sh mount umount modprobe sed grep cat sleep switch_root; do ln -s busybox "$tree/bin/$file"; done
    # Where the kernel itself calls it.
    ln -s ../bin/busybox "$tree/sbin/modprobe"
    cp deploy/image/initrd-init "$tree/init"
    cp deploy/image/modules "$tree/modules"
    cp "$work/unpacked/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$tree/lib/modules/$kernel/"
    while read -r module; do
        # A name that this kernel has built in, or has not, costs nothing.
        modprobe --dirname "$work/unpacked" --set-version "$kernel" --ignore-install --show-depends "$module" 2>/dev/null || true
    done <deploy/image/modules | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u |
        while read -r file; do
            local to=$tree/lib/modules/${file##*/lib/modules/}
            mkdir -p "${to%/*}"
            xz --decompress --stdout "$file" >"${to%.xz}"
        done
    depmod --basedir "$tree" "$kernel"
    find "$tree" -exec touch --no-dereference --date="@$epoch" {} +
    (cd "$tree" && find . -print0 | sort -z | cpio --quiet --null --create --format newc --owner 0:0 --reproducible) |
        gzip -9 -n >"$work/initrd.img"
}

# The system that both slots get.
system() {
    local tree=$work/root
    mkdir "$tree"
    tar --extract --file "$tar" --directory "$tree" --numeric-owner --xattrs --xattrs-include='*'
    mkdir -p "$tree/lib/modules"
    cp -a "$work/unpacked/lib/modules/$kernel" "$tree/lib/modules/"

    install -m 644 "$deb" "$tree/tmp/dunlin.deb"
    chroot "$tree" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive dpkg --install /tmp/dunlin.deb
    rm "$tree/tmp/dunlin.deb"

    install -m 644 deploy/image/fstab "$tree/etc/fstab"
    install -D -m 644 deploy/image/20-wired.network "$tree/etc/systemd/network/20-wired.network"
    install -D -m 644 deploy/image/data.conf "$tree/etc/repart.d/data.conf"
    echo dunlin-gateway >"$tree/etc/hostname"
    mkdir -p "$tree/boot/efi"
    # systemd makes the machine's own id at its first boot.
    echo uninitialized >"$tree/etc/machine-id"
    chroot "$tree" systemctl --quiet enable systemd-networkd.service
    if [[ -n $root_password ]]; then
        chroot "$tree" chpasswd <<<"root:$root_password"
    fi
    rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/var/log/*
    cp "$work/unpacked/usr/lib/systemd/boot/efi/systemd-bootaa64.efi" "$work/"
}

# entry SLOT: a boot loader entry.
entry() {
    cat <<END
title dunlin, slot $1
sort-key dunlin-$1
linux /$1/linux
initrd /$1/initrd
options root=PARTLABEL=root-$1 console=tty0 console=ttyAMA0 panic=10 dunlin.slot=$1
END
}

file_systems() {
    truncate -s "${boot_mib}M" "$work/boot.img"
    mkfs.vfat -F 32 -n BOOT -i "$(printf '%08x' $((epoch & 0xffffffff)))" "$work/boot.img" >/dev/null
    local at=(-i "$work/boot.img") slot
    mmd "${at[@]}" ::/EFI ::/EFI/BOOT ::/EFI/systemd ::/loader ::/loader/entries ::/a ::/b
    mcopy "${at[@]}" "$work/systemd-bootaa64.efi" ::/EFI/BOOT/BOOTAA64.EFI
    mcopy "${at[@]}" deploy/image/loader.conf ::/loader/loader.conf
    for slot in a b; do
        mcopy "${at[@]}" "$work/unpacked/boot/vmlinuz-$kernel" "::/$slot/linux"
        mcopy "${at[@]}" "$work/initrd.img" "::/$slot/initrd"
        entry "$slot" | mcopy "${at[@]}" - "::/loader/entries/dunlin-$slot.conf"
    done
    local options=(-q -O ^metadata_csum_seed -E "root_owner=0:0,lazy_itable_init=0")
    mkfs.ext4 "${options[@]}" -L root -d "$work/root" "$work/slot.img" "${slot_mib}M"
    mkfs.ext4 "${options[@]}" -L data "$work/data.img" "${data_mib}M"
}

assemble() {
    # In sectors of 512 bytes; the first MiB and the last belong to the partition tables.
    local mib=2048 whole=$((boot_mib + 2 * slot_mib + data_mib + 2)) image=$work/disk.img at
    truncate -s "${whole}M" "$image"
    sfdisk --quiet "$image" <<END
label: gpt
start=$mib, size=$((boot_mib * mib)), type=U, name=boot
size=$((slot_mib * mib)), type=b921b045-1df0-41c3-af44-4c6f280d3fae, name=root-a
size=$((slot_mib * mib)), type=b921b045-1df0-41c3-af44-4c6f280d3fae, name=root-b
size=$((data_mib * mib)), type=linux, name=data
END
    at=1
    local part
    for part in boot slot slot data; do
        dd if="$work/$part.img" of="$image" bs=1M seek="$at" conv=notrunc,sparse status=none
        at=$((at + $(stat -c %s "$work/$part.img") / 1048576))
    done
    # An image is there whole or not at all, and never beside the checksum of another one.
    mv "$image" "$out.new"
    rm -f "$out.sha256"
    mv "$out.new" "$out"
}

emulate
base
mkdir "$work/unpacked"
for file in "$debs"/*.deb; do dpkg-deb -x "$file" "$work/unpacked"; done
kernel=$(basename "$work/unpacked"/lib/modules/*)
depmod --basedir "$work/unpacked" "$kernel"
say "initramfs for Linux $kernel"
initramfs "$kernel"
say "installing ${deb##*/}"
system
say "file systems and partitions"
file_systems
assemble
(cd "$(dirname "$out")" && sha256sum "$(basename "$out")" >"$(basename "$out").sha256")
say "$out: $(($(stat -c %s "$out") >> 20)) MiB, of which $(du -m "$out" | cut -f 1) are not empty; Linux $kernel; in $SECONDS s"
