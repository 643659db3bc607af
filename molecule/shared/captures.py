# SPDX-License-Identifier: GPL-3.0-or-later
"""What passed on a segment of the lab, read on the host from a capture of its switch (``nodes.capturing``)."""

from __future__ import annotations

import collections
import ipaddress
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import dpkt

# the protocol numbers of IANA, by the names that tests use
PROTOCOLS = {1: "icmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 58: "icmpv6", 132: "sctp"}

ARP_KINDS = {dpkt.arp.ARP_OP_REQUEST: "request", dpkt.arp.ARP_OP_REPLY: "reply"}
SOLICITATION, ADVERTISEMENT = 135, 136  # RFC 4861, sections 4.3 and 4.4
# type -> name, and the option that holds the sender's hardware address
ND_KINDS = {SOLICITATION: ("solicitation", 1), ADVERTISEMENT: ("advertisement", 2)}
REDIRECTS = {4: 5, 6: 137}  # IP version -> ICMP type, RFC 792 and RFC 4861 section 4.5


def claims(file: Path, address: str) -> collections.Counter[tuple[str, str]]:
    """How often each hardware address was told to be that of an IP address.

    -> counts by kind and hardware address. Kinds: ``request`` and ``reply`` (ARP), ``solicitation`` and
    ``advertisement`` (IPv6), ``probe`` (of either, by who wants the address and asks whether it is taken). A frame that
    comes from another hardware address than the one that it tells counts for both.
    """
    wanted = ipaddress.ip_address(address).packed
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for dummy, frame in _frames(file):
        claim = None
        if isinstance(frame.data, dpkt.arp.ARP):
            claim = _arp_claim(frame.data, wanted)
        elif isinstance(frame.data, dpkt.ip6.IP6) and isinstance(frame.data.data, dpkt.icmp6.ICMP6):
            claim = _nd_claim(frame.data, wanted)
        if claim:
            kind, told = claim
            found.update((kind, one.hex(":")) for one in sorted({told or frame.src, frame.src}))
    return found


def strangers(file: Path, addresses: Iterable[str], holder: str) -> dict[str, set[str]]:
    """Which hardware addresses but the holder's claimed an IP address, by that address."""
    found = {address: {mac for dummy, mac in claims(file, address)} - {holder} for address in addresses}
    return {address: macs for address, macs in found.items() if macs}


def _arp_claim(arp: dpkt.arp.ARP, wanted: bytes) -> tuple[str, bytes] | None:
    if arp.spa == wanted and arp.op in ARP_KINDS:
        return ARP_KINDS[arp.op], arp.sha
    if arp.spa == bytes(4) and arp.tpa == wanted:  # RFC 5227, section 2.1.1
        return "probe", arp.sha
    return None


def _nd_claim(packet: dpkt.ip6.IP6, wanted: bytes) -> tuple[str, bytes] | None:
    message = bytes(packet.data)
    if message[0] not in ND_KINDS:
        return None
    kind, option = ND_KINDS[message[0]]
    target, told = message[8:24], _nd_option(message[24:], option)
    if kind == "advertisement":
        return (kind, told) if target == wanted else None
    if packet.src == bytes(16) and target == wanted:  # RFC 4862, section 5.4.2
        return "probe", told
    return (kind, told) if packet.src == wanted else None


def _nd_option(options: bytes, wanted: int) -> bytes:
    """The hardware address in an option of RFC 4861, section 4.6.1, or nothing."""
    while len(options) >= 8 and options[1]:
        if options[0] == wanted:
            return options[2:8]
        options = options[8 * options[1] :]
    return b""


def asked(file: Path, address: str) -> int:
    """How often somebody asked by ARP or neighbour discovery who has an IP address."""
    wanted = ipaddress.ip_address(address).packed
    return sum(_asks(frame, wanted) for dummy, frame in _frames(file))


def _asks(frame: dpkt.ethernet.Ethernet, wanted: bytes) -> bool:
    if isinstance(frame.data, dpkt.arp.ARP):
        return bool(frame.data.op == dpkt.arp.ARP_OP_REQUEST and frame.data.tpa == wanted)
    if isinstance(frame.data, dpkt.ip6.IP6) and isinstance(frame.data.data, dpkt.icmp6.ICMP6):
        message = bytes(frame.data.data)
        return message[0] == SOLICITATION and message[8:24] == wanted
    return False


def redirects(file: Path) -> list[str]:
    """The ICMP redirects of either family, as ``SENDER -> RECEIVER``."""
    return [
        f"{ipaddress.ip_address(packet.src)} -> {ipaddress.ip_address(packet.dst)}"
        for dummy, packet in _packets(file)
        if isinstance(packet.data, (dpkt.icmp.ICMP, dpkt.icmp6.ICMP6)) and packet.data.type == REDIRECTS[packet.v]
    ]


def carried(file: Path, source: str, destination: str) -> collections.Counter[str]:
    """How many packets one host sent to another, by protocol: a name of ``PROTOCOLS``, else a number, and for UDP with
    the port of the destination, as in ``udp 53``. Inside a tunnel nothing is looked at. Of a fragmented UDP datagram
    the later packets count as ``udp``.
    """
    hosts = (ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed)
    found: collections.Counter[str] = collections.Counter()
    for dummy, packet in _packets(file):
        if (packet.src, packet.dst) == hosts:
            port = f" {packet.data.dport}" if isinstance(packet.data, dpkt.udp.UDP) else ""
            found[PROTOCOLS.get(packet.p, str(packet.p)) + port] += 1
    return found


def longest_silence(file: Path, source: str) -> float:
    """The longest time between two packets from an address, in seconds."""
    sender = ipaddress.ip_address(source).packed
    times = [time for time, packet in _packets(file) if packet.src == sender]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


def _packets(file: Path) -> Iterator[tuple[float, dpkt.ip.IP | dpkt.ip6.IP6]]:
    for time, frame in _frames(file):
        if isinstance(frame.data, (dpkt.ip.IP, dpkt.ip6.IP6)):
            yield time, frame.data


def _frames(file: Path) -> Iterator[tuple[float, dpkt.ethernet.Ethernet]]:
    with file.open("rb") as content:
        for time, frame in dpkt.pcap.Reader(content):
            yield time, dpkt.ethernet.Ethernet(frame)
