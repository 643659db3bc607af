# SPDX-License-Identifier: GPL-3.0-or-later
"""_conntrack: which connections are forgotten, with pyroute2 as the judge of what goes to the kernel."""

from __future__ import annotations

import socket
import struct
from typing import Any, Callable

import pytest
from pyroute2.netlink.nfnetlink import nfctsocket
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg

from plugins.module_utils import _conntrack
from plugins.module_utils._conntrack import forget_untranslated
from plugins.module_utils._errors import Forbidden, IpvsError, KernelRefused, Unavailable
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


SEEN_REPLY = 2


def connection(original: Side, reply: Side, protocol: int = TCP, status: int = 0) -> bytes:
    """The attributes of an entry as the kernel tells it."""
    return side(1, original, protocol) + side(2, reply, protocol) + attribute(3, struct.pack(">I", status))


def answered_by_the_vip(client: str, port: int, vip: str, vip_port: int, **more: int) -> bytes:
    return connection((client, port, vip, vip_port), (vip, vip_port, client, port), **more)


def answered_by_a_server(client: str, port: int, vip: str, vip_port: int) -> bytes:
    return connection((client, port, vip, vip_port), (SERVER, 8080, "203.0.113.1", port))


def netlink(kind: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, sequence, 0) + body


class FakeKernel:
    """A netlink socket and what is behind it: like a kernel before 5.8, it does not pick, but tells all of a family."""

    def __init__(self, *found: bytes) -> None:
        self.found = found
        self.errors = {0x101: 0, 0x102: 0}  # what dumping and deleting come to
        self.asked: list[Any] = []
        self.deleted: list[Any] = []
        self.sends = 0
        self.closed = False
        self.replies: list[bytes] = []

    def __call__(self, family: int, kind: int, protocol: int) -> FakeKernel:
        assert (family, protocol) == (socket.AF_NETLINK, 12)
        return self

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option, value) == (socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 30, 0))

    def close(self) -> None:
        self.closed = True

    def send(self, data: bytes) -> None:
        self.sends += 1
        replies = []
        while data:
            length, kind, flags, sequence, dummy = struct.unpack_from("=IHHII", data)
            message = nfct_msg(data[:length])
            message.decode()
            error = netlink(2, sequence, struct.pack("=i", -self.errors[kind]) + data[:16])
            if kind == 0x101 and flags == 0x301 and not self.errors[kind]:
                self.asked.append(message)
                nfgen = struct.pack("=BBH", message["nfgen_family"], 0, 0)
                mine = [one for one in self.found if (b"\x14\0\x03\0" in one) == (message["nfgen_family"] == AF_INET6)]
                replies += [netlink(0x100, sequence, nfgen + one) for one in mine]
                replies.append(netlink(3, sequence, bytes(4)))
            else:
                assert kind == 0x101 or flags == 0x5
                self.deleted.append(message)
                replies.append(error)
            data = data[length:]
        # as many as fit
        self.replies = [b"".join(replies[i : i + 3]) for i in range(0, len(replies), 3)]

    def recv(self, size: int) -> bytes:
        if not self.replies:
            raise BlockingIOError
        return self.replies.pop(0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeKernel]:
    def make(*found: bytes) -> FakeKernel:
        fake = FakeKernel(*found)
        monkeypatch.setattr(_conntrack.socket, "socket", fake)
        return fake

    return make


def name(message: Any) -> tuple[Any, ...]:
    """What a message calls a connection, as pyroute2 reads it."""
    told = message.get_attr("CTA_TUPLE_ORIG")
    addresses, protocol = told.get_attr("CTA_TUPLE_IP"), told.get_attr("CTA_TUPLE_PROTO")
    version = "CTA_IP_V6" if message["nfgen_family"] == AF_INET6 else "CTA_IP_V4"
    return (
        protocol.get_attr("CTA_PROTO_NUM"),
        addresses.get_attr(f"{version}_SRC"),
        protocol.get_attr("CTA_PROTO_SRC_PORT"),
        addresses.get_attr(f"{version}_DST"),
        protocol.get_attr("CTA_PROTO_DST_PORT"),
    )


def test_only_what_the_service_itself_would_answer_is_forgotten(kernel: Callable[..., FakeKernel]) -> None:
    fake = kernel(
        answered_by_the_vip(CLIENT, 40000, VIP, 80),
        answered_by_the_vip(CLIENT, 40001, VIP, 80),
        answered_by_a_server(CLIENT, 40002, VIP, 80),
        answered_by_the_vip(CLIENT, 40003, VIP, 22),
        answered_by_the_vip(CLIENT, 40004, VIP, 80, protocol=UDP),
        answered_by_the_vip(CLIENT, 40005, "192.0.2.11", 80),
        answered_by_the_vip(CLIENT, 40006, VIP, 80, status=SEEN_REPLY),
        answered_by_the_vip(VIP, 40007, CLIENT, 80),
    )
    assert forget_untranslated([key(VIP, 80)], check_mode=False) == 2
    assert [name(message) for message in fake.deleted] == [(TCP, CLIENT, port, VIP, 80) for port in (40000, 40001)]
    assert fake.closed


def test_check_mode_counts(kernel: Callable[..., FakeKernel]) -> None:
    fake = kernel(answered_by_the_vip(CLIENT, 40000, VIP, 80))
    assert forget_untranslated([key(VIP, 80)], check_mode=True) == 1
    assert fake.deleted == []


def test_the_kernel_is_told_what_to_pick(kernel: Callable[..., FakeKernel]) -> None:
    fake = kernel()
    assert forget_untranslated([key(VIP, 80), key(VIP6, 0, SCTP)], check_mode=False) == 0
    assert [name(message) for message in fake.asked] == [(TCP, None, None, VIP, 80), (SCTP, None, None, VIP6, None)]
    flags = [message.get_attr("CTA_FILTER").get_attr("CTA_FILTER_ORIG_FLAGS") for message in fake.asked]
    assert flags == [
        nfctsocket.FILTER_FLAG_CTA_IP_DST | nfctsocket.FILTER_FLAG_CTA_PROTO_NUM | ports
        for ports in (nfctsocket.FILTER_FLAG_CTA_PROTO_DST_PORT, 0)
    ]
    for message in fake.asked:
        assert (message.get_attr("CTA_STATUS"), message.get_attr("CTA_STATUS_MASK")) == (0, nfctsocket.IPS_SEEN_REPLY)


def test_a_service_on_every_port_in_its_family(kernel: Callable[..., FakeKernel]) -> None:
    fake = kernel(
        answered_by_the_vip(CLIENT, 40000, VIP, 80),
        *(answered_by_the_vip(CLIENT6, 40000 + port, VIP6, port, protocol=SCTP) for port in range(1, 251)),
    )
    services = [key(VIP, 443), key(VIP6, 0, SCTP), key(VIP6, 80), key("0.0.0.0", 0, 0, fwmark=7)]
    assert forget_untranslated(services, check_mode=False) == 250
    assert [name(message)[-1] for message in fake.deleted] == list(range(1, 251))
    assert fake.sends == 6  # three dumps, and three batches


def test_no_service_asks_nothing(kernel: Callable[..., FakeKernel]) -> None:
    fake = kernel()
    assert forget_untranslated([key("0.0.0.0", 0, 0, fwmark=7)], check_mode=False) == 0
    assert fake.sends == 0


@pytest.mark.parametrize(
    ("command", "number", "kind", "told"),
    [
        (0x101, 1, Forbidden, "CAP_NET_ADMIN"),
        (0x101, 22, Unavailable, "nf_conntrack_netlink"),
        (0x101, 12, KernelRefused, "memory"),
        (0x102, 1, Forbidden, "CAP_NET_ADMIN"),
        (0x102, 16, KernelRefused, "busy"),
    ],
)
def test_what_the_kernel_refuses(
    kernel: Callable[..., FakeKernel], command: int, number: int, kind: type[Exception], told: str
) -> None:
    fake = kernel(answered_by_the_vip(CLIENT, 40000, VIP, 80))
    fake.errors[command] = number
    with pytest.raises(kind, match=told):
        forget_untranslated([key(VIP, 80)], check_mode=False)
    assert fake.closed


def test_a_connection_that_ended_meanwhile_is_forgotten(kernel: Callable[..., FakeKernel]) -> None:
    kernel(answered_by_the_vip(CLIENT, 40000, VIP, 80)).errors[0x102] = 2
    assert forget_untranslated([key(VIP, 80)], check_mode=False) == 1


def test_a_kernel_that_is_silent(kernel: Callable[..., FakeKernel], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = kernel()
    monkeypatch.setattr(fake, "send", lambda data: None)
    with pytest.raises(IpvsError, match="has not answered for 30 s"):
        forget_untranslated([key(VIP, 80)], check_mode=False)
    assert fake.closed
