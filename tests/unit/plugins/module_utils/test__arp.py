# SPDX-License-Identifier: GPL-3.0-or-later
"""_arp: frames byte for byte, and who counts as a rival."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Optional

import pytest

from plugins.module_utils import _arp
from plugins.module_utils._arp import Claim
from plugins.module_utils._errors import Forbidden, IpvsError
from plugins.module_utils._rtnl import Link

MAC = bytes.fromhex("525400000001")
OTHER = bytes.fromhex("525400000099")
VIP = socket.inet_aton("192.0.2.10")
VIP6 = socket.inet_pton(socket.AF_INET6, "2001:db8::10")
ETH0 = Link(2, "eth0", mac=MAC)
ETH1 = Link(3, "eth1", mac=MAC)


def test_the_probe_frame() -> None:
    assert _arp.probe_frame(Claim(ETH0, VIP)).hex() == (
        "ffffffffffff5254000000010806000108000604000152540000000100000000000000000000c000020a"
    )


def test_the_gratuitous_arp_frames() -> None:
    common = "ffffffffffff5254000000010806000108000604"
    sender = "525400000001c000020a000000000000c000020a"
    assert [frame.hex() for frame in _arp.announce_frames(Claim(ETH0, VIP))] == [
        f"{common}0001{sender}",
        f"{common}0002{sender}",
    ]


def test_the_neighbour_advertisement() -> None:
    (frame,) = _arp.announce_frames(Claim(ETH0, VIP6))
    assert frame[:14].hex() == "33330000000152540000000186dd"
    header, message = frame[14:54], frame[54:]
    assert struct.unpack("!IHBB", header[:8]) == (6 << 28, 32, 58, 255)
    assert header[8:24] == VIP6
    assert header[24:] == socket.inet_pton(socket.AF_INET6, "ff02::1")
    assert message[:2] == bytes([136, 0])
    assert message[4:] == bytes.fromhex("20000000") + VIP6 + bytes([2, 1]) + MAC
    # a right checksum makes the whole sum to nothing
    assert _arp.internet_checksum(header[8:] + struct.pack("!II", 32, 58) + message) == 0


def test_the_checksum_of_rfc_1071() -> None:
    assert _arp.internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (_arp.arp_frame(_arp.ARP_REPLY, OTHER, VIP, b"\0" * 4), OTHER),
        (_arp.arp_frame(_arp.ARP_REQUEST, OTHER, VIP, socket.inet_aton("192.0.2.1")), OTHER),
        (_arp.arp_frame(_arp.ARP_REQUEST, OTHER, b"\0" * 4, VIP), OTHER),
        (_arp.arp_frame(_arp.ARP_REQUEST, OTHER, socket.inet_aton("192.0.2.1"), VIP), None),
        (_arp.arp_frame(_arp.ARP_REPLY, OTHER, socket.inet_aton("192.0.2.1"), VIP), None),
        (_arp.arp_frame(_arp.ARP_REPLY, OTHER, VIP, b"\0" * 4)[:40], None),
        (_arp.arp_frame(_arp.ARP_REPLY, OTHER, VIP, b"\0" * 4).replace(b"\x08\x00\x06", b"\x86\xdd\x06"), None),
    ],
)
def test_who_is_a_rival(frame: bytes, expected: Optional[bytes]) -> None:
    assert _arp.rival(frame, VIP) == expected


class Segment:
    """Frames that wait to be received, one batch per round of probes."""

    def __init__(self, *rounds: list[tuple[str, bytes]]) -> None:
        self.rounds = list(rounds)
        self.waiting: list[tuple[str, bytes]] = []
        self.sent: list[tuple[str, bytes]] = []

    def send(self, interface: str, frame: bytes) -> None:
        self.sent.append((interface, frame))
        if self.rounds:
            self.waiting += self.rounds.pop(0)

    def receive(self, timeout: float) -> Optional[tuple[str, bytes]]:
        return self.waiting.pop(0) if self.waiting else None


HELD = _arp.arp_frame(_arp.ARP_REPLY, OTHER, VIP, b"\0" * 4)
CLAIM = Claim(ETH0, VIP)


def test_nobody_answers() -> None:
    segment = Segment()
    assert _arp.probe([CLAIM], [MAC], segment) == {}
    assert segment.sent == [("eth0", _arp.probe_frame(CLAIM))] * _arp.PROBES


def test_a_late_answer_counts_and_ends_the_asking() -> None:
    segment = Segment([], [("eth0", HELD)])
    assert _arp.probe([CLAIM], [MAC], segment) == {CLAIM: OTHER}
    assert len(segment.sent) == 2


def test_an_answer_on_another_segment_is_not_ours_to_heed() -> None:
    assert _arp.probe([CLAIM], [MAC], Segment([("eth1", HELD)])) == {}


def test_our_own_frames_are_no_answer() -> None:
    own = _arp.arp_frame(_arp.ARP_REPLY, MAC, VIP, b"\0" * 4)
    assert _arp.probe([CLAIM], [MAC], Segment([("eth0", own)])) == {}


def test_a_flood_does_not_hold_the_probe_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flood(Segment):
        def receive(self, timeout: float) -> Optional[tuple[str, bytes]]:
            return "eth0", _arp.arp_frame(_arp.ARP_REQUEST, OTHER, socket.inet_aton("192.0.2.1"), VIP)

    clock = iter(range(10**6))
    monkeypatch.setattr(_arp.time, "monotonic", lambda: next(clock) / 100)
    assert _arp.probe([CLAIM], [MAC], Flood()) == {}
    assert next(clock) < 1000


def test_announces_twice_on_the_right_link() -> None:
    segment = Segment()
    _arp.announce([CLAIM, Claim(ETH1, VIP6)], segment)
    first, second = _arp.announce_frames(CLAIM)
    (third,) = _arp.announce_frames(Claim(ETH1, VIP6))
    assert segment.sent == [("eth0", first), ("eth0", second), ("eth1", third)] * _arp.ANNOUNCEMENTS


class FakeSocket:
    def __init__(self, error: Optional[OSError] = None) -> None:
        self.error = error
        self.sent: list[Any] = []

    def sendto(self, frame: bytes, target: Any) -> None:
        if self.error:
            raise self.error
        self.sent.append((frame, target))

    def close(self) -> None:
        self.sent.append("closed")


def test_the_socket_sends_frames_of_their_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSocket()
    monkeypatch.setattr(_arp.socket, "socket", lambda *dummy: fake)
    with _arp.PacketSocket() as packets:
        packets.send("eth0", _arp.announce_frames(Claim(ETH0, VIP6))[0])
        packets.send("eth0", HELD)
    assert [target for dummy, target in fake.sent[:2]] == [("eth0", 0x86DD), ("eth0", 0x0806)]
    assert fake.sent[2] == "closed"


def test_a_link_that_goes_down_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSocket(OSError(errno.ENETDOWN, "Network is down"))
    monkeypatch.setattr(_arp.socket, "socket", lambda *dummy: fake)
    with _arp.PacketSocket() as packets, pytest.raises(IpvsError, match="cannot send on eth0: Network is down"):
        packets.send("eth0", HELD)


def test_without_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*dummy: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(_arp.socket, "socket", refuse)
    with pytest.raises(Forbidden, match="CAP_NET_RAW"):
        _arp.PacketSocket()


def test_receives_within_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()

    class Paired(FakeSocket):
        def fileno(self) -> int:
            return here.fileno()

        def recvfrom(self, size: int) -> tuple[bytes, Any]:
            return here.recv(size), ("eth0", 0x0806, 0, 1, OTHER)

    monkeypatch.setattr(_arp.socket, "socket", lambda *dummy: Paired())
    with here, there, _arp.PacketSocket() as packets:
        assert packets.receive(0) is None
        assert packets.receive(-1) is None
        there.send(HELD)
        assert packets.receive(1) == ("eth0", HELD)
