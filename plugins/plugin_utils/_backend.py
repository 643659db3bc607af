# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What a backend needs for the services that it is a server of: pure, from the services of the inventory and one
reading of the host. Nothing here needs another host.

The host is what ``l4lb.ipvs.ipvs_host_info`` returns.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..module_utils import _model, _text, _values
from ..module_utils._errors import BadValue, Findings
from ..module_utils._model import AF_INET
from ..module_utils._tunnel import DUMMY
from . import _firewall, _returns, _tunnels
from ._duties import Duty, duties_of, interfaces_of
from ._firewall import Ask, Packet
from ._lint import CHECKS, addresses_of, listed
from ._marks import traffic_of
from ._reading import Danger, Network, check_allowances, ip, judge, networks, on_link, own_sysctls, setting
from ._resolve import Inventory, Resolved, carriers, one_of_each_family

#: What a user may decide to live with, by the word that says so.
ALLOWANCES = ("arp", "director_gateway", "gateway", _firewall.ALLOWANCES["input"], "localnode", "management_return")
ALLOW_OPTION = "ipvs_backend_allow"
LOOPBACK = "lo"
#: The only kind of interface besides the loopback that no other host asks for addresses.
QUIET_KIND = DUMMY
#: Answer ARP only for addresses of the interface asked, and ask with an address of the interface asked through
#: (ip-sysctl.rst). The kernel takes the larger of all's and the interface's value.
ARP = {"arp_ignore": 1, "arp_announce": 2}
#: The tables of nftables that a backend may have, by the part of its plan that fills them.
NFT_TABLES = {"clamps": "l4lb_mss", "connections": "l4lb_connmark"}
ETHERNET_MTU = 1500
SYSCTL_FILE = "/etc/sysctl.d/99-zz-l4lb-ipvs-backend.conf"


def backend_plan(
    resolved: Sequence[Resolved],
    inventory: Inventory,
    host: Mapping[str, Any],
    directors: Optional[Sequence[str]] = None,
    addresses: Sequence[object] = (),
    vip_interface: str = LOOPBACK,
    return_via: Sequence[object] = (),
    return_to: Sequence[object] = (),
    return_match: object = "service",
    return_direct: Sequence[object] = (),
    return_macs: Sequence[str] = (),
    sysctls: Optional[Mapping[str, Any]] = None,
    allow: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that a backend needs.
    -> ``services`` (what it is a server of, one line each), ``tunnels``, ``sysctls`` (key to value; ``sysctls`` of the
    caller win), ``vips``, ``policies``, ``connections`` and ``clamps`` (each as the module that makes them takes it),
    ``vip_interfaces`` (where VIPs of a backend may be), ``missing_tools``, ``stale`` (what is there and not needed, by
    its kind), ``unmet`` (what is needed and not there), ``problems`` and ``warnings``, as sentences.

        :raises InvalidInput: an option breaks a rule.
    """
    findings = Findings()
    check_allowances(allow, ALLOWANCES, findings)
    given = own_sysctls(sysctls, "ipvs_backend_sysctls", findings)
    own = _own_addresses(addresses, host, vip_interface, findings)
    vias = one_of_each_family(return_via, "ipvs_backend_return_via", findings)
    told = _returns.parse_settings(return_to, return_direct, return_match, return_macs, findings)
    findings.raise_problems()

    found = networks(host["interfaces"])
    duties = duties_of(resolved, own, vias)
    tunnelled = [duty for duty in duties if duty.forwards("tun")]
    dangers: list[Danger] = []
    vips = _vips(duties, vip_interface)
    places = sorted({LOOPBACK, vip_interface, *(vip["interface"] for vip in vips)} | {*_devices(host, found)})
    tunnels = _tunnels.tunnels(tunnelled, dangers) + _dummy(vips, vip_interface, host)
    wanted = {
        **_quiet(duties, vips, found),
        **_tunnels.filters(tunnelled, vips, given, host, dangers),
        **_unredirected(duties, host["gateways"], found),
        **given,
    }
    dangers += _tunnels.missing_modules(tunnels, host["modules"])
    dangers += _vip_dangers(vips, vip_interface, places, host, found)
    dangers += [] if duties else _director_dangers(resolved, places, found)
    dangers += _arp_dangers(vips, wanted, host)
    dangers += _gateway_dangers(duties, resolved, inventory, directors, host["gateways"])
    dangers += _returns.check(duties, told, host["gateways"], host["connection"])
    asks = [one for duty in duties for one in _received(duty, host, found)] if host["firewall"] else []
    dropped, doubts = _firewall.dangers(host["firewall"], asks, allow)
    verdict = judge(list(dict.fromkeys(dangers + dropped)), allow, ALLOW_OPTION)
    needs: dict[str, Any] = {
        "tunnels": tunnels,
        "sysctls": wanted,
        "vips": [vip for vip in vips if not _holders(vip["address"], places, found)],
        "policies": _returns.policies(duties, told, host["routes"]),
        "connections": _returns.connections(duties, told, _interface_by_address(duties, found), host["routes"]),
        "clamps": _tunnels.clamps(tunnelled, _mtus(tunnelled, host, found)),
    }
    return {
        "services": [_text.server_line(duty.service, duty.server) for duty in duties],
        **needs,
        "vip_interfaces": places,
        "devices": _devices(host, found),
        "missing_tools": [tool for tool in _tools(needs) if not host["tools"][tool]],
        "stale": _stale(needs, places, host, found),
        "unmet": _unmet(needs, host, found, allow),
        "problems": verdict["problems"],
        "warnings": verdict["warnings"] + doubts,
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
        places = {LOOPBACK, vip_interface, *(one["name"] for one in host["interfaces"] if _tunnels.is_ours(one))}
        return frozenset(one.address.packed for one in networks(host["interfaces"]) if one.interface not in places)
    packed = set()
    for i, address in enumerate(addresses):
        try:
            packed.add(_values.unicast(address))
        except BadValue as error:
            findings.problem(f"ipvs_backend_addresses[{i}]", str(error), address)
    return frozenset(packed)


# needs


def _vips(duties: Sequence[Duty], interface: str) -> list[dict[str, Any]]:
    """The VIPs that the host must take packets for, never as a wider network: it would answer for all of that. What
    arrives by a tunnel needs an address on its device, see ``_tunnels.filters``.
    """
    places: dict[bytes, str] = {}
    for duty in duties:
        for vip in duty.vips if duty.forwards("tun") else ():
            places[vip] = min(places.get(vip, "~"), _tunnels.device(duty))
    for duty in duties:
        for vip in duty.vips if duty.forwards("dr") else ():
            places.setdefault(vip, interface)
    return [_vip(ip(packed), places[packed]) for packed in sorted(places, key=lambda one: (len(one), one))]


def _dummy(vips: Sequence[Mapping[str, Any]], name: str, host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The dummy of the VIPs as ``ipvs_tunnel`` takes it, where one is used that nobody else has made."""
    foreign = {LOOPBACK, *(one["name"] for one in host["interfaces"] if not _tunnels.is_ours(one))}
    used = name not in foreign and any(vip["interface"] == name for vip in vips)
    return [{"name": name, "type": QUIET_KIND}] if used else []


def _vip(address: Any, interface: str) -> dict[str, Any]:
    vip = {"address": str(address), "prefix": address.max_prefixlen, "interface": interface}
    # never a source address of the host's own connections, and never announced
    quiet = {"scope": "host"} if address.version == 4 else {"nodad": True, "preferred_lifetime": 0}
    return {**vip, **quiet}


def _quiet(duties: Sequence[Duty], vips: Sequence[Mapping[str, Any]], found: Sequence[Network]) -> dict[str, Any]:
    """The sysctls under which the host holds VIPs and nobody hears of it."""
    if not _has_ipv4(vips):
        return {}
    near = interfaces_of([duty for duty in duties if duty.server.key.family == AF_INET], found)
    return {setting(4, one, name): value for one in ("all", *near) for name, value in ARP.items()}


def _has_ipv4(vips: Sequence[Mapping[str, Any]]) -> bool:
    return any(":" not in vip["address"] for vip in vips)


def _unredirected(
    duties: Sequence[Duty], gateways: Sequence[Mapping[str, Any]], found: Sequence[Network]
) -> dict[str, Any]:
    """Where answers pass a director in the same subnet, it or another router may tell the host a shorter way, past it,
    at the interface of the server or at that to the director. The kernel heeds IPv4 redirects if all's or the
    interface's value says so (IN_DEV_RX_REDIRECTS, for a host that does not forward), IPv6 ones by the interface's
    alone.
    """
    values = {}
    for version, family in ((4, "ipv4"), (6, "ipv6")):
        back = [duty for duty in _returns.returning(duties) if duty.family == family]
        near = sorted({*interfaces_of(back, found), *(one for duty in back for one in _ways(duty, gateways, found))})
        everywhere = ["all"] if near and version == 4 else []
        values.update({setting(version, one, "accept_redirects"): 0 for one in everywhere + near})
    return values


def _ways(duty: Duty, gateways: Sequence[Mapping[str, Any]], found: Sequence[Network]) -> list[str]:
    """The interfaces at which the host reaches the director that answers go by."""
    if duty.via is not None:
        return on_link(ipaddress.ip_address(duty.via), found)
    return [one["interface"] for one in gateways if one["family"] == duty.family]


def _interface_by_address(duties: Sequence[Duty], found: Sequence[Network]) -> dict[str, str]:
    return {duty.address: next(iter(interfaces_of([duty], found)), "") for duty in duties}


def _mtus(duties: Sequence[Duty], host: Mapping[str, Any], found: Sequence[Network]) -> dict[str, int]:
    """The MTUs of the interfaces at which tunnelled packets arrive, by the address of the server."""
    mtus = {one["name"]: one["mtu"] for one in host["interfaces"]}
    return {address: mtus.get(name, ETHERNET_MTU) for address, name in _interface_by_address(duties, found).items()}


def _tools(needs: Mapping[str, Any]) -> list[str]:
    """What the modules that make these things call."""
    tools = ["pyroute2"] if any(needs[part] for part in ("tunnels", "vips", "policies")) else []
    return tools + (["nft"] if any(needs[part] for part in NFT_TABLES) else [])


def _devices(host: Mapping[str, Any], found: Sequence[Network]) -> list[str]:
    """The devices of this collection, but for dummies that hold VIPs of a director: those are not quiet."""
    loud = {one.interface for one in found if not one.quiet}
    return sorted(
        one["name"]
        for one in host["interfaces"]
        if _tunnels.is_ours(one) and not (one["kind"] == QUIET_KIND and one["name"] in loud)
    )


# dangers


def _vip_dangers(
    vips: Sequence[Mapping[str, Any]],
    vip_interface: str,
    places: Sequence[str],
    host: Mapping[str, Any],
    found: Sequence[Network],
) -> list[Danger]:
    dangers = []
    kinds = {one["name"]: one["kind"] for one in host["interfaces"]}
    used = any(vip["interface"] == vip_interface for vip in vips)
    if used and vip_interface != LOOPBACK and kinds.get(vip_interface, QUIET_KIND) != QUIET_KIND:
        dangers.append(Danger(f"ipvs_backend_vip_interface is no {QUIET_KIND} interface (got {vip_interface!r})"))
    for vip in vips:
        where = _holders(vip["address"], places, found)
        if where:
            text = f"the VIP {vip['address']} is on {', '.join(where)}: this host is a director of the service itself"
            dangers.append(Danger(text, "localnode"))
    return dangers


def _director_dangers(resolved: Sequence[Resolved], places: Sequence[str], found: Sequence[Network]) -> list[Danger]:
    """A host that serves nothing and holds VIPs is a director, on which this role is run by mistake."""
    known = [traffic_of(one, Findings()) for one in resolved]
    held = {ip(packed): _holders(str(ip(packed)), places, found) for one in known if one for packed in one.addresses}
    return [
        Danger(
            f"the VIP {vip} is on {', '.join(where)}: this host is a director, and a server of no service", "localnode"
        )
        for vip, where in held.items()
        if where
    ]


def _holders(address: str, places: Sequence[str], found: Sequence[Network]) -> list[str]:
    """Interfaces that have a VIP and are no place for VIPs of a backend."""
    return sorted({one.interface for one in found if str(one.address) == address and one.interface not in places})


def _arp_dangers(
    vips: Sequence[Mapping[str, Any]], sysctls: Mapping[str, Any], host: Mapping[str, Any]
) -> list[Danger]:
    return [
        Danger(f"ipvs_backend_sysctls leaves {text}: this host would answer for the VIPs", "arp")
        for text in (_loud(sysctls, host) if _has_ipv4(vips) else ())
    ]


def _loud(sysctls: Mapping[str, Any], host: Mapping[str, Any]) -> list[str]:
    """The effective ARP sysctls that let a VIP be heard of."""
    loud = []
    for interface in sorted(one["name"] for one in host["interfaces"] if one["name"] != LOOPBACK):
        for name, needed in ARP.items():
            keys = [setting(4, where, name) for where in ("all", interface)]
            value = max(int(sysctls.get(key, host["sysctls"].get(key, 0))) for key in keys)
            if value < needed:
                loud.append(f"{name} at {value} on {interface}")
    return loud


def _received(duty: Duty, host: Mapping[str, Any], found: Sequence[Network]) -> list[Ask]:
    """What arrives for a server: by NAT at its own port, by DR and TUN at the VIP's, by TUN in a tunnel as well."""
    address = ip(duty.server.key.address)
    ways = _firewall.ways(address, host, found)
    packets: list[tuple[Packet, list[Optional[str]]]] = []
    if duty.forwards("tun"):
        packets.append((_firewall.tunnelled(duty.server, duty.service.family, state="new"), ways))
        ways = [_tunnels.device(duty)]
    nat = duty.forwards("nat")
    traffic = duty.traffic
    for target in [address] if nat else [ip(vip) for vip in duty.vips]:
        for port, dummy in (
            [(duty.server.key.port, 0)] if nat and duty.server.key.port else traffic.ports if traffic else ()
        ):
            for word in traffic.protocols if traffic else ():
                packet = Packet(target.version, word, target=target, target_port=port or None, state="new")
                packets.append((packet, ways))
    return [
        Ask("input", _firewall.text_of(packet), tuple(packet._replace(iif=way) for way in arriving))
        for packet, arriving in packets
    ]


def _gateway_dangers(
    duties: Sequence[Duty],
    resolved: Sequence[Resolved],
    inventory: Inventory,
    directors: Optional[Sequence[str]],
    gateways: Sequence[Mapping[str, Any]],
) -> list[Danger]:
    """A director that is the default gateway and drops what comes from its own VIPs (``_lint._past_gateways``)."""
    past = [duty for duty in duties if duty.service.family == AF_INET and not duty.forwards("nat")]
    leading = {_values.address(one["address"]) for one in gateways if one["family"] == "ipv4" and one["address"]}
    if not (past and leading):
        return []
    back = _returns.returning(duties)
    needed = {duty.service for duty in (*past, *back)}
    by_service = {
        one.entry.service.key: {*carriers(one, inventory, directors)}
        for one in resolved
        if one.entry.service.key in needed
    }
    known = addresses_of(sorted(set().union(*by_service.values())), resolved, inventory)
    for duty in back:
        if duty.via:
            known.setdefault(_values.address(duty.via), set()).update(by_service[duty.service])
    found: dict[tuple[str, str, str], list[str]] = {}
    for duty in past:
        forward = "dr" if duty.forwards("dr") else "tun"
        for gateway in sorted(leading & known.keys()):
            for director in sorted(known[gateway] & by_service[duty.service]):
                facts = (listed("server", [duty.address]), forward, f"{director} ({_values.show_address(gateway)})")
                found.setdefault(facts, []).append(_model.key_text(duty.service))
    check = CHECKS["director_gateway"]
    return [
        Danger(
            f"{listed('service', names)}: {check.rule.format(servers=servers, forward=forward, director=director)}: "
            f"{check.remedy}",
            check.name,
        )
        for (servers, forward, director), names in found.items()
    ]


# the difference


def _stale(
    needs: Mapping[str, Any], places: Sequence[str], host: Mapping[str, Any], found: Sequence[Network]
) -> dict[str, list[str]]:
    """What an earlier run may have made and no service needs, by its kind; the modules tell what somebody else made."""
    vips = {(vip["address"], vip["interface"]) for vip in needs["vips"]}
    tunnels = {tunnel["name"] for tunnel in needs["tunnels"]}
    (rules, routes), (rules_there, routes_there) = _returns.expected(needs["policies"]), _returns.live(host)
    stale = {
        "vips": [
            f"{one.address}/{one.network.prefixlen} dev {one.interface}"
            for one in found
            if one.interface in places
            and one.host_only
            and one.quiet
            and not one.address.is_loopback
            and (str(one.address), one.interface) not in vips
        ],
        "tunnels": [
            *(name for name in _devices(host, found) if name not in tunnels),
            *_tunnels.former_ports(host["interfaces"], needs["tunnels"]),
        ],
        "policies": _returns.lines(rules_there - rules, routes_there - routes),
        "sysctls": [path for path in host["files"] if path == SYSCTL_FILE and not needs["sysctls"]],
    }
    # what the tables hold is not read: a clamp leaves with a VIP or a tunnel, and of marks nothing else tells
    suspects = {"clamps": stale["vips"] or stale["tunnels"] or not needs["clamps"], "connections": True}
    for part, table in NFT_TABLES.items():
        stale[part] = [table] if table in host["tables"] and suspects[part] else []
    return stale


def _unmet(
    needs: Mapping[str, Any], host: Mapping[str, Any], found: Sequence[Network], allow: Sequence[str]
) -> list[str]:
    names = {one["name"] for one in host["interfaces"]}
    live = {(str(one.address), one.interface) for one in found}
    (rules, routes), (rules_there, routes_there) = _returns.expected(needs["policies"]), _returns.live(host)
    return [
        *(f"there is no {one['type']} device {one['name']}" for one in needs["tunnels"] if one["name"] not in names),
        *(_loud({}, host) if _has_ipv4(needs["vips"]) and "arp" not in allow else ()),
        *(
            f"the VIP {vip['address']} is not on {vip['interface']}"
            for vip in needs["vips"]
            if (vip["address"], vip["interface"]) not in live
        ),
        *(f"there is no {line}" for line in _returns.lines(rules - rules_there, routes - routes_there)),
        *(
            f"there is no nftables table {table}"
            for part, table in NFT_TABLES.items()
            if needs[part] and table not in host["tables"]
        ),
    ]
