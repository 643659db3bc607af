# SPDX-License-Identifier: GPL-3.0-or-later
"""The reading of captures: who says that an address is his, who redirects, what passes between two hosts."""

from __future__ import annotations

import importlib.util
import ipaddress
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

VIP, PEER = "192.0.2.10", "192.0.2.1"
VIP6, PEER6 = "2001:db8::10", "2001:db8::1"
OWNER, OTHER = "52:54:00:4c:01:01", "52:54:00:4c:01:02"
EVERYBODY = "ff:ff:ff:ff:ff:ff"


def shared(name: str) -> ModuleType:
    """A file that the scenarios share."""
    path = Path(__file__).resolve().parents[2] / "molecule" / "shared" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def captures() -> ModuleType:
    return shared("captures")


@pytest.fixture(scope="module")
def ask() -> ModuleType:
    return shared("ask")


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(source: str, kind: int, content: bytes) -> bytes:
    return mac(EVERYBODY) + mac(source) + struct.pack("!H", kind) + content


def arp(op: int, told: str, sender: str, target: str, source: str = "") -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, op)
    return frame(source or told, 0x0806, head + mac(told) + packed(sender) + bytes(6) + packed(target))


def ipv4(protocol: int, source: str, destination: str, data: bytes, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 1, fragment, 64, protocol, 0)
    return frame(OWNER, 0x0800, head + packed(source) + packed(destination) + data)


def ipv6(protocol: int, source: str, destination: str, data: bytes, sender: str = OWNER) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(data), protocol, 255)
    return frame(sender, 0x86DD, head + packed(source) + packed(destination) + data)


def neighbour(kind: int, source: str, target: str, told: str = "", sender: str = OWNER) -> bytes:
    option = bytes([1 if kind == 135 else 2, 1]) + mac(told) if told else b""
    return ipv6(58, source, "ff02::1", bytes([kind, 0, 0, 0]) + bytes(4) + packed(target) + option, sender)


def udp(port: int) -> bytes:
    return struct.pack("!HHHH", 40000, port, 8 + 4, 0) + b"data"


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes frames, each half a second after the one before."""

    def write(*frames: bytes) -> Path:
        file = tmp_path / "segment.pcap"
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)
        times = [divmod(500_000 * number, 1_000_000) for number in range(len(frames))]
        records = [struct.pack("<IIII", *time, len(one), len(one)) + one for time, one in zip(times, frames)]
        file.write_bytes(head + b"".join(records))
        return file

    return write


@pytest.mark.parametrize(
    ("address", "sent", "found"),
    [
        (VIP, arp(1, OWNER, VIP, PEER), {("request", OWNER): 1}),
        (VIP, arp(2, OWNER, VIP, PEER), {("reply", OWNER): 1}),
        (VIP, arp(2, OWNER, VIP, VIP), {("reply", OWNER): 1}),
        (VIP, arp(2, OTHER, VIP, PEER, source=OWNER), {("reply", OWNER): 1, ("reply", OTHER): 1}),
        (VIP, arp(1, OTHER, "0.0.0.0", VIP), {("probe", OTHER): 1}),
        (VIP, arp(1, OTHER, PEER, VIP), {}),
        (VIP, arp(2, OTHER, PEER, VIP), {}),
        (VIP, ipv4(17, VIP, PEER, udp(53)), {}),
        (VIP6, neighbour(135, VIP6, PEER6, OWNER), {("solicitation", OWNER): 1}),
        (VIP6, neighbour(135, VIP6, PEER6, sender=OTHER), {("solicitation", OTHER): 1}),
        (VIP6, neighbour(135, PEER6, VIP6, OTHER), {}),
        (VIP6, neighbour(135, "::", VIP6, sender=OTHER), {("probe", OTHER): 1}),
        (VIP6, neighbour(136, VIP6, VIP6, OWNER), {("advertisement", OWNER): 1}),
        (VIP6, neighbour(136, "fe80::1", VIP6, OTHER, sender=OTHER), {("advertisement", OTHER): 1}),
        (VIP6, neighbour(136, VIP6, PEER6, OTHER), {}),
        (VIP6, ipv6(17, VIP6, PEER6, udp(53)), {}),
    ],
)
def test_who_says_that_an_address_is_his(
    captures: ModuleType,
    capture: Callable[..., Path],
    address: str,
    sent: bytes,
    found: dict[tuple[str, str], int],
) -> None:
    assert captures.claims(capture(sent), address) == found


@pytest.mark.parametrize(
    ("address", "sent", "found"),
    [
        (VIP, arp(1, OTHER, PEER, VIP), 1),
        (VIP, arp(1, OTHER, "0.0.0.0", VIP), 1),
        (VIP, arp(1, OTHER, VIP, PEER), 0),
        (VIP, arp(2, OTHER, PEER, VIP), 0),
        (VIP6, neighbour(135, PEER6, VIP6, OTHER), 1),
        (VIP6, neighbour(135, VIP6, PEER6, OTHER), 0),
        (VIP6, neighbour(136, VIP6, VIP6, OTHER), 0),
        (VIP6, ipv6(17, VIP6, PEER6, udp(53)), 0),
    ],
)
def test_who_is_asked_for(
    captures: ModuleType, capture: Callable[..., Path], address: str, sent: bytes, found: int
) -> None:
    assert captures.asked(capture(sent, sent), address) == 2 * found


def test_what_the_asker_sends_are_questions_and_no_claims(
    captures: ModuleType, ask: ModuleType, capture: Callable[..., Path]
) -> None:
    message = ask.solicitation(mac(OTHER), VIP6)
    file = capture(ask.request(mac(OTHER), PEER, VIP), ipv6(58, PEER6, ask.solicited_node(VIP6), message))
    assert (captures.asked(file, VIP), captures.asked(file, VIP6)) == (1, 1)
    assert captures.claims(file, PEER) == {("request", OTHER): 1}
    assert captures.claims(file, PEER6) == {("solicitation", OTHER): 1, ("solicitation", OWNER): 1}
    assert (captures.claims(file, VIP), captures.claims(file, VIP6)) == ({}, {})


def test_redirects_of_both_families_are_found(captures: ModuleType, capture: Callable[..., Path]) -> None:
    echo = ipv4(1, PEER, VIP, bytes([8, 0]) + bytes(6)), ipv6(58, PEER6, VIP6, bytes([128, 0]) + bytes(6))
    sent = ipv4(1, PEER, VIP, bytes([5, 1]) + bytes(26)), ipv6(58, PEER6, VIP6, bytes([137, 0]) + bytes(38))
    assert captures.redirects(capture(*echo)) == []
    assert captures.redirects(capture(*echo, *sent)) == [f"{PEER} -> {VIP}", f"{PEER6} -> {VIP6}"]


def test_what_one_host_sent_to_another_is_counted_by_protocol(
    captures: ModuleType, capture: Callable[..., Path]
) -> None:
    inner = ipv4(17, PEER, VIP, udp(53))[14:]
    file = capture(
        ipv4(17, PEER, VIP, udp(6080)),
        ipv4(17, PEER, VIP, b"more of a datagram", fragment=185),
        ipv4(4, PEER, VIP, inner),
        ipv4(47, PEER, VIP, bytes([0, 0, 8, 0]) + inner),
        ipv4(99, PEER, VIP, b"x"),
        ipv4(17, VIP, PEER, udp(7)),
        ipv6(41, PEER6, VIP6, ipv6(17, PEER6, VIP6, udp(53))[14:]),
    )
    assert captures.carried(file, PEER, VIP) == {"udp 6080": 1, "udp": 1, "ipip": 1, "gre": 1, "99": 1}
    assert captures.carried(file, VIP, PEER) == {"udp 7": 1}
    assert captures.carried(file, PEER6, VIP6) == {"ipv6": 1}


def test_the_longest_silence_is_that_of_one_address(captures: ModuleType, capture: Callable[..., Path]) -> None:
    spoken, other = ipv4(17, VIP, PEER, udp(7)), ipv4(17, PEER, VIP, udp(7))
    silent = arp(1, OWNER, VIP, PEER)
    file = capture(other, spoken, spoken, other, silent, spoken, other, spoken, other, other, other, other)
    assert captures.longest_silence(file, VIP) == pytest.approx(1.5)
    assert captures.longest_silence(capture(silent, spoken), VIP) == 0
