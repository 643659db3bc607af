# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Traffic, told by address, port, protocol and where it comes in, and what nftables does with it: as elements of sets
of intervals and as the text of a table. Pure.

Sets of concatenated intervals take no two that overlap, and merge none. So what overlaps is refused, and ranges that
touch are joined here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import _draft, _values
from ._draft import Chain, Draft, Element, Elements, Key, Reading, Shape
from ._errors import BadValue, Findings, Path, Place, at
from ._model import AF_INET, AF_INET6, FAMILIES, PROTOCOLS
from ._nft import LiveTable, TableName
from ._values import Field, Parser, show_address

#: The errors that others report of traffic, ICMP or ICMPv6. They have no port.
ICMP = "icmp"
MAX_ITEMS = 100_000
EVERY_PORT = (1, 65535)

_RANGE = re.compile(r"([0-9]+)-([0-9]+)\Z", re.ASCII)
#: The name of a set tells what it is of. It must not be a word of nft, as that of a protocol is.
_SET_NAME = re.compile(rf"to_({'|'.join([*PROTOCOLS, ICMP])})(_from)?(?:_on_(.+))?\Z")

Range = tuple[int, int]


# what a user may write

_port = _values.integer(1, 65535)


def port_range(value: object) -> Range:
    """A port, or ``LOW-HIGH`` -> the first and the last port."""
    ends = _RANGE.match(value) if isinstance(value, str) else None
    if ends is None:
        port = _port(value)
        return port, port
    low, high = (_port(end) for end in ends.groups())
    if low > high:
        raise BadValue("must be a range from a lower to a higher port")
    return low, high


def device(value: object) -> str:
    """A network device, by a name that can be part of the name of a set."""
    name = _values.interface(value)
    if ":" in name or "@" in name:
        raise BadValue("must be the name of a device, which has no ':' or '@'")
    return name


def some(one: Parser) -> Parser:
    """A list, not empty, without repetition, of values that ``one`` parses -> tuple."""
    items = _values.list_of(one)

    def parse(value: object) -> tuple[Any, ...]:
        parsed: tuple[Any, ...] = items(value)
        if not parsed:
            raise BadValue("must not be empty")
        if len(set(parsed)) != len(parsed):
            raise BadValue("must not name a thing twice")
        return parsed

    return parse


FIELDS = (
    Field("addresses", some(_values.unicast), required=True),
    Field("ports", some(port_range)),
    Field("protocols", some(_values.choice(*PROTOCOLS))),
    Field("interfaces", some(device)),
)
MARK_FIELDS = (
    Field("fwmark", _values.integer(1, 2**32 - 1), required=True),
    Field("family", _values.choice(*FAMILIES), required=True),
)
ERROR_FIELDS = tuple(
    field._replace(parse=some(_values.choice(*PROTOCOLS, ICMP))) if field.name == "protocols" else field
    for field in FIELDS
)
SOURCE_FIELDS = (Field("macs", some(_values.mac)),)


class Traffic(NamedTuple):
    """Packets to some addresses (packed): ``ports`` are ranges in order, none of which touch; ``interfaces`` and
    ``macs`` (of the sender) are empty where any will do. ``fwmark`` is the mark they get, 0 for none.
    """

    addresses: tuple[bytes, ...]
    ports: tuple[Range, ...]
    protocols: tuple[str, ...]
    interfaces: tuple[str, ...]
    macs: tuple[str, ...]
    fwmark: int

    def takes(self, port: int, protocol: str) -> bool:
        """Whether packets to this port, of some address, may be of this traffic."""
        return protocol in self.protocols and any(low <= port <= high for low, high in self.ports)


class Use(NamedTuple):
    """What one module does with the traffic of its ``option``: the keys of each item, the tables, the hook of the chain
    that looks packets up, and what it does with them: ``{key}`` is what a packet is looked up by, ``{name}`` the set,
    which is a map to marks where the items have one. ``needs_source``: each item must say where its traffic comes in.
    ``restores``: answers get the mark of their connection.
    """

    option: str
    fields: tuple[Field, ...]
    tables: Mapping[int, TableName]
    hook: str
    statement: str
    needs_source: bool = False
    restores: bool = False

    @property
    def marks(self) -> bool:
        return MARK_FIELDS[0] in self.fields


MARKS = Use(
    "marks",
    MARK_FIELDS + FIELDS,
    _draft.tables("l4lb_mark"),
    "filter hook prerouting priority mangle",
    "meta mark set {key} map @{name}",
)
CONNECTIONS = Use(
    "connections",
    MARK_FIELDS + FIELDS + SOURCE_FIELDS,
    _draft.tables("l4lb_connmark"),
    "filter hook prerouting priority mangle",
    "ct mark set {key} map @{name}",
    needs_source=True,
    restores=True,
)
UNTRACKED = Use(
    "traffic",
    ERROR_FIELDS,
    _draft.tables("l4lb_notrack"),
    "filter hook prerouting priority raw",
    "{key} @{name} notrack",
)


def parse(use: Use, value: object, path: Place, findings: Findings) -> list[Traffic]:
    """The list of traffic; every problem goes to ``findings``."""
    found: list[tuple[Path, Traffic]] = []
    for i, item in enumerate(_values.records(value, path, findings, MAX_ITEMS)):
        where = at(path, i)
        traffic = parse_one(use, item, where, findings)
        if traffic is not None:
            found.append((where, traffic))
    check_overlaps(found, findings)
    return [traffic for dummy, traffic in found]


def parse_one(use: Use, item: object, where: Place, findings: Findings) -> Optional[Traffic]:
    """One item of the list, by itself."""
    given = _values.record(use.fields, item, where, findings)
    if given is None:
        return None
    if use.needs_source and isinstance(item, Mapping) and not {"interfaces", "macs"} & set(item):
        findings.problem(where, "needs interfaces or macs, or every connection would be marked")
    if not {field.name for field in use.fields if field.required} <= set(given):
        return None
    if "family" in given:
        for address in given["addresses"]:
            if _family(address) != FAMILIES[given["family"]]:
                findings.problem(at(where, "addresses"), f"must be of family {given['family']}", show_address(address))
    return Traffic(
        given["addresses"],
        tuple(_joined(given.get("ports", (EVERY_PORT,)))),
        given.get("protocols", ("tcp",)),
        given.get("interfaces", ()),
        given.get("macs", ()),
        given.get("fwmark", 0),
    )


def _family(address: bytes) -> int:
    return AF_INET if len(address) == 4 else AF_INET6


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """The ranges in order, those that overlap or touch made one."""
    joined: list[Range] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


class _Piece(NamedTuple):
    """One range of ports of one address and protocol; ``interface`` and ``mac`` are "" for any."""

    protocol: str
    address: str
    low: int
    high: int
    interface: str
    mac: str

    @property
    def place(self) -> tuple[str, str]:
        return self.protocol, self.address

    def overlaps(self, other: _Piece) -> bool:
        """Whether a packet may be of both."""
        return (
            self.place == other.place
            and self.low <= other.high
            and other.low <= self.high
            and all(one == two or "" in (one, two) for one, two in zip(self[-2:], other[-2:]))
        )

    def within(self, other: _Piece) -> _Piece:
        """What of it is of the other one too, which it overlaps."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return self._replace(low=low, high=high, interface=self.interface or other.interface, mac=self.mac or other.mac)


def _pieces(traffic: Traffic) -> list[_Piece]:
    return [
        _Piece(protocol, show_address(address), low, high, interface, sender)
        for protocol in traffic.protocols
        for address in traffic.addresses
        for low, high in (traffic.ports if protocol != ICMP else (EVERY_PORT,))
        for interface in traffic.interfaces or ("",)
        for sender in traffic.macs or ("",)
    ]


def overlaps(listed: Sequence[Traffic]) -> dict[tuple[int, int], str]:
    """The pairs of items, by their places in the list, that a packet may be of both, each with some of such packets."""
    places: dict[tuple[str, str], list[tuple[_Piece, int]]] = {}
    for i, traffic in enumerate(listed):
        for piece in _pieces(traffic):
            places.setdefault(piece.place, []).append((piece, i))
    found: dict[tuple[int, int], str] = {}
    for pieces in places.values():
        reaching: list[tuple[_Piece, int]] = []
        for piece, i in sorted(pieces, key=lambda one: one[0].low):
            reaching = [one for one in reaching if one[0].high >= piece.low]
            for other, k in reaching:
                pair = min(i, k), max(i, k)
                if i != k and pair not in found and piece.overlaps(other):
                    found[pair] = _piece_text(piece.within(other))
            reaching.append((piece, i))
    return found


def check_overlaps(found: Sequence[tuple[Path, Traffic]], findings: Findings) -> None:
    """Refuse traffic of two items, each with its place: which of them a packet is of could not be told."""
    for (first, second), what in overlaps([traffic for dummy, traffic in found]).items():
        findings.problem(found[second][0], f"overlaps {found[first][0]}", what)


def params(use: Use, traffic: Traffic) -> dict[str, Any]:
    """An item in input keys."""
    shown: dict[str, Any] = {"addresses": [show_address(address) for address in traffic.addresses]}
    if use.marks:
        family = next(word for word, number in FAMILIES.items() if number == _family(traffic.addresses[0]))
        shown = {"fwmark": traffic.fwmark, "family": family, **shown}
    if traffic.ports != (EVERY_PORT,):
        shown["ports"] = [low if low == high else f"{low}-{high}" for low, high in traffic.ports]
    shown["protocols"] = list(traffic.protocols)
    for name in ("interfaces", "macs"):
        if getattr(traffic, name):
            shown[name] = list(getattr(traffic, name))
    return shown


# elements


def elements_by_family(use: Use, listed: Sequence[Traffic]) -> dict[int, Elements]:
    """The elements that each family's table shall have; the value of each is its mark."""
    wanted: dict[int, dict[_Piece, int]] = {family: {} for family in use.tables}
    for traffic in listed:
        for piece in _pieces(traffic):
            wanted[AF_INET6 if ":" in piece.address else AF_INET][piece] = traffic.fwmark
    return {family: _elements(pieces) for family, pieces in wanted.items()}


def merge(live: Elements, wanted: Elements) -> Elements:
    """The wanted elements, and of the live ones what none of those overlaps."""
    rivals: dict[tuple[str, str], list[_Piece]] = {}
    for element in wanted:
        piece = _piece(element)
        rivals.setdefault(piece.place, []).append(piece)
    pieces = {_piece(element): mark for element, mark in wanted.items()}
    for element, mark in live.items():
        kept = [_piece(element)]
        for rival in rivals.get(kept[0].place, ()):
            kept = [rest for piece in kept for rest in _without(piece, rival)]
        pieces.update(dict.fromkeys(kept, mark))
    return _elements(pieces)


def common(live: Elements, wanted: Elements) -> Elements:
    """What of the live elements is of a wanted one too, with the mark that it has."""
    pieces = {_piece(element): mark for element, mark in live.items()}
    return _elements(
        {
            piece.within(rival): mark
            for piece, mark in pieces.items()
            for rival in map(_piece, wanted)
            if piece.overlaps(rival) and piece[-2:] == rival[-2:]
        }
    )


def _without(piece: _Piece, rival: _Piece) -> list[_Piece]:
    """What is left of a piece outside another one."""
    if not piece.overlaps(rival):
        return [piece]
    rests = [piece._replace(high=rival.low - 1), piece._replace(low=rival.high + 1)]
    return [rest for rest in rests if rest.low <= rest.high]


def _elements(pieces: Mapping[_Piece, int]) -> Elements:
    """The pieces as elements, ranges that touch and have the same mark made one."""
    ranges: dict[tuple[_Piece, int], list[Range]] = {}
    for piece, mark in pieces.items():
        ranges.setdefault((piece._replace(low=0, high=0), mark), []).append((piece.low, piece.high))
    return {
        _element(piece._replace(low=low, high=high)): mark
        for (piece, mark), parts in ranges.items()
        for low, high in _joined(parts)
    }


def listed(elements: Elements, mark: int) -> list[Traffic]:
    """The traffic that the elements with a mark are of, one item for each address, protocol, interface and sender."""
    ranges: dict[_Piece, list[Range]] = {}
    for element in elements:
        if elements[element] == mark:
            piece = _piece(element)
            ranges.setdefault(piece._replace(low=0, high=0), []).append((piece.low, piece.high))
    return [
        Traffic(
            (_values.address(piece.address),),
            tuple(_joined(parts)),
            (piece.protocol,),
            (piece.interface,) if piece.interface else (),
            (piece.mac,) if piece.mac else (),
            mark,
        )
        for piece, parts in sorted(ranges.items())
    ]


def _element(piece: _Piece) -> Element:
    where = ("_from" if piece.mac else "") + (f"_on_{piece.interface}" if piece.interface else "")
    sender = (piece.mac,) if piece.mac else ()
    return Element(f"to_{piece.protocol}{where}", (*sender, piece.address, piece.low, piece.high))


def _piece(element: Element) -> _Piece:
    protocol, sender, interface = _parts(element.kind)
    address, low, high = element.key[-3:]
    return _Piece(protocol, str(address), int(low), int(high), interface, str(element.key[0]) if sender else "")


def _parts(name: str) -> tuple[str, bool, str]:
    """What the name of a set tells: protocol, whether it looks at the sender, and the interface."""
    match = _SET_NAME.match(name)
    return (match.group(1), bool(match.group(2)), match.group(3) or "") if match else ("", False, "")


def lines(elements: Elements) -> list[str]:
    """The elements, one line each, in a stable order."""
    ordered = sorted(elements, key=_piece)
    return [
        _piece_text(_piece(element)) + (f" mark {elements[element]}" if elements[element] else "")
        for element in ordered
    ]


def _piece_text(piece: _Piece) -> str:
    address = f"[{piece.address}]" if ":" in piece.address else piece.address
    if piece.protocol == ICMP:
        text = f"{ICMP} {piece.address}"
    else:
        text = f"{piece.protocol} {address}:{_ports_text(piece.low, piece.high)}"
    text += f" from {piece.mac}" if piece.mac else ""
    return text + (f" on {piece.interface}" if piece.interface else "")


def _ports_text(low: int, high: int) -> str:
    if (low, high) == EVERY_PORT:
        return "*"
    return str(low) if low == high else f"{low}-{high}"


# tables


#: Which messages are errors (RFC 792, RFC 4443). Each has a rule of its own: a set without a name, in one rule for all,
#: would take a number among the objects of the table, and none is listed under it.
_ERRORS = {
    AF_INET: tuple(f"icmp type {kind} " for kind in ("destination-unreachable", "time-exceeded", "parameter-problem")),
    AF_INET6: tuple(
        f"icmpv6 type {kind} "
        for kind in ("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem")
    ),
}


def draft(use: Use, family: int, elements: Elements) -> Draft:
    """The table of the family: a set or map, and a rule, for each protocol, interface, and with senders or without."""
    word, dummy = _draft.words(family)
    sets: list[str] = []
    rules: list[str] = []
    for name in sorted({element.kind for element in elements}):
        protocol, sender, interface = _parts(name)
        key = f"{word} daddr . {protocol} dport"
        guard = f'iifname "{interface}" ' if interface else ""
        messages: Sequence[str] = ("",)
        if protocol == ICMP:
            key = f"{word} daddr"
            messages = _ERRORS[family]
        elif sender:
            key = f"ether saddr . {key}"
        listed = [_element_text(element, elements[element]) for element in sorted(elements) if element.kind == name]
        sets.append(_draft.set_text(name, _shape(use, family, name), listed))
        rules += [guard + message + use.statement.format(key=key, name=name) for message in messages]
    chains = [Chain("prerouting", use.hook, rules)]
    if use.restores:
        # those of others are left alone
        restored = [f"ct mark {mark} meta mark set {mark}" for mark in sorted(set(elements.values()))]
        chains.append(Chain("output", "route hook output priority mangle", restored))
    return _draft.draft(elements, sets, chains)


def _element_text(element: Element, mark: int) -> str:
    *names, low, high = element.key
    if _parts(element.kind)[0] == ICMP:
        return str(names[0])
    ports = str(low) if low == high else f"{low}-{high}"
    return " . ".join([*(str(name) for name in names), ports]) + (f" : {mark}" if mark else "")


def _shape(use: Use, family: int, name: str) -> Shape:
    """The shape of the set of this name."""
    protocol, sender, dummy = _parts(name)
    dummy, address = _draft.words(family)
    types = (address,) if protocol == ICMP else (address, "inet_service")
    return Shape(("ether_addr", *types) if sender else types, "mark" if use.marks else "", protocol != ICMP)


def read(use: Use, family: int, table: LiveTable) -> Reading:
    """The elements of a live table of this make."""
    return _draft.read(table, lambda name: _shape(use, family, name) if _is_set(name) else None, _read_element)


def _is_set(name: str) -> bool:
    """Whether a set of ours may be called so."""
    protocol, sender, interface = _parts(name)
    try:
        return bool(protocol) and not (sender and protocol == ICMP) and (not interface or bool(device(interface)))
    except BadValue:
        return False


def _read_element(name: str, key: Key, mark: Any) -> tuple[Element, int]:
    ports = EVERY_PORT if _parts(name)[0] == ICMP else ()
    return Element(name, (*key, *ports)), mark or 0
