#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What somebody else makes on a director that is in use. Removing the collection's part must leave it.
ipvsadm -A -u 192.0.2.1:5353 -s wrr -p 60
ipvsadm -a -u 192.0.2.1:5353 -r 192.0.2.2:53 -m -w 3
ip addr add 192.0.2.1/32 dev lo
