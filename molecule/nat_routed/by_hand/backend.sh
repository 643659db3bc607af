#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A backend set up by hand: one by a routing table for its address, the other by a route to the client.
case $(hostname) in
    backend1)
        ip rule add from 198.51.100.201 table 1
        ip route add default via 198.51.100.200 table 1
        ;;
    backend2)
        ip route add 203.0.113.10 via 198.51.100.200 dev eth1
        ;;
esac
