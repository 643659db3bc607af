# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Tunnel and dummy devices as immutable values, and the kernel that holds them."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple, Optional

from ._rtnl import IFF_UP, Rtnl, packed_address
from ._values import show_address

GRE_CSUM = 0x8000  # linux/if_tunnel.h
#: The kinds whose attributes pyroute2 calls IFLA_<KIND>_LOCAL and so on.
KINDS = frozenset(("ipip", "sit", "ip6tnl", "gre", "ip6gre"))


class Device(NamedTuple):
    """An interface; what it has of a tunnel is empty for those that are none. ``local`` and ``remote`` are packed
    addresses (b"" for any), ``protocol`` is the inner one (0: any; ``None``: the kind has no such option),
    ``checksum`` tells whether packets must carry GRE's own.
    """

    name: str
    kind: str = ""
    local: bytes = b""
    remote: bytes = b""
    protocol: Optional[int] = None
    checksum: bool = False
    alias: str = ""
    up: bool = False


class TunnelKernel(Rtnl):
    """The interfaces of the current network namespace, and their making."""

    def devices(self) -> dict[str, Device]:
        """Every interface, by name."""
        found = (_device(message) for message in self._socket.get_links())
        return {device.name: device for device in found}

    def add_device(self, device: Device) -> None:
        """Make the device, mark it and set it up; on failure there is none.

        :raises KernelRefused: errno EEXIST: one has the name or these ends; EOPNOTSUPP: the kernel has no such kind.
        """
        kind = device.kind
        data: dict[str, Any] = {}
        if device.local:
            data[f"{kind}_local"] = show_address(device.local)
        if device.remote:
            data[f"{kind}_remote"] = show_address(device.remote)
        if device.protocol is not None:
            data[f"{kind}_proto"] = device.protocol
        if device.checksum:
            data[f"{kind}_iflags"] = _gre_flags(kind, GRE_CSUM)
        self._request("link", "add", ifname=device.name, kind=kind, **data)
        try:
            # the kernel takes no alias with the request that makes a device
            self.set_device(device)
        except BaseException:
            self.remove_device(device)
            raise

    def set_device(self, device: Device) -> None:
        """Set the alias and the state of the device."""
        self._request("link", "set", index=self._index(device), ifalias=device.alias, state="up")

    def remove_device(self, device: Device) -> None:
        """Remove the device with its addresses.

        :raises KernelRefused: errno ENODEV: it is not there.
        """
        self._request("link", "del", index=self._index(device))

    @staticmethod
    def _index(device: Device) -> int:
        try:
            return socket.if_nametoindex(device.name)
        except OSError:
            return 0


def _gre_flags(kind: str, flags: int) -> int:
    # pyroute2 swaps the bytes of gre's and leaves those of ip6gre as they are
    return socket.htons(flags) if kind == "ip6gre" else flags


def _device(message: Any) -> Device:
    info = message.get_attr("IFLA_LINKINFO")
    kind = str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""
    device = Device(
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        alias=message.get_attr("IFLA_IFALIAS") or "",
        up=bool(message["flags"] & IFF_UP),
    )
    data = info.get_attr("IFLA_INFO_DATA") if kind in KINDS else None
    if data is None:
        return device
    prefix = f"IFLA_{kind.upper()}_"
    gre = kind.endswith("gre")
    flags = _gre_flags(kind, data.get_attr(f"{prefix}IFLAGS") or 0) if gre else 0
    return device._replace(
        local=_end(data.get_attr(f"{prefix}LOCAL")),
        remote=_end(data.get_attr(f"{prefix}REMOTE")),
        protocol=None if gre else data.get_attr(f"{prefix}PROTO") or 0,
        checksum=bool(flags & GRE_CSUM),
    )


def _end(written: Optional[str]) -> bytes:
    packed = packed_address(written) if written else b""
    return packed if any(packed) else b""
