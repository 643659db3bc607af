# SPDX-License-Identifier: GPL-3.0-or-later
"""_rtnl_route: what goes to pyroute2 and what comes back, without a kernel."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pyroute2
import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from plugins.module_utils._errors import Forbidden, KernelRefused
from plugins.module_utils._rtnl_route import MAIN, Hop, Prefix, Route, RouteKernel, Rule

V4 = socket.inet_aton("198.51.100.21")
GATEWAY = socket.inet_aton("198.51.100.1")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::21")
GATEWAY6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
NETWORK = socket.inet_aton("192.0.2.0")
DEFAULT, DEFAULT6 = Prefix(b"\0" * 4, 0), Prefix(b"\0" * 16, 0)


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, number) + value + b"\0" * (-len(value) % 4)


def number(index: int, value: int) -> bytes:
    return attribute(index, struct.pack("=I", value))


def decoded(kind: Any, body: bytes) -> Any:
    message = kind(struct.pack("=IHHII", len(body) + 16, 24, 2, 1, 1) + body)
    message.decode()
    return message


def rule_message(family: int, to: int, source: int, *attributes: bytes, action: int = 1, flags: int = 0) -> Any:
    """An RTM_NEWRULE as the kernel sends it (struct fib_rule_hdr), decoded by pyroute2."""
    return decoded(
        fibmsg, struct.pack("=BBBBBBBBI", family, to, source, 0, 252, 0, 0, action, flags) + b"".join(attributes)
    )


def route_message(family: int, length: int, protocol: int, kind: int, *attributes: bytes, flags: int = 0) -> Any:
    """An RTM_NEWROUTE as the kernel sends it (struct rtmsg), decoded by pyroute2."""
    header = struct.pack("=BBBBBBBBI", family, length, 0, 0, 252, protocol, 0, kind, flags)
    return decoded(rtmsg, header + b"".join(attributes))


class FakeIPRoute:
    error = 0

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.found: dict[int, list[Any]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self.answer: list[Any] = []

    def get_links(self) -> list[Any]:
        body = struct.pack("=BBHiII", 0, 0, 1, 2, 0x1043, 0) + attribute(3, b"eth0\0")
        return [decoded(ifinfmsg, body)]

    def get_rules(self, family: int) -> list[Any]:
        if not self.found.get(family):
            raise NetlinkError(self.error or errno.EAFNOSUPPORT)
        return self.found[family]

    get_routes = get_rules

    def rule(self, command: str, **wish: Any) -> Any:
        return self._ask("rule", command, wish)

    def route(self, command: str, **wish: Any) -> Any:
        return self._ask("route", command, wish)

    def _ask(self, what: str, command: str, wish: dict[str, Any]) -> Any:
        self.requests.append((what, command, wish))
        if self.error:
            raise NetlinkError(self.error)
        return self.answer

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeIPRoute:
    made = FakeIPRoute()
    monkeypatch.setattr(pyroute2, "IPRoute", lambda: made)
    return made


@pytest.fixture
def kernel(fake: FakeIPRoute) -> RouteKernel:
    made = RouteKernel()
    made.links()
    return made


EVERYTHING = Rule(4, 7600, 100000, Prefix(V4, 32), Prefix(NETWORK, 24), "eth0", 17, (1000, 2000), (53, 53), 7, 255)


def test_rules(fake: FakeIPRoute, kernel: RouteKernel) -> None:
    everything = rule_message(
        *(socket.AF_INET, 24, 32, attribute(1, NETWORK), attribute(2, V4), attribute(3, b"eth0\0"), number(6, 7600)),
        *(number(10, 7), number(15, 100000), number(16, 255), attribute(21, b"\x4c"), attribute(22, b"\x11")),
        *(attribute(23, struct.pack("=HH", 1000, 2000)), attribute(24, struct.pack("=HH", 53, 53))),
    )
    main = rule_message(socket.AF_INET, 0, 0, number(6, 32766), number(15, 254), attribute(21, b"\2"))
    others = [
        rule_message(socket.AF_INET, 0, 0, number(6, 5), number(15, 9), flags=2),
        rule_message(socket.AF_INET, 0, 0, number(6, 5), number(15, 9), attribute(17, b"eth0\0")),
        rule_message(socket.AF_INET, 0, 0, number(6, 5), action=8),
    ]
    fake.found = {socket.AF_INET: [everything, main, *others]}
    found = kernel.rules()
    assert found[0] == EVERYTHING
    assert found[0].ours
    assert found[1] == Rule(4, 32766, 254, protocol=2)
    assert not found[1].ours
    assert [rule.exact for rule in found] == [True, True, False, False, False]


def test_a_host_without_ipv6_has_none_of_its_rules(fake: FakeIPRoute, kernel: RouteKernel) -> None:
    assert kernel.rules() == []
    fake.error = errno.EIO
    with pytest.raises(KernelRefused):
        kernel.rules()


def test_routes(fake: FakeIPRoute, kernel: RouteKernel) -> None:
    hops = attribute(9, struct.pack("=HBBi", 16, 0, 0, 2) + attribute(5, GATEWAY))
    fake.found = {
        socket.AF_INET: [
            route_message(
                socket.AF_INET, 0, 76, 1, number(15, 7600), attribute(5, GATEWAY), number(4, 2), number(6, 9)
            ),
            route_message(
                socket.AF_INET, 24, 3, 1, number(15, 254), attribute(1, NETWORK), number(4, 2), attribute(7, V4)
            ),
            route_message(socket.AF_INET, 24, 76, 9, number(15, 7600), attribute(1, NETWORK)),
            route_message(socket.AF_INET, 0, 3, 1, number(15, 9), hops),
        ],
        socket.AF_INET6: [
            route_message(socket.AF_INET6, 0, 76, 6, number(15, 7600), number(4, 2), number(6, 1024)),
            route_message(socket.AF_INET6, 128, 2, 1, number(15, 254), attribute(1, V6), number(4, 2), flags=0x200),
        ],
    }
    assert kernel.routes() == [
        Route(7600, DEFAULT, via=GATEWAY, device="eth0", metric=9),
        Route(MAIN, Prefix(NETWORK, 24), device="eth0", source=V4, protocol=3),
        Route(7600, Prefix(NETWORK, 24), "throw"),
        Route(9, DEFAULT, protocol=3, exact=False),
        Route(7600, DEFAULT6, "blackhole", metric=1024),
    ]


def test_a_rule_goes_out(fake: FakeIPRoute, kernel: RouteKernel) -> None:
    kernel.add_rule(EVERYTHING)
    kernel.remove_rule(EVERYTHING)
    kernel.add_rule(Rule(16, 7600, 7600, Prefix(V6, 128)))
    everything = {
        "family": socket.AF_INET,
        "table": 100000,
        "priority": 7600,
        "protocol": 76,
        "action": 1,
        "src": "198.51.100.21",
        "src_len": 32,
        "dst": "192.0.2.0",
        "dst_len": 24,
        "sport_range": "1000:2000",
        "dport_range": "53:53",
        "iifname": "eth0",
        "ip_proto": 17,
        "fwmark": 7,
        "fwmask": 255,
    }
    six = {"family": socket.AF_INET6, "table": 7600, "priority": 7600, "protocol": 76, "action": 1}
    assert fake.requests == [
        ("rule", "add", everything),
        ("rule", "del", everything),
        ("rule", "add", {**six, "src": "2001:db8::21", "src_len": 128}),
    ]
    # 0.5 packs the halves as they are
    assert fake.requests[0][2]["sport_range"].split(":") == [1000, 2000]


def test_a_route_goes_out(fake: FakeIPRoute, kernel: RouteKernel) -> None:
    kernel.add_route(Route(7600, DEFAULT, via=GATEWAY, device="eth0", source=V4, metric=9))
    kernel.replace_route(Route(7600, Prefix(NETWORK, 24), device="eth0"))
    kernel.remove_route(Route(7600, Prefix(NETWORK, 24), "throw"))
    kernel.add_route(Route(MAIN, Prefix(V6, 128), device="eth0", metric=1024))
    every = {"family": socket.AF_INET, "table": 7600, "proto": 76}
    network = {**every, "dst": "192.0.2.0", "dst_len": 24}
    assert fake.requests == [
        (
            "route",
            "add",
            {
                **every,
                "dst": "0.0.0.0",
                "dst_len": 0,
                "type": 1,
                "gateway": "198.51.100.1",
                "oif": 2,
                "prefsrc": "198.51.100.21",
                "priority": 9,
            },
        ),
        ("route", "replace", {**network, "type": 1, "oif": 2, "scope": 253}),
        ("route", "del", {**network, "type": 9, "scope": 255}),
        (
            "route",
            "add",
            {
                "family": socket.AF_INET6,
                "table": MAIN,
                "proto": 76,
                "dst": "2001:db8::21",
                "dst_len": 128,
                "type": 1,
                "oif": 2,
                "priority": 1024,
            },
        ),
    ]


@pytest.mark.parametrize(
    ("kind", "attributes", "hop"),
    [
        (1, (number(4, 2),), Hop(False, True, "eth0")),
        (1, (number(4, 2), attribute(5, GATEWAY)), Hop(False, False, "eth0")),
        (2, (number(4, 1),), Hop(True, False, "")),
    ],
)
def test_the_way_to_an_address(fake: FakeIPRoute, kernel: RouteKernel, kind: int, attributes: Any, hop: Hop) -> None:
    fake.answer = [route_message(socket.AF_INET, 32, 0, kind, *attributes)]
    assert kernel.hop(GATEWAY, "") == hop
    assert fake.requests == [("route", "get", {"family": socket.AF_INET, "dst": "198.51.100.1"})]
    kernel.hop(GATEWAY6, "eth0")
    assert fake.requests[1][2] == {"family": socket.AF_INET6, "dst": "2001:db8::1", "oif": 2}
    fake.error = errno.ENETUNREACH
    assert kernel.hop(GATEWAY, "") is None


def test_without_the_capability(fake: FakeIPRoute, kernel: RouteKernel) -> None:
    fake.error = errno.EPERM
    with pytest.raises(Forbidden, match="changing rules needs CAP_NET_ADMIN"):
        kernel.add_rule(EVERYTHING)
