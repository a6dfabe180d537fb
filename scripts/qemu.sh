#!/usr/bin/env bash
# A console on an emulated board with dunlin running.
#
#   scripts/qemu.sh BOARD [options] [-- QEMU ARGUMENTS...]
#
#   imx8mp-evk   NXP i.MX 8M Plus; a TMP105 on /dev/i2c-2 at 0x49 and a DPS310 at 0x77; SD card; its own Ethernet
#   virt         QEMU's own board; virtio disk and network, GPIO lines (PL061)
#   raspi3b      Raspberry Pi 3; SD card, network by USB
#
#   --disk FILE      boots this disk and writes to it; without it, target/board/disk.ext4, and what is written is
#                    forgotten at the end
#   --pages 16k      the kernel with pages of 16 KiB (virt only)
#   --initrd FILE    instead of target/board/initrd. What is appended to a copy of that one as a further cpio archive (newc),
#                    below seed/, appears in /run/seed; seed/dunlin.toml is what the agent runs
#   --append WORDS   words for the kernel's command line; dunlin.time=SECONDS sets the clock of a board without one
#   --exec           for programs: the console on standard input and output, no monitor, no question. This process
#                    becomes QEMU, which the kernel ends with whoever started it
#
# Leave with Ctrl-A X. Ctrl-A C is QEMU's monitor: "qom-set t0 temperature 21500" makes the TMP105 read 21.5.
# Fetches and builds what is missing.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"
cd "$root"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

board='' disk='' suffix='' initrd='' append='' for_program=''
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage && exit ;;
        --disk) disk=${2:?--disk FILE}; shift ;;
        --pages) [[ ${2:-} == 16k ]] || die "pages are of 4k or 16k" "--pages 16k, or leave it away"; suffix=-16k; shift ;;
        --initrd) initrd=${2:?--initrd FILE}; shift ;;
        --append) append=${2:?--append WORDS}; shift ;;
        --exec) for_program=yes ;;
        --) shift; break ;;
        -*) die "does not know ${1@Q}" "scripts/qemu.sh --help" ;;
        *) board=$1 ;;
    esac
    shift
done

made=target/board
if [[ -z $for_program && ! -e $made/disk.ext4 ]]; then
    scripts/setup.sh board
    scripts/board_image.sh
fi
[[ -e $made/disk.ext4 ]] || die "$made/disk.ext4 is missing" "scripts/setup.sh board && scripts/board_image.sh"
drive="file=${disk:-$made/disk.ext4},format=raw,id=disk"
[[ -n $disk ]] || drive+=,snapshot=on

if [[ -n $for_program ]]; then console=(-serial stdio -monitor none); else console=(-serial mon:stdio); fi
words="dunlin.board=$board panic=5 quiet loglevel=3"
# shellcheck disable=SC2054 # the commas are QEMU's
case $board in
    virt)
        # gic-version and cpu: max has what the 16 KiB granule needs.
        machine=(-M virt,gic-version=3 -cpu max,pauth-impdef=on -smp 2 -m 512
            -drive "$drive,if=none" -device virtio-blk-pci,drive=disk
            -netdev user,id=net -device virtio-net-pci,netdev=net,romfile=)
        words+=" console=ttyAMA0"
        ;;
    imx8mp-evk)
        # Its second UART is the console, its second SD host the card slot.
        machine=(-M imx8mp-evk -smp 2 -m 1G -dtb "$made/imx8mp-evk.dtb" -serial null
            -drive "$drive,if=sd,bus=1" -nic user
            -device tmp105,bus=i2c-bus.2,address=0x49,id=t0 -device dps310,bus=i2c-bus.2,address=0x77,id=p0)
        words+=" console=ttymxc1"
        ;;
    raspi3b)
        # Its first UART belongs to Bluetooth, the second is the console.
        machine=(-M raspi3b -m 1G -dtb "$made/bcm2837-rpi-3-b.dtb" -serial null -drive "$drive,if=sd"
            -netdev user,id=net -device usb-net,netdev=net)
        words+=" console=ttyS1,115200 8250.nr_uarts=2"
        ;;
    '') usage >&2 && exit 64 ;;
    *) die "there is no board ${board@Q}" "scripts/qemu.sh --help" ;;
esac
[[ -z $suffix || $board == virt ]] || die "the kernel with 16 KiB pages is for virt" "the CPUs of the other boards lack that granule"

command=(qemu-system-aarch64 -nodefaults "${machine[@]}" -display none "${console[@]}" -no-reboot
    -kernel "$made/kernel$suffix" -initrd "${initrd:-$made/initrd$suffix}" -append "$words $append" "$@")
if [[ -n $for_program ]]; then exec setpriv --pdeathsig KILL "${command[@]}"; fi

say "booting $board; Ctrl-A X leaves, Ctrl-A C is QEMU's monitor and back; dunlin status /run/dunlin.toml"
exec "${command[@]}"
