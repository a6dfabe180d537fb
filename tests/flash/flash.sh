#!/usr/bin/env bash
# Every refusal and every failure of scripts/flash.sh, on loop devices and files of its own. Needs root.
#
#   tests/flash/flash.sh          all of them
#   tests/flash/flash.sh NAME     one
set -uo pipefail
# shellcheck source=scripts/say.sh
source "$(dirname "$0")/../../scripts/say.sh"
cd "$root" || exit 1
PATH=$PATH:/usr/sbin:/sbin

[[ $EUID -eq 0 ]] || die "needs root, for loop devices" "sudo tests/flash/flash.sh"
[[ -e /dev/loop-control ]] || die "there are no loop devices here" "run this on a machine or in a privileged container"

dir=$(mktemp -d /var/tmp/dunlin-flash.XXXXXX)
loops=()
swapped='' mounted=()
tidy() {
    local at
    if [[ -n $swapped ]]; then swapoff "$swapped"; fi
    for at in "${mounted[@]}"; do umount "$at"; done
    for at in "${loops[@]}"; do
        if delpart "$at" 1 2>/dev/null; then rm -f "${at}p1"; fi
        losetup --detach "$at" 2>/dev/null
    done
    rm -rf "$dir"
}
trap tidy EXIT

# loop MIB: a loop device of that size, in $disk; its file is $disk_file.
loop() {
    disk_file=$(mktemp "$dir/disk.XXXXXX")
    truncate -s "${1}M" "$disk_file"
    disk=$(losetup --find --show --partscan "$disk_file")
    loops+=("$disk")
}

# A disk image of 16 MiB with a partition table and random contents.
image=$dir/card.img
head -c $((16 * 1048576)) /dev/urandom >"$image"
sfdisk --quiet "$image" <<<$'label: gpt\nsize=4MiB, name=boot\nsize=8MiB, name=root-a'
(cd "$dir" && sha256sum card.img >card.img.sha256)

# flash CODE TEXT ARGUMENTS...: it must end with that code and say that, and every refusal has its remedy.
said=$dir/said
flash() {
    local code=$1 text=$2 status=0
    shift 2
    scripts/flash.sh "$@" >"$said" 2>&1 </dev/null || status=$?
    if [[ $status -ne $code ]] || ! grep -qF -- "$text" "$said"; then
        echo "  flash.sh $* ended with $status, expected $code and ${text@Q}. It said:"
        sed 's/^/  | /' "$said"
        return 1
    fi
    if [[ $code -ne 0 && $code -ne 130 ]]; then grep -q 'Remedy: ' "$said" || { echo "  without a remedy" && return 1; }; fi
}
# untouched FILE HASH
untouched() { [[ $(sha256sum <"$1") == "$2" ]] || { echo "  the target was written to" && return 1; }; }
holds() { cmp --bytes="$(stat -c %s "$image")" "$image" "$1"; }

test_writes_and_verifies_a_disk() {
    loop 24
    flash 0 "written, read back and equal" "$image" "$disk" --yes && holds "$disk_file" && grep -q 'past the page cache' "$said"
}
test_writes_a_file() {
    flash 0 "written, read back and equal" "$image" "$dir/new.img" --file --yes && cmp "$image" "$dir/new.img"
}
test_writes_a_partition() {
    loop 24
    partition 18
    flash 77 "is a partition" "$image" "$part" --yes && flash 0 "read back and equal" "$image" "$part" --partition --yes
}
# partition MIB: one partition on $disk, in $part. Told to the kernel by number, because not every kernel reads tables
# of loop devices, and not every machine has a udev that makes the node.
partition() {
    addpart "$disk" 1 2048 $(($1 * 2048)) || return 1
    part=${disk}p1
    local numbers
    numbers=$(<"/sys/class/block/${part#/dev/}/dev")
    [[ -b $part ]] || mknod "$part" b "${numbers%:*}" "${numbers#*:}"
}
test_a_disk_is_no_partition() {
    loop 24
    flash 77 "is a whole disk" "$image" "$disk" --partition --yes
}
test_the_spare_table_of_an_older_layout_is_gone() {
    loop 32
    sfdisk --quiet "$disk" <<<$'label: gpt\nsize=28MiB, name=old'
    flash 0 "read back and equal" "$image" "$disk" --yes && [[ -z $(tail -c 20480 "$disk_file" | tr -d '\0') ]]
}
test_mounted() {
    loop 24
    mkfs.ext4 -q "$disk"
    mkdir -p "$dir/at"
    mount "$disk" "$dir/at" && mounted+=("$dir/at")
    flash 77 "is mounted: $disk at $dir/at" "$image" "$disk" --yes
    local status=$?
    umount "$dir/at" && mounted=()
    return "$status"
}
test_a_mounted_partition_of_it() {
    loop 24
    partition 18
    mkfs.ext4 -q "$part"
    mkdir -p "$dir/at"
    mount "$part" "$dir/at" && mounted+=("$dir/at")
    flash 77 "is mounted: $part at" "$image" "$disk" --yes
    local status=$?
    umount "$dir/at" && mounted=()
    return "$status"
}
test_mounted_where_we_do_not_see_it() {
    loop 24
    mkfs.ext4 -q "$disk"
    mkdir -p "$dir/at"
    # Another mount namespace, as a container has: only the kernel's exclusive open knows of it.
    unshare --mount --propagation private bash -c "mount '$disk' '$dir/at' && echo up >'$dir/up' && exec sleep 30" &
    local holder=$! tries status
    for tries in {1..50}; do
        [[ ! -e $dir/up ]] || break
        sleep 0.1
    done
    flash 77 "is in use" "$image" "$disk" --yes
    status=$?
    kill "$holder" && wait "$holder" 2>/dev/null
    [[ $tries -lt 50 ]] && return "$status"
}
test_the_system_disk() {
    loop 24
    mkfs.ext4 -q "$disk"
    # In a namespace of its own the loop device is this system's /boot. The real one is never named.
    local status=0
    # shellcheck disable=SC2016 # $1 and $2 are those of the inner shell
    unshare --mount --propagation private bash -c 'mount "$1" /boot && exec scripts/flash.sh "$2" "$1" --yes' - "$disk" "$image" \
        >"$said" 2>&1 </dev/null || status=$?
    [[ $status -eq 77 ]] && grep -qF "carries this system: /boot" "$said"
}
test_swap() {
    loop 24
    mkswap "$disk" >/dev/null 2>&1
    if ! swapon "$disk" 2>"$said"; then
        echo "  swap cannot be turned on here: $(<"$said")"
        return 1
    fi
    swapped=$disk
    flash 77 "is swapped to" "$image" "$disk" --yes
    local status=$?
    swapoff "$disk" && swapped=''
    return "$status"
}
test_read_only() {
    loop 24
    blockdev --setro "$disk"
    flash 77 "is read-only" "$image" "$disk" --yes
    local status=$?
    # The kernel keeps this for whoever gets the same loop device next.
    blockdev --setrw "$disk"
    return "$status"
}
test_too_small() {
    loop 8
    flash 73 "take a larger one" "$image" "$disk" --yes
}
test_too_small_a_file() {
    truncate -s 8M "$dir/small.img"
    flash 73 "take a larger one" "$image" "$dir/small.img" --file --yes
}
test_too_large() {
    loop $((600 * 1024))
    flash 73 "too large for a gateway" "$image" "$disk" --yes && flash 0 "read back and equal" "$image" "$disk" --yes --large
}
test_no_medium() {
    disk_file=$(mktemp "$dir/disk.XXXXXX")
    disk=$(losetup --find --show "$disk_file") && loops+=("$disk")
    flash 73 "no medium" "$image" "$disk" --yes
}
test_targets_of_a_wrong_kind() {
    loop 24
    flash 77 "is not a block device" "$image" "$dir" --yes &&
        flash 77 "is not a block device" "$image" /dev/null --yes &&
        flash 77 "is not a regular file" "$image" /dev/full --file --yes &&
        flash 77 "is a block device, and --file" "$image" "$disk" --file --yes &&
        flash 66 "there is no device" "$image" "$dir/nothing" --yes &&
        flash 66 "there is no directory" "$image" "$dir/nowhere/x.img" --file --yes &&
        flash 77 "the same file" "$image" "$image" --file --yes
}
test_damaged_image() {
    cp "$image" "$dir/bad.img"
    printf x | dd of="$dir/bad.img" bs=1 seek=9000000 conv=notrunc status=none
    sed 's/card/bad/' "$image.sha256" >"$dir/bad.img.sha256"
    loop 24
    local before
    before=$(sha256sum <"$disk_file")
    flash 65 "the image is damaged" "$dir/bad.img" "$disk" --yes && untouched "$disk_file" "$before" &&
        flash 0 "read back and equal" "$dir/bad.img" "$disk" --yes --unchecked
}
test_images_that_are_none() {
    loop 24
    : >"$dir/empty.img"
    head -c 100000 /dev/urandom >"$dir/cut.img"
    head -c 1048576 /dev/urandom >"$dir/bare.img"
    cp "$image" "$dir/lone.img"
    flash 66 "there is no image" "$dir/none.img" "$disk" --yes &&
        flash 66 "not a regular file" "$dir" "$disk" --yes &&
        flash 65 "is empty" "$dir/empty.img" "$disk" --yes &&
        flash 65 "whole sectors" "$dir/cut.img" "$disk" --yes &&
        flash 65 "no partition table" "$dir/bare.img" "$disk" --yes &&
        flash 66 ".sha256 to check" "$dir/lone.img" "$disk" --yes
}
test_unreadable_image() {
    # Root reads everything; somebody else does not.
    cp "$image" "$dir/shut.img"
    chmod 600 "$dir/shut.img"
    chmod 755 "$dir"
    local status=0
    setpriv --reuid 65534 --regid 65534 --clear-groups scripts/flash.sh "$dir/shut.img" "$dir/x.img" --file --yes \
        >"$said" 2>&1 </dev/null || status=$?
    [[ $status -eq 66 ]] && grep -q 'cannot read' "$said"
}
test_command_lines() {
    flash 64 "wants an image and a target" && flash 64 "wants an image and a target" "$image" &&
        flash 64 "does not know" "$image" x --force
}
test_declined() {
    loop 24
    local before status answer
    before=$(sha256sum <"$disk_file")
    for answer in "" y yes /dev/sda; do
        status=0
        scripts/flash.sh "$image" "$disk" >"$said" 2>&1 <<<"$answer" || status=$?
        [[ $status -eq 1 ]] && grep -q 'nothing was written' "$said" || return 1
        untouched "$disk_file" "$before" || return 1
    done
    scripts/flash.sh "$image" "$disk" >"$said" 2>&1 <<<"$disk" && holds "$disk_file"
}
test_yes_overrides_no_refusal() {
    loop 8
    flash 73 "take a larger one" "$image" "$disk" --yes --unchecked --large
}
test_full_target() {
    mkdir -p "$dir/tiny"
    mount -t tmpfs -o size=8M tmpfs "$dir/tiny" && mounted+=("$dir/tiny")
    flash 74 "No space left on device" "$image" "$dir/tiny/card.img" --file --yes && no_table "$dir/tiny/card.img"
    local status=$?
    umount "$dir/tiny" && mounted=()
    return "$status"
}
# A disk whose medium gives out half way: its file lies on a file system that is full.
test_failing_disk() {
    mkdir -p "$dir/tiny"
    mount -t tmpfs -o size=8M tmpfs "$dir/tiny" && mounted+=("$dir/tiny")
    truncate -s 24M "$dir/tiny/disk"
    disk=$(losetup --find --show "$dir/tiny/disk")
    flash 74 "writing to $disk failed" "$image" "$disk" --yes
    local status=$?
    losetup --detach "$disk"
    umount "$dir/tiny" && mounted=()
    return "$status"
}
# What is half written has no partition table.
no_table() { [[ $(dd if="$1" bs=1 skip=512 count=8 status=none | tr -d '\0') != 'EFI PART' ]] || { echo "  it has a table" && return 1; }; }

# A target that does not hold what it was given: another process changes a byte of it once writing is over.
test_a_target_that_lies() {
    local big=$dir/big.img status=0 line
    head -c $((192 * 1048576)) /dev/zero >"$big"
    sfdisk --quiet "$big" <<<$'label: gpt\nsize=4MiB'
    (cd "$dir" && sha256sum big.img >big.img.sha256)
    loop 192
    scripts/flash.sh "$big" "$disk" --yes 2>"$dir/errors" </dev/null | while IFS= read -r line; do
        if [[ $line == *"reading back"* ]]; then
            printf x | dd of="$disk_file" bs=1 seek=$((180 * 1048576)) conv=notrunc status=none
        fi
    done
    status=${PIPESTATUS[0]}
    if [[ $status -ne 76 ]] || ! grep -qF "first at byte $((180 * 1048576 + 1))" "$dir/errors"; then
        echo "  ended with $status: $(<"$dir/errors")"
        return 1
    fi
}
test_interrupted() {
    local big=$dir/big.img signal status
    [[ -e $big ]] || { head -c $((192 * 1048576)) /dev/zero >"$big" && sfdisk --quiet "$big" <<<$'label: gpt\nsize=4MiB'; }
    for signal in INT TERM; do
        loop 192
        # A background job of a script ignores SIGINT, which a trap cannot change; a person's shell does not do that.
        env --default-signal=INT scripts/flash.sh "$big" "$disk" --yes --unchecked >"$said" 2>&1 </dev/null &
        local pid=$! tries
        for tries in {1..300}; do
            ! grep -q '^writing' "$said" || break
            sleep 0.02
        done
        kill -"$signal" "$pid"
        status=0
        wait "$pid" || status=$?
        if [[ $status -ne 130 || $tries -ge 300 ]] || ! grep -q 'flash it again' "$said"; then
            echo "  $signal: ended with $status after $tries looks:" && cat "$said"
            return 1
        fi
        no_table "$disk_file" || return 1
        # Nothing goes on behind our back.
        [[ -z $(pgrep -f "^dd if=$big of=$disk") ]] || return 1
        # And it can be done again.
        scripts/flash.sh "$big" "$disk" --yes --unchecked >"$said" 2>&1 </dev/null || return 1
    done
}

# Ctrl-C goes to every process of the script. Whatever it was at, there is either no table or the whole image, nothing is left
# of the script, and the last run, which nobody interrupts, is as any other.
test_interrupted_at_any_moment() {
    local big=$dir/any.img onto=$dir/onto.img moment table=0 none=0 left
    head -c $((96 * 1048576)) /dev/urandom >"$big" && sfdisk --quiet "$big" <<<$'label: gpt\nsize=4MiB' || return 1
    mkdir -p "$dir/tmp"
    for moment in 0.1 0.2 0.3 0.4 0.5 0.6 0.8 1 1.2 60; do
        TMPDIR=$dir/tmp timeout --signal=INT "$moment" scripts/flash.sh "$big" "$onto" --file --yes --unchecked >"$said" 2>&1 </dev/null
        left=$(find "$dir/tmp" -mindepth 1; pgrep -f "^dd if=.*$dir/")
        [[ -z $left ]] || { echo "  after $moment s there is $left" && return 1; }
        [[ -s $onto ]] || continue
        if no_table "$onto" >/dev/null; then
            none=$((none + 1))
        else
            cmp "$big" "$onto" || return 1
            table=$((table + 1))
        fi
    done
    echo "  without a table $none times, whole $table times"
    cmp "$big" "$onto" && grep -q 'read back and equal' "$said"
}

tests=("$@")
[[ $# -gt 0 ]] || mapfile -t tests < <(compgen -A function test_ | sort)
passed=0 failed=0
for test in "${tests[@]}"; do
    test=test_${test#test_}
    if "$test"; then
        passed=$((passed + 1))
        echo "ok      ${test#test_}"
    else
        failed=$((failed + 1))
        echo "FAILED  ${test#test_}"
    fi
done
# The line that scripts/test.sh counts.
echo "test result: $passed passed; $failed failed; 0 ignored"
[[ $failed -eq 0 ]]
