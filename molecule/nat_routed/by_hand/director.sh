#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A director set up by hand.
sysctl -w net.ipv4.ip_forward=1
# which the documents leave out: told of the router, the servers would answer past the director from then on
sysctl -w net.ipv4.conf.all.send_redirects=0
sysctl -w net.ipv4.conf.eth1.send_redirects=0
ip addr add 198.51.100.100/32 dev eth1
ipvsadm -At 198.51.100.100:80 -s rr
ipvsadm -at 198.51.100.100:80 -r 198.51.100.201:8443 -m
ipvsadm -at 198.51.100.100:80 -r 198.51.100.202:8443 -m
