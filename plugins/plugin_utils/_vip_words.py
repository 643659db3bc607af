# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the variable ``ipvs_director_vip`` of a director says of each service, and so of each VIP. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from ..module_utils import _values
from ..module_utils._errors import BadValue, Findings, at
from ..module_utils._values import Field

VARIABLE = "ipvs_director_vip"
HOLD, STANDBY, EXTERNAL = "hold", "standby", "external"
#: The key for the services that are not named.
OTHERS = "default"

_word = _values.choice(HOLD, STANDBY, EXTERNAL)


def words(
    value: object, names: Iterable[Optional[str]], findings: Findings, path: str = VARIABLE
) -> dict[Optional[str], str]:
    """The word for each service by its name, of which there may be many alike; ``None`` is that of a service without
    one. Every problem of the ``value`` goes to ``findings`` under ``path``.
    """
    named = [name for name in dict.fromkeys(names) if name]
    given = {}
    if isinstance(value, Mapping):
        given = _values.record([Field(name, _word) for name in (*named, OTHERS)], value, path, findings) or {}
    else:
        try:
            given[OTHERS] = _word(value)
        except BadValue as error:
            findings.problem(path, f"{error}, or a dict of service names to these", value)
    return {**dict.fromkeys([None, *named], given.get(OTHERS, HOLD)), **given}


def words_of_vips(
    value: object,
    vips: Sequence[tuple[Optional[str], bytes]],
    names: Iterable[Optional[str]],
    findings: Findings,
    path: str = VARIABLE,
) -> dict[bytes, str]:
    """The word for each VIP. ``vips`` are the names and addresses (packed) of the services that the director carries,
    ``names`` those of all services. An address is held for all its services or for none.
    """
    word = words(value, [*names, *(name for name, dummy in vips)], findings, path)
    first: dict[bytes, Optional[str]] = {}
    told = set()
    for name, address in vips:
        other = first.setdefault(address, name)
        if word[name] != word[other] and (name, other) not in told:
            told.add((name, other))
            rule = (
                f"must be {word[other]} as for {other or OTHERS}, which has the VIP {_values.show_address(address)} too"
            )
            findings.problem(at(path, name or OTHERS), rule, word[name])
    return {address: word[name] for address, name in first.items()}
