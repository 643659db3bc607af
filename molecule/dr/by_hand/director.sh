#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A director set up by hand.
export VIP="198.51.100.100"
export BACKEND1="198.51.100.201"
export BACKEND2="198.51.100.202"
export BACKEND3="198.51.100.203"

ip addr add $VIP/24 dev eth1 broadcast +
# the line of an interface's configuration, which is there for an address that has gone
ip addr add $VIP/24 dev eth1 broadcast + || true

ipvsadm -A -t $VIP:80 -s rr
ipvsadm -a -t $VIP:80 -r $BACKEND1:80 -g
ipvsadm -a -t $VIP:80 -r $BACKEND2:80 -g
ipvsadm -a -t $VIP:80 -r $BACKEND3:80 -g

ipvsadm -A -t $VIP:25 -s lblc -p
ipvsadm -a -t $VIP:25 -r $BACKEND1
ipvsadm -a -t $VIP:25 -r $BACKEND2
ipvsadm -a -t $VIP:25 -r $BACKEND3
