# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: resolve_services
short_description: Turn the services of the inventory into plain services
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Turns C(ipvs_services), as written once in the inventory, into the plain services that M(l4lb.ipvs.ipvs_table)
    takes.
  - C(addresses) and C(ports) become one service each, every port of the first address first.
  - Servers are those of C(servers), then one per host of C(servers_from) in the inventory's order, then those of
    C(pool). C(servers_from) has the keys C(group), C(address), C(port) and C(weight); the latter three name variables
    of the hosts, and only C(address) is required. A host without the variable is an error, never a server less.
  - C(directors), the group of the directors that carry the service, C(return_path), C(return_via), C(prepared) and
    C(mark) are taken out. C(return_path) and C(prepared) may stand in a service, for all its servers, or in a server.
  - C(prepared), V(role) or V(elsewhere), tells who prepares the host of a server. Of V(elsewhere)
    P(l4lb.ipvs.lint#filter) does not ask that the host be a backend.
  - The result is checked as a whole; every problem is told at once, at the place where it was written.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
options:
  vip:
    description:
      - The variable C(ipvs_director_vip) of the director, see P(l4lb.ipvs.director_plan#filter). Services for which it
        stands by are left out.
    type: raw
    default: hold
seealso:
  - plugin: l4lb.ipvs.snat_flows
    plugin_type: filter
"""

EXAMPLES = r"""
ipvs_services:
  - name: web
    addresses: [192.0.2.10, "2001:db8::10"]
    port: 443
    scheduler: wrr
    forward: nat
    servers_from:
      group: web
      address: ipvs_address
      weight: ipvs_weight

plain: "{{ ipvs_services | l4lb.ipvs.resolve_services(hostvars=hostvars, groups=groups) }}"
"""

RETURN = r"""
_value:
  description: The plain services.
  type: list
  elements: dict
"""

from typing import Any, Callable, Optional

from ..module_utils._errors import Findings
from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._resolve import resolve
from ..plugin_utils._vip_words import HOLD, STANDBY, words


@tells_invalid_input
def resolve_services(
    services: Any, director: Optional[str] = None, vip: object = HOLD, **inventory: Any
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    resolved = resolve(services, given(**inventory), director)
    findings = Findings()
    word = words(vip, [service.get("name") for service in services], findings)
    findings.raise_problems()
    return [one.plain for one in resolved if word[one.plain.get("name")] != STANDBY]


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"resolve_services": resolve_services}
