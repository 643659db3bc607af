# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a segment again and again who has some addresses, by ARP or neighbour discovery, until it is ended.

    python3 -c "$(cat ask.py)" DEVICE ADDRESS WANTED=RATE...

``ADDRESS`` is the IPv4 address that is told as the asker's, ``RATE`` how often in a second to ask for ``WANTED``. Runs
on a node: arping(8) asks once a second, and only for IPv4.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial

EVERYBODY = b"\xff" * 6
TICK = 0.02  # seconds: an emulated processor sleeps no shorter


def request(mac: bytes, address: str, wanted: str) -> bytes:
    """The frame of an ARP request, RFC 826."""
    sender, target = (ipaddress.IPv4Address(one).packed for one in (address, wanted))
    return EVERYBODY + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac + sender + bytes(6) + target


def solicitation(mac: bytes, wanted: str) -> bytes:
    """The ICMPv6 message of a neighbour solicitation, RFC 4861 section 4.3, whose checksum the kernel fills in."""
    return struct.pack("!BBHI", 135, 0, 0, 0) + ipaddress.IPv6Address(wanted).packed + bytes([1, 1]) + mac


def solicited_node(wanted: str) -> str:
    """The group that whoever has the address listens to, RFC 4291 section 2.7.1."""
    packed = ipaddress.IPv6Address(wanted).packed[-3:]
    return f"ff02::1:ff{packed[0]:02x}:{packed[1]:02x}{packed[2]:02x}"


def main() -> None:
    device, address, *words = sys.argv[1:]
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((device, 0))
    mac = link.getsockname()[4]
    icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(device))
    icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # neighbours drop what has fewer
    questions: list[tuple[int, Callable[[], object]]] = []
    for word in words:
        wanted, dummy, rate = word.rpartition("=")
        if ":" in wanted:
            receiver = (solicited_node(wanted), 0)
            questions.append((int(rate), partial(icmp.sendto, solicitation(mac, wanted), receiver)))
        else:
            questions.append((int(rate), partial(link.send, request(mac, address, wanted))))
    begin, last = time.monotonic(), 0.0
    while True:
        # what is late is made up for, so that a processor that is slowed down for a moment asks as often
        now = time.monotonic() - begin
        for rate, question in questions:
            for dummy in range(int(now * rate) - int(last * rate)):
                question()
        last = now
        time.sleep(TICK)


if __name__ == "__main__":
    main()
