# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: untracked_traffic
short_description: List the traffic that a director must not track
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Lists, for M(l4lb.ipvs.ipvs_notrack), the traffic of every service of C(ipvs_services) whose servers all have
    forward V(dr) or V(tun), but for what another service on the same address takes. The traffic of a service with
    C(fwmark) is what its C(mark) states. Where all services of an address are such, the errors that others report to it
    are listed as well.
  - It takes the services as the inventory has them, as P(l4lb.ipvs.resolve_services#filter) does, and checks them in
    the same way.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
seealso:
  - module: l4lb.ipvs.ipvs_notrack
"""

EXAMPLES = r"""
- name: Leave what servers answer themselves untracked
  l4lb.ipvs.ipvs_notrack:
    traffic: "{{ ipvs_services | l4lb.ipvs.untracked_traffic(hostvars=hostvars, groups=groups) }}"
"""

RETURN = r"""
_value:
  description: The traffic.
  type: list
  elements: dict
  sample:
    - addresses: [192.0.2.10]
      ports: [80]
      protocols: [tcp]
"""

from typing import Any, Callable, Optional

from ..plugin_utils import _marks
from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._resolve import resolve


@tells_invalid_input
def untracked_traffic(services: object, director: Optional[str] = None, **inventory: Any) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    return _marks.untracked(resolve(services, given(**inventory), director))


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"untracked_traffic": untracked_traffic}
