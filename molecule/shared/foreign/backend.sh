#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What somebody else makes on a backend that is in use. Removing the collection's part must leave it.
ip addr add 192.0.2.1/32 dev lo
ip rule add from 192.0.2.1 lookup 252
ip route add default dev lo table 252
