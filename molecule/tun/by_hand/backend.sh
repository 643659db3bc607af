#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A backend set up by hand, with the VIP on a TUN interface.
modprobe ipip
ip link set tunl0 up
ip addr add 198.51.100.100/32 dev tunl0
sysctl -w net.ipv4.conf.tunl0.rp_filter=0
sysctl -w net.ipv4.conf.all.rp_filter=0
