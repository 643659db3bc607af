# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the reading of a host, as ``l4lb.ipvs.ipvs_host_info`` returns it, tells directors and backends alike: which
networks it is in, and how what would break the services is told.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from ..module_utils import _sysctl
from ..module_utils._errors import Findings

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Network(NamedTuple):
    """One address of an interface with the network it is in; ``quiet`` as a backend has its VIPs."""

    interface: str
    address: Address
    network: Any
    quiet: bool = False

    @property
    def host_only(self) -> bool:
        return bool(self.network.prefixlen == self.network.max_prefixlen)


def networks(interfaces: Sequence[Mapping[str, Any]]) -> list[Network]:
    """The addresses of all interfaces, in their order."""
    found = []
    for interface in interfaces:
        for one in interface["addresses"]:
            parsed = ipaddress.ip_interface(f"{one['address']}/{one['prefix']}")
            found.append(Network(interface["name"], parsed.ip, parsed.network, one.get("quiet", False)))
    return found


def ip(packed: bytes) -> Address:
    """A packed address as an object of ``ipaddress``."""
    return ipaddress.ip_address(packed)


def on_link(address: Address, found: Sequence[Network]) -> list[str]:
    """The interfaces whose network is the narrowest that contains the address."""
    holding = [
        one
        for one in found
        if one.network.version == address.version
        and address in one.network
        and not one.host_only
        and one.interface != "lo"
    ]
    longest = max((one.network.prefixlen for one in holding), default=0)
    return sorted({one.interface for one in holding if one.network.prefixlen == longest})


def egress(address: Address, found: Sequence[Network]) -> Optional[str]:
    """The interface through which a neighbour is reached; None where there is none, or more than one."""
    names = on_link(address, found)
    return names[0] if len(names) == 1 else None


def setting(family: int, interface: str, name: str) -> str:
    """The name of an interface's sysctl; ``family`` is 4 or 6. sysctl.d(5): a dot in an interface's name is written as
    a slash.
    """
    return f"net.ipv{family}.conf.{interface.replace('.', '/')}.{name}"


def own_sysctls(values: object, option: str, findings: Findings) -> dict[str, Union[int, str]]:
    """The sysctls of the user's ``option``, as ``ipvs_sysctl`` takes them."""
    return {one.name: one.value for one in _sysctl.parse_settings({} if values is None else values, findings, option)}


class Danger(NamedTuple):
    """Something that would break the services or the host; ``allowance`` is the word that accepts it, or None."""

    text: str
    allowance: Optional[str] = None


def check_allowances(allow: Sequence[str], known: Sequence[str], findings: Findings) -> None:
    """Every word in ``allow`` must be ``known``."""
    if not isinstance(allow, (list, tuple)):
        findings.problem("allow", "must be a list", allow)
        return
    for i, word in enumerate(allow):
        if word not in known:
            findings.problem(f"allow[{i}]", f"must be one of {', '.join(known)}", word)


def judge(dangers: Sequence[Danger], allow: Sequence[str], option: str) -> dict[str, list[str]]:
    """``problems``, each with the word that would accept it in the variable ``option``, and as ``warnings`` what is
    accepted.
    """
    return {
        "problems": [
            danger.text + (f" (to accept it, name {danger.allowance} in {option})" if danger.allowance else "")
            for danger in dangers
            if danger.allowance not in allow
        ],
        "warnings": [danger.text for danger in dangers if danger.allowance in allow],
    }
