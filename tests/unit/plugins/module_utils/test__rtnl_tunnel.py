# SPDX-License-Identifier: GPL-3.0-or-later
"""_rtnl_tunnel: what goes to pyroute2 and what comes back, without a kernel."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pyroute2
import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from plugins.module_utils import _rtnl_tunnel
from plugins.module_utils._errors import KernelRefused
from plugins.module_utils._rtnl_tunnel import Device, TunnelKernel

V4, V6 = socket.inet_aton("198.51.100.11"), socket.inet_pton(socket.AF_INET6, "2001:db8::11")
REMOTE = socket.inet_aton("198.51.100.1")


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, number) + value + b"\0" * (-len(value) % 4)


def link_message(name: str, kind: str = "", data: bytes = b"", alias: str = "", flags: int = 0x80) -> Any:
    """An RTM_NEWLINK as the kernel sends it, decoded by pyroute2."""
    body = struct.pack("=BBHiII", 0, 0, 768, 9, flags, 0) + attribute(3, name.encode() + b"\0")
    if kind:
        body += attribute(18, attribute(1, kind.encode() + b"\0") + attribute(2, data))
    if alias:
        body += attribute(20, alias.encode() + b"\0")
    message = ifinfmsg(struct.pack("=IHHII", len(body) + 16, 16, 2, 1, 1) + body)
    message.decode()
    return message


class FakeIPRoute:
    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.found: list[Any] = []
        self.refuse = ""

    def get_links(self) -> list[Any]:
        return self.found

    def link(self, command: str, **wish: Any) -> None:
        self.requests.append((command, wish))
        if command == self.refuse:
            raise NetlinkError(95)

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeIPRoute:
    made = FakeIPRoute()
    monkeypatch.setattr(pyroute2, "IPRoute", lambda: made)
    monkeypatch.setattr(_rtnl_tunnel.socket, "if_nametoindex", lambda name: 9)
    return made


def encoded(wish: dict[str, Any]) -> tuple[str, bytes]:
    """What pyroute2 makes of a request: the kind, and the bytes of its data."""
    kind = wish.pop("kind")
    data = {"attrs": [[f"IFLA_{key.upper()}", value] for key, value in wish.items()]}
    linkinfo = {"attrs": [["IFLA_INFO_KIND", kind], ["IFLA_INFO_DATA", data]]}
    message = ifinfmsg()
    message["attrs"] = [["IFLA_LINKINFO", linkinfo]]
    message.encode()
    info = message.data[32:]
    (size,) = struct.unpack_from("=H", info, 4)
    start = 4 + (size + 3) // 4 * 4
    (length,) = struct.unpack_from("=H", info, start)
    return info[8 : 4 + size].rstrip(b"\0").decode(), bytes(info[start + 4 : start + length])


DEVICES = [
    # linux/if_tunnel.h: IFLA_IPTUN_LOCAL 2, _REMOTE 3, _PROTO 9; IFLA_GRE_IFLAGS 2 (be16), _LOCAL 6, _REMOTE 7
    (Device("t", "ipip", V4, protocol=4), attribute(2, V4) + attribute(9, b"\4")),
    (Device("t", "sit", V4, protocol=0), attribute(2, V4) + attribute(9, b"\0")),
    (Device("t", "sit", V4, REMOTE, 41), attribute(2, V4) + attribute(3, REMOTE) + attribute(9, b"\x29")),
    (Device("t", "ip6tnl", V6, protocol=0), attribute(2, V6) + attribute(9, b"\0")),
    (Device("t", "gre", V4), attribute(6, V4)),
    (Device("t", "gre", V4, REMOTE, None, True), attribute(6, V4) + attribute(7, REMOTE) + attribute(2, b"\x80\0")),
    (Device("t", "ip6gre", V6, checksum=True), attribute(6, V6) + attribute(2, b"\x80\0")),
]


@pytest.mark.parametrize(("device", "data"), DEVICES, ids=[str(i) for i in range(len(DEVICES))])
def test_a_device_goes_out_and_comes_back(fake: FakeIPRoute, device: Device, data: bytes) -> None:
    device = device._replace(alias="l4lb.ipvs gue 6080", up=True)
    with TunnelKernel() as kernel:
        kernel.add_device(device)
        (verb, wish), mark = fake.requests
        assert verb == "add"
        assert wish.pop("ifname") == "t"
        assert encoded(wish) == (device.kind, data)
        assert mark == ("set", {"index": 9, "ifalias": "l4lb.ipvs gue 6080", "state": "up"})
        fake.found = [link_message("t", device.kind, data, device.alias, flags=0x81)]
        assert kernel.devices() == {"t": device}


def test_a_dummy_is_asked_for_by_its_kind_alone(fake: FakeIPRoute) -> None:
    device = Device("vips", "dummy", alias="l4lb.ipvs", up=True)
    with TunnelKernel() as kernel:
        kernel.add_device(device)
        assert fake.requests[0] == ("add", {"ifname": "vips", "kind": "dummy"})
        fake.found = [link_message("vips", "dummy", alias="l4lb.ipvs", flags=0x81)]
        assert kernel.devices() == {"vips": device}


def test_other_interfaces_have_no_ends(fake: FakeIPRoute) -> None:
    fake.found = [link_message("eth0", alias="uplink"), link_message("v", "vlan", attribute(1, b"\7\0"))]
    any4 = attribute(2, b"\0" * 4) + attribute(3, b"\0" * 4) + attribute(9, b"\4")
    fake.found.append(link_message("tunl0", "ipip", any4))
    with TunnelKernel() as kernel:
        assert kernel.devices() == {
            "eth0": Device("eth0", alias="uplink"),
            "v": Device("v", "vlan"),
            "tunl0": Device("tunl0", "ipip", protocol=4),
        }


def test_a_device_that_cannot_be_marked_is_taken_back(fake: FakeIPRoute) -> None:
    fake.refuse = "set"
    with TunnelKernel() as kernel, pytest.raises(KernelRefused):
        kernel.add_device(Device("t", "ipip", V4, protocol=4, alias="l4lb.ipvs"))
    assert [command for command, dummy in fake.requests] == ["add", "set", "del"]
    assert fake.requests[-1][1] == {"index": 9}
