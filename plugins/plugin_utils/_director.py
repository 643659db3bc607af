# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What a director needs for its services, and what on the host would break them: pure, from the services and one
reading of the host.

The host is what ``l4lb.ipvs.ipvs_host_info`` returns.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Callable, NamedTuple, Optional

from ..module_utils import _model, _traffic, _values
from ..module_utils._errors import BadValue, Findings
from ..module_utils._host import TRACKING
from ..module_utils._kernel import INSTALL_MODULES
from ..module_utils._model import AF_INET, AF_INET6, FORWARDS, ServiceKey, Table
from ..module_utils._traffic import MARKS, Traffic
from ..module_utils._tunnel import DUMMY
from . import _firewall, _tunnels
from ._firewall import Ask, Packet
from ._lint import CHECKS, listed
from ._reading import (
    Address,
    Danger,
    Network,
    check_allowances,
    egress,
    ip,
    judge,
    networks,
    on_link,
    own_sysctls,
    setting,
)
from ._vip_places import VARIABLE as VIP_INTERFACE
from ._vip_places import places_of_vips
from ._vip_words import EXTERNAL, HOLD, STANDBY, words_of_vips

#: What a user may decide to live with, by the word that says so.
ALLOWANCES = (
    *_firewall.ALLOWANCES.values(),
    *("foreign_masquerade", "foreign_owner", "localnode", "management_capture"),
)
HOST_PREFIX = "host"
#: What other programs leave as it is in the table.
OWNERS_LEAVE = "; kube-proxy leaves what is in its excludeCIDRs, keepalived what its files do not name"


class _Flow(NamedTuple):
    """Packets of one service to one server as they leave the director, where source NAT may catch them."""

    text: str
    address: Address
    port: int
    protocol: str
    interface: Optional[str]


def director_plan(
    services: object,
    flows: Sequence[Mapping[str, Any]],
    host: Mapping[str, Any],
    vip_interface: object = "",
    vip_prefix: object = HOST_PREFIX,
    vip: object = HOLD,
    names: Sequence[str] = (),
    sysctls: Optional[Mapping[str, Any]] = None,
    allow: Sequence[str] = (),
    connection: Optional[Mapping[str, Any]] = None,
    marks: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Everything a director needs besides its table. ``marks`` is what ``_marks.marks`` makes of the services; ``vip``
    says which VIPs it holds (``_vip_words``) and ``vip_interface`` where (``_vip_places``), and ``names`` are those of
    services that other directors carry.
    -> ``modules`` (kernel modules, in the order to load them), ``missing_modules`` (those not loaded), ``dummies`` (to
    make for VIPs), ``removable_dummies`` (of earlier runs, with no address that stays) and those among them that are
    ``stale_dummies``, all as ``ipvs_tunnel`` takes them, ``sysctls`` (key to value; ``sysctls`` of
    the caller win), ``tracks`` (whether IPVS is to track connections, or does already), ``vips`` to hold (address,
    prefix, interface), ``standby_vips`` (those that the host has and stands by for), ``vip_addresses`` (of all
    services), ``reroutable`` (addresses of servers that may go from NAT or tunnel to DR or back, neighbours all of
    them), ``problems`` and ``warnings`` (lists of sentences).

        :raises InvalidInput: the services or options break a rule.
    """
    findings = Findings()
    table = _model.parse_services(services, "services", findings)
    findings.raise_problems()  # from here on the table has every service, in the order given
    check_allowances(allow, ALLOWANCES, findings)
    own = own_sysctls(sysctls, "ipvs_director_sysctls", findings)
    marked = _traffic.parse(MARKS, marks, "marks", findings)
    interfaces = networks(host["interfaces"])
    named = _named_vips(services, table, marked)
    words = words_of_vips(vip, named, names, findings)
    places = places_of_vips(vip_interface, named, names, findings)
    vips = _vips(words, interfaces, places, vip_prefix, findings)
    findings.raise_problems()
    dummies = _dummies(words, vips, host)
    removable = _removable_dummies(words, host)
    here = {(one.interface, one.address) for one in interfaces}
    modules = _modules(table, flows)
    dangers = _dangers(table, marked, flows, host, interfaces, modules, connection)
    dangers += _tunnels.missing_modules(dummies, host["modules"])
    dangers += _local(table, {one.address.packed for one in interfaces} - set(words))
    values = {
        **_sysctls(table, flows, _devices(vips, host), interfaces),
        **_kept_routes(table, host),
        **own,
    }
    # nothing sets it back when the last service with source NAT goes
    tracks = str(values.get(TRACKING, host["sysctls"].get(TRACKING, 0))) != "0"
    dropped, doubts = _filtered(table, marked, host, interfaces, tracks, allow)
    verdict = judge(dangers + dropped, allow, "ipvs_director_allow")
    return {
        "modules": modules,
        "dummies": dummies,
        "removable_dummies": removable,
        "stale_dummies": [one for one in removable if one["name"] not in {vip["interface"] for vip in vips.values()}],
        "missing_modules": [name for name in modules if host["modules"].get(name) != "loaded"],
        "sysctls": values,
        "tracks": tracks,
        "vips": [one for address, one in vips.items() if words[address] == HOLD],
        "standby_vips": [
            one
            for address, one in vips.items()
            if words[address] == STANDBY and (one["interface"], ip(address)) in here
        ],
        "vip_addresses": [_values.show_address(address) for address in _in_order(words)],
        "reroutable": _reroutable(table, set(host["forwards"]), interfaces),
        "problems": verdict["problems"],
        "warnings": verdict["warnings"] + doubts + _far(table, interfaces) + _made(dummies, host),
    }


# needs


def _modules(table: Table, flows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = ["ip_vs"]
    names += sorted({f"ip_vs_{entry.service.scheduler}" for entry in table.values()})
    names += sorted({f"ip_vs_pe_{entry.service.engine}" for entry in table.values() if entry.service.engine})
    return names + (["nf_conntrack", "nft_chain_nat"] if flows else [])


def _sysctls(
    table: Table,
    flows: Sequence[Mapping[str, Any]],
    devices: Set[str],
    interfaces: Sequence[Network],
) -> dict[str, Any]:
    """The keys that NAT needs. In one subnet a redirect sends client and server past the director: the effective
    ``send_redirects`` is the logical or of all and the interface the packet came in on (IN_DEV_TX_REDIRECTS), so
    both must be 0. ``devices`` are those of the IPv4 VIPs.
    """
    nat = [server for entry in table.values() for server in entry.servers.values() if server.forward == FORWARDS["nat"]]
    families = {server.key.family for server in nat}
    values: dict[str, Any] = {}
    if AF_INET in families:
        addresses = {server.key.address for server in nat if server.key.family == AF_INET}
        ways = {egress(ip(address), interfaces) or "" for address in addresses}
        values["net.ipv4.ip_forward"] = 1
        values["net.ipv4.conf.all.send_redirects"] = 0
        for device in sorted((devices | ways) - {""}):
            values[setting(4, device, "send_redirects")] = 0
    if AF_INET6 in families:
        values["net.ipv6.conf.all.forwarding"] = 1
    if flows:
        values[TRACKING] = 1
    return values


def _kept_routes(table: Table, host: Mapping[str, Any]) -> dict[str, Any]:
    """A host that forwards IPv6 neither keeps nor learns the default routes of router advertisements unless the
    interface's accept_ra is 2 (ip-sysctl.rst). Where it is 0 the kernel has not learned them.
    """
    if not any(_forwards_ipv6(entry) for entry in table.values()):
        return {}
    learned = sorted(
        {one["interface"] for one in host["gateways"] if (one["family"], one["protocol"]) == ("ipv6", "ra")}
    )
    keys = [setting(6, interface, "accept_ra") for interface in learned]
    return {key: 2 for key in keys if host["sysctls"].get(key)}


def _forwards_ipv6(entry: _model.Entry) -> bool:
    return any(server.forward == FORWARDS["nat"] and server.key.family == AF_INET6 for server in entry.servers.values())


def _named_vips(services: Any, table: Table, marked: Sequence[Traffic]) -> list[tuple[Optional[str], bytes]]:
    """The VIPs with the names of their services. Those of a mark are of the service by this mark."""
    names = {key: one.get("name") for key, one in zip(table, services)}
    vips = [(name, key.address) for key, name in names.items() if key.address]
    for mark in marked:
        for address in mark.addresses:
            family = AF_INET if len(address) == 4 else AF_INET6
            vips.append((names.get(ServiceKey(mark.fwmark, family, 0, b"", 0)), address))
    return vips


def _vips(
    words: Mapping[bytes, str],
    interfaces: Sequence[Network],
    places: Mapping[bytes, str],
    prefix: object,
    findings: Findings,
) -> dict[bytes, dict[str, Any]]:
    """Where each VIP is or would be. Who places one elsewhere need not tell where, but where that is clear it counts
    for the sysctls.
    """
    vips: dict[bytes, dict[str, Any]] = {}
    for packed in _in_order(words):
        told = Findings() if words[packed] == EXTERNAL else findings
        address = ip(packed)
        where = places[packed] or _holder(address, interfaces, told)
        length = _prefix(address, prefix, told)
        if where is None or length is None:
            continue
        vips[packed] = {"address": str(address), "prefix": length, "interface": where}
        if address.version == 6:
            vips[packed]["preferred_lifetime"] = 0  # never a source address of the director's own traffic
    return vips


def _in_order(addresses: Iterable[bytes]) -> list[bytes]:
    return sorted(addresses, key=lambda one: (len(one), one))


def _holder(address: Address, interfaces: Sequence[Network], findings: Findings) -> Optional[str]:
    """The interface that has the address already, else the one whose network contains it."""
    names = [one.interface for one in interfaces if one.address == address] or on_link(address, interfaces)
    if len(names) == 1:
        return names[0]
    rule = f"is in the network of {', '.join(names)}" if names else "is in no network of this host's interfaces"
    findings.problem(VIP_INTERFACE, f"is required: the VIP {address} {rule}")
    return None


def _dummies(
    words: Mapping[bytes, str], vips: Mapping[bytes, Mapping[str, Any]], host: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The dummies of the VIPs, for those that stand by as well: interfaces that are not there, or that an earlier run
    made.
    """
    foreign = {one["name"] for one in host["interfaces"]} - {one["name"] for one in _own_dummies(host)}
    wanted = {vip["interface"] for address, vip in vips.items() if words[address] != EXTERNAL}
    return [{"name": name, "type": DUMMY} for name in sorted(wanted - foreign)]


def _own_dummies(host: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in host["interfaces"] if one["kind"] == DUMMY and _tunnels.is_ours(one)]


def _removable_dummies(words: Mapping[bytes, str], host: Mapping[str, Any]) -> list[dict[str, str]]:
    """The dummies of earlier runs without an address that stays: a quiet one is a backend's."""
    left = {ip(address) for address, word in words.items() if word == EXTERNAL}
    kept = {one.interface for one in networks(host["interfaces"]) if one.quiet or one.address in left}
    return [{"name": one["name"]} for one in _own_dummies(host) if one["name"] not in kept]


def _devices(vips: Mapping[bytes, Mapping[str, Any]], host: Mapping[str, Any]) -> set[str]:
    """The interfaces of the IPv4 VIPs at which packets arrive: not the loopback, nor dummies, there or to be made."""
    arriving = {one["name"] for one in host["interfaces"] if one["name"] != "lo" and one["kind"] != DUMMY}
    return arriving & {vip["interface"] for address, vip in vips.items() if len(address) == 4}


def _made(dummies: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> list[str]:
    """What a misspelt interface would come to."""
    there = {one["name"] for one in host["interfaces"]}
    return [
        f"there is no interface {one['name']}, so a dummy of this name is made, at which no VIP is announced"
        for one in dummies
        if one["name"] not in there
    ]


def _prefix(address: Address, prefix: object, findings: Findings) -> Optional[int]:
    if prefix == HOST_PREFIX:
        return int(address.max_prefixlen)
    try:
        return int(_values.integer(1, address.max_prefixlen)(prefix))
    except BadValue as error:
        findings.problem("ipvs_director_vip_prefix", f"{error}, or {HOST_PREFIX}", prefix)
        return None


# dangers


def _dangers(
    table: Table,
    marked: Sequence[Traffic],
    flows: Sequence[Mapping[str, Any]],
    host: Mapping[str, Any],
    interfaces: Sequence[Network],
    modules: Sequence[str],
    connection: Optional[Mapping[str, Any]],
) -> list[Danger]:
    dangers = [
        Danger(f"the module {name} is not available in this kernel: {INSTALL_MODULES}, or use another scheduler")
        for name in modules
        if name not in host["modules"]
    ]
    dangers += [
        Danger(f"{owner} manages the IPVS table of this host as well{OWNERS_LEAVE}", "foreign_owner")
        for owner in host["owners"]
    ]
    dangers += _captures(table, marked, [one for one in (host["connection"], connection) if one])
    leaving = _leaving(flows, interfaces) if host["source_nat"] else []
    for rule in host["source_nat"]:
        caught = [flow.text for flow in leaving if _covers(rule, flow)]
        if caught:
            more = f" and {len(caught) - 1} more" if len(caught) > 1 else ""
            dangers.append(
                Danger(
                    f"a rule in chain {rule['chain']} of table {rule['table']} already changes the source of "
                    f"{caught[0]}{more}: remove it, or give the servers another return_path",
                    "foreign_masquerade",
                )
            )
    return dangers


#: What else helps where answers, or the end of a connection, are not what connection tracking has seen begin.
_TRACK = f", or set {TRACKING} to 1 in ipvs_director_sysctls, with which connection tracking knows them"


def _filtered(
    table: Table,
    marked: Sequence[Traffic],
    host: Mapping[str, Any],
    interfaces: Sequence[Network],
    tracks: bool,
    allow: Sequence[str],
) -> tuple[list[Danger], list[str]]:
    """What the filters of this host drop of balanced packets, and what they may drop. IPVS takes packets of clients
    behind the input filter and sends them on by the output filter; answers of NAT servers are forwarded.
    """
    if not host["firewall"]:
        return [], []
    asks = []
    requests = [one for key, entry in table.items() for one in _requests(key, entry, marked, host, interfaces, tracks)]
    for key, entry in table.items():
        for server in entry.servers.values():
            asks += _sent(key, server, host, interfaces, tracks)
    dropped, doubts = _firewall.dangers(host["firewall"], requests + asks, allow)
    late = [
        one._replace(packets=tuple(packet._replace(state="invalid") for packet in one.packets), remedy=_TRACK)
        for one in requests
        if not tracks and "udp" not in {packet.protocol for packet in one.packets}
    ]
    if not any(danger.allowance == "input_drop" for danger in dropped) and "input_drop" not in allow:
        ends = _firewall.dangers(host["firewall"], late, allow)[0]
        doubts += [f"{danger.text}; it is so with packets that end a connection" for danger in ends]
    return dropped, doubts


def _requests(
    key: ServiceKey,
    entry: _model.Entry,
    marked: Sequence[Traffic],
    host: Mapping[str, Any],
    interfaces: Sequence[Network],
    tracks: bool,
) -> list[Ask]:
    """What clients send to a service. With tracking, what only DR and TUN servers get is exempt from it."""
    state = "new" if _is_nat(entry) or not tracks else "untracked"
    traffic = [
        (address, low, word)
        for mark in marked
        if key.fwmark == mark.fwmark and key.fwmark
        for address in mark.addresses
        for low, dummy in mark.ports
        for word in mark.protocols
    ]
    if key.address:
        traffic = [(key.address, key.port, _protocol(key))]
    asks = []
    for packed, port, word in traffic:
        address = ip(packed)
        packet = Packet(address.version, word, target=address, target_port=port or None, state=state)
        arriving = tuple(packet._replace(iif=name) for name in _firewall.ways(address, host, interfaces))
        asks.append(Ask("input", _firewall.text_of(packet), arriving))
    return asks


def _sent(
    key: ServiceKey, server: _model.Server, host: Mapping[str, Any], interfaces: Sequence[Network], tracks: bool
) -> list[Ask]:
    """What goes to a server of a service, and what a NAT server answers."""
    address, word = ip(server.key.address), _protocol(key) or None
    way = egress(address, interfaces)
    if server.forward == FORWARDS["tun"]:
        outer = _firewall.tunnelled(server, key.family, oif=way)
        return [Ask("output", _firewall.text_of(outer), (outer,))]
    nat = server.forward == FORWARDS["nat"]
    target = address if nat or not key.address else ip(key.address)
    port = (server.key.port if nat else key.port) or None
    state = "new" if nat and tracks else "untracked"
    packet = Packet(target.version, word, oif=way, target=target, target_port=port, state=state)
    asks = [Ask("output", _firewall.text_of(packet), (packet,))]
    if nat:
        known = "established" if tracks else "new" if word == "udp" else "invalid"
        answer = Packet(address.version, word, iif=way, source=address, source_port=port, state=known)
        near = ip(key.address) if key.address else address
        leaving = tuple(answer._replace(oif=name) for name in _firewall.ways(near, host, interfaces))
        asks.append(Ask("forward", _firewall.text_of(answer, "from"), leaving, "" if tracks else _TRACK))
    return asks


def _protocol(key: ServiceKey) -> str:
    return next((word for word, number in _model.PROTOCOLS.items() if number == key.protocol), "")


def _local(table: Table, own: Set[bytes]) -> list[Danger]:
    """Servers that are this host, which the inventory need not tell."""
    return [
        Danger(f"{told}: {CHECKS['localnode'].remedy}", "localnode")
        for forward in ("dr", "tun")
        for told in _failing("localnode", table, forward, own.__contains__, directors="this host")
    ]


def _far(table: Table, interfaces: Sequence[Network]) -> list[str]:
    """Servers that dr does not reach, unless a route tells this host that they are neighbours all the same."""
    own = {one.address.packed for one in interfaces}

    def is_far(address: bytes) -> bool:
        return address not in own and not on_link(ip(address), interfaces)

    return [
        f"{told}: use forward tun, or move the servers, unless a route without a gateway leads there"
        for told in _failing("off_subnet", table, "dr", is_far, director="this host")
    ]


def _reroutable(table: Table, forwards: Set[str], interfaces: Sequence[Network]) -> list[str]:
    """Servers on the networks of this host, if by the ways that servers have now, and are to have, one may change
    between DR and another. For others there is no host route by themselves.
    """
    servers = [server for entry in table.values() for server in entry.servers.values()]
    wanted = {word for word, number in FORWARDS.items() if any(server.forward == number for server in servers)}
    if not (("dr" in forwards and wanted - {"dr"}) or ("dr" in wanted and forwards - {"dr"})):
        return []
    own = {one.address.packed for one in interfaces}
    found = {server.key.address for server in servers} - own
    return [_values.show_address(address) for address in _in_order(found) if on_link(ip(address), interfaces)]


def _failing(check: str, table: Table, forward: str, fails: Callable[[bytes], bool], **facts: str) -> list[str]:
    """What a check of the topology says of the servers by this forwarding method whose addresses fail it, if there are
    any. A loopback address is the director itself.
    """
    services: dict[bytes, list[ServiceKey]] = {}
    for key, entry in table.items():
        for server in entry.servers.values():
            if server.forward == FORWARDS[forward]:
                services.setdefault(server.key.address, []).append(key)
    failing = [one for one in _in_order(services) if not _values.is_loopback(one) and fails(one)]
    if not failing:
        return []
    named = [_model.key_text(key) for key in dict.fromkeys(key for address in failing for key in services[address])]
    servers = listed("server", [_values.show_address(address) for address in failing])
    return [f"{listed('service', named)}: {CHECKS[check].rule.format(servers=servers, forward=forward, **facts)}"]


def _is_nat(entry: _model.Entry) -> bool:
    return any(server.forward == FORWARDS["nat"] for server in entry.servers.values())


def _captures(table: Table, marked: Sequence[Traffic], connections: Sequence[Mapping[str, Any]]) -> list[Danger]:
    """Services and marks on the address and port through which the host is managed: IPVS takes the packets before sshd
    sees them.
    """
    tcp = {(_values.show_address(key.address), key.port) for key in table if key.protocol == _model.PROTOCOLS["tcp"]}
    found = []
    for address, port in sorted({(str(one["address"]), int(one["port"])) for one in connections}):
        for taken in (port, 0):
            if (address, taken) in tcp:
                what = f"port {port}" if taken else f"every port, {port} included,"
                text = f"a service takes {what} of {address}, through which this host is managed"
                found.append(Danger(text, "management_capture"))
        for mark in marked:
            if address in map(_values.show_address, mark.addresses) and mark.takes(port, "tcp"):
                text = f"the mark {mark.fwmark} takes port {port} of {address}, through which this host is managed"
                found.append(Danger(text, "management_capture"))
    return found


def _leaving(flows: Sequence[Mapping[str, Any]], interfaces: Sequence[Network]) -> list[_Flow]:
    found = []
    for flow in flows:
        findings = Findings()
        key = _model.parse_key(flow["service"], "service", findings)
        findings.raise_problems()
        if key is None:
            continue
        address = ipaddress.ip_address(flow["server"]["address"])
        text = f"{_model.key_text(key)} -r {_model.server_text(_server_key(address, flow))}"
        found.append(_Flow(text, address, flow["server"]["port"], _protocol(key), egress(address, interfaces)))
    return found


def _server_key(address: Address, flow: Mapping[str, Any]) -> _model.ServerKey:
    return _model.ServerKey(AF_INET if address.version == 4 else AF_INET6, address.packed, flow["server"]["port"])


def _covers(rule: Mapping[str, Any], flow: _Flow) -> bool:
    """Whether the rule catches the flow for certain: every one of its matches must be known to hold."""
    family = {"ip": 4, "ip6": 6}.get(rule["family"])
    packet = Packet(
        flow.address.version, flow.protocol or None, oif=flow.interface, target=flow.address, target_port=flow.port
    )
    return family in (None, flow.address.version) and all(_firewall.holds(one, packet) for one in rule["matches"])
