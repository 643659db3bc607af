#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A director set up by hand, for the address that it has already and, at the end, for another one and for UDP.
apt install ipvsadm -y

export LB="198.51.100.200"
export BACKEND1="198.51.100.201"
export BACKEND2="198.51.100.202"
export BACKEND3="198.51.100.203"

sysctl -w net.ipv4.ip_forward=1
ipvsadm -A -t $LB:443 -s mh -b mh-port
ipvsadm -a -t $LB:443 -r $BACKEND1:8443 -m
ipvsadm -a -t $LB:443 -r $BACKEND2:8443 -m
ipvsadm -a -t $LB:443 -r $BACKEND3:8443 -m

cat << EOF > snat.conf
flush ruleset

table ip nat {
  chain POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept;
    oifname eth1 masquerade
  }
}
EOF
nft -f snat.conf
sysctl -w net.ipv4.vs.conntrack=1

export LB="198.51.100.100"
ip addr add $LB/32 dev eth1
ipvsadm -A -t $LB:443 -s mh -b mh-port
ipvsadm -a -t $LB:443 -r $BACKEND1:8443 -m
ipvsadm -a -t $LB:443 -r $BACKEND2:8443 -m
ipvsadm -a -t $LB:443 -r $BACKEND3:8443 -m
ipvsadm -A -u $LB:53 -s mh -b mh-port
ipvsadm -a -u $LB:53 -r $BACKEND1:53 -m
ipvsadm -a -u $LB:53 -r $BACKEND2:53 -m
ipvsadm -a -u $LB:53 -r $BACKEND3:53 -m
