# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What a backend needs for the services that it is a server of: pure, from the services of the inventory and one
reading of the host. Nothing here needs another host.

The host is what ``l4lb.ipvs.ipvs_host_info`` returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..module_utils import _model, _values
from ..module_utils._errors import BadValue, Findings
from ..module_utils._model import AF_INET, FORWARDS, Server, ServiceKey
from ._reading import Danger, Network, check_allowances, ip, judge, networks, setting
from ._resolve import Resolved, one_of_each_family

#: What a user may decide to live with, by the word that says so.
ALLOWANCES = ("arp", "localnode")
ALLOW_OPTION = "ipvs_backend_allow"
LOOPBACK = "lo"
#: The only kind of interface besides the loopback that no other host asks for addresses.
QUIET_KIND = "dummy"
#: Answer ARP only for addresses of the interface asked, and ask with an address of the interface asked through
#: (ip-sysctl.rst). The kernel takes the larger of all's and the interface's value.
ARP = {"arp_ignore": 1, "arp_announce": 2}
#: The values of arp_ignore that keep a backend from answering for a VIP with scope host on another interface.
SILENT = (1, 2, 3, 8)


class Duty(NamedTuple):
    """One server of a service that this host is. ``return_path`` is that of a NAT server, else None; ``return_via`` are
    the addresses of the director that the service names, by their length in bytes.
    """

    service: ServiceKey
    server: Server
    return_path: Optional[str]
    return_via: Mapping[int, str]


def backend_plan(
    resolved: Sequence[Resolved],
    host: Mapping[str, Any],
    addresses: Sequence[object] = (),
    vip_interface: str = LOOPBACK,
    return_via: Sequence[object] = (),
    sysctls: Optional[Mapping[str, Any]] = None,
    allow: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that a backend needs.
    -> ``services`` (what it is a server of, one line each), ``sysctls`` (key to value; ``sysctls`` of the caller win),
    ``vips`` (as ``ipvs_vip`` takes them), ``interfaces`` (where VIPs of a backend may be), ``missing_tools``, ``stale``
    (one line for each thing that is there and not needed), ``unmet`` (what is needed and not there), ``problems`` and
    ``warnings`` (sentences).

        :raises InvalidInput: an option breaks a rule.
    """
    findings = Findings()
    check_allowances(allow, ALLOWANCES, findings)
    own = _own_addresses(addresses, host, vip_interface, findings)
    vias = one_of_each_family(return_via, "ipvs_backend_return_via", findings)
    findings.raise_problems()
    duties = _duties(resolved, own, vias)
    found = networks(host["interfaces"])
    vips = _vips(duties, vip_interface)
    interfaces = sorted({LOOPBACK, vip_interface})
    wanted = {**_sysctls(duties, vips, host, found), **(sysctls or {})}
    dangers = _dangers(duties, vips, interfaces, wanted, host, found, vip_interface)
    held = {vip["address"] for vip in vips if _holders(vip["address"], interfaces, found)}
    vips = [vip for vip in vips if vip["address"] not in held]
    return {
        "services": [_model.server_line(duty.service, duty.server) for duty in duties],
        "sysctls": wanted,
        "vips": vips,
        "interfaces": interfaces,
        "missing_tools": [tool for tool in (["pyroute2"] if vips else []) if not host["tools"][tool]],
        "stale": _stale(vips, interfaces, found),
        "unmet": _unmet(vips, wanted, host, found),
        **judge(dangers, allow, ALLOW_OPTION),
    }


# what the host is


def _own_addresses(
    written: Sequence[object], host: Mapping[str, Any], vip_interface: str, findings: Findings
) -> frozenset[bytes]:
    """The addresses by which services name this host: those ``written``, else all of its own outside the places where
    VIPs are.
    """
    addresses = list(_values.records(written, "ipvs_backend_addresses", findings, _model.MAX_SERVERS))
    if not addresses:
        return frozenset(
            one.address.packed for one in networks(host["interfaces"]) if one.interface not in (LOOPBACK, vip_interface)
        )
    packed = set()
    for i, address in enumerate(addresses):
        try:
            packed.add(_values.unicast(address))
        except BadValue as error:
            findings.problem(f"ipvs_backend_addresses[{i}]", str(error), address)
    return frozenset(packed)


def _duties(resolved: Sequence[Resolved], own: frozenset[bytes], vias: Mapping[int, str]) -> list[Duty]:
    duties = []
    for one in resolved:
        told = one_of_each_family(one.return_via, "return_via", Findings()) if one.return_via is not None else vias
        for key, server in sorted(one.entry.servers.items()):
            if key.address in own:
                duties.append(Duty(one.entry.service.key, server, one.return_paths.get(key), told))
    return duties


# needs


def _vips(duties: Sequence[Duty], interface: str) -> list[dict[str, Any]]:
    """The VIPs that the host must take packets for, never as a wider network: it would answer for all of that."""
    packed = {duty.service.address for duty in duties if duty.server.forward == FORWARDS["dr"]} - {b""}
    return [_vip(ip(address), interface) for address in sorted(packed, key=lambda one: (len(one), one))]


def _vip(address: Any, interface: str) -> dict[str, Any]:
    vip = {"address": str(address), "prefix": address.max_prefixlen, "interface": interface}
    # never a source address of the host's own connections, and never announced
    quiet = {"scope": "host"} if address.version == 4 else {"nodad": True, "preferred_lifetime": 0}
    return {**vip, **quiet}


def _sysctls(
    duties: Sequence[Duty], vips: Sequence[Mapping[str, Any]], host: Mapping[str, Any], found: Sequence[Network]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if any(":" not in vip["address"] for vip in vips):
        for interface in ["all", *_interfaces(duties, found, AF_INET)]:
            values.update({setting(4, interface, name): value for name, value in ARP.items()})
    return values


def _interfaces(duties: Sequence[Duty], found: Sequence[Network], family: int) -> list[str]:
    """The interfaces through which the director reaches this host."""
    addresses = {ip(duty.server.key.address) for duty in duties if duty.server.key.family == family}
    return sorted({one.interface for one in found if one.address in addresses})


# dangers


def _dangers(
    duties: Sequence[Duty],
    vips: Sequence[Mapping[str, Any]],
    interfaces: Sequence[str],
    sysctls: Mapping[str, Any],
    host: Mapping[str, Any],
    found: Sequence[Network],
    vip_interface: str,
) -> list[Danger]:
    dangers = []
    kinds = {one["name"]: one["kind"] for one in host["interfaces"]}
    if vips and vip_interface != LOOPBACK and kinds.get(vip_interface) != QUIET_KIND:
        what = f"is no {QUIET_KIND} interface" if vip_interface in kinds else "is no interface of this host"
        dangers.append(Danger(f"ipvs_backend_vip_interface {what} (got {vip_interface!r})"))
    for vip in vips:
        where = _holders(vip["address"], interfaces, found)
        if where:
            text = f"the VIP {vip['address']} is on {', '.join(where)}: this host is a director of the service itself"
            dangers.append(Danger(text, "localnode"))
    if any(":" not in vip["address"] for vip in vips):
        for interface, name, value in _loud(sysctls, host):
            text = f"ipvs_backend_sysctls leaves {name} at {value} on {interface}: this host would answer for the VIPs"
            dangers.append(Danger(text, "arp"))
    return dangers


def _holders(address: str, interfaces: Sequence[str], found: Sequence[Network]) -> list[str]:
    """Interfaces that have a VIP and are no place for VIPs of a backend."""
    return sorted({one.interface for one in found if str(one.address) == address and one.interface not in interfaces})


def _loud(sysctls: Mapping[str, Any], host: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The interfaces whose effective ARP sysctl lets a VIP be heard of, with its name and value."""
    live = host["sysctls"]
    loud = []
    for interface in sorted(one["name"] for one in host["interfaces"] if one["name"] != LOOPBACK):
        for name, needed in ARP.items():
            keys = [setting(4, where, name) for where in ("all", interface)]
            value = max(int(sysctls.get(key, live.get(key, 0))) for key in keys)
            if value < needed:
                loud.append((interface, name, value))
    return loud


# the difference


def _stale(vips: Sequence[Mapping[str, Any]], interfaces: Sequence[str], found: Sequence[Network]) -> list[str]:
    """Addresses that an earlier run may have made and that no service needs; who made them is the module's to tell."""
    wanted = {(vip["address"], vip["interface"]) for vip in vips}
    return [
        f"{one.address}/{one.network.prefixlen} dev {one.interface}"
        for one in found
        if one.interface in interfaces
        and one.host_only
        and not one.address.is_loopback
        and (str(one.address), one.interface) not in wanted
    ]


def _unmet(
    vips: Sequence[Mapping[str, Any]], sysctls: Mapping[str, Any], host: Mapping[str, Any], found: Sequence[Network]
) -> list[str]:
    live = {(str(one.address), one.interface) for one in found}
    unmet = [
        f"the VIP {vip['address']} is not on {vip['interface']}"
        for vip in vips
        if (vip["address"], vip["interface"]) not in live
    ]
    if any(":" not in vip["address"] for vip in vips):
        unmet += [f"{name} is {value} on {interface}" for interface, name, value in _loud({}, host)]
    return unmet
