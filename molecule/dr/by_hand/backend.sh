#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A backend set up by hand, with a netmask of 255.255.255.255 for the address on lo:0.
sysctl -w net.ipv4.conf.eth1.arp_ignore=1
sysctl -w net.ipv4.conf.eth1.arp_announce=2
ifconfig lo:0 198.51.100.100 netmask 255.255.255.255
