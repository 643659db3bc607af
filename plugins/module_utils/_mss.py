# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Which VIPs of a backend announce a lower maximum segment size, as elements of nftables sets and as the text of a
table. Pure.

The backend answers the client directly, so that only packets on their way to the backend pass through the tunnel. How
large they are is for the client to choose, by the MSS in the backend's SYN or SYN-ACK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from . import _draft, _values
from ._draft import Chain, Draft, Element, Elements, Reading, Shape
from ._errors import BadValue, Findings, Place, at
from ._model import AF_INET, AF_INET6
from ._nft import LiveTable
from ._values import Field, show_address

MAX_CLAMPS = 100_000
TABLES = _draft.tables("l4lb_mss")
#: From the least that Linux sends (tcp_min_snd_mss) to what an IPv4 packet holds.
MSS_RANGE = (48, 65495)

FIELDS = (
    Field("address", _values.unicast, required=True),
    Field("mss", _values.integer(*MSS_RANGE), required=True),
)
#: Begins the name of each set, one per MSS, which follows.
_SET = "clamp_"


class Clamp(NamedTuple):
    """The largest segment that peers of ``address`` (packed) may send, in bytes without headers."""

    address: bytes
    mss: int


def parse_clamps(value: object, path: Place, findings: Findings) -> list[Clamp]:
    """The list of clamps; every problem goes to ``findings``."""
    clamps: list[Clamp] = []
    places: dict[bytes, int] = {}
    for i, item in enumerate(_values.records(value, path, findings, MAX_CLAMPS)):
        clamp = _parse_clamp(item, at(path, i), findings)
        if clamp is None:
            continue
        first = places.setdefault(clamp.address, i)
        if first != i:
            findings.problem(at(path, i), f"duplicate of {path}[{first}]", show_address(clamp.address))
        clamps.append(clamp)
    return clamps


def _parse_clamp(item: object, where: Place, findings: Findings) -> Optional[Clamp]:
    given = _values.record(FIELDS, item, where, findings)
    return Clamp(**given) if given is not None and set(given) == set(Clamp._fields) else None


def clamp_params(clamp: Clamp) -> dict[str, Any]:
    """A clamp in input keys."""
    return {"address": show_address(clamp.address), "mss": clamp.mss}


def elements_by_family(clamps: Sequence[Clamp]) -> dict[int, Elements]:
    """The elements that each family's table shall have."""
    wanted: dict[int, Elements] = {family: {} for family in TABLES}
    for clamp in clamps:
        family = AF_INET if len(clamp.address) == 4 else AF_INET6
        wanted[family][Element(f"{_SET}{clamp.mss}", (show_address(clamp.address),))] = None
    return wanted


def merge(live: Elements, wanted: Elements) -> Elements:
    """The wanted elements, and the live ones of other addresses."""
    addresses = {element.key for element in wanted}
    return {**{element: None for element in live if element.key not in addresses}, **wanted}


def merge_lower(live: Elements, wanted: Elements) -> Elements:
    """As :func:`merge`, but an address keeps the lower MSS that it has."""
    lowest: dict[Any, Element] = {}
    for element in (*live, *wanted):
        found = lowest.setdefault(element.key, element)
        if _mss(element.kind) < _mss(found.kind):
            lowest[element.key] = element
    return dict.fromkeys(lowest.values())


def lines(elements: Elements) -> list[str]:
    """The elements, one line each, in a stable order."""
    return [f"{element.key[0]} mss {_mss(element.kind)}" for element in sorted(elements, key=_order)]


def _order(element: Element) -> tuple[str, int]:
    return str(element.key[0]), _mss(element.kind)


def _mss(kind: str) -> int:
    return int(kind[len(_SET) :])


def draft(family: int, elements: Elements) -> Draft:
    """The table of the family: one set and one rule for each MSS. The rule need not ask whether the packet's own MSS is
    larger: nf_tables never raises one (nft_exthdr_tcp_set_eval).
    """
    word, address = _draft.words(family)
    sets: list[str] = []
    rules: list[str] = []
    for kind in sorted({element.kind for element in elements}, key=_mss):
        addresses = sorted(str(element.key[0]) for element in elements if element.kind == kind)
        sets.append(_draft.set_text(kind, Shape((address,)), addresses))
        action = f"tcp option maxseg size set {_mss(kind)}"
        rules.append(f"{word} saddr @{kind} tcp flags syn / fin,syn,rst {action}")
    return _draft.draft(elements, sets, [Chain("postrouting", "filter hook postrouting priority mangle", rules)])


def read(family: int, table: LiveTable) -> Reading:
    """The elements of a live table of this make."""
    dummy, address = _draft.words(family)
    return _draft.read(
        table,
        lambda name: Shape((address,)) if _is_set(name) else None,
        lambda name, key, dummy: (Element(name, key), None),
    )


def _is_set(name: str) -> bool:
    """Whether a set of ours may be called so."""
    number = name[len(_SET) :]
    try:
        return name == f"{_SET}{_values.integer(*MSS_RANGE)(number)}"
    except BadValue:
        return False
