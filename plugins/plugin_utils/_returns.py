# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""How the answers of a NAT backend go back through its director: rules and routes, and the marks that lead to them.
Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..module_utils import _model, _traffic, _values
from ..module_utils._errors import BadValue, Findings, at
from ..module_utils._traffic import CONNECTIONS, Traffic
from ._duties import Duty, family_word
from ._reading import Danger

#: Which packets are the answers: those from the address, protocol and port of the server; all from its address; those
#: of connections that came in from the director.
MATCHES = ("service", "address", "connection")
#: The first of the tables, marks and rule priorities that belong to this collection (ipvs_policy_route).
FIRST_TABLE = 7600
MAX_TABLES = 100
MAIN = "main"
_ANY = Traffic((), (_traffic.EVERY_PORT,), tuple(_model.PROTOCOLS), (), (), 0)


class Settings(NamedTuple):
    """What the user tells: networks to reach through the director (``to``, for return_path route), networks that stay
    direct and what tells the answers apart (for policy), and the director's hardware addresses (for connection).
    """

    to: Sequence[str]
    direct: Sequence[str]
    match: str
    macs: Sequence[str]


def parse_settings(to: object, direct: object, match: object, macs: Sequence[str], findings: Findings) -> Settings:
    """The role's variables; every problem goes to ``findings``."""
    if match not in MATCHES:
        findings.problem("ipvs_backend_return_match", f"must be one of {', '.join(MATCHES)}", match)
    return Settings(
        _networks(to, "ipvs_backend_return_to", findings),
        _networks(direct, "ipvs_backend_return_direct", findings),
        str(match),
        macs,
    )


def _networks(value: object, path: str, findings: Findings) -> list[str]:
    found = []
    for i, written in enumerate(_values.records(value, path, findings, _model.MAX_SERVERS)):
        try:
            found.append(str(ipaddress.ip_network(_values.text(written))))
        except BadValue as error:
            findings.problem(at(path, i), str(error), written)
        except ValueError:
            findings.problem(at(path, i), "must be a network such as 203.0.113.0/24, without host bits", written)
    return found


def returning(duties: Sequence[Duty]) -> list[Duty]:
    """Those whose answers pass a director as they are."""
    return [duty for duty in duties if duty.return_path in ("gateway", "route", "policy")]


def check(
    duties: Sequence[Duty],
    told: Settings,
    gateways: Sequence[Mapping[str, Any]],
    connection: Optional[Mapping[str, Any]],
) -> list[Danger]:
    """What keeps answers from going back."""
    dangers = [
        danger
        for duty in returning(duties)
        for danger in (_CHECKS[str(duty.return_path)](duty, told, gateways, connection))
    ]
    return list(dict.fromkeys(dangers + _clashes(duties, told) + _forks(duties, told) + _too_many(duties)))


def _too_many(duties: Sequence[Duty]) -> list[Danger]:
    count = len(_vias(duties))
    if count <= MAX_TABLES:
        return []
    text = f"return_path policy takes a table for each return_via, {MAX_TABLES} at most, and the services name {count}"
    return [Danger(f"{text}: use return_path route or snat for some of them")]


def _check_gateway(duty: Duty, told: Settings, gateways: Any, connection: Any) -> list[Danger]:
    found = [one["address"] for one in gateways if one["family"] == duty.family]
    if duty.via in found or (duty.via is None and any(found)):
        return []
    wanted = f"the director {duty.via}" if duty.via else "a director"
    shown = ", ".join(map(str, found)) or "none"
    text = f"return_path gateway needs {wanted} as the {duty.family} default gateway, which is {shown}"
    return [Danger(text, "gateway")]


def _check_via(duty: Duty) -> list[Danger]:
    if duty.via:
        return []
    text = f"return_path {duty.return_path} needs an {duty.family} address of the director"
    return [Danger(f"{text}: name it in return_via of the service, or in ipvs_backend_return_via")]


def _check_route(duty: Duty, told: Settings, gateways: Any, connection: Any) -> list[Danger]:
    text = f"return_path route needs the {duty.family} networks of the clients in ipvs_backend_return_to"
    return _check_via(duty) + ([] if _of(told.to, duty.family) else [Danger(text)])


def _check_policy(duty: Duty, told: Settings, gateways: Any, connection: Any) -> list[Danger]:
    dangers = _check_via(duty)
    if told.match == "service" and not duty.service.protocol:
        text = f"the answers of {_model.key_text(duty.service)} cannot be told by protocol and port"
        dangers.append(Danger(f"{text}: set ipvs_backend_return_match to address or connection"))
    if told.match == "address" and connection and connection["address"] == duty.address:
        text = f"everything from {duty.address} would go through the director, and this host is managed through it"
        dangers.append(Danger(text, "management_return"))
    return dangers


_CHECKS = {"gateway": _check_gateway, "route": _check_route, "policy": _check_policy}


def _clashes(duties: Sequence[Duty], told: Settings) -> list[Danger]:
    """Answers that would have to go two ways at once."""
    back = list(dict.fromkeys((_answers(duty, told.match), via) for duty, via in _ways(duties, "policy")))
    ways: dict[bytes, set[str]] = {}
    for pair in _traffic.overlaps([answers for answers, dummy in back]):
        vias = {back[i][1] for i in pair}
        if len(vias) > 1:
            ways.setdefault(back[pair[0]][0].addresses[0], set()).update(vias)
    return [
        Danger(
            f"the answers of {_values.show_address(address)} would have to go by {_both(vias)}: give the services of "
            "each director an address or a port of their own"
        )
        for address, vias in ways.items()
    ]


def _forks(duties: Sequence[Duty], told: Settings) -> list[Danger]:
    """Networks that the main table would have to reach two ways, which it cannot."""
    served: dict[str, dict[str, str]] = {"ipv4": {}, "ipv6": {}}
    for duty, via in _ways(duties, "route"):
        served[duty.family].setdefault(via, f"{via} (for {_model.key_text(duty.service)})")
    return [
        Danger(
            f"return_path route would lead to {network} by {_both(vias.values())}, and table main has one way to a "
            "network: name one return_via for all of them, or use return_path policy"
        )
        for family, vias in served.items()
        for network in (_of(told.to, family) if len(vias) > 1 else ())
    ]


def _both(vias: Iterable[str]) -> str:
    return " and ".join(sorted(vias))


def _ways(duties: Sequence[Duty], path: str) -> list[tuple[Duty, str]]:
    """Those with this return path, each with the address of its director, where that is told."""
    return [(duty, duty.via) for duty in duties if duty.return_path == path and duty.via]


def _answers(duty: Duty, match: str) -> Traffic:
    """What the director sends to the server, and so what is answered: all that may be where nobody tells."""
    address, port = duty.server.key.address, duty.server.key.port
    if match == "address":
        return _ANY._replace(addresses=(address,))
    told = duty.traffic or _ANY
    return Traffic((address,), ((port, port),) if port else told.ports, told.protocols, (), (), 0)


def _selector(duty: Duty, match: str) -> tuple[Any, ...]:
    """What the rule for these answers asks: address, protocol and port."""
    protocol = next((word for word, number in _model.PROTOCOLS.items() if number == duty.service.protocol), "")
    return (duty.address, protocol, duty.server.key.port) if match != "address" else (duty.address, "", 0)


def _of(networks: Sequence[str], family: str) -> list[str]:
    return [one for one in networks if (":" in one) == (family == "ipv6")]


def _vias(duties: Sequence[Duty]) -> list[str]:
    """The addresses of the directors that take a table."""
    return list(dict.fromkeys(via for dummy, via in _ways(duties, "policy")))


def _tables(duties: Sequence[Duty], routes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The table of each director, by its address: the one that leads to it among the host's ``routes``, else one that
    leads nowhere yet. Answers must not go another way while services of other directors come and go.
    """
    vias = _vias(duties)
    led = {int(one["table"]): one["via"] for one in routes if one["to"] == "default" and one["table"].isdigit()}
    numbers = range(FIRST_TABLE, FIRST_TABLE + max(MAX_TABLES, len(vias)))
    held = {led[number]: number for number in reversed(numbers) if led.get(number) in vias}
    # what leads to others is taken last: there may still be answers that go that way
    spare = iter(sorted(set(numbers) - set(held.values()), key=lambda number: (number in led, number)))
    return {via: held[via] if via in held else next(spare) for via in vias}


def policies(duties: Sequence[Duty], told: Settings, routes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rules and routes, as ``ipvs_policy_route`` takes them; ``routes`` are those of this collection that the host
    has.
    """
    tables = _tables(duties, routes)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for duty in duties:
        via = duty.via
        if via is None or duty.return_path not in ("route", "policy"):
            continue
        if duty.return_path == "route":
            routes = [{"to": to, "via": via} for to in _of(told.to, duty.family)]
            if routes:
                found[MAIN, via] = {"table": MAIN, "routes": routes}
            continue
        table = tables[via]
        rule = {"table": table, "routes": [{"via": via}], "direct": _of(told.direct, duty.family)}
        if told.match == "connection":
            found[table, duty.family] = {**rule, "family": duty.family, "fwmark": table}
            continue
        address, protocol, port = _selector(duty, told.match)
        asked = {"from": address, "ip_protocol": protocol, "source_port": port}
        found[table, address, protocol, port] = {**rule, **{name: value for name, value in asked.items() if value}}
    return list(found.values())


def connections(
    duties: Sequence[Duty], told: Settings, interfaces: Mapping[str, str], routes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The connections whose answers are marked, as ``ipvs_connmark`` takes them; ``interfaces`` by the address of the
    server, ``routes`` as for :func:`policies`. What several services have in common is there once.
    """
    if told.match != "connection":
        return []
    tables = _tables(duties, routes)
    marked = [
        _answers(duty, told.match)._replace(
            fwmark=tables[via],
            interfaces=() if told.macs else (interfaces[duty.address],),
            macs=tuple(told.macs),
        )
        for duty, via in _ways(duties, "policy")
    ]
    elements = _traffic.elements_by_family(CONNECTIONS, marked)
    return [
        _traffic.params(CONNECTIONS, one)
        for table in tables.values()
        for family in elements
        for one in _traffic.listed(elements[family], table)
    ]


def expected(wanted: Sequence[Mapping[str, Any]]) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """The rules and the routes of ``wanted`` in the words of :func:`live`."""
    rules, routes = set(), set()
    for policy in wanted:
        ends = [policy.get("from", ""), *(hop["via"] for hop in policy["routes"])]
        family = family_word(_values.address(next(end for end in ends if end)))
        table = str(policy["table"])
        if table != MAIN:
            selector = (policy.get("ip_protocol", ""), policy.get("source_port", 0), policy.get("fwmark", 0))
            rules.add((family, policy["table"], table, policy.get("from", ""), *selector))
        routes |= {(family, table, hop.get("to", "default"), "unicast", hop["via"]) for hop in policy["routes"]}
        routes |= {(family, table, network, "throw", "") for network in policy.get("direct", ())}
    return rules, routes


def live(host: Mapping[str, Any]) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """The rules and the routes of this collection that the host has."""
    names = ("family", "priority", "table", "from", "ip_protocol", "source_port", "fwmark")
    rules = {tuple(rule[name] for name in names) for rule in host["rules"]}
    routes = {
        (route["family"], route["table"], _network(route["to"]), route["type"], route["via"])
        for route in host["routes"]
    }
    return rules, routes


def _network(to: str) -> str:
    return to if to == "default" else str(ipaddress.ip_network(to))


def lines(rules: set[tuple[Any, ...]], routes: set[tuple[Any, ...]]) -> list[str]:
    """One line for each, roughly in the words of ``ip``."""
    told = [
        " ".join(
            [f"rule {priority}:", *(["from", source] if source else []), *([protocol] if protocol else [])]
            + ([f"sport {port}"] if port else [])
            + ([f"fwmark {mark}"] if mark else [])
            + [f"lookup {table}"]
        )
        for dummy, priority, table, source, protocol, port, mark in sorted(rules)
    ]
    return told + [
        f"route {'' if kind == 'unicast' else kind + ' '}{to}{' via ' + via if via else ''} table {table}"
        for dummy, table, to, kind, via in sorted(routes)
    ]
