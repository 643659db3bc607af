# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a neighbour that this host is a router, as a router advertisement does (RFC 4861, section 4.2), for some hours.

python3 advertise.py DEVICE ADDRESS: the neighbour's link-local address. Runs on a node.
"""

import socket
import struct
import sys

ADVERTISEMENT = 134
LIFETIME = 9000  # seconds, the most that it may be


def main() -> None:
    device, neighbour = sys.argv[1:]
    message = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, 0, LIFETIME, 0, 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as icmp:
        icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)  # neighbours drop what has fewer
        icmp.sendto(message, (neighbour, 0, 0, socket.if_nametoindex(device)))


if __name__ == "__main__":
    main()
