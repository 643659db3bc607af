# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the traffic of services says to nftables on their director: which packets get a firewall mark, and which are
left out of connection tracking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Optional

from ..module_utils import _model, _text, _traffic, _values
from ..module_utils._draft import Elements
from ..module_utils._errors import Findings, at
from ..module_utils._model import FORWARDS, PROTOCOLS, ServiceKey
from ..module_utils._traffic import MARKS, UNTRACKED, Traffic
from ._resolve import Resolved

#: A mark is stated without the number and the family, which the service has.
_STATED = MARKS._replace(fields=_traffic.FIELDS)
_UNTRACKED_FORWARDS = {FORWARDS["dr"], FORWARDS["tun"]}
#: Tell traffic that is tracked from traffic that is not, while the two are put together.
_LOOSE, _TRACKED = 1, 2


def marked(service: Resolved, findings: Findings) -> Optional[Traffic]:
    """The traffic of a service by firewall mark, if its ``mark`` states it; every problem goes to ``findings``."""
    if "mark" not in service.written:
        return None
    where = at(service.place, "mark")
    key = service.entry.service.key
    if not key.fwmark:
        findings.problem(where, "is only for services by fwmark")
        return None
    traffic = _traffic.parse_one(_STATED, service.written["mark"], where, findings)
    if traffic is None:
        return None
    width = 4 if key.family == _model.AF_INET else 16
    for address in traffic.addresses:
        if len(address) != width:
            family = _text.key_params(key)["family"]
            findings.problem(at(where, "addresses"), f"must be of family {family}", _values.show_address(address))
    return traffic._replace(fwmark=key.fwmark)


def traffic_of(service: Resolved, findings: Findings) -> Optional[Traffic]:
    """The traffic of any service; ``None`` where that by firewall mark is not stated."""
    key = service.entry.service.key
    return marked(service, findings) if key.fwmark else _plain(key)


def marks(resolved: Sequence[Resolved]) -> list[dict[str, Any]]:
    """The marks that ``ipvs_mark`` shall set.

    :raises InvalidInput: naming every problem of a mark, and marks that overlap.
    """
    findings = Findings()
    found = [(service.place, marked(service, findings)) for service in resolved]
    stated = [(at(place, "mark"), traffic) for place, traffic in found if traffic]
    _traffic.check_overlaps(stated, findings)
    findings.raise_problems()
    return [_traffic.params(MARKS, traffic) for dummy, traffic in stated]


def untracked(resolved: Sequence[Resolved]) -> list[dict[str, Any]]:
    """The traffic that ``ipvs_notrack`` shall exempt: of services whose servers all answer clients themselves, without
    what IPVS gives to another service. A mark goes before a port, and a port before every port (ip_vs_service_find).
    """
    findings = Findings()
    layers: tuple[list[Traffic], list[Traffic], list[Traffic]] = [], [], []
    for service in resolved:
        key = service.entry.service.key
        traffic = traffic_of(service, findings)
        if traffic:
            forwards = {server.forward for server in service.entry.servers.values()}
            loose = bool(forwards) and forwards <= _UNTRACKED_FORWARDS
            layer = 2 if key.fwmark else 1 if key.port else 0
            layers[layer].append(traffic._replace(fwmark=_LOOSE if loose else _TRACKED))
    findings.raise_problems()
    exempt = _errors(layers)
    for family in UNTRACKED.tables:
        elements: Elements = {}
        for listed in layers:
            elements = _traffic.merge(elements, _traffic.elements_by_family(UNTRACKED, listed)[family])
        exempt += _traffic.listed(elements, _LOOSE)
    return [_traffic.params(UNTRACKED, traffic) for traffic in exempt]


def _errors(layers: Iterable[Sequence[Traffic]]) -> list[Traffic]:
    """What others report of traffic that is not tracked, as routers do of packets that are too large. What a message is
    about is deep within it, so that only addresses without any traffic that is tracked can be told.
    """
    kinds: dict[bytes, set[int]] = {}
    for traffic in (one for layer in layers for one in layer):
        for address in traffic.addresses:
            kinds.setdefault(address, set()).add(traffic.fwmark)
    alone = tuple(sorted((address for address in kinds if kinds[address] == {_LOOSE}), key=lambda one: (len(one), one)))
    return [Traffic(alone, (_traffic.EVERY_PORT,), (_traffic.ICMP,), (), (), 0)] if alone else []


def _plain(key: ServiceKey) -> Traffic:
    protocol = next(word for word, number in PROTOCOLS.items() if number == key.protocol)
    ports = (key.port, key.port) if key.port else _traffic.EVERY_PORT
    return Traffic((key.address,), (ports,), (protocol,), (), (), 0)
