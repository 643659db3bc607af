# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The duties of a backend: of which services a host is a server, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from ..module_utils import _values
from ..module_utils._errors import Findings
from ..module_utils._model import FORWARDS, Server, ServiceKey
from ..module_utils._traffic import Traffic
from ._marks import traffic_of
from ._reading import Network, ip
from ._resolve import Resolved, one_of_each_family


class Duty(NamedTuple):
    """One server of a service that this host is. ``traffic`` is that of the service, None where nobody tells it;
    ``return_path`` is that of a NAT server, else None; ``return_via`` are the addresses of the director by which
    answers go back, by their length in bytes.
    """

    service: ServiceKey
    traffic: Optional[Traffic]
    server: Server
    return_path: Optional[str]
    return_via: Mapping[int, str]

    @property
    def address(self) -> str:
        """The address of the server, as text."""
        return _values.show_address(self.server.key.address)

    @property
    def family(self) -> str:
        """The family of the server, ipv4 or ipv6."""
        return family_word(self.server.key.address)

    @property
    def via(self) -> Optional[str]:
        """The address of the director by which the answers of the server go back, where it is told."""
        return self.return_via.get(len(self.server.key.address))

    @property
    def vips(self) -> tuple[bytes, ...]:
        """The addresses of the service, packed."""
        return self.traffic.addresses if self.traffic else ()

    def forwards(self, word: str) -> bool:
        """Whether the director forwards by this method: nat, dr or tun."""
        return self.server.forward == FORWARDS[word]


def family_word(packed: bytes) -> str:
    """ipv4 or ipv6, by the length of a packed address."""
    return "ipv4" if len(packed) == 4 else "ipv6"


def duties_of(resolved: Sequence[Resolved], own: frozenset[bytes], vias: Mapping[int, str]) -> list[Duty]:
    """What the host with the addresses ``own`` is a server of, in the order of the services; ``vias`` are the addresses
    of the director where a service names none.
    """
    found = []
    for one in resolved:
        told = vias if one.return_via is None else one_of_each_family(one.return_via, "return_via", Findings())
        for key, server in sorted(one.entry.servers.items()):
            if key.address in own:
                traffic = traffic_of(one, Findings())
                found.append(Duty(one.entry.service.key, traffic, server, one.return_paths.get(key), told))
    return found


def interfaces_of(duties: Iterable[Duty], found: Sequence[Network]) -> list[str]:
    """The interfaces that have the addresses of these servers."""
    addresses = {ip(duty.server.key.address) for duty in duties}
    return sorted({one.interface for one in found if one.address in addresses})
