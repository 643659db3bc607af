# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What services, directors and backends would do to each other, from the inventory alone: pure, before any host is
touched.

What a single service breaks, the model refuses already, and what it warns of is told with the rest; the checks here
are about how the parts meet. Each of them is an entry of :data:`CHECKS`, which the documentation repeats word for word.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from ..module_utils import _model, _traffic, _values
from ..module_utils._errors import MAX_LISTED, BadValue, Findings, InvalidInput, Path, at, show_key
from ..module_utils._model import AF_INET, FORWARDS, PROTOCOLS, Server
from ..module_utils._traffic import Traffic
from ._hostvars import plain
from ._marks import marked
from ._resolve import Inventory, Resolved, carriers, one_of_each_family, resolve
from ._role_variables import Given, check_names
from ._vip_words import HOLD, words_of_vips
from ._vip_words import VARIABLE as VIP_VARIABLE

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

#: Variables of a host that hold addresses of its own, besides those that ``servers_from`` names.
ADDRESS_VARIABLES = ("ansible_host", "ipvs_address", "ipvs_address6", "ipvs_backend_addresses")
#: The variable of a host that states its networks: ``address/prefix``, its own address or that of the network.
NETWORKS_VARIABLE = "ipvs_networks"
STATE_VARIABLE = "ipvs_backend_state"
RETURN_VIA_VARIABLE = "ipvs_backend_return_via"
ALLOW_VARIABLE = "ipvs_lint_allow"
#: What a director does, where it was given something else than the others.
DIRECTOR_STATE_VARIABLE = "ipvs_director_state"
SERVICES_VARIABLE = "ipvs_director_services"
SOURCE_VARIABLE = "ipvs_director_snat_source"
DIRECTOR_ALLOW_VARIABLE = "ipvs_director_lint_allow"
#: The variables that say so of services, pools and accepted checks: its role's, and what that is by default.
OWN_VARIABLES = (
    (SERVICES_VARIABLE, "ipvs_services"),
    ("ipvs_director_pools", "ipvs_pools"),
    (DIRECTOR_ALLOW_VARIABLE, ALLOW_VARIABLE),
)
#: The fact with the verdict, on the hosts of the batch that asked for it.
VERDICT_FACT = "__ipvs_lint"
#: What the variable tells of hosts, where nobody tells it otherwise.
_UNKNOWN = {
    "networks": "the networks of {hosts} are not known: state them",
    "addresses": "the addresses of {hosts} in {whose} networks are not known: state them, as address/prefix length,",
}
MAX_NAMED = 3  # servers, hosts or services in one sentence; more are counted
MAX_NETWORKS = 1000
FTP = 21


class Check(NamedTuple):
    """One rule. ``problem`` says whether it refuses (else it warns); ``rule`` is what is wrong, with the names to fill
    in; ``remedy`` is the way out; ``acceptable`` says whether a problem may be accepted (else a director refuses it).
    """

    name: str
    problem: bool
    rule: str
    remedy: str
    acceptable: bool = True


CHECKS = {
    check.name: check
    for check in (
        Check(
            "off_subnet",
            True,
            "{servers}: in no network of {director}, and forward dr reaches neighbours only",
            "use forward tun, or move the servers, or correct ipvs_networks of the director",
        ),
        Check(
            "no_return_path",
            True,
            "{servers}: in {network} as the VIP is, with return_path none, so the answers go past the director",
            "use return_path snat (the default), route or policy",
        ),
        Check(
            "one_packet",
            True,
            "{servers}: forward nat with one_packet, which keeps no connection, so nothing gives the answers the VIP "
            "as their source again",
            "use forward dr or tun, or leave out one_packet, or, if nothing is to be answered, use return_path none",
        ),
        Check(
            "no_return_via",
            True,
            "{servers}: return_path {path} without a return_via of {family}",
            "name the director's address in the network of the servers in return_via of the service, or in "
            "ipvs_backend_return_via of the hosts",
        ),
        Check(
            "vip_is_real",
            True,
            "the VIP {vip} is an address of {owner} as well",
            "give the service or the host another address",
        ),
        Check(
            "two_holders",
            True,
            "{directors} all hold the VIP {vip}{where}",
            "set ipvs_director_vip to standby or external on all of them but one, or, if they are on different "
            "segments, say so in their ipvs_networks",
        ),
        Check(
            "localnode",
            True,
            "{servers}: a director of the service ({directors}), which balances once more what another director sends "
            "it with forward {forward}",
            "take it out of the servers, use forward nat, or have other directors carry the service",
        ),
        Check(
            "director_gateway",
            True,
            "{servers}: forward {forward}, and the default gateway there is {director}, which drops every answer, "
            "because its source is a VIP of its own",
            "give the servers another default gateway, or a route by another router for what they send from the VIPs "
            "(ip rule), or use forward nat",
        ),
        Check(
            "shadowed",
            True,
            "never sees a packet, for {other} takes them all, and marks are looked up first",
            "leave its address and port out of the mark, or remove it",
        ),
        Check(
            "marks_overlap",
            True,
            "marks {traffic} as {other} does, and a packet has one mark",
            "leave it out of the mark of one of them",
            acceptable=False,
        ),
        Check(
            "partly_shadowed",
            False,
            "does not see what {other} takes of its packets, for marks are looked up first",
            "leave its address and ports out of the mark if that is not meant",
        ),
        Check(
            "port_zero",
            False,
            "does not see {ports}, which {other} takes, for an exact port is looked up before port 0",
            "remove the other service if that is not meant",
        ),
        Check(
            "gateway_in_subnet",
            False,
            "{servers}: in {network} as the VIP is, with return_path gateway, so clients in that network get their "
            "answers past the director",
            "have clients behind a router only, or use return_path snat, route or policy",
        ),
        Check(
            "tracked",
            False,
            "forward {forward}, and no exemption from the connection tracking that the source NAT of {other} needs, "
            "which sees one direction of it only: its packets turn invalid",
            "state in mark what a service by mark takes, give servers by nat a service of their own, or drop nothing "
            "for being invalid",
        ),
        Check(
            "foreign_server",
            False,
            "{servers}: of no host in the inventory, so nothing is prepared there",
            "add the hosts with these addresses in ipvs_address or ipvs_backend_addresses, or prepare them by hand, "
            "and say so by prepared elsewhere",
        ),
        Check(
            "no_backend",
            False,
            "{servers}: of no host among the backends, so nothing is prepared there",
            "add the hosts to the group ipvs_backends, or prepare them by hand, and say so by prepared elsewhere",
        ),
        Check(
            "leaving_backend",
            False,
            "{servers}: of hosts whose ipvs_backend_state is absent, so what the service needs there is taken away",
            "take them out of the servers first",
        ),
        Check(
            "no_vips",
            False,
            "{servers}: forward {forward}, and nobody knows the VIPs to place there, for the service goes by a mark",
            "state its addresses in mark, or place them by hand",
        ),
    )
}
#: What a user may decide to live with.
ACCEPTABLE = tuple(check.name for check in CHECKS.values() if check.problem and check.acceptable)


class Verdict(NamedTuple):
    """What was found: sentences, each naming the services and the way out; what was taken for known of the hosts
    that were asked for, as digests; and whether an earlier batch of the run got the same verdict.
    """

    problems: list[str]
    warnings: list[str]
    not_checked: list[str]
    known: dict[str, str]
    repeated: bool = False


class _Host(NamedTuple):
    """What the inventory tells of a host; it need not tell all. ``gathered`` are the addresses in its facts, VIPs among
    them; ``blank`` are those of its networks in which none of its addresses is known; ``gateway`` is the IPv4
    default gateway in its facts.
    """

    addresses: frozenset[bytes]
    gathered: frozenset[bytes]
    networks: frozenset[Network]
    blank: frozenset[Network]
    return_via: Sequence[object]
    gateway: Optional[bytes]


class _Service(NamedTuple):
    """A plain service, the hosts that carry it and, for one by firewall mark, the traffic that gets the mark, where
    that is stated.
    """

    resolved: Resolved
    directors: tuple[str, ...]
    traffic: Optional[Traffic]

    @property
    def key(self) -> _model.ServiceKey:
        return self.resolved.entry.service.key

    @property
    def name(self) -> Optional[str]:
        return self.resolved.plain.get("name")

    @property
    def label(self) -> str:
        text = _model.key_text(self.key)
        return f"{self.name} ({text})" if self.name else text

    @property
    def vips(self) -> set[bytes]:
        return set(self.traffic.addresses) if self.traffic else {self.key.address} - {b""}

    def servers(self, *forwards: str) -> list[Server]:
        """Those of these forwarding methods, in canonical order. A loopback address is the director itself."""
        numbers = {FORWARDS[word] for word in forwards}
        servers = sorted(self.resolved.entry.servers.items())
        return [one for key, one in servers if one.forward in numbers and not _values.is_loopback(key.address)]


class _Found(NamedTuple):
    """A check that fails for a service. The facts fill the check's rule."""

    check: str
    service: _Service
    facts: dict[str, str]


class _Fleet:
    """The hosts of the inventory, and what of them nobody knows."""

    def __init__(
        self,
        carried: Sequence[_Service],
        own: Iterable[_Own],
        given: Mapping[str, Mapping[str, Any]],
        backends: Iterable[str],
        findings: Findings,
    ) -> None:
        sources = {id(content): content for one in own for content in (one.services, one.pools)}
        variables = {*ADDRESS_VARIABLES, *itertools.chain(*map(_address_variables, sources.values()))}
        self.backends = frozenset(backends)
        self.leaving = {name for name in self.backends if given[name].get(STATE_VARIABLE) == "absent"}
        self.hosts: dict[str, _Host] = {}
        self.owners: dict[bytes, list[str]] = {}
        #: What could not be checked, by what is not known and of which host.
        self.unknown: dict[tuple[str, str], set[str]] = {}
        vips = {vip for one in carried for vip in one.vips}
        carriers = (director for one in carried for director in one.directors)
        # an implicit localhost is among the variables, but not among their names
        for name in dict.fromkeys([*given, *self.backends, *carriers]):
            host = self.hosts[name] = _host(name, given[name], variables, findings)
            for address in host.addresses | (host.gathered - vips):
                self.owners.setdefault(address, []).append(name)
        self.gateways = _directors_as_gateways(carried, self)

    def networks(self, name: str, family: int) -> list[Network]:
        """The networks of a host that are known, of one family."""
        version = 4 if family == AF_INET else 6
        return [network for network in self.hosts[name].networks if network.version == version]

    def may_have(self, name: str, address: bytes) -> bool:
        """Whether an address of no host may be one of this host's, for it is in a network where none is known."""
        blank = self.hosts[name].blank
        return bool(blank) and address not in self.owners and bool(_holding(blank, address))

    def not_known(self, what: str, name: str, check: str) -> None:
        """Note what of a host would have to be known for a check."""
        self.unknown.setdefault((what, name), set()).add(check)


def lint(
    services: object,
    inventory: Inventory,
    directors: Optional[Sequence[str]] = None,
    backends: Optional[Sequence[str]] = None,
    allow: Sequence[str] = (),
    batch: Sequence[str] = (),
) -> Verdict:
    """Everything that services, directors and backends would do to each other.

    ``directors`` carry the services that name no group of their own, by default the group ``ipvs_directors``;
    ``backends`` are the hosts that get the backend's role, by default the group ``ipvs_backends``. ``allow`` names the
    checks whose problems are to be warnings. Services, pools and ``allow`` are those of every director that has no
    others, published by its role or as variables of its own (of its role; in a run, those by default as well).

    ``batch`` are the hosts that a run is about to change. An earlier verdict that knew the same of them is returned as
    it is.

    :raises InvalidInput: the services, the networks of a host, what a director says of its VIPs, the name of a role's
        variable or ``allow`` break a rule.
    """
    findings = Findings()
    if directors is None:
        directors = inventory.groups.get("ipvs_directors", ())
    if backends is None:
        backends = inventory.groups.get("ipvs_backends", ())
    given = Given(inventory.hostvars)
    written = plain(services), plain(inventory.pools)
    common = _Own(*written, plain(allow), True, _digest(*written))
    named = _carriers(common, inventory, directors)
    for name in dict.fromkeys([*named, *backends, *batch]):
        findings.problems += inventory.hostvars.refused(name)
    findings.raise_problems()
    own = {name: _own(given[name], common, bool(batch)) for name in named}
    hosts = list(dict.fromkeys([*own, *backends, *batch]))
    known = {name: _known(given[name], own.get(name, common)) for name in hosts} if batch else {}
    for name in hosts:
        earlier = inventory.hostvars[name].get(VERDICT_FACT)
        if (
            known
            and isinstance(earlier, Mapping)
            and all(earlier.get("known", {}).get(host) == known[host] for host in batch)
        ):
            return Verdict(*(earlier[field] for field in Verdict._fields))._replace(repeated=True)
    check_names(hosts, given, findings)
    _check_allowed(own, common, findings)
    for name in own:
        one_of_each_family(given[name].get(SOURCE_VARIABLE, ()), f"hostvars.{name}.{SOURCE_VARIABLE}", findings)
    try:
        carried = _carried(common, own, inventory, directors, findings)
    except InvalidInput as error:
        problems = [*Findings.listed(findings.problems), *error.details["problems"]]
        raise InvalidInput("; ".join(problems), problems=problems) from error
    fleet = _Fleet(carried, [common, *own.values()], given, backends, findings)
    held = _held(carried, given, findings)
    findings.raise_problems()
    found = [
        *_each(carried, fleet),
        *_vips_of_others(carried, fleet),
        *_holders(carried, held, fleet),
        *_shadows(carried),
        *_overlaps(carried),
        *_tracked(carried),
    ]
    return _verdict(found, carried, fleet, own, allow)._replace(known=known)


def addresses_of(hosts: Iterable[str], resolved: Sequence[Resolved], inventory: Inventory) -> dict[bytes, set[str]]:
    """These hosts by their addresses, as far as the inventory tells; what breaks a rule is left to :func:`lint`."""
    written = [one.written for one in resolved]
    variables = {*ADDRESS_VARIABLES, *_address_variables(written), *_address_variables(inventory.pools)}
    found: dict[bytes, set[str]] = {}
    for name in hosts:
        host = _host(name, inventory.hostvars[name], variables, Findings())
        for address in host.addresses | host.gathered:
            found.setdefault(address, set()).add(name)
    return found


# what each director does


class _Own(NamedTuple):
    """What a director gives its role: the services, the pools that they name, the checks that it accepts, and whether
    it is to be there. ``source`` is the same for the same services and pools.
    """

    services: object
    pools: Mapping[str, Any]
    allow: Sequence[str]
    present: bool
    source: str


def _own(given: Mapping[str, Any], common: _Own, in_a_run: bool) -> _Own:
    """What a director gives its role: outside of a run the services are to be checked that the caller has."""
    defaults: tuple[Any, ...] = (common.services, common.pools, common.allow)
    services, pools, allow = (
        next((given[name] for name in names[: 1 + in_a_run] if name in given), default)
        for names, default in zip(OWN_VARIABLES, defaults)
    )
    same = services is common.services and pools is common.pools
    present = given.get(DIRECTOR_STATE_VARIABLE, "present") != "absent"
    return _Own(services, pools, allow, present, common.source if same else _digest(services, pools))


def _digest(*values: object) -> str:
    """A short text that is the same for the same values."""
    return hashlib.sha256(json.dumps(values, default=str, skipkeys=True).encode()).hexdigest()


def _known(given: Mapping[str, Any], own: _Own) -> str:
    """What a verdict takes for known of a host, in short. A role publishes its defaults too."""
    words = {STATE_VARIABLE: "present", DIRECTOR_STATE_VARIABLE: "present", VIP_VARIABLE: HOLD}
    lists = (*ADDRESS_VARIABLES, NETWORKS_VARIABLE, RETURN_VIA_VARIABLE)
    return _digest(
        *(own.source, own.allow),
        [given.get(name, default) for name, default in words.items()],
        [given.get(name) or None for name in lists],
        sorted(map(str, _interfaces_of_facts(given.get("ansible_facts")))),
        _dict(given.get("ansible_facts")).get("default_ipv4"),
    )


def _carriers(common: _Own, inventory: Inventory, directors: Iterable[str]) -> dict[str, None]:
    """The hosts that may carry services: the directors, and those of the groups that services name."""
    services = common.services if isinstance(common.services, list) else []
    groups = [one.get("directors") for one in services if isinstance(one, Mapping)]
    named = [inventory.groups[group] for group in groups if isinstance(group, str) and group in inventory.groups]
    return dict.fromkeys([*directors, *itertools.chain(*named)])


def _check_allowed(own: Mapping[str, _Own], common: _Own, findings: Findings) -> None:
    stated = {f"hostvars.{name}.{DIRECTOR_ALLOW_VARIABLE}": one.allow for name, one in own.items()}
    for path, allow in {ALLOW_VARIABLE: common.allow, **stated}.items():
        if not isinstance(allow, (list, tuple)):
            findings.problem(path, "must be a list", allow)
            continue
        for i, word in enumerate(allow if path == ALLOW_VARIABLE or allow != common.allow else ()):
            if word not in ACCEPTABLE:
                findings.problem(at(path, i), f"must be one of {', '.join(ACCEPTABLE)}", word)


def _carried(
    common: _Own, own: Mapping[str, _Own], inventory: Inventory, directors: Sequence[str], findings: Findings
) -> list[_Service]:
    """The services of all directors, each once with the hosts that carry it: those that are to be absent do not."""
    holders: dict[str, list[str]] = {common.source: []}
    for name, one in own.items():
        if one.present:
            holders.setdefault(one.source, []).append(name)
    carried: dict[_model.ServiceKey, list[_Service]] = {}
    for source, hosts in holders.items():
        one = own[hosts[0]] if hosts else common
        try:
            resolved = resolve(one.services, inventory._replace(pools=one.pools))
        except InvalidInput as error:
            if source == common.source:
                raise
            for text in error.details["problems"]:
                findings.problem(f"hostvars.{hosts[0]}.{SERVICES_VARIABLE}", text)
            continue
        for service in resolved:
            present = tuple(name for name in carriers(service, inventory, directors) if name in hosts)
            if present or source == common.source:
                _add(_Service(service, present, marked(service, findings)), carried)
    return list(itertools.chain(*carried.values()))


def _add(service: _Service, carried: dict[_model.ServiceKey, list[_Service]]) -> None:
    """The same service in the lists of several directors is one that they all carry."""
    alike = carried.setdefault(service.key, [])
    for i, one in enumerate(alike):
        if one.resolved._replace(place=Path()) == service.resolved._replace(place=Path()):
            alike[i] = one._replace(directors=one.directors + service.directors)
            return
    alike.append(service)


def _verdict(
    found: Iterable[_Found],
    carried: Iterable[_Service],
    fleet: _Fleet,
    own: Mapping[str, _Own],
    allow: Sequence[str],
) -> Verdict:
    """The findings as sentences, one for all services with the same. A problem is accepted if every director of the
    service accepts it.
    """
    labels: dict[tuple[str, str, bool], dict[str, None]] = {}
    for one in found:
        rule = CHECKS[one.check].rule.format(**one.facts)
        directors = one.service.directors
        accepted = all(one.check in own[name].allow for name in directors) if directors else one.check in allow
        labels.setdefault((one.check, rule, accepted), {})[one.service.label] = None
    problems, warnings = [], []
    for (name, rule, accepted), services in labels.items():
        check = CHECKS[name]
        text = f"{listed('service', list(services))}: {rule}: {check.remedy}"
        if not check.problem or accepted:
            warnings.append(text)
        else:
            problems.append(text + (f" (to accept it, name {name} in {ALLOW_VARIABLE})" if check.acceptable else ""))
    warnings += _single(carried)
    hosts: dict[tuple[str, str], list[str]] = {}
    for what, host in sorted(fleet.unknown):
        hosts.setdefault((what, ", ".join(sorted(fleet.unknown[what, host]))), []).append(host)
    not_checked = [_not_checked(what, checks, names) for (what, checks), names in hosts.items()]
    unmarked = [service.label for service in carried if service.key.fwmark and not service.traffic]
    if unmarked:
        not_checked.append(
            "not checked: shadowed, two_holders, vip_is_real, for the traffic of "
            f"{listed('service', unmarked)} is not known: state it in mark"
        )
    return Verdict(_capped(problems), _capped(warnings), _capped(not_checked), {})


def _single(carried: Iterable[_Service]) -> list[str]:
    """What the model warns of, which is about one service each."""
    labels: dict[str, list[str]] = {}
    for service in carried:
        for warning in service.resolved.warnings:
            within = warning.path.below(service.resolved.place) or warning.path
            labels.setdefault(str(warning._replace(path=within)), []).append(service.label)
    return [f"{listed('service', services)}: {text}" for text, services in labels.items()]


def _not_checked(what: str, checks: str, names: Sequence[str]) -> str:
    these, whose = ("the host", "its") if len(names) == 1 else ("the hosts", "their")
    unknown = _UNKNOWN[what].format(hosts=listed("host", names), whose=whose)
    return f"not checked: {checks}, for {unknown} in {NETWORKS_VARIABLE} of {these}"


def _capped(sentences: list[str]) -> list[str]:
    more = len(sentences) - MAX_LISTED
    return [*sentences[:MAX_LISTED], f"... and {more} more"] if more > 0 else sentences


def listed(noun: str, names: Sequence[str]) -> str:
    """The names, some of them where there are many, after what they are of."""
    return f"{noun}{'s' if len(names) > 1 else ''} {_some(names)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


# what the inventory tells of hosts


def _address_variables(content: object) -> Iterator[str]:
    """The names of the variables that ``servers_from`` takes addresses from, in services or pools."""
    items = content.values() if isinstance(content, Mapping) else content
    for item in items if isinstance(items, Iterable) else ():
        source = item.get("servers_from") if isinstance(item, Mapping) else None
        if isinstance(source, Mapping) and isinstance(source.get("address"), str):
            yield source["address"]


def _host(name: str, known: Mapping[str, Any], variables: Iterable[str], findings: Findings) -> _Host:
    written = [name]
    for variable in variables:
        value = known.get(variable, ())
        written += value if isinstance(value, (list, tuple)) else [value]
    addresses = {packed for packed in map(_packed, written) if packed and not _values.is_loopback(packed)}
    facts = list(_interfaces_of_facts(known.get("ansible_facts")))
    networks: set[Network] = set()
    if NETWORKS_VARIABLE not in known:
        # VIPs there are whole addresses or within a network that is there anyway
        networks = {one.network for one in facts if one.network.prefixlen < one.max_prefixlen}
    path = f"hostvars.{name}.{NETWORKS_VARIABLE}"
    for i, value in enumerate(_values.records(known.get(NETWORKS_VARIABLE, []), path, findings, MAX_NETWORKS)):
        try:
            stated = _stated(value)
        except ValueError:
            findings.problem(at(path, i), "must be a network, as address/prefix length", value)
            continue
        networks.add(stated.network)
        if stated.ip != stated.network.network_address:
            addresses.add(stated.ip.packed)
    gathered = frozenset(one.packed for one in facts)
    taken = {network for address in addresses | gathered for network in _holding(networks, address)}
    via = _list(known.get(RETURN_VIA_VARIABLE))
    route = _dict(known.get("ansible_facts")).get("default_ipv4")
    gateway = _packed(route.get("gateway")) if isinstance(route, Mapping) else None
    return _Host(frozenset(addresses), gathered, frozenset(networks), frozenset(networks - taken), via, gateway)


def _packed(value: object) -> Optional[bytes]:
    try:
        return _values.unicast(value)
    except BadValue:
        return None


def _stated(value: object) -> Any:
    if not isinstance(value, str) or "/" not in value:
        raise ValueError
    return ipaddress.ip_interface(value)


def _interfaces_of_facts(facts: object) -> Iterator[Interface]:
    """The addresses among the facts of a host, each with its network, if they were gathered. Those of other systems
    than Linux are read as far as they are alike: the BSDs list the addresses under ipv4, Windows lists its interfaces.
    What a host says otherwise than any system does is no address.
    """
    facts = _dict(facts)
    for name in _list(facts.get("interfaces")):
        interface = _dict(facts.get(name.replace("-", "_").replace(":", "_"))) if isinstance(name, str) else {}
        listed_alike = [_list(interface.get(kind)) for kind in ("ipv4", "ipv4_secondaries", "ipv6")]
        for one in map(_dict, [interface.get("ipv4"), *itertools.chain(*listed_alike)]):
            address, length = one.get("address"), one.get("prefix") or one.get("netmask")
            if name == "lo" or not isinstance(address, str) or not length or one.get("scope") == "link":
                continue
            try:
                found = ipaddress.ip_interface(f"{address}/{show_key(length)}")
            except ValueError:
                continue
            if not (found.ip.is_loopback or (found.version == 6 and found.ip.is_link_local)):
                yield found


def _dict(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


# checks


def _each(carried: Iterable[_Service], fleet: _Fleet) -> Iterator[_Found]:
    """The checks that one service fails or passes by itself."""
    for service in carried:
        for check in (_off_subnet, _return_paths, _one_packet, _gateways, _local, _past_gateways, _prepared, _unmarked):
            for name, facts in check(service, fleet):
                yield _Found(name, service, facts)


_Facts = Iterator[tuple[str, dict[str, str]]]


def _off_subnet(service: _Service, fleet: _Fleet) -> _Facts:
    servers = service.servers("dr")
    for director in service.directors if servers else ():
        networks = fleet.networks(director, service.key.family)
        if not networks:
            fleet.not_known("networks", director, "off_subnet")
            continue
        off = [
            server
            for server in servers
            if not _holding(networks, server.key.address) and director not in fleet.owners.get(server.key.address, ())
        ]
        if off:
            yield "off_subnet", {"servers": _shown(off), "director": director}


def _return_paths(service: _Service, fleet: _Fleet) -> _Facts:
    """Where VIP and servers are neighbours, a client may be one as well: its answers must be made to come back."""
    checks = {"none": "no_return_path", "gateway": "gateway_in_subnet"}
    paths = service.resolved.return_paths
    near: dict[tuple[str, str], list[Server]] = {}
    for server in service.servers("nat"):
        check = checks.get(paths[server.key])
        if check is None:
            continue
        hosts = [*service.directors, *fleet.owners.get(server.key.address, ())]
        networks = [network for host in hosts for network in fleet.networks(host, server.key.family)]
        if not networks:
            for host in service.directors:
                fleet.not_known("networks", host, check)
        shared = {
            str(network)
            for vip in service.vips
            for network in set(_holding(networks, vip)) & set(_holding(networks, server.key.address))
        }
        if shared:
            near.setdefault((check, min(shared)), []).append(server)
    for (check, network), servers in near.items():
        yield check, {"servers": _shown(servers), "network": network}


def _one_packet(service: _Service, dummy: _Fleet) -> _Facts:
    """Only the engine sip finds the service of an answer without its connection (ip_vs_core.c, __ip_vs_rs_conn_out)."""
    what = service.resolved.entry.service
    lost = [one for one in service.servers("nat") if service.resolved.return_paths[one.key] != "none"]
    if lost and what.flags & _model.FLAG_ONE_PACKET and not what.engine:
        yield "one_packet", {"servers": _shown(lost)}


def _gateways(service: _Service, fleet: _Fleet) -> _Facts:
    """A route back needs a gateway, which only the user knows: the director may have many addresses."""
    missing: dict[tuple[str, str], list[Server]] = {}
    for server in service.servers("nat"):
        path = service.resolved.return_paths[server.key]
        if path in ("route", "policy") and not _told(service, server, fleet):
            family = "IPv4" if server.key.family == AF_INET else "IPv6"
            missing.setdefault((path, family), []).append(server)
    for (path, family), servers in missing.items():
        yield "no_return_via", {"servers": _shown(servers), "path": path, "family": family}


def _told(service: _Service, server: Server, fleet: _Fleet) -> bool:
    """Whether the service, or else each of the hosts that get the backend's role, tells a gateway of the server's
    family.
    """
    size = len(server.key.address)
    return all(
        any(packed and len(packed) == size for packed in map(_packed, via)) for via in _vias(service, server, fleet)
    )


def _vias(service: _Service, server: Server, fleet: _Fleet) -> list[Sequence[object]]:
    """The addresses of the director as the service states them, or else as each of the hosts of the server does."""
    if service.resolved.return_via is not None:
        return [service.resolved.return_via]
    owners = fleet.owners.get(server.key.address, ())
    backends = [host for host in owners if host in fleet.backends]
    return [fleet.hosts[host].return_via for host in backends or owners]


def _local(service: _Service, fleet: _Fleet) -> _Facts:
    addresses = [server.key.address for server in service.servers("dr", "tun")]
    for director in service.directors:
        if any(fleet.may_have(director, address) for address in addresses):
            fleet.not_known("addresses", director, "localnode")
    for forward in ("dr", "tun"):
        local = {
            server: sorted({*fleet.owners.get(server.key.address, ())} & {*service.directors})
            for server in service.servers(forward)
        }
        servers = [server for server, directors in local.items() if directors]
        if servers:
            directors = sorted({director for server in servers for director in local[server]})
            yield "localnode", {"servers": _shown(servers), "directors": _some(directors), "forward": forward}


def _past_gateways(service: _Service, fleet: _Fleet) -> _Facts:
    """Of IPv4 a host forwards no packet that comes from an address of its own (fib_frontend.c, fib_validate_source);
    IPv6 has no such check.
    """
    for forward in ("dr", "tun") if service.key.family == AF_INET else ():
        found: dict[tuple[str, ...], list[Server]] = {}
        for server in service.servers(forward):
            owners = fleet.owners.get(server.key.address, ())
            directors = {one for owner in owners for one in fleet.gateways.get(owner, ())} & {*service.directors}
            if directors:
                found.setdefault(tuple(sorted(directors)), []).append(server)
        for names, servers in found.items():
            yield "director_gateway", {"servers": _shown(servers), "forward": forward, "director": _some(names)}


def _directors_as_gateways(carried: Sequence[_Service], fleet: _Fleet) -> dict[str, set[str]]:
    """The directors that are the IPv4 default gateway of a host, by host: those of a service with return_path gateway,
    and those with the address that the host's facts name as its gateway.
    """
    addresses: dict[bytes, set[str]] = {}
    for director in {director for service in carried for director in service.directors}:
        for address in fleet.hosts[director].addresses | fleet.hosts[director].gathered:
            addresses.setdefault(address, set()).add(director)
    found: dict[str, set[str]] = {}
    for service in carried:
        for server in service.servers("nat"):
            path = service.resolved.return_paths[server.key]
            if path == "gateway" and server.key.family == AF_INET:
                for owner in fleet.owners.get(server.key.address, ()):
                    found.setdefault(owner, set()).update(service.directors)
            elif path in ("route", "policy"):
                for via in filter(None, map(_packed, itertools.chain(*_vias(service, server, fleet)))):
                    addresses.setdefault(via, set()).update(service.directors)
    for name, host in fleet.hosts.items():
        if host.gateway in addresses:
            found.setdefault(name, set()).update(addresses[host.gateway] - {name})
    return found


def _unmarked(service: _Service, dummy: _Fleet) -> _Facts:
    for forward in ("dr", "tun"):
        servers = service.servers(forward)
        if servers and not service.vips:
            yield "no_vips", {"servers": _shown(servers), "forward": forward}


def _prepared(service: _Service, fleet: _Fleet) -> _Facts:
    """Servers that the backend's role does not reach. A server of source NAT needs no preparation; yet where there
    are backends, one that belongs to nobody is likely to be a slip.
    """
    foreign, others, leaving = [], [], []
    for server in service.servers("nat", "dr", "tun"):
        owners = set(fleet.owners.get(server.key.address, ()))
        needs = service.resolved.return_paths.get(server.key) not in ("snat", "none")
        elsewhere = server.key in service.resolved.elsewhere
        if not owners and (needs or fleet.backends) and not elsewhere:
            foreign.append(server)
        elif owners and needs and not owners & {*fleet.backends, *service.directors} and not elsewhere:
            others.append(server)
        elif needs and owners & fleet.leaving:
            leaving.append(server)
    if foreign:
        yield "foreign_server", {"servers": _shown(foreign)}
    if others:
        yield "no_backend", {"servers": _shown(others)}
    if leaving:
        yield "leaving_backend", {"servers": _shown(leaving)}


def _vips_of_others(carried: Sequence[_Service], fleet: _Fleet) -> Iterator[_Found]:
    served: dict[bytes, list[_Service]] = {}
    for service in carried:
        for address in {key.address for key in service.resolved.entry.servers}:
            served.setdefault(address, []).append(service)
    directors = {director for service in carried for director in service.directors}
    for service in carried:
        for director in directors - {*service.directors}:
            if any(fleet.may_have(director, vip) for vip in service.vips):
                fleet.not_known("addresses", director, "vip_is_real")
        for vip in sorted(service.vips):
            owners = sorted({*fleet.owners.get(vip, ())} - {*service.directors})
            who = [f"host {host}" for host in owners]
            if vip not in fleet.owners:
                who = [f"a server of {other.label}" for other in served.get(vip, ()) if _meet(service, other)]
            if who:
                yield _Found("vip_is_real", service, {"vip": _values.show_address(vip), "owner": _some(who)})


def _held(
    carried: Sequence[_Service], given: Mapping[str, Mapping[str, Any]], findings: Findings
) -> dict[bytes, list[str]]:
    """The directors that hold each VIP, in the order of the services."""
    vips: dict[str, list[tuple[Optional[str], bytes]]] = {}
    for service in carried:
        for director in service.directors:
            vips.setdefault(director, []).extend((service.name, vip) for vip in sorted(service.vips))
    names = [service.name for service in carried]
    holders: dict[bytes, list[str]] = {}
    for director, named in vips.items():
        value = given[director].get(VIP_VARIABLE, HOLD)
        words = words_of_vips(value, named, names, findings, f"hostvars.{director}.{VIP_VARIABLE}")
        for vip in words:
            if words[vip] == HOLD:
                holders.setdefault(vip, []).append(director)
    return holders


def _holders(carried: Sequence[_Service], held: Mapping[bytes, Sequence[str]], fleet: _Fleet) -> Iterator[_Found]:
    """Two holders of one VIP on one segment answer for it in turns. Directors whose networks are not known are taken
    to be neighbours.
    """
    meetings = {vip: _meeting(hosts, fleet) for vip, hosts in held.items()}
    for service in carried:
        for vip in sorted(service.vips):
            if meetings.get(vip):
                yield _Found("two_holders", service, {"vip": _values.show_address(vip), **meetings[vip]})


def _meeting(hosts: Sequence[str], fleet: _Fleet) -> dict[str, str]:
    """Which of the hosts are neighbours of each other, and where; empty if none are."""
    neighbours: set[str] = set()
    where = ", and nothing tells that they are on different segments"
    for one, other in itertools.combinations(hosts, 2):
        networks = [fleet.hosts[host].networks for host in (one, other)]
        shared = networks[0] & networks[1]
        if shared or not all(networks):
            neighbours |= {one, other}
        if shared:
            where = f" in {min(map(str, shared))}"
    return {"directors": _some(sorted(neighbours)), "where": where} if neighbours else {}


def _shadows(carried: Sequence[_Service]) -> Iterator[_Found]:
    """Services that take the packets of others. The order of the look-up is that of ip_vs_service_find
    (ip_vs_ctl.c): fwmark, exact port, for FTP's data port 21, port 0.
    """
    by_address: dict[bytes, list[_Service]] = {}
    for service in carried:
        by_address.setdefault(service.key.address, []).append(service)
    for taker in carried:
        traffic = taker.traffic
        for address in traffic.addresses if traffic else ():
            for service in by_address.get(address, ()):
                check = _shadowed(service.key, traffic) if traffic and _meet(service, taker) else None
                if check:
                    yield _Found(check, service, {"other": taker.label})
    for service in carried:
        if service.key.port or service.key.fwmark:
            continue
        others = [
            one
            for one in by_address[service.key.address]
            if one.key.port and one.key.protocol == service.key.protocol and _meet(service, one)
        ]
        if others:
            ports = [str(port) for port in sorted({one.key.port for one in others})]
            if service.key.protocol == PROTOCOLS["tcp"] and str(FTP) in ports:
                ports += ["20", "those from 1024 on"]
            facts = {"ports": listed("port", ports), "other": _some([one.label for one in others])}
            yield _Found("port_zero", service, facts)


def _shadowed(key: _model.ServiceKey, traffic: Traffic) -> Optional[str]:
    """The check that fails for a service on an address whose ``traffic`` is marked."""
    protocol = next(word for word, number in PROTOCOLS.items() if number == key.protocol)
    if protocol not in traffic.protocols:
        return None
    wanted = (key.port, key.port) if key.port else (1, _traffic.EVERY_PORT[1])
    if not any(low <= wanted[1] and wanted[0] <= high for low, high in traffic.ports):
        return None
    # ranges that touch are one, so what is covered is covered by one
    covered = any(low <= wanted[0] and wanted[1] <= high for low, high in traffic.ports)
    return "shadowed" if covered and not traffic.interfaces else "partly_shadowed"


def _overlaps(carried: Sequence[_Service]) -> Iterator[_Found]:
    """Marks of one packet, which the director could not tell apart (``_marks.marks``)."""
    marked = [(service, service.traffic) for service in carried if service.traffic]
    for (first, second), traffic in _traffic.overlaps([traffic for dummy, traffic in marked]).items():
        one, other = marked[first][0], marked[second][0]
        if _meet(one, other):
            yield _Found("marks_overlap", other, {"traffic": traffic, "other": one.label})


def _tracked(carried: Sequence[_Service]) -> Iterator[_Found]:
    """Directors that track connections for source NAT exempt services by dr and tun, if they know the traffic, and no
    server is reached by NAT (``_marks.untracked``).
    """
    translated = [one for one in carried if "snat" in one.resolved.return_paths.values()]
    others: dict[tuple[str, ...], str] = {}
    for service in carried:
        forwards = [forward for forward in ("dr", "tun") if service.servers(forward)]
        known = service.traffic or not service.key.fwmark
        by_nat = any(one.forward == FORWARDS["nat"] for one in service.resolved.entry.servers.values())
        if not forwards or (known and not by_nat):
            continue
        if service.directors not in others:
            others[service.directors] = _some([one.label for one in translated if _meet(service, one)])
        if others[service.directors]:
            yield _Found("tracked", service, {"forward": ", ".join(forwards), "other": others[service.directors]})


def _meet(one: _Service, other: _Service) -> bool:
    """Whether a table holds both services."""
    return one.directors == other.directors or not {*one.directors}.isdisjoint(other.directors)


def _holding(networks: Iterable[Network], address: bytes) -> list[Network]:
    parsed = ipaddress.ip_address(address)
    return [network for network in networks if parsed in network]


def _shown(servers: Sequence[Server]) -> str:
    return listed("server", [_values.show_address(address) for address in _unique(servers)])


def _unique(servers: Sequence[Server]) -> list[bytes]:
    return list(dict.fromkeys(server.key.address for server in servers))
