# SPDX-License-Identifier: GPL-3.0-or-later
"""_conntrack: which connections are forgotten, and what goes to pyroute2 and comes back, without a kernel."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

import pyroute2
import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg

from plugins.module_utils._conntrack import Conntrack, forget_untranslated
from plugins.module_utils._errors import Forbidden, KernelRefused, Unavailable
from plugins.module_utils._model import AF_INET, AF_INET6, ServiceKey

TCP, UDP, SCTP = 6, 17, 132
VIP, VIP6 = "192.0.2.10", "2001:db8::10"
CLIENT, CLIENT6 = "198.51.100.2", "2001:db8:1::2"
SERVER = "203.0.113.11"

# source, its port, destination, its port
Side = tuple[str, int, str, int]


def packed(written: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in written else socket.AF_INET, written)


def key(address: str, port: int, protocol: int = TCP, fwmark: int = 0) -> ServiceKey:
    family = AF_INET6 if ":" in address else AF_INET
    return ServiceKey(fwmark, family, protocol, b"" if fwmark else packed(address), port)


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, number) + value + b"\0" * (-len(value) % 4)


def side(number: int, flow: Side, protocol: int) -> bytes:
    first = 3 if ":" in flow[0] else 1  # CTA_IP_V6_SRC, CTA_IP_V4_SRC
    addresses = attribute(first, packed(flow[0])) + attribute(first + 1, packed(flow[2]))
    ports = b"".join(attribute(2 + i, struct.pack(">H", port)) for i, port in enumerate((flow[1], flow[3])))
    return attribute(
        0x8000 | number, attribute(0x8001, addresses) + attribute(0x8002, attribute(1, bytes([protocol])) + ports)
    )


def connection(original: Side, reply: Side, protocol: int = TCP) -> Any:
    """An entry as the kernel tells it, decoded by pyroute2."""
    family = AF_INET6 if ":" in original[0] else AF_INET
    body = struct.pack("=BBH", family, 0, 0) + side(1, original, protocol) + side(2, reply, protocol)
    message = nfct_msg(struct.pack("=IHHII", len(body) + 16, 0x100, 2, 1, 1) + body)
    message.decode()
    return message


def answered_by_the_vip(client: str, port: int, vip: str, vip_port: int, protocol: int = TCP) -> Any:
    return connection((client, port, vip, vip_port), (vip, vip_port, client, port), protocol)


def answered_by_a_server(client: str, port: int, vip: str, vip_port: int) -> Any:
    return connection((client, port, vip, vip_port), (SERVER, 8080, "203.0.113.1", port))


class FakeNFCTSocket:
    """Keeps what it is asked. As a kernel before 5.8, it does not look at the address."""

    found: tuple[Any, ...] = ()
    error = 0

    def __init__(self, nfgen_family: int) -> None:
        self.family = nfgen_family
        self.asked: list[str] = []
        self.deleted: list[tuple[Any, ...]] = []
        self.closed = False
        sockets.append(self)

    def dump(self, tuple_orig: Any) -> list[Any]:
        self.asked.append(tuple_orig.daddr)
        return [message for message in self.found if message["nfgen_family"] == self.family]

    def entry(self, command: str, tuple_orig: Any) -> None:
        assert command == "del"
        if self.error:
            raise NetlinkError(self.error, "")
        told = tuple_orig
        self.deleted.append((told.family, told.proto, told.saddr, told.sport, told.daddr, told.dport))

    def close(self) -> None:
        self.closed = True


sockets: list[FakeNFCTSocket] = []


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets.clear()
    monkeypatch.setattr(pyroute2, "NFCTSocket", FakeNFCTSocket)


def tell(monkeypatch: pytest.MonkeyPatch, *found: Any, error: int = 0) -> None:
    monkeypatch.setattr(FakeNFCTSocket, "found", found)
    monkeypatch.setattr(FakeNFCTSocket, "error", error)


def test_only_what_the_service_itself_would_answer_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(
        monkeypatch,
        answered_by_the_vip(CLIENT, 40000, VIP, 80),
        answered_by_the_vip(CLIENT, 40001, VIP, 80),
        answered_by_a_server(CLIENT, 40002, VIP, 80),
        answered_by_the_vip(CLIENT, 40003, VIP, 22),
        answered_by_the_vip(CLIENT, 40004, VIP, 80, UDP),
        answered_by_the_vip(CLIENT, 40005, "192.0.2.11", 80),
        answered_by_the_vip(VIP, 40006, CLIENT, 80),
    )
    assert forget_untranslated([key(VIP, 80)], check_mode=False) == 2
    assert sockets[0].deleted == [(AF_INET, TCP, CLIENT, port, VIP, 80) for port in (40000, 40001)]
    assert sockets[0].asked == [VIP]
    assert sockets[0].closed


def test_check_mode_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, answered_by_the_vip(CLIENT, 40000, VIP, 80))
    assert forget_untranslated([key(VIP, 80)], check_mode=True) == 1
    assert sockets[0].deleted == []


def test_each_address_is_asked_for_once_in_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(
        monkeypatch,
        answered_by_the_vip(CLIENT, 40000, VIP, 80),
        answered_by_the_vip(CLIENT6, 40000, VIP6, 3868, SCTP),
        answered_by_the_vip(CLIENT6, 40001, VIP6, 9999, SCTP),
    )
    services = [key(VIP, 80), key(VIP, 443), key(VIP6, 0, SCTP), key(VIP6, 80), key("0.0.0.0", 0, 0, fwmark=7)]
    assert forget_untranslated(services, check_mode=False) == 3
    assert [(one.family, one.asked) for one in sockets] == [(AF_INET, [VIP]), (AF_INET6, [VIP6])]
    assert [entry[-1] for entry in sockets[1].deleted] == [3868, 9999]


def test_no_service_asks_nothing() -> None:
    assert forget_untranslated([key("0.0.0.0", 0, 0, fwmark=7)], check_mode=False) == 0
    assert sockets == []


@pytest.mark.parametrize(("number", "kind"), [(1, Forbidden), (16, KernelRefused)])
def test_what_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]) -> None:
    tell(monkeypatch, answered_by_the_vip(CLIENT, 40000, VIP, 80), error=number)
    with pytest.raises(kind):
        forget_untranslated([key(VIP, 80)], check_mode=False)
    assert sockets[0].closed


def test_a_connection_that_ended_meanwhile_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, answered_by_the_vip(CLIENT, 40000, VIP, 80), error=2)
    assert forget_untranslated([key(VIP, 80)], check_mode=False) == 1


def test_without_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(Unavailable, match="python3-pyroute2"):
        Conntrack(AF_INET)
