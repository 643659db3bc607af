# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""A table of nftables as this collection makes them: sets of elements, and chains whose rules look packets up in the
sets. Pure.

What nft prints is no measure for a comparison, for it differs between its versions. A table tells what it is by a
digest of its sets and rules, in the comment of its first rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

from ._model import AF_INET, AF_INET6
from ._nft import LiveTable, TableName

#: Begins the comment of the first rule; the digest of the table follows.
SIGNATURE = "l4lb.ipvs"

Key = tuple[Union[str, int], ...]


class Element(NamedTuple):
    """One entry of a set: the name of the kind of set it is in, and its key, as nft shows it."""

    kind: str
    key: Key


#: What becomes of the packets that each element matches.
Elements = dict[Element, Any]


class Chain(NamedTuple):
    """A base chain. ``hook`` is what nft wants to know of it: its type, hook and priority."""

    name: str
    hook: str
    rules: Sequence[str]


class Draft(NamedTuple):
    """A table as it shall be: its elements, what stands between its braces ("" for no table), the comment of its
    first rule and how many chains, sets and rules it has.
    """

    elements: Elements
    body: str
    comment: str
    objects: int


NO_TABLE = Draft({}, "", "", 0)


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
    return Draft(elements, "".join([*sets, *texts]), comment, len(sets) + sum(1 + len(lines) for lines in rules))


def _chain_text(chain: Chain) -> str:
    rules = "".join(f"\t\t{rule}\n" for rule in chain.rules)
    return f"\tchain {chain.name} {{\n\t\ttype {chain.hook}; policy accept;\n{rules}\t}}\n"


def set_text(head: str, types: str, elements: Sequence[str], intervals: bool = False) -> str:
    """A set or map with its elements; ``head`` is the word and the name, ``intervals`` whether there are ranges."""
    listed = ",\n\t\t\t".join(elements)
    flags = "\t\tflags interval\n" if intervals else ""
    return f"\t{head} {{\n\t\ttype {types}\n{flags}\t\telements = {{\n\t\t\t{listed}\n\t\t}}\n\t}}\n"


def is_own(table: LiveTable) -> bool:
    """Whether the live table is, but for elements, as this collection made it."""
    return _comment(table).startswith(SIGNATURE) and table.untouched


def has_form(table: LiveTable, wanted: Draft) -> bool:
    """Whether the live table has the rules and sets of the draft, and nothing was done to them since; elements are not
    looked at.
    """
    return is_own(table) and _comment(table) == wanted.comment and table.objects == wanted.objects


def _comment(table: LiveTable) -> str:
    return str(table.rules[0].get("comment", "")) if table.rules else ""
