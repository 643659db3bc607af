# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: backend_plan
short_description: Work out what a backend needs for the services it is a server of
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - From the services of the inventory and one reading of the host, as M(l4lb.ipvs.ipvs_host_info) returns it, works out
    of which services the host is a server and how, and from that the tunnels, sysctls, VIPs and return routes that it
    needs; tells what is there that it does not need, what is needed and not there, and what on the host would break
    the services.
  - It needs no facts of any other host. The addresses of the directors are taken from the inventory, as
    P(l4lb.ipvs.lint#filter) does.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
options:
  host:
    description: The result of M(l4lb.ipvs.ipvs_host_info).
    type: dict
    required: true
  directors:
    description:
      - The hosts that carry the services without C(directors). By default the group C(ipvs_directors).
    type: list
    elements: str
  addresses:
    description:
      - The addresses by which services name this host as a server. Empty means all that it has outside the places of
        the VIPs.
    type: list
    elements: str
    default: []
  vip_interface:
    description:
      - The interface of the VIPs of direct routing, C(lo) or a dummy interface. One that is not there is among the
        C(tunnels) to make.
    type: str
    default: lo
  return_via:
    description:
      - Addresses of the director to which answers go back, at most one per family, where a service does not tell by its
        own C(return_via).
    type: list
    elements: str
    default: []
  return_to:
    description: The networks of the clients, which servers with C(return_path=route) reach through the director.
    type: list
    elements: str
    default: []
  return_match:
    description:
      - Which packets servers with C(return_path=policy) send through the director. V(service), those from the address,
        protocol and port of the server; V(address), all from its address; V(connection), those of connections that came
        from the director.
    type: str
    choices: [service, address, connection]
    default: service
  return_direct:
    description: The networks that C(return_path=policy) leaves alone.
    type: list
    elements: str
    default: []
  return_macs:
    description:
      - The hardware addresses by which V(connection) knows the director. By default every connection that comes in by
        the interface of the server counts.
    type: list
    elements: str
    default: []
  sysctls:
    description: More sysctls, or other values for those worked out.
    type: dict
    default: {}
  allow:
    description: Dangers to accept, as warnings instead of problems.
    type: list
    elements: str
    choices: [arp, director_gateway, gateway, input_drop, localnode, management_return]
    default: []
  invalid:
    description:
      - What comes of invalid input, V(raise) an error, or V(return) a result that has C(problems), no C(warnings), and
        C(invalid).
    type: str
    choices: [raise, return]
    default: raise
seealso:
  - plugin: l4lb.ipvs.resolve_services
    plugin_type: filter
"""

EXAMPLES = r"""
needs: "{{ ipvs_services | l4lb.ipvs.backend_plan(hostvars=hostvars, groups=groups, host=host) }}"
"""

RETURN = r"""
_value:
  description:
    - C(services), the servers that this host is, one line each.
    - What they need, C(tunnels), C(sysctls), C(vips), C(policies), C(connections) and C(clamps), as
      M(l4lb.ipvs.ipvs_tunnel), M(l4lb.ipvs.ipvs_sysctl), M(l4lb.ipvs.ipvs_vip), M(l4lb.ipvs.ipvs_policy_route),
      M(l4lb.ipvs.ipvs_connmark) and M(l4lb.ipvs.ipvs_mss) take them, and C(missing_tools), what these call and the host
      does not have.
    - C(vip_interfaces), which may hold VIPs of a backend. C(devices), the tunnels and dummies that are there for a
      backend. C(stale), what is there and not needed, by its kind.
      C(unmet), what is needed and not there. C(problems) and C(warnings), one sentence each.
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ..plugin_utils import _backend
from ..plugin_utils._filter import given, returns_invalid_input
from ..plugin_utils._resolve import resolve


@returns_invalid_input
def backend_plan(
    services: object,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    host: Mapping[str, Any],
    pools: Optional[Mapping[str, Any]] = None,
    **options: Any,
) -> dict[str, Any]:
    """The filter of this name; see DOCUMENTATION."""
    inventory = given(hostvars, groups, pools)
    return _backend.backend_plan(resolve(services, inventory), inventory, host, **options)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"backend_plan": backend_plan}
