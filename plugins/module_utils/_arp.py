# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Asking a segment who holds an address, and telling it that we do: ARP (RFC 826, RFC 5227) and neighbour
advertisements (RFC 4861). The frames are pure; :class:`PacketSocket` sends and receives them.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Optional, Protocol

from ._errors import Forbidden, IpvsError
from ._rtnl import Link

ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
ARP_REQUEST = 1
ARP_REPLY = 2
BROADCAST = b"\xff" * 6
NO_MAC = b"\0" * 6

#: RFC 5227 section 2.1.1 asks for 3 probes 1 to 2 s apart and 2 s of listening, meant for hosts that join a
#: network by the hundred. A holder that is alive answers within milliseconds; all addresses of a task are probed
#: together.
PROBES = 3
PROBE_INTERVAL = 0.5
#: Every announcement is sent twice (ANNOUNCE_NUM), in both forms, since some hosts heed only one of them.
ANNOUNCEMENTS = 2

ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
ALL_NODES_MAC = b"\x33\x33\0\0\0\1"
NEIGHBOUR_ADVERTISEMENT = 136
OVERRIDE = 0x20000000
TARGET_LINK_LAYER = 2
ICMPV6 = 58

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")


class Claim(NamedTuple):
    """An address and the link it is, or shall be, on."""

    link: Link
    address: bytes


class Packets(Protocol):
    """A way to send whole Ethernet frames and to receive those of ARP."""

    def send(self, interface: str, frame: bytes) -> None:
        """Send the frame out of the interface."""

    def receive(self, timeout: float) -> Optional[tuple[str, bytes]]:
        """The next ARP frame and the interface it came in by, or ``None`` after ``timeout`` seconds without one."""


class PacketSocket:
    """:class:`Packets` over AF_PACKET (packet(7)), for every interface of the current network namespace at once.

    :raises Forbidden: the process lacks CAP_NET_RAW.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
        except PermissionError:
            raise Forbidden("probing and announcing an address needs CAP_NET_RAW; run the task with become") from None

    def __enter__(self) -> PacketSocket:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._socket.close()

    def send(self, interface: str, frame: bytes) -> None:
        try:
            self._socket.sendto(frame, (interface, _ETHERNET.unpack_from(frame)[2]))
        except OSError as error:
            raise IpvsError(f"cannot send on {interface}: {error.strerror}") from None

    def receive(self, timeout: float) -> Optional[tuple[str, bytes]]:
        if not select.select([self._socket], [], [], max(timeout, 0))[0]:
            return None
        frame, source = self._socket.recvfrom(256)
        return source[0], frame


def arp_frame(operation: int, mac: bytes, sender: bytes, target: bytes) -> bytes:
    """An ARP packet to everybody: ``sender`` and ``target`` are IPv4 addresses, ``mac`` is the sender's."""
    header = _ETHERNET.pack(BROADCAST, mac, ETH_P_ARP)
    return header + _ARP.pack(1, ETH_P_IP, 6, 4, operation, mac, sender, NO_MAC, target)


def probe_frame(claim: Claim) -> bytes:
    """An ARP probe (RFC 5227): a request that says nothing of who asks."""
    return arp_frame(ARP_REQUEST, claim.link.mac, b"\0" * 4, claim.address)


def announce_frames(claim: Claim) -> list[bytes]:
    """What tells the segment that the address is ours: gratuitous ARP as request and as reply (RFC 5227 section
    3), or an unsolicited neighbour advertisement with the override flag (RFC 4861 section 7.2.6).
    """
    if len(claim.address) == 4:
        return [
            arp_frame(operation, claim.link.mac, claim.address, claim.address) for operation in (ARP_REQUEST, ARP_REPLY)
        ]
    flags = struct.pack("!I", OVERRIDE)
    option = struct.pack("!BB6s", TARGET_LINK_LAYER, 1, claim.link.mac)
    body = flags + claim.address + option
    length = 4 + len(body)
    pseudo = claim.address + ALL_NODES + struct.pack("!II", length, ICMPV6)
    message = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0) + body
    checksum = internet_checksum(pseudo + message)
    ethernet = _ETHERNET.pack(ALL_NODES_MAC, claim.link.mac, ETH_P_IPV6)
    ipv6 = struct.pack("!IHBB16s16s", 6 << 28, length, ICMPV6, 255, claim.address, ALL_NODES)
    return [ethernet + ipv6 + message[:2] + struct.pack("!H", checksum) + message[4:]]


def internet_checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~int(total) & 0xFFFF


def rival(frame: bytes, address: bytes) -> Optional[bytes]:
    """The hardware address of a host that, by this ARP frame, holds ``address`` or is probing for it itself (RFC 5227
    section 2.1.1), or ``None``.
    """
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    hardware, protocol, dummy, dummy, operation, mac, sender, dummy, target = _ARP.unpack_from(frame, _ETHERNET.size)
    if (hardware, protocol) != (1, ETH_P_IP):
        return None
    if sender == address or (operation == ARP_REQUEST and not any(sender) and target == address):
        return bytes(mac)
    return None


def probe(claims: Iterable[Claim], own: Iterable[bytes], packets: Packets) -> dict[Claim, bytes]:
    """Ask for each IPv4 address who holds it -> the claims that somebody else answers for, with the hardware
    address. ``own`` are this host's hardware addresses. Takes :data:`PROBES` times :data:`PROBE_INTERVAL`
    seconds, less once every claim is contested.
    """
    open_claims = list(claims)
    mine = frozenset(own)
    contested: dict[Claim, bytes] = {}
    for dummy in range(PROBES):
        for claim in open_claims:
            packets.send(claim.link.name, probe_frame(claim))
        deadline = time.monotonic() + PROBE_INTERVAL
        while open_claims and time.monotonic() < deadline:
            received = packets.receive(deadline - time.monotonic())
            if received is None:
                break
            interface, frame = received
            for claim in open_claims:
                mac = rival(frame, claim.address)
                if interface == claim.link.name and mac is not None and mac not in mine:
                    contested[claim] = mac
            open_claims = [claim for claim in open_claims if claim not in contested]
    return contested


def announce(claims: Iterable[Claim], packets: Packets) -> None:
    """Tell each claim's segment that its address is at this link's hardware address."""
    frames = [(claim.link.name, frame) for claim in claims for frame in announce_frames(claim)]
    for dummy in range(ANNOUNCEMENTS):
        for interface, frame in frames:
            packets.send(interface, frame)
