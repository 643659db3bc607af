# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Links and addresses as immutable values, and the kernel that holds them: the only file that imports pyroute2. It
works with every pyroute2 from 0.5.14 (EPEL 9) on, which is why it stays with ``IPRoute.addr`` and
``get_links``: what lies below them changed between the versions.
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import os
import socket
import sys
from types import TracebackType
from typing import Any, NamedTuple, Optional

from ._errors import Forbidden, KernelRefused, Unavailable

#: What marks an address, rule or route as made by this collection (IFA_PROTO, FRA_PROTOCOL, rtm_protocol): 76 is taken
#: neither in linux/rtnetlink.h nor in iproute2's rt_protos and rt_addrprotos.
PROTOCOL = 76
#: A lifetime without end (INFINITY_LIFE_TIME, linux/addrconf.h).
FOREVER = 0xFFFFFFFF
#: linux/rtnetlink.h, enum rt_scope_t.
SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}

# linux/if.h
IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_RUNNING = 0x40
IFF_NOARP = 0x80
ARPHRD_ETHER = 1  # linux/if_arp.h

# linux/if_addr.h
IFA_F_SECONDARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40
IFA_F_NOPREFIXROUTE = 0x200

#: Attributes that pyroute2 0.7.2 does not know yet, by their numbers (linux/if_addr.h).
_IFA_ATTRIBUTES = {9: ("IFA_RT_PRIORITY", "uint32"), 10: ("IFA_TARGET_NETNSID", "int32"), 11: ("IFA_PROTO", "uint8")}

_CHANGES = {
    "addr": "changing addresses",
    "link": "changing links",
    "rule": "changing rules",
    "route": "changing routes",
}

#: The message types of removals (linux/rtnetlink.h, RTM_DEL*), and NLM_F_REQUEST | NLM_F_ACK. Before 0.7, pyroute2 adds
#: NLM_F_EXCL to them, which means NLM_F_BULK to newer kernels: most removals are then refused.
_REMOVALS = {"addr": (21, 0x5), "link": (17, 0x5), "rule": (33, 0x5), "route": (25, 0x5)}

_INSTALL = "install the package python3-pyroute2 (Debian, Ubuntu, Fedora, RHEL with EPEL)"
#: Where distributions and administrators install the libraries of every Python.
LIBRARIES = ("/usr/lib*/python3*/*-packages", "/usr/local/lib*/python3*/*-packages")


class Link(NamedTuple):
    """A network interface. ``kind`` is that of ``ip link add type`` ("" for hardware), ``master_kind`` that of the
    interface it belongs to ("" for none), ``mac`` its link-layer address.
    """

    number: int
    name: str
    flags: int = IFF_UP | IFF_RUNNING
    hardware: int = ARPHRD_ETHER
    kind: str = ""
    mac: bytes = b""
    master: str = ""
    master_kind: str = ""

    @property
    def loopback(self) -> bool:
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def running(self) -> bool:
        """Up and with a carrier."""
        return self.up and bool(self.flags & IFF_RUNNING)

    @property
    def on_segment(self) -> bool:
        """Whether other hosts ask here for addresses, by ARP or neighbour discovery."""
        return self.hardware == ARPHRD_ETHER and not self.flags & (IFF_LOOPBACK | IFF_NOARP) and self.kind != "dummy"


class Address(NamedTuple):
    """An address on an interface. ``address`` and ``broadcast`` are packed (4 or 16 bytes in network order),
    ``preferred_lifetime`` is in seconds (:data:`FOREVER`; 0: deprecated, not chosen as a source), ``label`` is "" where
    it is the interface's name, ``flags`` are the kernel's own (IFA_F_*), 0 for a wish.
    """

    address: bytes
    interface: str
    prefix: int
    scope: str = "global"
    broadcast: bytes = b""
    label: str = ""
    nodad: bool = False
    noprefixroute: bool = False
    preferred_lifetime: int = FOREVER
    protocol: int = PROTOCOL
    flags: int = 0

    @property
    def ours(self) -> bool:
        return self.protocol == PROTOCOL

    @property
    def secondary(self) -> bool:
        """IPv4: it lives as long as the first address of its network does."""
        return len(self.address) == 4 and bool(self.flags & IFA_F_SECONDARY)

    @property
    def tentative(self) -> bool:
        """IPv6: whether another host has it is still being asked."""
        return bool(self.flags & IFA_F_TENTATIVE) and not self.duplicate

    @property
    def duplicate(self) -> bool:
        """IPv6: another host has it."""
        return bool(self.flags & IFA_F_DADFAILED)


class Rtnl:
    """A route netlink socket in the current network namespace.

    :raises Unavailable: pyroute2 is missing.
    """

    def __init__(self) -> None:
        try:
            from pyroute2 import IPRoute

            # 0.6 has all but its front under another name
            home = "pr2modules" if IPRoute.__module__.startswith("pr2modules.") else "pyroute2"
            ifaddrmsg = importlib.import_module(f"{home}.netlink.rtnl.ifaddrmsg").ifaddrmsg
            self._error = importlib.import_module(f"{home}.netlink.exceptions").NetlinkError
        except ImportError as error:
            raise Unavailable(_unusable(error)) from None
        self._old = importlib.util.find_spec("pyroute2.requests") is None
        known = len(ifaddrmsg.nla_map)
        ifaddrmsg.nla_map += tuple(entry for number, entry in _IFA_ATTRIBUTES.items() if number >= known)
        self._socket = IPRoute()
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._socket.close()

    def links(self) -> dict[str, Link]:
        """Every interface, by name."""
        messages = list(self._socket.get_links())
        self._names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in messages}
        self._numbers = {name: index for index, name in self._names.items()}
        kinds = {message["index"]: _kind(message) for message in messages}
        found = {}
        for message in messages:
            master = message.get_attr("IFLA_MASTER")
            name = self._names[message["index"]]
            found[name] = Link(
                number=message["index"],
                name=name,
                flags=message["flags"],
                hardware=message["ifi_type"],
                kind=kinds[message["index"]],
                mac=bytes.fromhex((message.get_attr("IFLA_ADDRESS") or "").replace(":", "")),
                master=self._names.get(master, ""),
                master_kind=kinds.get(master, ""),
            )
        return found

    def addresses(self) -> list[Address]:
        """Every address of every interface that :meth:`links` found."""
        found = (_address(message, self._names) for message in self._socket.get_addr())
        return [address for address in found if address is not None]

    def add(self, address: Address) -> None:
        """Add the address, marked as ours. :meth:`links` must have been called.

        :raises KernelRefused: errno EEXIST: it is there.
        """
        self._write("add", address)

    def replace(self, address: Address) -> None:
        """Change, in place, what the kernel changes of an address (``inet_rtm_newaddr``, ``inet6_addr_modify``)."""
        self._write("replace", address)

    def remove(self, address: Address) -> None:
        """Remove the address.

        :raises KernelRefused: errno EADDRNOTAVAIL: it is not there.
        """
        self._request(
            "addr",
            "del",
            index=self._numbers[address.interface],
            address=_text(address.address),
            prefixlen=address.prefix,
            family=_family(address.address),
        )

    def _write(self, command: str, address: Address) -> None:
        wish: dict[str, Any] = {
            "index": self._numbers[address.interface],
            "address": _text(address.address),
            "prefixlen": address.prefix,
            "family": _family(address.address),
            "scope": SCOPES[address.scope],
            "proto": PROTOCOL,
        }
        if len(address.address) == 4:
            wish["label"] = address.label or address.interface
        if address.broadcast:
            wish["broadcast"] = _text(address.broadcast)
        flags = (IFA_F_NODAD if address.nodad else 0) | (IFA_F_NOPREFIXROUTE if address.noprefixroute else 0)
        if flags:
            wish["flags"] = flags
        # 0.5 wants the kernel's words in cacheinfo, 0.7 plain ones, 0.6 and 0.9 the lifetime beside it; it comes last
        wish["preferred"] = address.preferred_lifetime
        times = {"preferred": address.preferred_lifetime, "valid": FOREVER}
        wish["cacheinfo"] = {**times, **{f"ifa_{word}": seconds for word, seconds in times.items()}}
        self._request("addr", command, **wish)

    def _request(self, what: str, command: str, **wish: Any) -> Any:
        """Ask pyroute2's method ``what`` (addr, link, rule, route).

        :raises Forbidden: the process lacks CAP_NET_ADMIN.
        :raises KernelRefused: the kernel says no.
        """
        asked = _REMOVALS[what] if self._old and command == "del" else command
        try:
            return getattr(self._socket, what)(asked, **wish)
        except self._error as error:
            number = error.code
            if number == 1:  # EPERM
                raise Forbidden(f"{_CHANGES[what]} needs CAP_NET_ADMIN; run the task with become") from None
            raise KernelRefused(os.strerror(number), number) from None


def _unusable(error: ImportError) -> str:
    """Why pyroute2 cannot be imported, and what to do."""
    version = "{}.{}".format(*sys.version_info)
    if importlib.util.find_spec("pyroute2") is not None:
        return f"the Python library pyroute2 cannot be loaded by Python {version} ({sys.executable}): {error}"
    missing = f"the Python library pyroute2 is not installed for the Python that runs this module ({sys.executable})"
    others = sorted(place for pattern in LIBRARIES for place in glob.glob(f"{pattern}/pyroute2"))
    if not others:
        return f"{missing}: {_INSTALL}"
    other = f"but for another one ({', '.join(others)}): name that one in ansible_python_interpreter"
    return f"{missing}, {other}, or {_INSTALL}"


def _family(packed: bytes) -> int:
    return int(socket.AF_INET if len(packed) == 4 else socket.AF_INET6)


def _text(packed: bytes) -> str:
    return socket.inet_ntop(_family(packed), packed)


def packed_address(written: str) -> bytes:
    """The bytes of an address as pyroute2 writes it."""
    return socket.inet_pton(socket.AF_INET6 if ":" in written else socket.AF_INET, written)


def _kind(message: Any) -> str:
    info = message.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""


def _address(message: Any, names: dict[int, str]) -> Optional[Address]:
    interface = names.get(message["index"])
    # on a point-to-point link IFA_ADDRESS is the other end
    written = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    if interface is None or written is None:
        return None
    flags = message.get_attr("IFA_FLAGS")
    flags = message["flags"] if flags is None else flags
    times = message.get_attr("IFA_CACHEINFO") or {"ifa_preferred": FOREVER}
    broadcast = message.get_attr("IFA_BROADCAST")
    label = message.get_attr("IFA_LABEL") or ""
    scopes = {number: word for word, number in SCOPES.items()}
    return Address(
        address=packed_address(written),
        interface=interface,
        prefix=message["prefixlen"],
        scope=scopes.get(message["scope"], str(message["scope"])),
        broadcast=packed_address(broadcast) if broadcast else b"",
        label="" if label == interface else label,
        nodad=bool(flags & IFA_F_NODAD),
        noprefixroute=bool(flags & IFA_F_NOPREFIXROUTE),
        preferred_lifetime=0 if flags & IFA_F_DEPRECATED else times["ifa_preferred"],
        protocol=message.get_attr("IFA_PROTO") or 0,
        flags=flags,
    )
