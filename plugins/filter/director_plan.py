# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: director_plan
short_description: Work out what a director needs besides its table
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - From plain services and one reading of the host, as M(l4lb.ipvs.ipvs_host_info) returns it, works out the kernel
    modules, sysctls and addresses that the director needs, and names what on the host would break the services.
positional: _input
options:
  _input:
    description: The plain services, as P(l4lb.ipvs.resolve_services#filter) makes them.
    type: list
    elements: dict
    required: true
  flows:
    description: The flows that P(l4lb.ipvs.snat_flows#filter) lists for the same services.
    type: list
    elements: dict
    required: true
  host:
    description: The result of M(l4lb.ipvs.ipvs_host_info).
    type: dict
    required: true
  vip_interface:
    description:
      - The interface that gets the VIPs. Empty means for each VIP the one that has it, else the one whose network
        contains it. One that is not there is among the C(dummies) to make.
      - Or a dict of names of services, networks and V(default) for the others, to interfaces. The name of a service
        counts before a network, and a narrow network before a wide one.
    type: raw
    default: ""
  vip_prefix:
    description: The prefix length of the VIPs; V(host) for a whole address, 32 or 128.
    type: raw
    default: host
  vip:
    description:
      - Which VIPs the director holds. One of V(hold), V(standby) and V(external), or a dict of the names of services,
        and V(default) for the others, to these words. Services that share an address must have the same word.
      - The interface of a VIP with V(external) need not be told.
    type: raw
    default: hold
  names:
    description: The names that O(vip) may have besides those of the services, since other directors carry them.
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
    choices:
      [input_drop, forward_drop, output_drop, foreign_masquerade, foreign_owner, localnode, management_capture]
    default: []
  marks:
    description: The marks that P(l4lb.ipvs.service_marks#filter) lists for the same services; their addresses are VIPs.
    type: list
    elements: dict
    default: []
  connection:
    description: The C(address) and C(port) at which the controller reaches the host, besides those that the host tells.
    type: dict
  invalid:
    description:
      - What comes of invalid input, V(raise) an error, or V(return) a result that has C(problems), no C(warnings), and
        C(invalid).
    type: str
    choices: [raise, return]
    default: raise
"""

EXAMPLES = r"""
needs: "{{ plain | l4lb.ipvs.director_plan(flows=flows, host=host) }}"
"""

RETURN = r"""
_value:
  description:
    - C(modules) in the order to load them, C(missing_modules) that are not loaded, C(dummies), the dummy devices to
      make for VIPs, C(removable_dummies), those of earlier runs without an address that stays, and C(stale_dummies),
      those among them that no VIP needs, all as M(l4lb.ipvs.ipvs_tunnel) takes them, C(sysctls), C(tracks), whether
      IPVS is to track connections or does already, C(vips), those to hold, as M(l4lb.ipvs.ipvs_vip) takes them,
      C(standby_vips), those to remove because the host has them and stands by for them, C(vip_addresses), the
      addresses of all services, C(reroutable), those of the servers on its networks that may go from V(nat) or V(tun)
      to V(dr) or back, C(problems) and C(warnings), one sentence each.
  type: dict
"""

from typing import Any, Callable

from ..plugin_utils import _director
from ..plugin_utils._filter import returns_invalid_input


@returns_invalid_input
def director_plan(services: object, **options: Any) -> dict[str, Any]:
    """The filter of this name; see DOCUMENTATION."""
    return _director.director_plan(services, **options)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"director_plan": director_plan}
