# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: director_claim
short_description: List the VIPs that a director is to carry and to hold
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - What the inventory wants of one director, as P(l4lb.ipvs.director_steps#filter) compares it with that of others.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
options:
  vip:
    description: The variable C(ipvs_director_vip) of the director, see P(l4lb.ipvs.director_plan#filter).
    type: raw
    default: hold
seealso:
  - plugin: l4lb.ipvs.director_steps
    plugin_type: filter
"""

EXAMPLES = r"""
claim: "{{ ipvs_services | l4lb.ipvs.director_claim(hostvars=hostvars, groups=groups, director=inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description:
    - C(vips), the VIPs of the services that the director carries, or what names a service whose VIP is not stated;
      C(holds), those among them that it holds by itself; C(external), those that something else places.
  type: dict
"""

from typing import Any, Callable, Optional

from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._resolve import resolve
from ..plugin_utils._site import claim
from ..plugin_utils._vip_words import HOLD


@tells_invalid_input
def director_claim(
    services: Any, director: Optional[str] = None, vip: object = HOLD, **inventory: Any
) -> dict[str, list[str]]:
    """The filter of this name; see DOCUMENTATION."""
    resolved = resolve(services, given(**inventory), director)
    return claim(resolved, vip, [service.get("name") for service in services])


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"director_claim": director_claim}
