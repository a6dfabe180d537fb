#!/bin/bash
# The first and only process of the guest that scripts/guest.sh boots: mounts what the tests need, runs them, says
# `guest: STATUS`, and powers off. The kernel hands over what is in its command line as the environment.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_TERM_COLOR=never
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t configfs configfs /sys/kernel/config
mount -t devtmpfs devices /dev
"$GUEST_TESTS" --test-threads=1 --color=never ${GUEST_FILTER:+"$GUEST_FILTER"} 2>&1
echo "guest: $?"
# reboot(RB_POWER_OFF), linux/reboot.h: perl is part of every Debian, a program that asks the kernel directly is not.
perl -e 'syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc)'
