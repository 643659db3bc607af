#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A director set up by hand, whose servers have it as their default gateway.
ipvsadm -ln # loads ip_vs, without which sysctl does not know net.ipv4.vs.conntrack

echo "net.ipv4.ip_forward=1" >> /etc/sysctl.conf
echo "net.ipv4.vs.conntrack=1" >> /etc/sysctl.conf
sysctl -p

ip addr add 192.168.81.100/24 dev eth2
ip a s eth2

ipvsadm -At 192.168.81.100:80 -s rr
ipvsadm -at 192.168.81.100:80 -r 192.168.81.129:80 -m
ipvsadm -at 192.168.81.100:80 -r 192.168.81.130:80 -m

# another document's service
ipvsadm -A -t 192.168.81.100:25 -s lblc -p
ipvsadm -a -t 192.168.81.100:25 -r 192.168.81.129 -m
ipvsadm -a -t 192.168.81.100:25 -r 192.168.81.130 -m

ipvsadm -ln
