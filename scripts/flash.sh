#!/usr/bin/env bash
# Writes a disk image to a device, or to a file, and reads it back.
#
#   scripts/flash.sh IMAGE TARGET [--file] [--partition] [--large] [--unchecked] [--yes]
#
#   --file        TARGET is a regular file, or becomes one (a disk of a virtual machine)
#   --partition   TARGET is a partition: IMAGE is the file system of a slot, and not a whole disk
#   --large       TARGET may be larger than 512 GiB, which no gateway's card or module is
#   --unchecked   there is no IMAGE.sha256 to hold the image against
#   --yes         does not ask. It overrides none of the refusals below
#
# Refuses a target that is in use in any way (mounted, swap, part of an array, LVM or encryption, held by another
# program), that carries this system, is a partition, is read-only, is too small or suspiciously large; and an image
# that is damaged. Zeroes the first MiB before it writes and writes it last: a target that was interrupted has no
# partition table, and does not boot half. Reads back from the device and not from memory.
#
# Exit codes: 0 written and verified; 1 not confirmed; 64 wrong command line; 65 the image is damaged; 66 the image or the
# target cannot be read; 73 the target has the wrong size; 74 writing failed; 76 what is read back is not what was
# written; 77 the target is refused; 130 interrupted.
set -euo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/say.sh"

# refuse CODE WHAT REMEDY
refuse() {
    printf '%s: %s\n  Remedy: %s\n' "${0##*/}" "$2" "$3" >&2
    exit "$1"
}
human() { numfmt --to=iec-i --suffix=B "$1"; }

mib=1048576
large_bytes=$((512 * 1024 * mib))

file='' partition='' large='' unchecked='' yes='' words=()
for word in "$@"; do
    case $word in
        --file | --partition | --large | --unchecked | --yes) declare "${word#--}=yes" ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit ;;
        -*) refuse 64 "does not know ${word@Q}" "scripts/flash.sh --help" ;;
        *) words+=("$word") ;;
    esac
done
[[ ${#words[@]} -eq 2 ]] || refuse 64 "wants an image and a target, not ${#words[@]} names" "scripts/flash.sh --help"
image=${words[0]} named=${words[1]}
for tool in lsblk blockdev wipefs dd sha256sum cmp numfmt; do
    have "$tool" || [[ -x /sbin/$tool ]] || refuse 64 "there is no $tool" "install util-linux, coreutils and diffutils"
done
PATH=$PATH:/usr/sbin:/sbin

check_image() {
    [[ -e $image ]] || refuse 66 "there is no image ${image@Q}" "scripts/image.sh makes one"
    [[ -f $image ]] || refuse 66 "${image@Q} is not a regular file" "name the image"
    [[ -r $image ]] || refuse 66 "cannot read ${image@Q}" "become a user who can"
    image_bytes=$(stat -Lc %s "$image")
    [[ $image_bytes -gt 0 ]] || refuse 65 "${image@Q} is empty" "make or fetch it again"
    [[ $((image_bytes % 512)) -eq 0 ]] ||
        refuse 65 "${image@Q} has $image_bytes bytes, not whole sectors of 512: it is cut short" "make or fetch it again"
    if [[ -z $partition && $(dd if="$image" bs=1 skip=512 count=8 status=none | tr -d '\0') != 'EFI PART' ]]; then
        refuse 65 "${image@Q} has no partition table (GPT), so it is no disk image" \
            "scripts/image.sh makes one; --partition is for the image of one file system"
    fi
    say "reading ${image@Q}, $(human "$image_bytes")"
    image_hash=$(sha256sum <"$image" | cut -d ' ' -f 1) || refuse 66 "reading ${image@Q} failed" "fetch it again"
    if [[ -n $unchecked ]]; then
        say "not held against a checksum, as --unchecked says"
    else
        [[ -r $image.sha256 ]] ||
            refuse 66 "there is no ${image@Q}.sha256 to check the image against" "fetch it too, or say --unchecked"
        local expected
        read -r expected _ <"$image.sha256" || true
        [[ $image_hash == "$expected" ]] ||
            refuse 65 "the image is damaged: its SHA-256 is $image_hash, ${image@Q}.sha256 says ${expected:-nothing}" \
                "fetch it again"
    fi
}

# Every block device that lies on, or is part of, the one with this kernel name: partitions and what was built on them.
family() {
    local name=$1 below
    echo "$name"
    for below in /sys/class/block/"$name"/"$name"*/partition; do
        [[ -e $below ]] && family "$(basename "$(dirname "$below")")"
    done
    for below in /sys/class/block/"$name"/holders/*; do
        [[ -e $below ]] && family "$(basename "$below")"
    done
}

# What carries this system. Only said more clearly than of other mounts: both are refused.
system_mount() { [[ $1 =~ ^/(boot(/.*)?|usr|var|etc|home)?$ ]]; }

check_block() {
    local name member number at swap holder
    name=$(basename "$target")
    [[ -d /sys/class/block/$name ]] || refuse 77 "the kernel knows no block device ${name@Q}" "name a device below /dev"
    if [[ -e /sys/class/block/$name/partition ]]; then
        [[ -n $partition ]] || refuse 77 "$target is a partition, and the image is of a whole disk" \
            "name the disk: /dev/$(basename "$(readlink -f "/sys/class/block/$name/..")")"
    elif [[ -n $partition ]]; then
        refuse 77 "$target is a whole disk, and --partition is for a partition" "name a partition, or leave --partition out"
    fi
    # All that is mounted from it before the first refusal, so that the system's own disk is called that.
    local mounts=() systems=()
    while read -r member; do
        number=$(<"/sys/class/block/$member/dev")
        while IFS= read -r at; do
            [[ -n $at ]] || continue
            mounts+=("/dev/$member at $at")
            if system_mount "$at"; then systems+=("$at"); fi
        done < <(awk -v number="$number" '$3 == number { print $5 }' /proc/self/mountinfo)
    done < <(family "$name")
    [[ ${#systems[@]} -eq 0 ]] || refuse 77 "$target carries this system: ${systems[*]}" "name another disk"
    [[ ${#mounts[@]} -eq 0 ]] || refuse 77 "$target is mounted: ${mounts[*]}" "unmount it, if nothing on it is needed"
    while read -r member; do
        while read -r swap _; do
            [[ -b $swap && $(stat -Lc %Hr:%Lr "$swap") == "$(<"/sys/class/block/$member/dev")" ]] &&
                refuse 77 "$target is swapped to: $swap" "swapoff $swap, if that memory can be spared"
        done < <(tail -n +2 /proc/swaps)
        for holder in /sys/class/block/"$member"/holders/*; do
            [[ -e $holder ]] && refuse 77 "$target is part of /dev/$(basename "$holder") (array, LVM or encryption)" \
                "take it out of there first"
        done
    done < <(family "$name")
    [[ $(blockdev --getro "$target") -eq 0 ]] || refuse 77 "$target is read-only" "look for the lock on the card"
    [[ -w $target ]] || refuse 77 "you may not write to $target" "sudo scripts/flash.sh"
    target_bytes=$(blockdev --getsize64 "$target") || refuse 66 "cannot read the size of $target" "is a card in the reader?"
    [[ $target_bytes -gt 0 ]] || refuse 73 "$target has no size: no medium is in it" "insert the card"
    [[ $target_bytes -ge $image_bytes ]] ||
        refuse 73 "$target has $(human "$target_bytes"), the image $(human "$image_bytes")" "take a larger one"
    [[ $target_bytes -le $large_bytes || -n $large ]] ||
        refuse 73 "$target has $(human "$target_bytes"): too large for a gateway, so perhaps another disk" \
            "look again; --large if it is meant"
    # The kernel's own answer, which also counts other mount namespaces and containers: wipefs opens the device
    # exclusively before it looks, and with --no-act changes nothing.
    wipefs --all --no-act "$target" >/dev/null 2>&1 ||
        refuse 77 "$target is in use: the kernel does not give it away" "lsblk $target; perhaps a container has it mounted"
}

check_file() {
    [[ ! -b $target ]] || refuse 77 "$target is a block device, and --file is for files" "leave --file out"
    if [[ -e $target ]]; then
        [[ -f $target ]] || refuse 77 "$target is not a regular file" "name a file"
        [[ -w $target ]] || refuse 77 "you may not write to $target" "become a user who can"
        [[ ! $target -ef $image ]] || refuse 77 "image and target are the same file" "name another target"
        target_bytes=$(stat -c %s "$target")
    else
        [[ -d $(dirname "$target") ]] || refuse 66 "there is no directory $(dirname "$target")" "make it"
        target_bytes=0
    fi
    if [[ $target_bytes -gt 0 && $target_bytes -lt $image_bytes ]]; then
        refuse 73 "$target has $(human "$target_bytes"), the image $(human "$image_bytes")" "take a larger one, or a new file"
    fi
}

confirm() {
    echo
    if [[ -n $file ]]; then
        echo "target  $target, a file of $(human "$target_bytes")"
    else
        lsblk --output NAME,SIZE,TYPE,MODEL,SERIAL,FSTYPE,LABEL "$target" || true
    fi
    echo "image   $image, $(human "$image_bytes")"
    echo
    [[ -z $yes ]] || return 0
    local answer=
    read -r -p "Everything on $target is lost. Type its name to go on: " answer || echo
    [[ $answer == "$target" || $answer == "$named" ]] || refuse 1 "not confirmed; nothing was written" \
        "type the target as it is shown"
}

# Files of this run.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
writing='' written=
interrupted() {
    trap '' INT TERM
    if [[ -n ${copier:-} ]]; then
        kill "$copier" 2>/dev/null || true
        wait "$copier" 2>/dev/null || true
    fi
    printf '\n%s: interrupted\n' "${0##*/}" >&2
    if [[ -n $writing ]]; then
        printf '  %s has no partition table now and does not boot. Remedy: flash it again.\n' "$target" >&2
    elif [[ -n $written ]]; then
        printf '  %s was written whole, and is not known to hold it. Remedy: flash it again.\n' "$target" >&2
    fi
    exit 130
}
trap interrupted INT TERM

# Progress of a copy: its position, which the kernel shows. Lines of tens of percent where no terminal is.
watch_copy() {
    local what=$1 bytes=$2 fd=$3 position shown=-1 percent
    while kill -0 "$copier" 2>/dev/null; do
        position=$(sed -n 's/^pos:[[:space:]]*//p' "/proc/$copier/fdinfo/$fd" 2>/dev/null) || position=
        if [[ -n $position && $bytes -gt 0 ]]; then
            percent=$((position * 100 / bytes))
            [[ $percent -le 100 ]] || percent=100
            if [[ -t 1 ]]; then
                printf '\r%s %3d %%  %s ' "$what" "$percent" "$(human "$position")"
            elif [[ $((percent / 10)) -gt $shown ]]; then
                shown=$((percent / 10))
                printf '%s %d %%\n' "$what" "$((shown * 10))"
            fi
        fi
        sleep 0.2
    done
    if [[ -t 1 ]]; then printf '\r%s 100 %%  %s \n' "$what" "$(human "$bytes")"; fi
}

failed_write() {
    refuse 74 "writing to $target failed${1:+: $1}" \
        "it has no partition table now; look at dmesg, take another card, and flash it again"
}

# write_part SKIP_BYTES COUNT_BYTES: that part of the image to the same place of the target.
write_part() {
    local errors=$scratch/errors
    dd if="$image" of="$target" bs=4M skip="$1" seek="$1" count="$2" iflag=fullblock,skip_bytes,count_bytes \
        oflag="seek_bytes${direct:+,direct}" conv="nocreat,notrunc,fsync" status=none 2>"$errors" &
    copier=$!
    watch_copy writing "$image_bytes" 1
    local status=0
    wait "$copier" || status=$?
    copier=
    local text
    text=$(tail -n 1 "$errors")
    [[ $status -eq 0 ]] || failed_write "$text"
}

write() {
    local head=$mib
    [[ $head -le $image_bytes ]] || head=$image_bytes
    writing=yes
    dd if=/dev/zero of="$target" bs="$head" count=1 conv="nocreat,notrunc,fsync" status=none ||
        failed_write "the first MiB"
    # The spare table of what was there before lies at the very end of a larger disk.
    if [[ -z $file && -z $partition && $target_bytes -gt $((image_bytes + mib)) ]]; then
        dd if=/dev/zero of="$target" bs=512 seek=$((target_bytes / 512 - 34)) count=34 \
            conv="nocreat,notrunc,fsync" status=none || failed_write "the last sectors"
    fi
    if [[ $image_bytes -gt $head ]]; then write_part "$head" $((image_bytes - head)); fi
    # By a plain dd: it is over before there is progress to show. Not interrupted, so that a table is there or is not.
    trap '' INT TERM
    dd if="$image" of="$target" bs="$head" count=1 conv="nocreat,notrunc,fsync" status=none ||
        failed_write "the first MiB"
    writing='' written=yes
    trap interrupted INT TERM
}

# Reads past the page cache where the target lets itself be read so; says it where not.
verify() {
    local how='fullblock,count_bytes' hash pipe=$scratch/hash
    if [[ -z $file ]]; then blockdev --flushbufs "$target"; fi
    dd if="$target" of=/dev/null iflag=nocache count=0 status=none
    if dd if="$target" of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null; then
        how+=,direct
        say "reading back, past the page cache"
    else
        say "reading back; this target cannot be read past the page cache"
    fi
    dd if="$target" bs=4M count="$image_bytes" iflag="$how" status=none > >(sha256sum >"$pipe") &
    copier=$!
    watch_copy verifying "$image_bytes" 0
    local status=0
    wait "$copier" || status=$?
    copier=
    # The checksum's own process may be a moment later.
    local tries=0
    until [[ -s $pipe || $tries -gt 300 ]]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    read -r hash _ <"$pipe" || hash=
    [[ $status -eq 0 ]] || refuse 74 "$target cannot be read back" "take another card"
    if [[ $hash != "$image_hash" ]]; then
        local at
        # cmp says `char` for `byte` where no locale is set.
        at=$(cmp --bytes="$image_bytes" "$image" "$target" 2>&1 | sed -nE 's/.*(byte|char) ([0-9]+),.*/, first at byte \2/p') || true
        refuse 76 "what was read back from $target is not what was written$at" \
            "the card is bad or smaller than it says: do not use it"
    fi
}

check_image
target=$(readlink -m -- "$named")
direct='' copier=
if [[ -n $file ]]; then
    check_file
elif [[ -b $target ]]; then
    check_block
    direct=yes
elif [[ -e $target ]]; then
    refuse 77 "$target is not a block device" "name a device below /dev, or say --file"
else
    refuse 66 "there is no device $target" "lsblk lists what is there; --file for a file"
fi
confirm
# A question may have been open for long: what was free then may be mounted now.
if [[ -z $file ]]; then check_block; fi
# In its full size from the first, so that one that was interrupted can be written again.
if [[ -n $file && $target_bytes -eq 0 ]]; then truncate -s "$image_bytes" "$target" || failed_write; fi
say "writing to $target"
write
verify
if [[ -z $file && -z $partition ]]; then blockdev --rereadpt "$target" 2>/dev/null || true; fi
say "$target holds ${image##*/}: $(human "$image_bytes") written, read back and equal, in $SECONDS s"
