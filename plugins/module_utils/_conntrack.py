# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The connections that conntrack knows (linux/netfilter/nfnetlink_conntrack.h), through pyroute2 from 0.7.2 on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple, Optional

from ._errors import Forbidden, KernelRefused, Unavailable
from ._model import AF_INET, ServiceKey
from ._rtnl import MISSING, packed_address
from ._values import show_address

_EPERM, _ENOENT = 1, 2


class Flow(NamedTuple):
    """One direction of a connection. Addresses are packed, the ports of a protocol without any are 0."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    protocol: int


class Connection(NamedTuple):
    """A connection: its packets as they came, and its answers as they are expected."""

    original: Flow
    reply: Flow


def is_untranslated(connection: Connection, service: ServiceKey) -> bool:
    """Whether this is a connection to the service whose answers are expected from the service's own address. Once IPVS
    has translated the first packet they are expected from the server (``ip_vs_update_conntrack`` in ip_vs_nfct.c).
    """
    original = connection.original
    return (
        original.protocol == service.protocol
        and original.destination == service.address == connection.reply.source
        and service.port in (0, original.destination_port)
    )


class Conntrack:
    """The connections of one family in the current network namespace.

    :raises Unavailable: pyroute2 is missing.
    """

    def __init__(self, family: int) -> None:
        try:
            from pyroute2 import NFCTSocket
            from pyroute2.netlink.exceptions import NetlinkError
            from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple
        except ImportError:
            raise Unavailable(MISSING) from None
        self._family = family
        self._error = NetlinkError
        self._tuple = NFCTAttrTuple
        self._socket = NFCTSocket(nfgen_family=family)

    def __enter__(self) -> Conntrack:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._socket.close()

    def to(self, address: bytes) -> list[Connection]:
        """The connections to an address. A kernel before 5.8 does not look at the address and tells all there are.

        :raises Forbidden: the process lacks CAP_NET_ADMIN.
        :raises KernelRefused: the kernel says no.
        """
        wanted = self._tuple(family=self._family, daddr=show_address(address))
        try:
            return [self._connection(message) for message in self._socket.dump(tuple_orig=wanted)]
        except self._error as error:
            raise _refusal(error.code) from None

    def forget(self, connection: Connection) -> None:
        """Delete a connection; its next packet makes it a new one. It may be gone already.

        :raises Forbidden: the process lacks CAP_NET_ADMIN.
        :raises KernelRefused: the kernel says no.
        """
        original = connection.original
        named = self._tuple(
            family=self._family,
            saddr=show_address(original.source),
            daddr=show_address(original.destination),
            proto=original.protocol,
            sport=original.source_port,
            dport=original.destination_port,
        )
        try:
            self._socket.entry("del", tuple_orig=named)
        except self._error as error:
            if error.code != _ENOENT:
                raise _refusal(error.code) from None

    def _connection(self, message: Any) -> Connection:
        return Connection(*(self._flow(message.get_attr(name)) for name in ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY")))

    def _flow(self, told: Any) -> Flow:
        prefix = "CTA_IP_V4" if self._family == AF_INET else "CTA_IP_V6"
        addresses, protocol = told.get_attr("CTA_TUPLE_IP"), told.get_attr("CTA_TUPLE_PROTO")
        return Flow(
            packed_address(addresses.get_attr(f"{prefix}_SRC")),
            protocol.get_attr("CTA_PROTO_SRC_PORT") or 0,
            packed_address(addresses.get_attr(f"{prefix}_DST")),
            protocol.get_attr("CTA_PROTO_DST_PORT") or 0,
            protocol.get_attr("CTA_PROTO_NUM"),
        )


def _refusal(number: int) -> Exception:
    if number == _EPERM:
        return Forbidden("reading and forgetting connections needs CAP_NET_ADMIN; run the task with become")
    return KernelRefused(f"conntrack: {os.strerror(number)}", number)


def forget_untranslated(services: Iterable[ServiceKey], check_mode: bool) -> int:
    """Forget the connections to services that are tracked and not translated -> how many there were. Those to a service
    by firewall mark cannot be told from others: nothing is known of where they go.

    :raises IpvsError: what :class:`Conntrack` raises.
    """
    addressed = [service for service in services if not service.fwmark]
    count = 0
    for family in sorted({service.family for service in addressed}):
        with Conntrack(family) as conntrack:
            for address in sorted({service.address for service in addressed if service.family == family}):
                here = [service for service in addressed if service.address == address]
                for connection in conntrack.to(address):
                    if any(is_untranslated(connection, service) for service in here):
                        count += 1
                        if not check_mode:
                            conntrack.forget(connection)
    return count
