#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# First process of the initial ram disk: loads what the disk needs and hands over to the disk's own init.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/vda ] && [ "$tries" -lt 200 ]; do
    $b sleep 0.05
    tries=$((tries + 1))
done
$b mount -t ext4 -o rw,noatime /dev/vda /root || exec $b sh
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
