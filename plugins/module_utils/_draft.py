# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""A table of nftables as this collection makes them: sets of elements, and chains whose rules look packets up in the
sets. Pure.

What nft prints of rules is no measure for a comparison, for it differs between its versions. A table tells what it is
by a digest of its sets and rules, in the comment of its first rule. What can be changed without leaving a trace in the
numbers of its objects is compared: whether the table is dormant, its chains, and the elements of its sets. An element
that is not of the shape that this collection writes is foreign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Callable, NamedTuple, Optional, Union

from . import _values
from ._errors import BadValue
from ._model import AF_INET, AF_INET6
from ._nft import ChainForm, LiveTable, TableName
from ._values import show_address

#: Begins the comment of the first rule; the digest of the table follows.
SIGNATURE = "l4lb.ipvs"

Key = tuple[Union[str, int], ...]


class Element(NamedTuple):
    """One entry of a set: the name of the kind of set it is in, and its key, as nft shows it."""

    kind: str
    key: Key


#: What becomes of the packets that each element matches.
Elements = dict[Element, Any]


class Reading(NamedTuple):
    """The elements of a live table, and whether they are all that its sets hold: nothing foreign."""

    elements: Elements
    complete: bool


class Shape(NamedTuple):
    """A kind of set: the types of the parts of its keys, and the type of what a map has for each ("" for a set).
    ``intervals``: the last part of a key is a range.
    """

    types: tuple[str, ...]
    data: str = ""
    intervals: bool = False


class Chain(NamedTuple):
    """A base chain. ``hook`` is what nft wants to know of it: its type, hook and priority."""

    name: str
    hook: str
    rules: Sequence[str]

    @property
    def form(self) -> ChainForm:
        kind, dummy, hook, dummy, priority = self.hook.split()
        return ChainForm(self.name, kind, hook, PRIORITIES[priority])


#: The numbers of the priorities that nft has words for (nft(8)).
PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "srcnat": 100}


class Draft(NamedTuple):
    """A table as it shall be: its elements, what stands between its braces ("" for no table), the comment of its
    first rule, its chains and how many chains, sets and rules it has.
    """

    elements: Elements
    body: str
    comment: str
    chains: Sequence[ChainForm]
    objects: int


NO_TABLE = Draft({}, "", "", (), 0)


def tables(name: str) -> dict[int, TableName]:
    """The tables of this name, one per family."""
    return {AF_INET: TableName("ip", name), AF_INET6: TableName("ip6", name)}


def words(family: int) -> tuple[str, str]:
    """How nft calls the protocol of a family in an expression, and the type of its addresses."""
    return ("ip", "ipv4_addr") if family == AF_INET else ("ip6", "ipv6_addr")


def draft(elements: Elements, sets: Sequence[str], chains: Sequence[Chain]) -> Draft:
    """The table of these sets, as :func:`set_text` writes them, and chains; none without elements."""
    if not elements:
        return NO_TABLE
    rules = [chain.rules for chain in chains]
    digest = hashlib.sha256(repr((sets, chains)).encode()).hexdigest()[:32]
    comment = f"{SIGNATURE} {digest}"
    signed = [[f'{rules[0][0]} comment "{comment}"', *rules[0][1:]], *rules[1:]]
    texts = [_chain_text(chain._replace(rules=lines)) for chain, lines in zip(chains, signed)]
    return Draft(
        elements,
        "".join([*sets, *texts]),
        comment,
        [chain.form for chain in chains],
        len(sets) + sum(1 + len(lines) for lines in rules),
    )


def _chain_text(chain: Chain) -> str:
    rules = "".join(f"\t\t{rule}\n" for rule in chain.rules)
    return f"\tchain {chain.name} {{\n\t\ttype {chain.hook}; policy accept;\n{rules}\t}}\n"


def set_text(name: str, shape: Shape, elements: Sequence[str]) -> str:
    """A set or map with its elements."""
    word, types = "set", " . ".join(shape.types)
    if shape.data:
        word, types = "map", f"{types} : {shape.data}"
    listed = ",\n\t\t\t".join(elements)
    flags = "\t\tflags interval\n" if shape.intervals else ""
    return f"\t{word} {name} {{\n\t\ttype {types}\n{flags}\t\telements = {{\n\t\t\t{listed}\n\t\t}}\n\t}}\n"


def is_own(table: LiveTable) -> bool:
    """Whether the live table is as this collection made it, but for elements, the places of its chains and whether it
    is dormant.
    """
    return _comment(table).startswith(SIGNATURE) and table.untouched


def has_form(table: LiveTable, wanted: Draft) -> bool:
    """Whether the live table has the chains, rules and sets of the draft, at work, and nothing was done to them since;
    elements are not looked at.
    """
    return (
        is_own(table)
        and not table.flagged
        and _comment(table) == wanted.comment
        and table.objects == wanted.objects
        and sorted(table.chains, key=repr) == sorted(wanted.chains, key=repr)
    )


def _comment(table: LiveTable) -> str:
    return str(table.rules[0].get("comment", "")) if table.rules else ""


def read(
    table: LiveTable,
    shape_of: Callable[[str], Optional[Shape]],
    element_of: Callable[[str, Key, Any], tuple[Element, Any]],
) -> Reading:
    """The elements of the sets of a live table. ``shape_of`` knows the shape of a set by its name; ``element_of`` makes
    an element and its value of the name, the key (low and high for a range) and, in a map, what stands for it.
    """
    found: Elements = {}
    complete = True
    for name, content in table.sets.items():
        shape = shape_of(name)
        entries = content.get("elem", [])
        if shape is None or not isinstance(entries, list):
            complete = False
            continue
        for entry in entries:
            try:
                element, value = element_of(name, *_parsed(shape, entry))
            except BadValue:
                complete = False
                continue
            # two rules that want the same packet: only one of them gets it
            complete = complete and element not in found
            found[element] = value
    return Reading(found, complete)


def _parsed(shape: Shape, entry: Any) -> tuple[Key, Any]:
    """The key and the value of an element as nft lists it.

    :raises BadValue: it is not of this shape: it has a comment or a time-out, is a prefix or a range, ...
    """
    key, data = entry, None
    if shape.data:
        if not isinstance(entry, list) or len(entry) != 2:
            raise BadValue("must be a key and a value")
        key, data = entry[0], _PARTS[shape.data](entry[1])
    if len(shape.types) > 1 and (not isinstance(key, dict) or set(key) != {"concat"}):
        raise BadValue("must be a concatenation")
    parts = key["concat"] if len(shape.types) > 1 else [key]
    if not isinstance(parts, list) or len(parts) != len(shape.types):
        raise BadValue("must have the parts of its set")
    if not shape.intervals:
        return tuple(_PARTS[kind](part) for kind, part in zip(shape.types, parts)), data
    *parts, last = parts
    ends = last["range"] if isinstance(last, dict) and set(last) == {"range"} else [last, last]
    if not isinstance(ends, list) or len(ends) != 2:
        raise BadValue("must be a range")
    names = (_PARTS[kind](part) for kind, part in zip(shape.types, parts))
    return (*names, *(_PARTS[shape.types[-1]](end) for end in ends)), data


def _number(lowest: int, highest: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise BadValue(f"must be an integer {lowest}..{highest}")
        return value

    return parse


def _address(length: int) -> Callable[[Any], str]:
    @cache  # a table is read more than once, and a server is in many of its elements
    def shown(value: str) -> str:
        packed = _values.address(value)
        return show_address(packed) if len(packed) == length else ""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or shown(value) != value:
            raise BadValue("must be an address of the family of its table")
        return value

    return parse


#: How nft lists a value of each type, and what of it this collection writes.
_PARTS: dict[str, Callable[[Any], Union[str, int]]] = {
    "ipv4_addr": _address(4),
    "ipv6_addr": _address(16),
    "ether_addr": _values.mac,
    "inet_service": _number(1, 65535),
    "mark": _number(1, 2**32 - 1),
}
