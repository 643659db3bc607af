# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""On which interface the variable ``ipvs_director_vip_interface`` of a director has each VIP. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ..module_utils import _values
from ..module_utils._errors import BadValue, Findings, show_key
from ._reading import ip
from ._vip_words import OTHERS

VARIABLE = "ipvs_director_vip_interface"


def places_of_vips(
    value: object, vips: Sequence[tuple[Optional[str], bytes]], names: Iterable[Optional[str]], findings: Findings
) -> dict[bytes, str]:
    """The interface of each VIP, empty where the host's networks are to tell. ``vips`` are the names and addresses
    (packed) of the services that the director carries, ``names`` those of all services. The name of a service counts
    before a network, a narrow network before a wide one.
    """
    if not isinstance(value, Mapping):
        place = _place(value, VARIABLE, ", or a dict of service names and networks to these", findings)
        return {address: place for dummy, address in vips}
    known = {*names, *(name for name, dummy in vips)} - {None}
    by_name: dict[str, str] = {}
    by_network: dict[Any, str] = {}
    for key, written in value.items():
        place = _place(written, f"{VARIABLE}.{show_key(key)}", "", findings)
        if key in known or key == OTHERS:
            by_name[key] = place
            continue
        try:
            by_network[ipaddress.ip_network(_values.text(key))] = place
        except ValueError:
            findings.problem(VARIABLE, f"must have names of services, networks or {OTHERS} as keys", key)
    found: dict[bytes, str] = {}
    first: dict[bytes, str] = {}
    for name, address in vips:
        if name not in by_name or name is None or name == OTHERS:
            continue
        other = first.setdefault(address, name)
        if by_name[name] != by_name[other]:
            rule = f"must be {by_name[other]} as for {other}, which has the VIP {_values.show_address(address)} too"
            findings.problem(f"{VARIABLE}.{name}", rule, by_name[name])
        found[address] = by_name[other]
    narrow = sorted(by_network, key=lambda one: -one.prefixlen)
    for dummy, address in vips:
        within = (by_network[one] for one in narrow if ip(address) in one)
        found.setdefault(address, next(within, by_name.get(OTHERS, "")))
    return found


def _place(value: object, path: str, otherwise: str, findings: Findings) -> str:
    if value == "":
        return ""
    try:
        return str(_values.interface(value))
    except BadValue as error:
        findings.problem(path, f"{error}{otherwise}", value)
        return ""
