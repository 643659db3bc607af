# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Routing rules and routes as immutable values, and the kernel that holds them."""

from __future__ import annotations

import errno
import socket
from typing import Any, NamedTuple, Optional

from ._errors import KernelRefused
from ._rtnl import PROTOCOL, SCOPES, Rtnl, packed_address
from ._values import show_address

MAIN = 254  # linux/rtnetlink.h, RT_TABLE_MAIN
FULL_MASK = 0xFFFFFFFF
#: The metric that the kernel gives an IPv6 route without one (IP6_RT_PRIO_USER, linux/ipv6_route.h).
IPV6_METRIC = 1024
#: linux/rtnetlink.h, RTN_*.
TYPES = {1: "unicast", 2: "local", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}
_NUMBERS = {word: number for number, word in TYPES.items()}
_FAMILIES = {4: int(socket.AF_INET), 16: int(socket.AF_INET6)}
_CLONED = 0x200  # RTM_F_CLONED: what the kernel has learned, not a route
_NOWHERE = 255  # RT_SCOPE_NOWHERE: of any scope
_TO_TABLE = 1  # linux/fib_rules.h, FR_ACT_TO_TBL
_INVERT = 0x2  # linux/fib_rules.h, FIB_RULE_INVERT
#: What of a foreign rule says that it selects by something that a Rule does not hold.
_OTHER_SELECTORS = ("FRA_OIFNAME", "FRA_TUN_ID", "FRA_L3MDEV", "FRA_UID_RANGE")


class Prefix(NamedTuple):
    """A network: its packed address and the length of its prefix."""

    address: bytes
    length: int

    def __str__(self) -> str:
        shown = show_address(self.address)
        if not self.length:
            return "default"
        return shown if self.length == len(self.address) * 8 else f"{shown}/{self.length}"

    def holds(self, address: bytes) -> bool:
        """Whether the packed address is of the network."""
        if len(address) != len(self.address):
            return False
        shift = len(address) * 8 - self.length
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.address, "big") >> shift


class Rule(NamedTuple):
    """A routing rule that looks up a table. ``length`` is that of the addresses of its family (4 or 16),
    ``ip_protocol`` is 0 for any, ports are the first and the last of a range; ``exact`` is false where a foreign rule
    also depends on what is not told here.
    """

    length: int
    priority: int
    table: int
    source: Optional[Prefix] = None
    destination: Optional[Prefix] = None
    iif: str = ""
    ip_protocol: int = 0
    source_port: Optional[tuple[int, int]] = None
    destination_port: Optional[tuple[int, int]] = None
    fwmark: int = 0
    fwmask: int = FULL_MASK
    protocol: int = PROTOCOL
    exact: bool = True

    @property
    def ours(self) -> bool:
        return self.protocol == PROTOCOL


class Route(NamedTuple):
    """A route. ``via`` and ``source`` are packed addresses, b"" for none; ``device`` is "" for any in a wish;
    ``exact`` is false where a foreign route also depends on what is not told here.
    """

    table: int
    to: Prefix
    type: str = "unicast"
    via: bytes = b""
    device: str = ""
    source: bytes = b""
    metric: int = 0
    protocol: int = PROTOCOL
    exact: bool = True

    @property
    def ours(self) -> bool:
        return self.protocol == PROTOCOL

    @property
    def length(self) -> int:
        return len(self.to.address)

    @property
    def key(self) -> tuple[int, Prefix, int]:
        """By what the kernel tells routes apart."""
        return self.table, self.to, self.metric


class Hop(NamedTuple):
    """How the host reaches an address: ``local`` if it is its own, ``direct`` if it is a neighbour, on ``device``."""

    local: bool
    direct: bool
    device: str


class RouteKernel(Rtnl):
    """The rules and routes of the current network namespace. :meth:`links` must have been called."""

    def rules(self) -> list[Rule]:
        """Every rule of both families."""
        return [_rule(message) for family in _FAMILIES.values() for message in self._dump("get_rules", family)]

    def routes(self) -> list[Route]:
        """Every route of both families, in every table."""
        messages = [message for family in _FAMILIES.values() for message in self._dump("get_routes", family)]
        return [_route(message, self._names) for message in messages if not message["flags"] & _CLONED]

    def hop(self, address: bytes, device: str) -> Optional[Hop]:
        """The way to an address (by the device, unless that is ""); ``None`` without one."""
        wish: dict[str, Any] = {"family": _FAMILIES[len(address)], "dst": show_address(address)}
        if device:
            wish["oif"] = self._numbers[device]
        try:
            (message,) = self._request("route", "get", **wish)
        except KernelRefused:
            return None
        device = self._names.get(message.get_attr("RTA_OIF"), "")
        direct = message["type"] == _NUMBERS["unicast"] and message.get_attr("RTA_GATEWAY") is None
        return Hop(message["type"] == _NUMBERS["local"], direct and message.get_attr("RTA_VIA") is None, device)

    def add_rule(self, rule: Rule) -> None:
        """Add the rule, marked as ours.

        :raises KernelRefused: errno EEXIST: it is there.
        """
        self._request("rule", "add", **_rule_wish(rule))

    def remove_rule(self, rule: Rule) -> None:
        """Remove the rule.

        :raises KernelRefused: errno ENOENT: it is not there.
        """
        self._request("rule", "del", **_rule_wish(rule))

    def add_route(self, route: Route) -> None:
        """Add the route, marked as ours.

        :raises KernelRefused: errno EEXIST: there is one with its key.
        """
        self._request("route", "add", **self._route_wish(route))

    def replace_route(self, route: Route) -> None:
        """Put the route in the place of the one with its key."""
        self._request("route", "replace", **self._route_wish(route))

    def remove_route(self, route: Route) -> None:
        """Remove the route, if it is ours.

        :raises KernelRefused: errno ESRCH: it is not there.
        """
        self._request("route", "del", **{**self._route_wish(route), "scope": _NOWHERE})

    def _dump(self, what: str, family: int) -> list[Any]:
        try:
            return list(getattr(self._socket, what)(family=family))
        except self._error as error:
            # a host without IPv6
            if error.code in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                return []
            raise KernelRefused(f"{what}: {error}", error.code) from None

    def _route_wish(self, route: Route) -> dict[str, Any]:
        wish: dict[str, Any] = {
            "family": _FAMILIES[route.length],
            "table": route.table,
            "dst": show_address(route.to.address),
            "dst_len": route.to.length,
            "type": _NUMBERS[route.type],
            "proto": PROTOCOL,
        }
        if route.metric:
            wish["priority"] = route.metric
        if route.via:
            wish["gateway"] = show_address(route.via)
        elif route.type == "unicast" and route.length == 4:
            wish["scope"] = SCOPES["link"]
        if route.device:
            wish["oif"] = self._numbers[route.device]
        if route.source:
            wish["prefsrc"] = show_address(route.source)
        return wish


class _Ports(str):
    """A range of ports as pyroute2 takes it. 0.5 packs the halves without making numbers of them."""

    __slots__ = ()

    def split(self, *separator: Any) -> list[Any]:
        return [int(half) for half in super().split(*separator)]


def _rule_wish(rule: Rule) -> dict[str, Any]:
    wish: dict[str, Any] = {
        "family": _FAMILIES[rule.length],
        "table": rule.table,
        "priority": rule.priority,
        "protocol": PROTOCOL,
        "action": _TO_TABLE,
    }
    for word, prefix in (("src", rule.source), ("dst", rule.destination)):
        if prefix is not None:
            wish.update({word: show_address(prefix.address), f"{word}_len": prefix.length})
    for word, ports in (("sport_range", rule.source_port), ("dport_range", rule.destination_port)):
        if ports is not None:
            wish[word] = _Ports(f"{ports[0]}:{ports[1]}")
    if rule.iif:
        wish["iifname"] = rule.iif
    if rule.ip_protocol:
        wish["ip_proto"] = rule.ip_protocol
    if rule.fwmark:
        wish.update(fwmark=rule.fwmark, fwmask=rule.fwmask)
    return wish


def _prefix(written: Optional[str], length: int) -> Optional[Prefix]:
    return Prefix(packed_address(written), length) if written and length else None


def _ports(written: Optional[str]) -> Optional[tuple[int, int]]:
    if not written:
        return None
    first, dummy, last = written.partition(":")
    return int(first), int(last)


def _rule(message: Any) -> Rule:
    other = message["action"] != _TO_TABLE or message["flags"] & _INVERT or message["tos"]
    mark = message.get_attr("FRA_FWMARK") or 0
    mask = message.get_attr("FRA_FWMASK")
    return Rule(
        length=4 if message["family"] == socket.AF_INET else 16,
        priority=message.get_attr("FRA_PRIORITY") or 0,
        table=message.get_attr("FRA_TABLE") or message["table"],
        source=_prefix(message.get_attr("FRA_SRC"), message["src_len"]),
        destination=_prefix(message.get_attr("FRA_DST"), message["dst_len"]),
        iif=message.get_attr("FRA_IIFNAME") or "",
        ip_protocol=message.get_attr("FRA_IP_PROTO") or 0,
        source_port=_ports(message.get_attr("FRA_SPORT_RANGE")),
        destination_port=_ports(message.get_attr("FRA_DPORT_RANGE")),
        fwmark=mark,
        fwmask=FULL_MASK if mask is None or not mark else mask,
        protocol=message.get_attr("FRA_PROTOCOL") or 0,
        exact=not other and all(message.get_attr(name) is None for name in _OTHER_SELECTORS),
    )


def _route(message: Any, names: dict[int, str]) -> Route:
    length = 4 if message["family"] == socket.AF_INET else 16
    kind = TYPES.get(message["type"], str(message["type"]))
    to = message.get_attr("RTA_DST")
    via, source = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_PREFSRC")
    return Route(
        table=message.get_attr("RTA_TABLE") or message["table"],
        to=Prefix(packed_address(to) if to else b"\0" * length, message["dst_len"]),
        type=kind,
        via=packed_address(via) if via else b"",
        # the kernel shows lo for an IPv6 route that leads nowhere
        device=names.get(message.get_attr("RTA_OIF"), "") if kind == "unicast" else "",
        source=packed_address(source) if source else b"",
        metric=message.get_attr("RTA_PRIORITY") or 0,
        protocol=message["proto"],
        exact=not message["tos"] and all(message.get_attr(name) is None for name in ("RTA_MULTIPATH", "RTA_VIA")),
    )
