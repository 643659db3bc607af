# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: snat_flows
short_description: List the flows whose answers come back by source NAT
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Lists, for M(l4lb.ipvs.ipvs_snat), every server of C(ipvs_services) that has forward V(nat) and return path
    V(snat), with its service.
  - V(snat) is the default of C(return_path). Servers that send their answers to the director by themselves have
    another one (V(gateway), V(route), V(policy) or V(none)), in the service or in the server.
  - It takes the services as the inventory has them, as P(l4lb.ipvs.resolve_services#filter) does, and checks them in
    the same way.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
options:
  source:
    description:
      - Fixed source addresses, at most one per family, to use instead of the address of the interface the packets
        leave through.
    type: list
    elements: str
    default: []
seealso:
  - module: l4lb.ipvs.ipvs_snat
"""

EXAMPLES = r"""
- name: Let the answers come back through this director
  l4lb.ipvs.ipvs_snat:
    flows: "{{ ipvs_services | l4lb.ipvs.snat_flows(hostvars=hostvars, groups=groups, director=inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The flows, each with C(service), C(server) and, where one is fixed, C(source).
  type: list
  elements: dict
  sample:
    - service:
        address: 192.0.2.10
        port: 443
        protocol: tcp
      server:
        address: 198.51.100.11
        port: 8443
"""

from collections.abc import Sequence
from typing import Any, Callable, Optional

from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._resolve import flows, resolve


@tells_invalid_input
def snat_flows(
    services: object, director: Optional[str] = None, source: Sequence[object] = (), **inventory: Any
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    return flows(resolve(services, given(**inventory), director), source)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"snat_flows": snat_flows}
