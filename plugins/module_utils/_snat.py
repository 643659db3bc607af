# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Which connections get a new source address, as flows, as elements of nftables sets and as the text of a table. Pure.

By the postrouting hook IPVS has written the server's address into the packet, while conntrack still knows the original
destination. A packet is matched by both, so that what is merely routed to a server keeps its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from . import _draft, _values
from ._draft import Chain, Draft, Element, Elements, Key, Reading, Shape
from ._errors import Findings, Place, at
from ._model import (
    PROTOCOLS,
    ServerKey,
    ServiceKey,
    key_text,
    parse_server_of,
    server_text,
    word_of,
)
from ._nft import LiveTable
from ._text import key_params, server_key_params
from ._values import Field, show_address

MAX_FLOWS = 100_000
TABLES = _draft.tables("l4lb_snat")


def _nested(value: object) -> object:
    return value


FLOW_FIELDS = (
    Field("service", _nested, required=True),
    Field("server", _nested, required=True),
    Field("source", _values.unicast),
)


class Flow(NamedTuple):
    """Connections of a service to one of its servers. ``source`` is the address they get, packed; b"" for that of the
    interface they leave by (masquerade).
    """

    service: ServiceKey
    server: ServerKey
    source: bytes


class Kind(NamedTuple):
    """One set of flows and how a packet is looked up in it: its name, the types of its key ("address" stands for the
    family's), what must hold before (nft finds the type of ``proto-dst`` only after a protocol), and the key itself.
    """

    name: str
    types: tuple[str, ...]
    guard: str
    key: str


#: In the order of the rules: a service on a port goes before the same address on every port. Marks carry no port: of a
#: persistent service the packet keeps its own (ip_vs_sched_persist in ip_vs_core.c).
KINDS = (
    *(
        Kind(
            protocol,
            ("address", "inet_service", "address", "inet_service"),
            f"meta l4proto {protocol} ",
            f"ct original {{ip}} daddr . ct original proto-dst . {{ip}} daddr . {protocol} dport",
        )
        for protocol in PROTOCOLS
    ),
    *(
        Kind(
            f"{protocol}_any",
            ("address", "address"),
            f"meta l4proto {protocol} ",
            "ct original {ip} daddr . {ip} daddr",
        )
        for protocol in PROTOCOLS
    ),
    Kind("mark", ("mark", "address"), "", "meta mark . {ip} daddr"),
)


def parse_flows(value: object, path: Place, findings: Findings) -> list[Flow]:
    """The list of flows; every problem goes to ``findings``."""
    flows: list[Flow] = []
    places: dict[tuple[ServiceKey, ServerKey], int] = {}
    elements: dict[tuple[int, Element], tuple[int, bytes]] = {}
    for i, item in enumerate(_values.records(value, path, findings, MAX_FLOWS)):
        where = at(path, i)
        flow = _parse_flow(item, where, findings)
        if flow is None:
            continue
        told = f"{key_text(flow.service)} -r {server_text(flow.server)}"
        first = places.setdefault((flow.service, flow.server), i)
        if first != i:
            findings.problem(where, f"duplicate of {path}[{first}]", told)
            continue
        family = flow.server.family
        like, source = elements.setdefault((family, element_of(flow)), (i, flow.source))
        if source != flow.source:
            rule = f"cannot be told from {path}[{like}] in a packet, so must have the same source"
            findings.problem(at(where, "source"), rule, told)
        flows.append(flow)
    return flows


def _parse_flow(item: object, where: Place, findings: Findings) -> Optional[Flow]:
    given = _values.record(FLOW_FIELDS, item, where, findings)
    if given is None or not {"service", "server"} <= set(given):
        return None
    named = parse_server_of(given["service"], given["server"], where, findings)
    if named is None:
        return None
    service, identity = named
    source = given.get("source", b"")
    if identity.family != service.family:
        rule = "must be of the service's family: IPVS does not translate between them"
        findings.problem(at(where, "server", "address"), rule, show_address(identity.address))
    if source and len(source) != len(identity.address):
        findings.problem(at(where, "source"), "must be of the server's family", show_address(source))
    return Flow(service, identity, source)


def flow_params(flow: Flow) -> dict[str, Any]:
    """A flow in input keys."""
    params = {"service": key_params(flow.service), "server": server_key_params(flow.server)}
    return {**params, "source": show_address(flow.source)} if flow.source else params


def element_of(flow: Flow) -> Element:
    """What the packets of a flow are looked up by."""
    server = show_address(flow.server.address)
    if flow.service.fwmark:
        return Element("mark", (flow.service.fwmark, server))
    service = show_address(flow.service.address)
    protocol = word_of(PROTOCOLS, flow.service.protocol)
    if flow.service.port:
        return Element(protocol, (service, flow.service.port, server, flow.server.port))
    return Element(f"{protocol}_any", (service, server))


def elements_by_family(flows: Sequence[Flow]) -> dict[int, Elements]:
    """The elements that each family's table shall have."""
    wanted: dict[int, Elements] = {family: {} for family in TABLES}
    for flow in flows:
        wanted[flow.server.family][element_of(flow)] = show_address(flow.source) if flow.source else ""
    return wanted


def element_line(element: Element, source: str) -> str:
    """``tcp 192.0.2.10:443 -> 198.51.100.11:8443 masquerade``"""
    action = f"snat to {source}" if source else "masquerade"
    key = element.key
    if element.kind == "mark":
        return f"mark {key[0]} -> {key[1]} {action}"
    if len(key) == 2:
        return f"{element.kind[: -len('_any')]} {key[0]} -> {key[1]} {action}"
    return f"{element.kind} {_endpoint(key[0], key[1])} -> {_endpoint(key[2], key[3])} {action}"


def _endpoint(address: object, port: object) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def lines(elements: Elements) -> list[str]:
    """The elements, one line each, in a stable order."""
    return [element_line(element, elements[element]) for element in sorted(elements, key=_order)]


def _order(element: Element) -> tuple[int, Key]:
    # of one kind, the parts of two keys are of the same types
    return [kind.name for kind in KINDS].index(element.kind), element.key


def draft(family: int, elements: Elements) -> Draft:
    """The table of the family: sets for masquerade, maps for fixed sources, and a chain with one rule for each."""
    word, dummy = _draft.words(family)
    shapes = _shapes(family)
    sets: list[str] = []
    rules: list[str] = []
    for kind in KINDS:
        key = kind.key.format(ip=word)
        ordered = [element for element in sorted(elements, key=_order) if element.kind == kind.name]
        fixed = [f"{_key_text(element.key)} : {elements[element]}" for element in ordered if elements[element]]
        plain = [_key_text(element.key) for element in ordered if not elements[element]]
        if fixed:
            sets.append(_draft.set_text(f"{kind.name}_source", shapes[f"{kind.name}_source"], fixed))
            rules.append(f"{kind.guard}snat to {key} map @{kind.name}_source")
        if plain:
            sets.append(_draft.set_text(f"{kind.name}_plain", shapes[f"{kind.name}_plain"], plain))
            rules.append(f"{kind.guard}{key} @{kind.name}_plain masquerade")
    return _draft.draft(elements, sets, [Chain("postrouting", "nat hook postrouting priority srcnat", rules)])


def _key_text(parts: Key) -> str:
    return " . ".join(str(part) for part in parts)


def _shapes(family: int) -> dict[str, Shape]:
    """The shapes of the sets, by name."""
    dummy, address = _draft.words(family)
    shapes: dict[str, Shape] = {}
    for kind in KINDS:
        types = tuple(address if part == "address" else part for part in kind.types)
        shapes[f"{kind.name}_source"] = Shape(types, address)
        shapes[f"{kind.name}_plain"] = Shape(types)
    return shapes


def read(family: int, table: LiveTable) -> Reading:
    """The elements of a live table of this make."""
    return _draft.read(
        table, _shapes(family).get, lambda name, key, source: (Element(name.rpartition("_")[0], key), source or "")
    )
