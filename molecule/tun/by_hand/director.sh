#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A director set up by hand.
ip addr add 198.51.100.100/32 dev eth1
ipvsadm -At 198.51.100.100:80 -s rr
ipvsadm -at 198.51.100.100:80 -r 198.51.100.201:80 -i
ipvsadm -at 198.51.100.100:80 -r 198.51.100.202:80 -i
